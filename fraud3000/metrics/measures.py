"""Every metric of one sample, and what each one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fraud3000.metrics import calibration
from fraud3000.metrics.cost import Costs, from_first_caught, share
from fraud3000.metrics.intervals import Draw
from fraud3000.metrics.queue import CardDays
from fraud3000.metrics.ranking import Curve, at_rate, block_ends
from fraud3000.metrics.sample import FloatArray, Sample
from fraud3000.params import EvaluateModelParams, PolicyParams

TOP = 0.01
"""The share of highest scores in which calibration is judged."""

NEEDS: dict[str, tuple[Callable[[Sample], bool], str]] = {
    "rows": (lambda sample: sample.rows > 0, "no row with a known label is left"),
    "time": (lambda sample: sample.day is not None, "the data has no time, so there are no days"),
    "cards": (lambda sample: "card" in sample.keys, "the data has no cards"),
    "probabilities": (
        lambda sample: bool(((sample.score >= 0) & (sample.score <= 1)).all()),
        "the scores are no probabilities: some lie outside 0 to 1",
    ),
    "frauds": (lambda sample: sample.frauds > 0, "no row is known to be fraud"),
    "legitimate": (lambda sample: sample.frauds < sample.rows, "every row is fraud"),
    "money": (lambda sample: float(sample.fraud @ sample.amount) > 0, "no fraud carries money"),
    "alerts": (lambda sample: bool(sample.alert.any()), "no row is alerted"),
}
"""What a metric may need of a sample, and what is said where that is missing."""


@dataclass(frozen=True)
class Metric:
    """A metric's name in metrics.json, its name for people, and what it needs."""

    name: str
    words: str
    needs: tuple[str, ...]
    calibration: bool = False

    def missing(self, sample: Sample) -> str | None:
        """Say why the sample cannot give this metric; None where nothing is missing."""
        return next((reason for need in self.needs for met, reason in [NEEDS[need]] if not met(sample)), None)


def catalogue(evaluate: EvaluateModelParams) -> tuple[Metric, ...]:
    """Give the metrics that the params ask for, in the order to print."""
    both, budget = ("rows", "frauds", "legitimate"), ("rows", "time", "frauds")
    return (
        Metric("average_precision", "average precision", ("rows", "frauds")),
        Metric("auc_roc", "AUC ROC", both),
        *(Metric(f"card_precision_at_{k}", f"card precision@{k}", ("rows", "time", "cards")) for k in evaluate.top_k),
        *(Metric(f"recall_at_fpr_{f:g}", f"recall at {f:.4g} FPR", both) for f in evaluate.fpr),
        *(
            Metric(f"recall_at_alert_rate_{a:g}", f"recall at {a:.4g} alert rate", ("rows", "frauds"))
            for a in evaluate.alert_rate
        ),
        Metric("recall_at_alert_budget", "recall at alert budget", budget),
        Metric("precision_at_alert_budget", "precision at alert budget", ("rows", "time")),
        Metric("value_detection_rate_at_alert_budget", "value detection at budget", (*budget, "money")),
        Metric("recall", "recall", ("rows", "frauds")),
        Metric("precision", "precision", ("rows", "alerts")),
        Metric("value_detection_rate", "value detection rate", ("rows", "frauds", "money")),
        Metric("value_detection_rate_by_card", "value detection, card view", ("rows", "cards", "frauds", "money")),
        Metric("savings", "savings", ("rows",)),
        *_CALIBRATION,
    )


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


class Measures:
    """The metrics of one sample as functions of its weights.

    Parameters
    ----------
    sample
        The rows.
    policy
        Costs and the alert budget.
    evaluate
        The k, rates and FPRs asked for.
    """

    def __init__(self, sample: Sample, policy: PolicyParams, evaluate: EvaluateModelParams) -> None:
        self.sample, self._policy, self._evaluate = sample, policy, evaluate
        self._ends = block_ends(sample.score)
        self._costs = Costs.of(sample.fraud, sample.amount, policy)
        self._money = sample.fraud * sample.amount
        self._alert = sample.alert.astype(np.float64)

    @cached_property
    def _card_days(self) -> CardDays | None:
        return CardDays(self.sample) if self.sample.day is not None else None

    @cached_property
    def _saved(self) -> FloatArray | None:
        return self._money * from_first_caught(self.sample) if "card" in self.sample.keys else None

    @cached_property
    def _odds(self) -> FloatArray | None:
        return calibration.log_odds(self.sample.score) if NEEDS["probabilities"][0](self.sample) else None

    @cached_property
    def _start(self) -> tuple[float, float]:
        return self._line(np.ones(self.sample.rows), (1.0, 0.0))

    def values(self) -> dict[str, float]:
        """Give every metric of the rows as they are; NaN where they do not determine it."""
        return self(Draw("row", np.ones(0), np.ones(self.sample.rows)))

    def __call__(self, draw: Draw) -> dict[str, float]:
        """Give every metric of a bootstrap replicate."""
        return {**self.decisive(draw), **self._calibration(draw.weight)}

    def decisive(self, draw: Draw) -> dict[str, float]:
        """Give the metrics of ranking, queue and alerts, which a floor has too."""
        if not self.sample.rows:
            return {}
        return {**self._ranking(draw.weight), **self._queue(draw), **self.alerts(draw.weight)}

    def alerts(self, weight: FloatArray) -> dict[str, float]:
        """Give what the alerts catch and save."""
        return {
            **self._caught(self._alert, weight, ""),
            "value_detection_rate_by_card": np.nan if self._saved is None else share(self._saved, self._money, weight),
            "savings": self._costs.savings(self._alert, weight),
        }

    def ceilings(self) -> dict[str, float]:
        """Give the highest card precision that anyone could reach, by metric."""
        if self._card_days is None or not self._card_days.has_cards:
            return {}
        return {f"card_precision_at_{k}": self._card_days.ceiling(k) for k in self._evaluate.top_k}

    def _ranking(self, weight: FloatArray) -> dict[str, float]:
        curve = Curve.sorted(self._ends, self.sample.fraud, weight)
        return {
            "average_precision": curve.average_precision(),
            "auc_roc": curve.auc_roc(),
            **{f"recall_at_fpr_{f:g}": curve.recall_at_fpr(f) for f in self._evaluate.fpr},
            **{f"recall_at_alert_rate_{a:g}": curve.recall_at_alert_rate(a) for a in self._evaluate.alert_rate},
        }

    def _queue(self, draw: Draw) -> dict[str, float]:
        if self._card_days is None:
            return {}
        queue = self._card_days.queue(draw.weight, draw.copies if draw.by == "card" else None)
        alerted = self._card_days.alerted(queue, self._policy.cards_per_day)
        precision = {f"card_precision_at_{k}": queue.precision_at(k) for k in self._evaluate.top_k}
        at_budget = self._caught(alerted, draw.weight, "_at_alert_budget")
        return {**at_budget, **(precision if self._card_days.has_cards else {})}

    def _caught(self, alert: FloatArray, weight: FloatArray, where: str) -> dict[str, float]:
        fraud, money = self.sample.fraud, self._money
        return {
            f"recall{where}": share(fraud * alert, fraud, weight),
            f"precision{where}": share(fraud * alert, alert, weight),
            f"value_detection_rate{where}": share(money * alert, money, weight),
        }

    def _calibration(self, weight: FloatArray) -> dict[str, float]:
        if self._odds is None or not self.sample.rows:
            return {}
        slope, intercept = self._line(weight, self._start)
        score, fraud = self.sample.score, self.sample.fraud
        return {
            "calibration_slope": slope,
            "calibration_intercept": intercept,
            **self._observed("frauds", fraud, score, weight),
            **self._observed("money", self._money, score * self.sample.amount, weight),
            "brier_skill": calibration.brier_skill(score, fraud, weight),
            "calibration_error": calibration.calibration_error(score, fraud, weight),
        }

    def _line(self, weight: FloatArray, start: tuple[float, float]) -> tuple[float, float]:
        if self._odds is None or not 0 < self.sample.frauds < self.sample.rows or not np.isfinite(start[0]):
            return np.nan, np.nan
        return calibration.slope_intercept(self._odds, self.sample.fraud, weight, start)

    def _observed(self, what: str, seen: FloatArray, expected: FloatArray, weight: FloatArray) -> dict[str, float]:
        """Give observed over expected, overall, in the top of the scores and among the alerted rows."""
        rows, seen, expected = np.cumsum(weight)[self._ends], weight * seen, weight * expected
        top_seen, top_expected = (at_rate(rows, np.cumsum(part)[self._ends], TOP) for part in (seen, expected))
        name = f"observed_over_expected_{what}"
        return {
            name: _over(float(seen.sum()), float(expected.sum())),
            f"{name}_top_{TOP:g}": _over(top_seen, top_expected),
            f"{name}_at_threshold": _over(float(seen @ self._alert), float(expected @ self._alert)),
        }


def _over(observed: float, expected: float) -> float:
    return observed / expected if expected > 0 else np.nan
