"""Whether a model is good enough for production at all, and whether it may be held against another.

Every check reads the figures of an evaluation. Whether one model is better than another by more than
chance is asked by `gate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fraud3000.params import PromoteParams

Report = Mapping[str, Any]
"""An evaluation as `metrics.report.measure` gives it, with the facts of the model that was judged."""

RANKING = "average_precision"
TOP = "observed_over_expected_frauds_top_0.01"
MONEY = ("value_detection_rate_at_alert_budget", "value_detection_rate", "recall_at_alert_budget", "recall")
"""What alerts catch, the best measure that the data allows first."""
BASELINES = {"random": "random rows", "largest_amount": "largest amounts"}
"""Naive rules that alert as many rows as the model does, and what they are called."""


@dataclass(frozen=True)
class Check:
    """One condition: what was found, what it was held against, and whether it holds.

    Attributes
    ----------
    found, needed
        In words, as they stand in a table.
    """

    name: str
    found: str
    needed: str
    passed: bool

    @property
    def reason(self) -> str:
        """Say why the check failed."""
        return f"{self.name}: {self.found}, needed {self.needed}"


@dataclass(frozen=True)
class Verdict:
    """All checks of a candidate; it is accepted where every one of them holds."""

    checks: tuple[Check, ...]

    @property
    def accept(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Say why the candidate is refused; empty where it is not."""
        return tuple(check.reason for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        return {"accept": self.accept, "checks": [asdict(check) for check in self.checks]}


def above_baselines(report: Report) -> tuple[Check, ...]:
    """Hold a model against the naive rules, in ranking and in what its alerts catch.

    Examples
    --------
    >>> figures = {"average_precision": {"value": 0.4}, "recall": {"value": 0.7}}
    >>> floor = {"average_precision": {"value": 0.1}, "recall": {"value": 0.8}}
    >>> report = {"metrics": figures, "floors": {"random": floor, "largest_amount": floor}}
    >>> [(check.name, check.passed) for check in above_baselines(report)]
    [('average precision above the floors', True), ('recall above the floors', False)]
    """
    return tuple(_above_baseline(name, report) for name in (RANKING, _money(report)))


def evaluated_after_cutoff(report: Report) -> Check:
    """Ask whether a model was evaluated on rows after its own label cut-off; see `comparable`.

    Examples
    --------
    >>> span, as_of = ["2018-08-08T00:00:00+00:00", "2018-08-15T00:00:00+00:00"], "2018-08-01T00:00:00+00:00"
    >>> evaluated_after_cutoff({"test_span": span, "model_as_of": as_of}).passed
    True
    """
    name, span, as_of = "evaluated after its label cut-off", report["test_span"], report["model_as_of"]
    if span is None or as_of is None:
        return Check(name, "random rows: no time", "rows outside the fit", passed=True)
    first, cut = datetime.fromisoformat(span[0]), datetime.fromisoformat(as_of)
    return Check(name, _minute(first), f"≥ {_minute(cut)}", first >= cut)


def comparable(candidate: Report, champion: Report, first: datetime | None) -> Check:
    """Ask whether both models may be judged by these rows: neither may have known any of their labels.

    Fit, calibration and threshold of a model rest on what was known at its ``model_as_of``, so every
    row must lie after that of both. Models of data without time may be compared where they were
    trained on the same rows, since then the test rows are outside the fit of both.

    Parameters
    ----------
    first
        Time of the first row that is measured; None for data without time.
    """
    name = "rows after both label cut-offs"
    cuts = [report["model_as_of"] for report in (candidate, champion)]
    if first is None or None in cuts:
        same = first is None and candidate["data_fingerprint"] == champion["data_fingerprint"]
        return Check(name, f"no time, {'the same' if same else 'other'} rows", "the same training rows", same)
    cut = max(map(datetime.fromisoformat, cuts))
    return Check(name, _minute(first), f"≥ {_minute(cut)}", first >= cut)


def enough_frauds(report: Report, params: PromoteParams) -> Check:
    """Ask whether there are frauds enough for any verdict.

    Examples
    --------
    >>> enough_frauds({"frauds": 12}, PromoteParams()).reason
    'enough matured frauds: 12, not enough evidence, needed ≥ 50'
    """
    frauds, needed = report["frauds"], params.least_frauds
    found = f"{frauds:,}" if frauds >= needed else f"{frauds:,}, not enough evidence"
    return Check("enough matured frauds", found, f"≥ {needed:,}", frauds >= needed)


def calibrated(report: Report, params: PromoteParams) -> tuple[Check, ...]:
    """Ask whether scores may be read as probabilities: where alerts are made, and over all.

    Examples
    --------
    >>> figures = {"observed_over_expected_frauds_top_0.01": {"value": 0.9}, "calibration_slope": {"value": 3.0}}
    >>> [(check.needed, check.passed) for check in calibrated({"metrics": figures}, PromoteParams())]
    [('0.5 to 2', True), ('0.5 to 2', False)]
    """
    return (
        _within("frauds observed/expected, top 1 %", TOP, report, params.observed_over_expected),
        _within("calibration slope", "calibration_slope", report, params.calibration_slope),
    )


def fast_enough(milliseconds: float, params: PromoteParams) -> Check:
    """Ask whether one row is scored in time; it is what of 100 rows the slowest five take longer than."""
    needed = params.milliseconds
    return Check("ms to score one row", f"{milliseconds:.1f}", f"≤ {needed:g}", milliseconds <= needed)


def _within(title: str, name: str, report: Report, bounds: tuple[float, float]) -> Check:
    needed, value = f"{bounds[0]:g} to {bounds[1]:g}", _value(report["metrics"], name)
    if value is None:
        return Check(
            title, f"unknown ({report['metrics'].get(name, {}).get('reason', 'not measured')})", needed, passed=False
        )
    return Check(title, f"{value:.3f}", needed, bounds[0] <= value <= bounds[1])


def _above_baseline(name: str, report: Report) -> Check:
    title = f"{_words(name)} above the floors"
    value = _value(report["metrics"], name)
    floors = {floor: _value(report["floors"][floor], name) for floor in BASELINES}
    known = {floor: worth for floor, worth in floors.items() if worth is not None}
    if value is None:
        return Check(title, f"unknown ({report['metrics'][name]['reason']})", "a value", passed=False)
    if not known:
        return Check(title, f"{value:.3f}", "no floor known", passed=True)
    best = max(known, key=lambda floor: known[floor])
    return Check(title, f"{value:.3f}", f"> {known[best]:.3f}, {BASELINES[best]}", value > known[best])


def _money(report: Report) -> str:
    return next((name for name in MONEY if _value(report["metrics"], name) is not None), MONEY[-1])


def _value(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name, {}).get("value")
    return None if value is None else float(value)


def _words(name: str) -> str:
    from fraud3000.metrics.catalogue import display_name

    return display_name(name)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
