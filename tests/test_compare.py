"""The gate's checks, on literal figures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fraud3000.metrics.evaluation import MetricValue
from fraud3000.params import PromoteParams
from fraud3000.promotion import checks
from fraud3000.promotion.checks import Check, LabelCutoff, Verdict
from tests.evaluations import metrics

DAY = datetime(2018, 8, 8, tzinfo=UTC)
OWN = metrics(average_precision=0.5, recall=0.9)


def baselines(ranking: float | None, recall: float | None = 0.1) -> dict[str, dict[str, MetricValue]]:
    return dict.fromkeys(("random", "largest_amount"), metrics(average_precision=ranking, recall=recall))


@pytest.mark.parametrize(("ranking", "passed"), [(0.31, True), (0.3, False), (0.2, False), (None, False)])
def test_a_model_must_beat_the_best_baseline(ranking: float | None, passed: bool) -> None:
    own = metrics(average_precision=ranking, recall=0.9)
    assert [check.passed for check in checks.above_baselines(own, baselines(0.3))] == [passed, True]


def test_money_is_judged_by_the_best_measure_that_the_data_allows() -> None:
    known = OWN | metrics(value_detection_rate=0.6, value_detection_rate_at_alert_budget=None)
    assert checks.above_baselines(known, baselines(0.1))[1].name == "value detection rate above the baselines"
    known |= metrics(value_detection_rate_at_alert_budget=0.6)
    assert checks.above_baselines(known, baselines(0.1))[1].name == "value detection at budget above the baselines"


def test_an_unknown_baseline_is_no_obstacle() -> None:
    results = checks.above_baselines(OWN, baselines(None, None))
    assert [(check.needed, check.passed) for check in results] == [("no baseline known", True)] * 2


@pytest.mark.parametrize(("candidate", "champion", "passed"), [(1, 8, True), (1, 9, False), (9, 1, False)])
def test_rows_must_lie_after_the_cut_offs_of_both(candidate: int, champion: int, passed: bool) -> None:
    cutoffs = [LabelCutoff(datetime(2018, 8, day, tzinfo=UTC), "a") for day in (candidate, champion)]
    assert checks.comparable(*cutoffs, DAY).passed == passed


@pytest.mark.parametrize(("fingerprint", "passed"), [("a", True), ("b", False)])
def test_without_time_only_models_of_the_same_training_rows_compare(fingerprint: str, passed: bool) -> None:
    assert checks.comparable(LabelCutoff(None, "a"), LabelCutoff(None, fingerprint), None).passed == passed


def test_a_model_with_time_does_not_compare_with_one_without() -> None:
    assert not checks.comparable(LabelCutoff(DAY, "a"), LabelCutoff(None, "a"), DAY).passed


@pytest.mark.parametrize(("frauds", "passed"), [(49, False), (50, True)])
def test_too_few_frauds_are_no_evidence(frauds: int, passed: bool) -> None:
    check = checks.enough_frauds(frauds, PromoteParams())
    assert check.passed == passed
    assert ("not enough evidence" in check.found) != passed


@pytest.mark.parametrize(("top", "slope"), [(0.5, 0.5), (2.0, 2.0), (0.4, 1.0), (1.0, 2.1), (None, None)])
def test_calibration_must_lie_within_its_bounds(top: float | None, slope: float | None) -> None:
    results = checks.calibrated(metrics(**{"calibration_slope": slope, checks.TOP: top}), PromoteParams())
    assert [check.passed for check in results] == [value is not None and 0.5 <= value <= 2 for value in (top, slope)]


@pytest.mark.parametrize(("milliseconds", "passed"), [(1.0, True), (50.0, True), (50.1, False)])
def test_a_row_must_be_scored_in_time(milliseconds: float, passed: bool) -> None:
    assert checks.fast_enough(milliseconds, PromoteParams()).passed == passed


def test_an_evaluation_on_rows_that_the_model_knew_does_not_count() -> None:
    early = datetime(2018, 8, 1, tzinfo=UTC), DAY
    assert not checks.evaluated_after_cutoff(early, datetime(2018, 8, 2, tzinfo=UTC)).passed
    assert checks.evaluated_after_cutoff(None, None).passed


def test_one_failed_check_refuses_and_says_why() -> None:
    verdict = Verdict((Check("one", "1", "1", passed=True), Check("two", "found", "more", passed=False)))
    assert not verdict.accept
    assert verdict.reasons == ("two: found, needed more",)
    assert verdict.to_dict()["checks"][1]["passed"] is False
