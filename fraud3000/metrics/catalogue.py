"""List of metrics, and what each metric requires of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fraud3000.metrics.scored_arrays import ScoredArrays
from fraud3000.params import EvaluateModelParams

NEEDS: dict[str, tuple[Callable[[ScoredArrays], bool], str]] = {
    "rows": (lambda sample: sample.rows > 0, "no row with a known label"),
    "time": (lambda sample: sample.day is not None, "the data has no time"),
    "cards": (lambda sample: "card" in sample.keys, "the data has no cards"),
    "probabilities": (
        lambda sample: bool(((sample.score >= 0) & (sample.score <= 1)).all()),
        "some scores lie outside 0 to 1",
    ),
    "frauds": (lambda sample: sample.frauds > 0, "no known fraud"),
    "legitimate": (lambda sample: sample.frauds < sample.rows, "no known legitimate row"),
    "money": (lambda sample: float(sample.fraud @ sample.amount) > 0, "no fraud carries money"),
    "alerts": (lambda sample: bool(sample.alert.any()), "no row is alerted"),
}
"""Requirements of metrics on a sample, and the reason reported if one is not met."""


@dataclass(frozen=True)
class Metric:
    """A metric: its name in metrics.json, its display name, and its requirements.

    ``calibration`` marks metrics that baselines lack, ``queue`` those of the daily review queue, ``alerts`` those of
    the model's own alerts.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    calibration: bool = False
    queue: bool = False
    alerts: bool = False

    def missing(self, sample: ScoredArrays) -> str | None:
        """Return why the sample does not determine this metric; None if it does."""
        needs = (NEEDS[need] for need in self.needs)
        return next((reason for is_met, reason in needs if not is_met(sample)), None)


def metrics_of(evaluate: EvaluateModelParams) -> tuple[Metric, ...]:
    """Return the metrics that the params request, in print order."""
    both, budget = ("rows", "frauds", "legitimate"), ("rows", "time", "frauds")
    return (
        Metric("average_precision", "average precision", ("rows", "frauds")),
        Metric("auc_roc", "AUC ROC", both),
        *(
            Metric(f"card_precision_at_{k}", f"card precision@{k}", ("rows", "time", "cards"), queue=True)
            for k in evaluate.top_k or ()
        ),
        *(Metric(f"recall_at_fpr_{f:g}", f"recall at {f:.4g} FPR", both) for f in evaluate.fpr),
        *(
            Metric(f"recall_at_alert_rate_{a:g}", f"recall at {a:.4g} alert rate", ("rows", "frauds"))
            for a in evaluate.alert_rate
        ),
        Metric("recall_at_alert_budget", "recall at alert budget", budget, queue=True),
        Metric("precision_at_alert_budget", "precision at alert budget", ("rows", "time"), queue=True),
        Metric("value_detection_rate_at_alert_budget", "value detection at budget", (*budget, "money"), queue=True),
        Metric("recall", "recall", ("rows", "frauds"), alerts=True),
        Metric("precision", "precision", ("rows", "alerts"), alerts=True),
        Metric("value_detection_rate", "value detection rate", ("rows", "frauds", "money"), alerts=True),
        Metric(
            "value_detection_rate_by_card",
            "value detection, card view",
            ("rows", "cards", "frauds", "money"),
            alerts=True,
        ),
        Metric("savings", "savings", ("rows",), alerts=True),
        *_CALIBRATION,
    )


def display_name(name: str) -> str:
    """Return the display name of a metric, for any k or rate.

    Examples
    --------
    >>> display_name("recall_at_fpr_0.01"), display_name("card_precision_at_100"), display_name("auc_roc")
    ('recall at 0.01 FPR', 'card precision@100', 'AUC ROC')
    """
    known = {metric.name: metric.title for metric in metrics_of(EvaluateModelParams())}
    if name in known:
        return known[name]
    stem, _, number = name.rpartition("_")
    shape = {"card_precision_at": "card precision@{}", "recall_at_fpr": "recall at {} FPR"}
    return shape.get(stem, "recall at {} alert rate").format(number)


def _calibration(name: str, title: str, *needs: str) -> Metric:
    return Metric(name, title, ("rows", "probabilities", *needs), calibration=True)


_CALIBRATION = (
    _calibration("calibration_slope", "calibration slope", "frauds", "legitimate"),
    _calibration("calibration_intercept", "calibration intercept", "frauds", "legitimate"),
    _calibration("observed_over_expected_frauds", "frauds observed/expected"),
    _calibration("observed_over_expected_money", "money observed/expected", "money"),
    _calibration("observed_over_expected_frauds_top_0.01", "frauds/expected, top 1 %"),
    _calibration("observed_over_expected_money_top_0.01", "money/expected, top 1 %", "money"),
    _calibration("observed_over_expected_frauds_at_threshold", "frauds/expected, alerted rows", "alerts"),
    _calibration("observed_over_expected_money_at_threshold", "money/expected, alerted rows", "alerts", "money"),
    _calibration("brier_skill", "Brier skill", "frauds", "legitimate"),
    _calibration("calibration_error", "calibration error (10 bins)"),
)
