"""Statistical gate: test whether a challenger is significantly better than the champion by a margin.

A paired bootstrap compares both models on the same rows. The challenger must be better than the champion by the margin in
the chosen metric, not worse by more than another margin in the other metric (so that ranking is not traded for money or
the reverse), and not significantly worse in any segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from fraud3000.metrics.catalogue import display_name
from fraud3000.metrics.intervals import Interval
from fraud3000.metrics.paired_bootstrap import MEASURES, PairedDifference, holm, paired_bootstrap
from fraud3000.metrics.report import NO_INTERVAL
from fraud3000.metrics.scored_arrays import counted
from fraud3000.params import PolicyParams, PromoteParams
from fraud3000.promotion.checks import Check
from fraud3000.report.formatting import number

FEWEST_IN_SEGMENT = 20
"""Number of frauds that a segment needs to be tested."""
WRONGLY_REFUSED = 0.05
"""Family-wise error rate: probability that any segment is wrongly found to be worse."""


@dataclass(frozen=True)
class GateResult:
    """Result of the gate: checks, and their JSON-ready figures for the promotion history.

    Attributes
    ----------
    skipped_segments
        Segments with too few frauds to be tested.
    """

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]
    skipped_segments: tuple[str, ...] = ()


def margin(params: PromoteParams, deviation: float | None) -> float:
    """Return the required margin: that of the params, at least twice the standard deviation over seeds.

    Examples
    --------
    >>> margin(PromoteParams(), 0.002), margin(PromoteParams(), 0.008), margin(PromoteParams(), None)
    (0.01, 0.016, 0.01)
    """
    return max(params.margin, 2 * (deviation or 0.0))


def run_gate(
    challenger: pl.DataFrame,
    champion: pl.DataFrame,
    *,
    policy: PolicyParams,
    params: PromoteParams,
    seed: int,
    deviations: Mapping[str, float] | None = None,
    segments: Mapping[str, pl.Series] | None = None,
    version: str = "the champion",
) -> GateResult:
    """Compare a challenger with the champion.

    Parameters
    ----------
    challenger, champion
        SCORED frames of the same rows in the same order, with transaction_id.
    seed
        Seed of the bootstrap.
    deviations
        Standard deviations of the challenger's metrics over seeds, as measured in training.
    segments
        By name, which rows belong to the segment, as from `evaluation.segments`.
    version
        Name of the champion in the checks.

    Examples
    --------
    >>> scored = pl.DataFrame({"transaction_id": [str(row) for row in range(400)], "is_fraud": [1, 0, 0, 0] * 100,
    ...                        "score": [0.6, 0.9, 0.1, 0.2] * 100, "amount": 4_000, "alert": [True, True, False, False] * 100})
    >>> better = scored.with_columns(score=pl.col("is_fraud") * 0.9)
    >>> result = run_gate(better, scored, policy=PolicyParams(), params=PromoteParams(replicates=100), seed=1)
    >>> [(check.name, check.needed, check.passed) for check in result.checks]
    [('average precision better than the champion', '> 0.010', True), ('savings not worse than the champion', '> -0.010', True)]
    """
    tested, skipped = _testable_segments(challenger, segments or {})
    compared = paired_bootstrap(
        challenger, champion, policy=policy, replicates=params.replicates, seed=seed, segments=tested
    )
    chosen = params.measure
    (other,) = (name for name in MEASURES if name != chosen)
    needed = {chosen: margin(params, (deviations or {}).get(chosen)), other: -params.other_margin}
    intervals = {name: compared[name].interval(params.level) for name in needed}
    checks = [_bound_check(name, intervals[name], needed[name], version) for name in needed]
    p_values = {name: compared[name].p_value(params.segment_margin) for name in tested}
    known = {name: value for name, value in p_values.items() if value is not None}
    if known:
        checks += _segment_checks(known, compared, params, version)
    figures = {
        "level": params.level,
        **{name: _figures(compared[name], intervals[name], needed[name]) for name in needed},
        "segments": {name: {"difference": compared[name].difference, "p": value} for name, value in known.items()},
    }
    return GateResult(tuple(checks), figures, (*skipped, *(name for name in tested if name not in known)))


def _testable_segments(
    scored: pl.DataFrame, segments: Mapping[str, pl.Series]
) -> tuple[dict[str, pl.Series], tuple[str, ...]]:
    """Return the segments with enough frauds, and the names of the others."""
    frauds = counted(scored) & (scored["is_fraud"] == 1)
    enough = {name: rows for name, rows in segments.items() if (frauds & rows).sum() >= FEWEST_IN_SEGMENT}
    return enough, tuple(name for name in segments if name not in enough)


def _bound_check(name: str, interval: Interval | None, needed: float, version: str) -> Check:
    title = f"{display_name(name)} {'better' if needed > 0 else 'not worse'} than {version}"
    if interval is None:
        return Check(title, NO_INTERVAL, f"> {number(needed)}", passed=False)
    text = f"low {number(interval.low, sign='+')}, by {interval.by}"
    return Check(title, text, f"> {number(needed)}", interval.low > needed)


def _segment_checks(
    p_values: Mapping[str, float], compared: Mapping[str, PairedDifference], params: PromoteParams, version: str
) -> list[Check]:
    """Return a failed check for each segment that is significantly worse, or one passed check if there is none."""
    needed = f"> -{params.segment_margin:g}"
    worse = holm(p_values, WRONGLY_REFUSED)
    if not worse:
        return [Check(f"in no segment worse than {version}", f"none of {len(p_values)}", needed, passed=True)]
    return [
        Check(f"not worse in {name}", number(compared[name].difference, sign="+"), needed, passed=False)
        for name in worse
    ]


def _figures(difference: PairedDifference, interval: Interval | None, needed: float) -> dict[str, Any]:
    bounds = {} if interval is None else {"low": interval.low, "high": interval.high, "by": interval.by}
    return {
        "challenger": difference.challenger,
        "champion": difference.champion,
        "difference": difference.difference,
        **bounds,
        "needed": needed,
    }
