"""Format metrics with their intervals, baselines and notes for the terminal, the report, the model card and the promotion checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fraud3000.metrics.catalogue import display_name
from fraud3000.metrics.evaluation import DailyAlerts, Evaluation, MetricValue, best_baseline
from fraud3000.report.formatting import between, number, per_day, percent

BASELINE_LABELS = {
    "random": "random rows",
    "largest_amount": "largest amounts",
    "always": "every row",
    "never": "no row",
}
"""Names of the baselines for readers, by their keys in metrics.json."""
_SHORT = {"random": "random", "largest_amount": "largest", "always": "always", "never": "never"}
"""Names of the baselines in a table."""
UNKNOWN = "–"
COLUMNS = ("metric", "value", "95 % interval", "best baseline", "note")
"""Column headers of `metric_rows`."""
CAUGHT = {"recall": "frauds", "value_detection_rate": "money"}
"""The two metrics of what alerts catch, and what they are a share of."""


@dataclass(frozen=True)
class MetricText:
    """Texts of one metric; empty if there is nothing to show.

    Attributes
    ----------
    baseline
        Value and name of the best baseline.
    note
        Cluster key of the interval and the ceiling; or why there is no interval or no value.
    """

    name: str
    value: str
    interval: str = ""
    baseline: str = ""
    note: str = ""

    @property
    def with_interval(self) -> str:
        """The value, and the interval in brackets if it has one."""
        return f"{self.value} ({self.interval})" if self.interval else self.value

    @property
    def value_or_reason(self) -> str:
        """The value, or why it is unknown."""
        return f"unknown ({self.note})" if self.value == UNKNOWN else self.value


def render_metric(
    name: str,
    metric: MetricValue,
    *,
    write: Callable[[float], str] = number,
    baseline: tuple[str, float] | None = None,
) -> MetricText:
    """Format one metric.

    Parameters
    ----------
    write
        Formats the numbers: `number`, `percent` or `ratio`.
    baseline
        Name and value of the best baseline.

    Examples
    --------
    >>> entry = MetricValue(value=0.5255, low=0.4, high=0.6, by="card", ceiling=0.8)
    >>> render_metric("recall", entry, baseline=("largest_amount", 0.1))
    MetricText(name='recall', value='0.525', interval='0.400 – 0.600', baseline='0.100 largest', note='by card, ceiling 0.800')
    >>> render_metric("recall", MetricValue(value=None, reason="no known fraud")).value_or_reason
    'unknown (no known fraud)'
    """
    if metric.value is None:
        return MetricText(display_name(name), UNKNOWN, note=metric.reason or "")
    notes = [f"by {metric.by}" if metric.by else metric.reason or ""]
    notes += [f"ceiling {write(metric.ceiling)}"] if metric.ceiling is not None else []
    return MetricText(
        display_name(name),
        write(metric.value),
        _interval(metric, write),
        f"{write(baseline[1])} {_SHORT[baseline[0]]}" if baseline else "",
        ", ".join(note for note in notes if note),
    )


def _interval(metric: MetricValue, write: Callable[[float], str]) -> str:
    if metric.low is None or metric.high is None:
        return ""
    if write is percent:
        return "" if metric.low == metric.high else between(metric.low, metric.high)
    return f"{write(metric.low)} – {write(metric.high)}"


def metric_rows(evaluation: Evaluation) -> tuple[tuple[str, ...], ...]:
    """Format every metric as a row of `COLUMNS`, with its best baseline."""
    texts = (
        render_metric(name, metric, baseline=best_baseline(evaluation.baselines, name))
        for name, metric in evaluation.metrics.items()
    )
    return tuple((text.name, text.value, text.interval, text.baseline, text.note) for text in texts)


def describe_catch(metrics: Mapping[str, MetricValue], suffix: str = "") -> str:
    """Describe what alerts catch: the shares of frauds and of their money.

    Parameters
    ----------
    suffix
        Ending of the metrics' names, such as ``_at_alert_budget``.

    Examples
    --------
    >>> from fraud3000.report.formatting import plain
    >>> plain(describe_catch({"recall": MetricValue(value=0.75), "value_detection_rate": MetricValue(value=0.9)}))
    '75 % of frauds and 90 % of their money'
    """
    entries = {name + suffix: what for name, what in CAUGHT.items()}
    parts = [
        f"{render_metric(name, metrics[name], write=percent).with_interval} of {what}"
        for name, what in entries.items()
        if metrics[name].value is not None
    ]
    return " and ".join(parts).replace("of money", "of their money")


def describe_alerts(daily: DailyAlerts) -> str:
    """Describe mean and deviation of the alerts a day, or why they are unknown.

    Examples
    --------
    >>> describe_alerts(DailyAlerts(unit="cards", mean=120.9, sd=4.2, days=7))
    '121 ± 4.2 cards'
    """
    if daily.mean is None:
        return daily.reason or ""
    spread = "" if daily.sd is None else f" ± {per_day(daily.sd)}"
    return f"{per_day(daily.mean)}{spread} {daily.unit}"
