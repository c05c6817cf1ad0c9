"""All metrics of one sample under any weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fraud3000.metrics.calibration import Probabilities, brier_skill
from fraud3000.metrics.card_precision import CardDays
from fraud3000.metrics.catalogue import NEEDS
from fraud3000.metrics.cost import Costs, from_first_caught, savings, share
from fraud3000.metrics.intervals import Draw
from fraud3000.metrics.ranking import Curve, corners
from fraud3000.metrics.scored_arrays import FloatArray, ScoredArrays
from fraud3000.params import EvaluateModelParams, PolicyParams


class WeightedMetrics:
    """The metrics of one sample as functions of its weights.

    Parameters
    ----------
    sample
        The rows.
    policy
        Costs and the alert budget.
    evaluate
        The k, rates and FPRs to compute.
    """

    def __init__(self, sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams) -> None:
        self.sample, self._policy, self._evaluate = sample, policy, evaluate
        self._corners = corners(sample.score, sample.fraud)
        self._money = sample.fraud * sample.amount
        self._totals = Totals(sample, self._columns())

    @cached_property
    def _card_days(self) -> CardDays | None:
        return CardDays(self.sample) if self.sample.day is not None else None

    @cached_property
    def _probabilities(self) -> Probabilities | None:
        return Probabilities(self.sample) if NEEDS["probabilities"][0](self.sample) else None

    def values(self) -> dict[str, float]:
        """Return every metric of the unweighted rows; NaN if they do not determine it."""
        return self(self._unweighted_draw())

    def __call__(self, draw: Draw) -> dict[str, float]:
        """Return every metric of a bootstrap replicate."""
        if not self.sample.rows:
            return {}
        totals = self._totals(draw)
        return {**self._without_calibration(draw, totals), **self._calibration(draw, totals)}

    def without_calibration(self) -> dict[str, float]:
        """Return the metrics of ranking, queue and alerts, which baselines have too."""
        return (
            self._without_calibration(self._unweighted_draw(), self._totals(self._unweighted_draw()))
            if self.sample.rows
            else {}
        )

    def alert_metrics(self) -> dict[str, float]:
        """Return the metrics of alerts: recall, precision, value detection, savings."""
        return self._alert_metrics(self._totals(self._unweighted_draw()))

    def ceilings(self) -> dict[str, float]:
        """Return the highest reachable card precision, by metric."""
        if self._card_days is None or not self._card_days.has_cards:
            return {}
        return {f"card_precision_at_{k}": self._card_days.ceiling(k) for k in self._evaluate.top_k or ()}

    def _unweighted_draw(self) -> Draw:
        return Draw("row", np.ones(self.sample.rows), np.ones(self.sample.rows))

    def _columns(self) -> dict[str, FloatArray]:
        """Return the columns that metrics need only as sums."""
        sample, alert = self.sample, self.sample.alert.astype(np.float64)
        costs = Costs.from_rows(sample.fraud, sample.amount, self._policy)
        expected_money = sample.score * sample.amount
        saved = {"saved": self._money * from_first_caught(sample)} if "card" in sample.keys else {}
        return {
            **saved,
            "rows": np.ones(sample.rows),
            "frauds": sample.fraud,
            "alerts": alert,
            "frauds_alerted": sample.fraud * alert,
            "money": self._money,
            "money_alerted": self._money * alert,
            "cost": costs.paid(sample.alert, sample.decline),
            "cost_all": costs.reviewed,
            "cost_none": costs.approved,
            "expected": sample.score,
            "expected_alerted": sample.score * alert,
            "expected_money": expected_money,
            "expected_money_alerted": expected_money * alert,
            "squared": (sample.score - sample.fraud) ** 2,
        }

    def _without_calibration(self, draw: Draw, totals: Mapping[str, float]) -> dict[str, float]:
        return {**self._ranking(draw), **self._queue(draw, totals), **self._alert_metrics(totals)}

    def _alert_metrics(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {
            "recall": share(totals["frauds_alerted"], totals["frauds"]),
            "precision": share(totals["frauds_alerted"], totals["alerts"]),
            "value_detection_rate": share(totals["money_alerted"], totals["money"]),
            "value_detection_rate_by_card": share(totals.get("saved", np.nan), totals["money"]),
            "savings": savings(totals["cost"], totals["cost_all"], totals["cost_none"]),
        }

    def _ranking(self, draw: Draw) -> dict[str, float]:
        curve = Curve.from_sorted(self._corners, self.sample.fraud, draw.weight)
        return {
            "average_precision": curve.average_precision(),
            "auc_roc": curve.auc_roc(),
            **{f"recall_at_fpr_{f:g}": curve.recall_at_fpr(f) for f in self._evaluate.fpr},
            **{f"recall_at_alert_rate_{a:g}": curve.recall_at_alert_rate(a) for a in self._evaluate.alert_rate},
        }

    def _queue(self, draw: Draw, totals: Mapping[str, float]) -> dict[str, float]:
        if self._card_days is None:
            return {}
        queue = self._card_days.queue(draw.weight, draw.copies if draw.by == "card" else None)
        alert = self._card_days.alerted_share(queue, self._policy.cards_per_day)
        alert = alert * draw.weight[: len(alert)]
        frauds, money = (float(alert @ what[: len(alert)]) for what in (self.sample.fraud, self._money))
        precision = {f"card_precision_at_{k}": queue.precision_at(k) for k in self._evaluate.top_k or ()}
        return {
            "recall_at_alert_budget": share(frauds, totals["frauds"]),
            "precision_at_alert_budget": share(frauds, float(alert.sum())),
            "value_detection_rate_at_alert_budget": share(money, totals["money"]),
            **(precision if self._card_days.has_cards else {}),
        }

    def _calibration(self, draw: Draw, totals: Mapping[str, float]) -> dict[str, float]:
        if self._probabilities is None:
            return {}
        name = "observed_over_expected"
        return {
            **self._probabilities(draw.weight),
            f"{name}_frauds": share(totals["frauds"], totals["expected"]),
            f"{name}_money": share(totals["money"], totals["expected_money"]),
            f"{name}_frauds_at_threshold": share(totals["frauds_alerted"], totals["expected_alerted"]),
            f"{name}_money_at_threshold": share(totals["money_alerted"], totals["expected_money_alerted"]),
            "brier_skill": brier_skill(totals["squared"], totals["frauds"], totals["rows"]),
        }


class Totals:
    """Weighted column sums, with cached sums per card and terminal.

    Parameters
    ----------
    sample
        The rows.
    columns
        Shape (n,) each, in the sample's order.

    Examples
    --------
    >>> ones, index = np.ones(3), np.arange(3)
    >>> keys = {"card": np.array([0, 1, 1])}
    >>> sample = ScoredArrays(ones, ones, ones, ones > 0, ones < 0, index, keys, None)
    >>> copies = np.array([0.0, 2.0])
    >>> Totals(sample, {"money": np.array([1.0, 10.0, 100.0])})(Draw("card", copies, copies[[0, 1, 1]]))
    {'money': 220.0}
    """

    def __init__(self, sample: ScoredArrays, columns: Mapping[str, FloatArray]) -> None:
        self._keys = sample.keys
        self._columns = columns
        self._sums: dict[str, NDArray[np.float64]] = {}

    def __call__(self, draw: Draw) -> dict[str, float]:
        """Return the weighted sum of each column."""
        if draw.by not in self._sums:
            self._sums[draw.by] = np.stack([self._cluster_sums(draw.by, column) for column in self._columns.values()])
        return dict(zip(self._columns, (self._sums[draw.by] @ draw.copies).tolist(), strict=True))

    def _cluster_sums(self, key: str, column: FloatArray) -> FloatArray:
        return np.bincount(self._keys[key], column).astype(np.float64) if key in self._keys else column
