"""Promotion checks on one model: baselines, calibration, latency, and whether two models may be compared.

The checks read an evaluation. `statistical_gate` compares the candidate with the champion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fraud3000.metrics.catalogue import display_name
from fraud3000.metrics.evaluation import MetricValue, best_baseline
from fraud3000.params import PromoteParams
from fraud3000.report.formatting import number
from fraud3000.report.metric_text import BASELINE_LABELS, render_metric

Metrics = Mapping[str, MetricValue]
"""Metrics by name."""

RANKING = "average_precision"
TOP = "observed_over_expected_frauds_top_0.01"
MONEY = ("value_detection_rate_at_alert_budget", "value_detection_rate", "recall_at_alert_budget", "recall")
"""Metrics of what alerts catch, in order of preference; the first that the data determines is used."""


@dataclass(frozen=True)
class Check:
    """Result of one check: the value found, the value needed, and whether the check passed.

    Attributes
    ----------
    name
        Name in the table, the promotion history and the verdict log.
    found, needed
        Texts, as shown in a table.
    """

    name: str
    found: str
    needed: str
    passed: bool

    @property
    def reason(self) -> str:
        """Why the check failed, as a text."""
        return f"{self.name}: {self.found}, needed {self.needed}"


@dataclass(frozen=True)
class Verdict:
    """All checks of a candidate, which is accepted if every check passed."""

    checks: tuple[Check, ...]

    @property
    def accept(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the candidate is refused; empty if it is accepted."""
        return tuple(check.reason for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        return {"accept": self.accept, "checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True)
class LabelCutoff:
    """Latest time at which labels were known to a model (None for data without time), and a hash of its training data."""

    as_of: datetime | None
    data_fingerprint: str | None


def above_baselines(metrics: Metrics, baselines: Mapping[str, Metrics]) -> tuple[Check, ...]:
    """Check that a model beats the naive baselines in ranking and in what its alerts catch.

    Examples
    --------
    >>> metrics = {"average_precision": MetricValue(value=0.4), "recall": MetricValue(value=0.7)}
    >>> baseline = {"average_precision": MetricValue(value=0.1), "recall": MetricValue(value=0.8)}
    >>> [(check.name, check.passed) for check in above_baselines(metrics, {"random": baseline})]
    [('average precision above the baselines', True), ('recall above the baselines', False)]
    """
    known = (name for name in MONEY if name in metrics and metrics[name].value is not None)
    return tuple(_above_baseline(name, metrics[name], baselines) for name in (RANKING, next(known, MONEY[-1])))


def evaluated_after_cutoff(test_span: tuple[datetime, datetime] | None, as_of: datetime | None) -> Check:
    """Check that a model was evaluated on rows after its label cut-off; see `comparable`.

    Examples
    --------
    >>> evaluated_after_cutoff((datetime(2018, 8, 8), datetime(2018, 8, 15)), datetime(2018, 8, 1)).passed
    True
    """
    name = "evaluated after its label cut-off"
    if test_span is None or as_of is None:
        return Check(name, "random rows: no time", "rows outside the fit", passed=True)
    return Check(name, _minute(test_span[0]), f"≥ {_minute(as_of)}", test_span[0] >= as_of)


def comparable(candidate: LabelCutoff, champion: LabelCutoff, first: datetime | None) -> Check:
    """Check that neither model could have used a label of these rows.

    Fit, calibration and threshold of a model use labels known at its cut-off, so every
    row must be later than that of both models. Models of data without time may be compared if they were
    trained on the same rows: then the test rows are held out for both.

    Parameters
    ----------
    first
        Time of the first measured row; None for data without time.
    """
    name = "rows after both label cut-offs"
    if first is None or candidate.as_of is None or champion.as_of is None:
        same = first is None and candidate.data_fingerprint == champion.data_fingerprint
        return Check(name, f"no time, {'the same' if same else 'other'} rows", "the same training rows", same)
    cutoff = max(candidate.as_of, champion.as_of)
    return Check(name, _minute(first), f"≥ {_minute(cutoff)}", first >= cutoff)


def enough_frauds(frauds: int, params: PromoteParams) -> Check:
    """Check that there are enough frauds for a decision.

    Examples
    --------
    >>> enough_frauds(12, PromoteParams()).reason
    'enough matured frauds: 12, not enough evidence, needed ≥ 50'
    """
    needed = params.least_frauds
    found = f"{frauds:,}" if frauds >= needed else f"{frauds:,}, not enough evidence"
    return Check("enough matured frauds", found, f"≥ {needed:,}", frauds >= needed)


def calibrated(metrics: Metrics, params: PromoteParams) -> tuple[Check, ...]:
    """Check that scores are calibrated, among the highest scores and overall.

    Examples
    --------
    >>> metrics = {"observed_over_expected_frauds_top_0.01": MetricValue(value=0.9), "calibration_slope": MetricValue(value=3.0)}
    >>> [(check.needed, check.passed) for check in calibrated(metrics, PromoteParams())]
    [('0.5 to 2', True), ('0.5 to 2', False)]
    """
    bounds = {TOP: params.observed_over_expected, "calibration_slope": params.calibration_slope}
    return tuple(_within(name, metrics[name], ends) for name, ends in bounds.items())


def fast_enough(milliseconds: float, params: PromoteParams) -> Check:
    """Check the time to score one row, given as the 95th percentile over single rows."""
    needed = params.milliseconds
    return Check("ms to score one row", f"{milliseconds:.1f}", f"≤ {needed:g}", milliseconds <= needed)


def _within(name: str, metric: MetricValue, bounds: tuple[float, float]) -> Check:
    passed = metric.value is not None and bounds[0] <= metric.value <= bounds[1]
    return Check(
        display_name(name), render_metric(name, metric).value_or_reason, f"{bounds[0]:g} to {bounds[1]:g}", passed
    )


def _above_baseline(name: str, metric: MetricValue, baselines: Mapping[str, Metrics]) -> Check:
    best = best_baseline(baselines, name)
    needed = f"> {number(best[1])}, {BASELINE_LABELS[best[0]]}" if best else "no baseline known"
    passed = metric.value is not None and (best is None or metric.value > best[1])
    return Check(
        f"{display_name(name)} above the baselines", render_metric(name, metric).value_or_reason, needed, passed
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
