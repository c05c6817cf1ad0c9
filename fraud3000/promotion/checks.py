"""Promotion checks on one model: baselines, calibration, latency, and whether two models may be compared.

Every check reads the metrics of an evaluation. `statistical_gate` compares the candidate with the champion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fraud3000.params import PromoteParams

Report = Mapping[str, Any]
"""Content of metrics.json: the result of `metrics.report.measure`, with facts of the evaluated model."""

_RECORDED_BASELINES = "above the floors"

RANKING = "average_precision"
TOP = "observed_over_expected_frauds_top_0.01"
MONEY = ("value_detection_rate_at_alert_budget", "value_detection_rate", "recall_at_alert_budget", "recall")
"""Metrics of what alerts catch, in order of preference; the first that the data determines is used."""
BASELINES = {"random": "random rows", "largest_amount": "largest amounts"}
"""Naive baselines that alert as many rows as the model, and their display names."""


@dataclass(frozen=True)
class Check:
    """Result of one check: the value found, the value needed, and whether the check passed.

    Attributes
    ----------
    name
        Name in the promotion history and the verdict log, where it never changes.
    found, needed
        Texts, as shown in a table.
    """

    name: str
    found: str
    needed: str
    passed: bool

    @property
    def title(self) -> str:
        """Name for readers; recorded names say floors for baselines."""
        return self.name.replace(_RECORDED_BASELINES, "above the baselines")

    @property
    def reason(self) -> str:
        """Why the check failed, as a text."""
        return f"{self.title}: {self.found}, needed {self.needed}"


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


def above_baselines(report: Report) -> tuple[Check, ...]:
    """Check that a model beats the naive baselines in ranking and in what its alerts catch.

    Examples
    --------
    >>> figures = {"average_precision": {"value": 0.4}, "recall": {"value": 0.7}}
    >>> baseline = {"average_precision": {"value": 0.1}, "recall": {"value": 0.8}}
    >>> report = {"metrics": figures, "floors": {"random": baseline, "largest_amount": baseline}}
    >>> [(check.title, check.passed) for check in above_baselines(report)]
    [('average precision above the baselines', True), ('recall above the baselines', False)]
    """
    return tuple(_above_baseline(name, report) for name in (RANKING, _money(report)))


def evaluated_after_cutoff(report: Report) -> Check:
    """Check that a model was evaluated on rows after its label cut-off; see `comparable`.

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
    """Check that neither model could have used a label of these rows.

    Fit, calibration and threshold of a model use labels known at its ``model_as_of``, so every
    row must be later than that of both models. Models of data without time may be compared if they were
    trained on the same rows: then the test rows are held out for both.

    Parameters
    ----------
    first
        Time of the first measured row; None for data without time.
    """
    name = "rows after both label cut-offs"
    cuts = [report["model_as_of"] for report in (candidate, champion)]
    if first is None or None in cuts:
        same = first is None and candidate["data_fingerprint"] == champion["data_fingerprint"]
        return Check(name, f"no time, {'the same' if same else 'other'} rows", "the same training rows", same)
    cut = max(map(datetime.fromisoformat, cuts))
    return Check(name, _minute(first), f"≥ {_minute(cut)}", first >= cut)


def enough_frauds(report: Report, params: PromoteParams) -> Check:
    """Check that there are enough frauds for a decision.

    Examples
    --------
    >>> enough_frauds({"frauds": 12}, PromoteParams()).reason
    'enough matured frauds: 12, not enough evidence, needed ≥ 50'
    """
    frauds, needed = report["frauds"], params.least_frauds
    found = f"{frauds:,}" if frauds >= needed else f"{frauds:,}, not enough evidence"
    return Check("enough matured frauds", found, f"≥ {needed:,}", frauds >= needed)


def calibrated(report: Report, params: PromoteParams) -> tuple[Check, ...]:
    """Check that scores are calibrated, among the highest scores and overall.

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
    """Check the time to score one row, given as the 95th percentile over single rows."""
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
    title = f"{_display_name(name)} {_RECORDED_BASELINES}"
    value = _value(report["metrics"], name)
    baselines = {baseline: _value(report["floors"][baseline], name) for baseline in BASELINES}
    known = {baseline: result for baseline, result in baselines.items() if result is not None}
    if value is None:
        return Check(title, f"unknown ({report['metrics'][name]['reason']})", "a value", passed=False)
    if not known:
        return Check(title, f"{value:.3f}", "no baseline known", passed=True)
    best = max(known, key=lambda baseline: known[baseline])
    return Check(title, f"{value:.3f}", f"> {known[best]:.3f}, {BASELINES[best]}", value > known[best])


def _money(report: Report) -> str:
    return next((name for name in MONEY if _value(report["metrics"], name) is not None), MONEY[-1])


def _value(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name, {}).get("value")
    return None if value is None else float(value)


def _display_name(name: str) -> str:
    from fraud3000.metrics.catalogue import display_name

    return display_name(name)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
