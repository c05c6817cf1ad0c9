"""metrics.json: its form, what is null and why, baselines, and what is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud3000.errors import DataError, SchemaError
from fraud3000.metrics.catalogue import metrics_of
from fraud3000.metrics.evaluation import DailyAlerts, Measurement
from fraud3000.metrics.report import alerts_a_day, excluded, measure
from fraud3000.metrics.scored_arrays import ScoredArrays, codes
from fraud3000.params import EvaluateModelParams, PolicyParams

POLICY = PolicyParams(cards_per_day=4, review_cost=50)
EVALUATE = EvaluateModelParams(top_k=(5,), replicates=20)
MANY = EvaluateModelParams(top_k=(5,), replicates=200)


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    source = np.random.default_rng(11)
    rows = 900
    fraud = source.random(rows) < 0.1
    score = 1 / (1 + np.exp(-source.normal(-3 + 2.5 * fraud, 1.0)))
    start = datetime(2018, 8, 8, tzinfo=UTC)
    return pl.DataFrame(
        {
            "transaction_id": [str(place) for place in range(rows)],
            "ts": [start + timedelta(minutes=5 * place) for place in range(rows)],
            "card_id": [f"c{card:02}" for card in source.integers(0, 50, rows)],
            "terminal_id": [f"t{terminal:02}" for terminal in source.integers(0, 30, rows)],
            "amount": source.integers(0, 9_000, rows),
            "status": ["approved"] * rows,
            "score": score,
            "alert": score > 0.3,
            "is_fraud": fraud.astype(np.int8),
        }
    )


def measured(frame: pl.DataFrame, evaluate: EvaluateModelParams = EVALUATE) -> dict:
    measurement = measure(frame, policy=POLICY, evaluate=evaluate, split="test")
    report = measurement.to_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert Measurement.model_validate(report) == measurement
    return report


def reasons(report: dict) -> dict[str, str]:
    return {name: metric["reason"] for name, metric in report["metrics"].items() if metric["value"] is None}


def test_every_metric_has_a_value_within_its_interval(scored):
    report = measured(scored)
    assert (report["split"], report["rows"], report["frauds"]) == ("test", 900, int(scored["is_fraud"].sum()))
    assert list(report["metrics"]) == [metric.name for metric in metrics_of(EVALUATE)]
    assert not reasons(report)
    for name, metric in report["metrics"].items():
        assert metric["low"] <= metric["high"], name
        assert metric["by"] in {"card", "terminal"}, name
    for name in ("average_precision", "auc_roc", "recall", "savings", "card_precision_at_5", "recall_at_alert_budget"):
        metric = report["metrics"][name]
        assert metric["low"] <= metric["value"] <= metric["high"], name


def test_values_are_those_of_scikit_learn_and_of_plain_sums(scored):
    metrics = measured(scored)["metrics"]
    fraud, score = scored["is_fraud"].to_numpy(), scored["score"].to_numpy()
    assert metrics["average_precision"]["value"] == pytest.approx(average_precision_score(fraud, score))
    assert metrics["auc_roc"]["value"] == pytest.approx(roc_auc_score(fraud, score))
    frauds = scored.filter(pl.col("is_fraud") == 1)
    caught = frauds.filter("alert")
    assert metrics["recall"]["value"] == pytest.approx(caught.height / frauds.height)
    assert metrics["precision"]["value"] == pytest.approx(caught.height / scored["alert"].sum())
    assert metrics["value_detection_rate"]["value"] == pytest.approx(caught["amount"].sum() / frauds["amount"].sum())
    cost = 50 * scored["alert"].sum() + frauds.filter(~pl.col("alert"))["amount"].sum()
    none = frauds["amount"].sum()
    assert metrics["savings"]["value"] == pytest.approx(1 - cost / min(50 * scored.height, none))
    assert metrics["observed_over_expected_frauds"]["value"] == pytest.approx(fraud.sum() / score.sum())
    brier, base = ((score - fraud) ** 2).mean(), fraud.mean() * (1 - fraud.mean())
    assert metrics["brier_skill"]["value"] == pytest.approx(1 - brier / base)


def test_the_order_of_rows_does_not_matter(scored):
    shuffled = measured(scored.sample(fraction=1, shuffle=True, seed=1))
    for name, metric in measured(scored)["metrics"].items():
        assert shuffled["metrics"][name]["value"] == pytest.approx(metric["value"], rel=1e-9), name


def test_baselines_are_reported_with_the_metrics(scored):
    report = measured(scored)
    baselines, prevalence = report["floors"], report["prevalence"]
    assert list(baselines) == ["random", "largest_amount", "always", "never"]
    assert baselines["random"]["average_precision"]["value"] == pytest.approx(prevalence, abs=0.03)
    assert baselines["random"]["auc_roc"]["value"] == pytest.approx(0.5, abs=0.05)
    assert baselines["random"]["recall"]["value"] == pytest.approx(scored["alert"].mean(), abs=0.05)
    assert baselines["always"]["recall"]["value"] == 1.0
    assert baselines["always"]["precision"]["value"] == pytest.approx(prevalence)
    assert baselines["never"]["savings"]["value"] <= 0
    assert baselines["never"]["precision"] == {"value": None, "reason": "no row is alerted"}
    assert max(baselines["always"]["savings"]["value"], baselines["never"]["savings"]["value"]) == pytest.approx(0)
    largest = scored.sort("amount", descending=True).head(int(scored["alert"].sum()))
    money = largest.filter(pl.col("is_fraud") == 1)["amount"].sum()
    total = scored.filter(pl.col("is_fraud") == 1)["amount"].sum()
    assert baselines["largest_amount"]["value_detection_rate"]["value"] == pytest.approx(money / total, abs=0.02)
    assert "average_precision" not in baselines["always"]
    assert "calibration_slope" not in baselines["random"]


def test_card_precision_has_its_ceiling(scored):
    entry = measured(scored)["metrics"]["card_precision_at_5"]
    assert entry["value"] <= entry["ceiling"] <= 1


def test_without_cards_and_terminals_rows_are_drawn_and_it_says_so(scored):
    report = measured(scored.drop("card_id", "terminal_id"))
    assert reasons(report) == {
        "card_precision_at_5": "the data has no cards",
        "value_detection_rate_by_card": "the data has no cards",
    }
    assert {metric["by"] for metric in report["metrics"].values() if metric["value"] is not None} == {"row"}
    assert "no cards and no terminals" in report["intervals"]["note"]
    assert report["alerts_a_day"]["unit"] == "rows"


def test_with_few_cards_rows_are_drawn_and_it_says_so(scored):
    report = measured(scored.drop("terminal_id").with_columns(card_id=pl.lit("a")))
    assert report["intervals"]["by"] == ["row"]
    assert "fewer than 20" in report["intervals"]["note"]


def test_without_terminals_cards_are_drawn(scored):
    assert measured(scored.drop("terminal_id"))["intervals"]["by"] == ["card"]


def test_without_time_there_are_no_days(scored):
    report = measured(scored.drop("ts"))
    assert set(reasons(report)) == {
        "card_precision_at_5",
        "recall_at_alert_budget",
        "precision_at_alert_budget",
        "value_detection_rate_at_alert_budget",
    }
    assert report["alerts_a_day"]["mean"] is None
    assert report["alerts_a_day"]["reason"] == "the data has no time"


@pytest.mark.parametrize(
    ("label", "said", "still"),
    [(0, "no known fraud", "observed_over_expected_frauds"), (1, "no known legitimate row", "average_precision")],
)
def test_one_class_only(scored, label, said, still):
    report = measured(scored.with_columns(is_fraud=pl.lit(label, pl.Int8)))
    assert reasons(report)["auc_roc"] == said
    assert reasons(report)["calibration_slope"] == said
    assert report["metrics"][still]["value"] is not None


def test_all_scores_equal(scored):
    report = measured(scored.with_columns(score=pl.lit(0.1), alert=pl.lit(value=False)))
    assert report["metrics"]["average_precision"]["value"] == pytest.approx(report["prevalence"])
    assert report["metrics"]["auc_roc"]["value"] == 0.5
    assert reasons(report)["precision"] == "no row is alerted"
    assert reasons(report)["calibration_slope"] == "not determined by these rows"
    assert report["metrics"]["recall"]["value"] == 0.0


def test_no_row_at_all_and_no_known_label(scored):
    for frame in (scored.clear(), scored.with_columns(is_fraud=pl.lit(None, pl.Int8))):
        report = measured(frame)
        assert (report["rows"], report["frauds"], report["prevalence"]) == (0, 0, None)
        assert set(reasons(report).values()) == {"no row with a known label"}


def test_scores_that_are_no_probabilities_are_ranked_but_not_calibrated(scored):
    report = measured(scored.with_columns(score=pl.col("score") * 10 - 3))
    assert report["metrics"]["average_precision"] == measured(scored)["metrics"]["average_precision"]
    assert reasons(report)["brier_skill"] == "some scores lie outside 0 to 1"
    assert sum(1 for metric in metrics_of(EVALUATE) if metric.calibration) == len(reasons(report))


def test_fraud_without_money(scored):
    report = measured(scored.with_columns(amount=pl.lit(0)))
    assert reasons(report)["value_detection_rate"] == "no fraud carries money"
    assert reasons(report)["savings"] == "not determined by these rows"


def test_one_fraud_determines_values_but_few_intervals(scored):
    report = measured(scored.with_columns(is_fraud=(pl.int_range(pl.len()) == 5).cast(pl.Int8)), MANY)
    entry = report["metrics"]["average_precision"]
    assert entry["value"] > 0
    assert (entry["low"], entry["reason"]) == (None, "too few frauds for an interval")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None])
def test_a_score_that_is_no_number_is_refused(scored, score):
    broken = scored.with_columns(score=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(score)).otherwise("score"))
    with pytest.raises(DataError, match="1 of 900 scores are null, NaN or infinite"):
        measure(broken, policy=POLICY, evaluate=EVALUATE)


def test_a_missing_column_is_named(scored):
    with pytest.raises(SchemaError, match="column 'alert' is missing"):
        measure(scored.drop("alert"), policy=POLICY, evaluate=EVALUATE)


def test_refunds_unknown_labels_and_set_aside_rows_are_counted_not_measured(scored):
    marked = scored.with_row_index("place").with_columns(
        status=pl.when(pl.col("place") < 10).then(pl.lit("refund")).otherwise("status"),
        is_fraud=pl.when(pl.col("place").is_between(5, 29)).then(None).otherwise("is_fraud"),
        evaluated=pl.col("place") >= 60,
    )
    assert excluded(marked) == {"refund": 10, "label_unknown": 20, "set_aside": 30}
    report = measured(marked)
    assert report["rows"] == 840
    assert report["metrics"]["auc_roc"] == measured(scored.slice(60))["metrics"]["auc_roc"]


def test_alerts_a_day_count_cards_once_and_no_refunds(scored):
    alerted = scored.with_columns(alert=pl.lit(value=True), card_id=pl.lit("a"))
    assert alerts_a_day(alerted) == DailyAlerts(unit="cards", mean=1.0, sd=0.0, days=4)
    refunds = alerts_a_day(scored.with_columns(status=pl.lit("refund")))
    assert refunds.mean is None


def test_the_input_is_not_changed(scored):
    before = scored.clone()
    measured(scored)
    assert scored.equals(before)


def test_rows_without_a_card_are_each_their_own(scored):
    sample = ScoredArrays.from_frame(scored.head(4).with_columns(card_id=pl.Series(["b", None, "a", None])))
    assert sorted(sample.keys["card"].tolist()) == [0, 1, 2, 3]
    assert codes(pl.Series([], dtype=pl.String)).tolist() == []
