"""Which metrics there are, and what each one needs of the data."""

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
"""What a metric may need of a sample, and what is said where that is missing."""


@dataclass(frozen=True)
class Metric:
    """A metric's name in metrics.json, its name for people, and what it needs.

    ``calibration`` marks what a floor has not, ``queue`` what depends on the reviewers' daily queue, ``alerts`` what
    depends on the model's own alerts.
    """

    name: str
    words: str
    needs: tuple[str, ...]
    calibration: bool = False
    queue: bool = False
    alerts: bool = False

    def missing(self, sample: ScoredArrays) -> str | None:
        """Say why the sample cannot give this metric; None where nothing is missing."""
        return next((reason for need in self.needs for met, reason in [NEEDS[need]] if not met(sample)), None)


def metrics_of(evaluate: EvaluateModelParams) -> tuple[Metric, ...]:
    """Give the metrics that the params ask for, in the order to print."""
    both, budget = ("rows", "frauds", "legitimate"), ("rows", "time", "frauds")
    return (
        Metric("average_precision", "average precision", ("rows", "frauds")),
        Metric("auc_roc", "AUC ROC", both),
        *(
            Metric(f"card_precision_at_{k}", f"card precision@{k}", ("rows", "time", "cards"), queue=True)
            for k in evaluate.top_k
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
    """Give the words for a metric's name, whatever its k or rate.

    Examples
    --------
    >>> display_name("recall_at_fpr_0.01"), display_name("card_precision_at_100"), display_name("auc_roc")
    ('recall at 0.01 FPR', 'card precision@100', 'AUC ROC')
    """
    known = {metric.name: metric.words for metric in metrics_of(EvaluateModelParams())}
    if name in known:
        return known[name]
    stem, _, number = name.rpartition("_")
    shape = {"card_precision_at": "card precision@{}", "recall_at_fpr": "recall at {} FPR"}
    return shape.get(stem, "recall at {} alert rate").format(number)


def _judged(name: str, words: str, *needs: str) -> Metric:
    return Metric(name, words, ("rows", "probabilities", *needs), calibration=True)


_CALIBRATION = (
    _judged("calibration_slope", "calibration slope", "frauds", "legitimate"),
    _judged("calibration_intercept", "calibration intercept", "frauds", "legitimate"),
    _judged("observed_over_expected_frauds", "frauds observed/expected"),
    _judged("observed_over_expected_money", "money observed/expected", "money"),
    _judged("observed_over_expected_frauds_top_0.01", "  frauds, top 1 % of scores"),
    _judged("observed_over_expected_money_top_0.01", "  money, top 1 % of scores", "money"),
    _judged("observed_over_expected_frauds_at_threshold", "  frauds, alerted rows", "alerts"),
    _judged("observed_over_expected_money_at_threshold", "  money, alerted rows", "alerts", "money"),
    _judged("brier_skill", "Brier skill", "frauds", "legitimate"),
    _judged("calibration_error", "calibration error (10 bins)"),
)
