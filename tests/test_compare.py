"""The gate's checks, on literal figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fraud3000.params import PromoteParams
from fraud3000.promotion import checks
from fraud3000.promotion.checks import Check, Verdict

DAY = datetime(2018, 8, 8, tzinfo=UTC)


def figures(**values: float | None) -> dict[str, Any]:
    return {name: {"value": value, "reason": "no known fraud"} for name, value in values.items()}


def report(ranking: float | None, baseline: float, **facts: Any) -> dict[str, Any]:
    both = figures(average_precision=baseline, recall=0.1)
    metrics = figures(average_precision=ranking, recall=0.9)
    return {"metrics": metrics, "floors": {"random": both, "largest_amount": both}, **facts}


@pytest.mark.parametrize(("ranking", "passed"), [(0.31, True), (0.3, False), (0.2, False), (None, False)])
def test_a_model_must_beat_the_best_baseline(ranking: float | None, passed: bool) -> None:
    assert [check.passed for check in checks.above_baselines(report(ranking, 0.3))] == [passed, True]


def test_money_is_judged_by_the_best_measure_that_the_data_allows() -> None:
    known = report(0.5, 0.1)
    known["metrics"] |= figures(value_detection_rate=0.6, value_detection_rate_at_alert_budget=None)
    assert checks.above_baselines(known)[1].title == "value detection rate above the baselines"
    known["metrics"] |= figures(value_detection_rate_at_alert_budget=0.6)
    assert checks.above_baselines(known)[1].title == "value detection at budget above the baselines"


def test_an_unknown_baseline_is_no_obstacle() -> None:
    unknown = report(0.5, 0.1)
    unknown["floors"] = {name: figures(average_precision=None, recall=None) for name in checks.BASELINES}
    assert [check.needed for check in checks.above_baselines(unknown)] == ["no baseline known"] * 2


@pytest.mark.parametrize(
    ("candidate", "champion", "passed"),
    [("2018-08-01", "2018-08-08", True), ("2018-08-01", "2018-08-09", False), ("2018-08-09", "2018-08-01", False)],
)
def test_rows_must_lie_after_the_cut_offs_of_both(candidate: str, champion: str, passed: bool) -> None:
    cuts = [{"model_as_of": f"{cut}T00:00:00+00:00", "data_fingerprint": "a"} for cut in (candidate, champion)]
    assert checks.comparable(*cuts, DAY).passed == passed


@pytest.mark.parametrize(("fingerprint", "passed"), [("a", True), ("b", False)])
def test_without_time_only_models_of_the_same_training_rows_compare(fingerprint: str, passed: bool) -> None:
    ours, theirs = ({"model_as_of": None, "data_fingerprint": of} for of in ("a", fingerprint))
    assert checks.comparable(ours, theirs, None).passed == passed


def test_a_model_with_time_does_not_compare_with_one_without() -> None:
    ours = {"model_as_of": "2018-08-01T00:00:00+00:00", "data_fingerprint": "a"}
    assert not checks.comparable(ours, {"model_as_of": None, "data_fingerprint": "a"}, DAY).passed


@pytest.mark.parametrize(("frauds", "passed"), [(49, False), (50, True)])
def test_too_few_frauds_are_no_evidence(frauds: int, passed: bool) -> None:
    check = checks.enough_frauds({"frauds": frauds}, PromoteParams())
    assert check.passed == passed
    assert ("not enough evidence" in check.found) != passed


@pytest.mark.parametrize(("top", "slope"), [(0.5, 0.5), (2.0, 2.0), (0.4, 1.0), (1.0, 2.1), (None, None)])
def test_calibration_must_lie_within_its_bounds(top: float | None, slope: float | None) -> None:
    told = {"metrics": figures(calibration_slope=slope) | figures(**{checks.TOP: top})}
    passed = [check.passed for check in checks.calibrated(told, PromoteParams())]
    assert passed == [value is not None and 0.5 <= value <= 2 for value in (top, slope)]


@pytest.mark.parametrize(("milliseconds", "passed"), [(1.0, True), (50.0, True), (50.1, False)])
def test_a_row_must_be_scored_in_time(milliseconds: float, passed: bool) -> None:
    assert checks.fast_enough(milliseconds, PromoteParams()).passed == passed


def test_an_evaluation_on_rows_that_the_model_knew_does_not_count() -> None:
    early = {"test_span": ["2018-08-01T00:00:00+00:00", "x"], "model_as_of": "2018-08-02T00:00:00+00:00"}
    assert not checks.evaluated_after_cutoff(early).passed
    assert checks.evaluated_after_cutoff({"test_span": None, "model_as_of": None}).passed


def test_one_failed_check_refuses_and_says_why() -> None:
    verdict = Verdict((Check("one", "1", "1", passed=True), Check("two", "found", "more", passed=False)))
    assert not verdict.accept
    assert verdict.reasons == ("two: found, needed more",)
    assert verdict.to_dict()["checks"][1]["passed"] is False
