"""The statistical gate: whether a challenger is better than the champion by more than chance and a margin.

Both are held against each other by a paired bootstrap on the same rows. Better: in the measure that was chosen, by
more than the margin. Not worse by more than another margin: in the other one, so that ranking is not bought with
money or the reverse. And in no part of the rows shown to be worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from fraud3000.metrics.catalogue import display_name
from fraud3000.metrics.intervals import Interval
from fraud3000.metrics.paired_bootstrap import MEASURES, PairedDifference, holm, paired_bootstrap
from fraud3000.metrics.scored_arrays import counted
from fraud3000.params import PolicyParams, PromoteParams
from fraud3000.promotion.checks import Check

FEWEST_IN_SEGMENT = 20
"""Frauds that a segment needs to be judged."""
WRONGLY_REFUSED = 0.05
"""How often any segment may be found worse than the margin by chance."""


@dataclass(frozen=True)
class GateResult:
    """What the gate found: checks for people, and their numbers, JSON-ready, for the receipt.

    Attributes
    ----------
    skipped_segments
        Segments with too few frauds.
    """

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]
    skipped_segments: tuple[str, ...] = ()

    @property
    def accept(self) -> bool:
        return all(check.passed for check in self.checks)


def margin(params: PromoteParams, deviation: float | None) -> float:
    """Give the margin that counts: as told, at least twice the deviation from seed to seed.

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
    """Hold a challenger against the champion.

    Parameters
    ----------
    challenger, champion
        SCORED frames of the same rows in the same order, with transaction_id.
    seed
        Of the bootstrap.
    deviations
        Of the challenger from seed to seed, by measure, as its training measured them.
    segments
        By name, which rows are of it, as `metrics.segments` gives them.
    version
        What the champion is called.

    Examples
    --------
    >>> scored = pl.DataFrame({"transaction_id": [str(one) for one in range(400)], "is_fraud": [1, 0, 0, 0] * 100,
    ...                        "score": [0.6, 0.9, 0.1, 0.2] * 100, "amount": 4_000, "alert": [True, True, False, False] * 100})
    >>> better = scored.with_columns(score=pl.col("is_fraud") * 0.9)
    >>> found = run_gate(better, scored, policy=PolicyParams(), params=PromoteParams(replicates=100), seed=1)
    >>> [(check.name, check.needed, check.passed) for check in found.checks]
    [('average precision better than the champion', '> 0.010', True), ('savings not worse than the champion', '> -0.010', True)]
    """
    judged, few = _judged(challenger, segments or {})
    found = paired_bootstrap(
        challenger, champion, policy=policy, replicates=params.replicates, seed=seed, segments=judged
    )
    chosen = params.measure
    (other,) = (name for name in MEASURES if name != chosen)
    needed = {chosen: margin(params, (deviations or {}).get(chosen)), other: -params.other_margin}
    intervals = {name: found[name].interval(params.level) for name in needed}
    checks = [_bound(name, intervals[name], needed[name], version) for name in needed]
    p_values = {name: found[name].p_value(params.segment_margin) for name in judged}
    told = {name: value for name, value in p_values.items() if value is not None}
    if told:
        checks += _in_segments(told, found, params, version)
    figures = {
        "level": params.level,
        **{name: _figures(found[name], intervals[name], needed[name]) for name in needed},
        "segments": {name: {"difference": found[name].difference, "p": value} for name, value in told.items()},
    }
    return GateResult(tuple(checks), figures, (*few, *(name for name in judged if name not in told)))


def _judged(scored: pl.DataFrame, segments: Mapping[str, pl.Series]) -> tuple[dict[str, pl.Series], tuple[str, ...]]:
    """The segments with frauds enough, and the names of the others."""
    frauds = counted(scored) & (scored["is_fraud"] == 1)
    enough = {name: rows for name, rows in segments.items() if (frauds & rows).sum() >= FEWEST_IN_SEGMENT}
    return enough, tuple(name for name in segments if name not in enough)


def _bound(name: str, interval: Interval | None, needed: float, version: str) -> Check:
    title = f"{display_name(name)} {'better' if needed > 0 else 'not worse'} than {version}"
    if interval is None:
        return Check(title, "too few frauds for an interval", f"> {needed:.3f}", passed=False)
    said = f"low {interval.low:+.3f}, by {interval.by}"
    return Check(title, said, f"> {needed:.3f}", interval.low > needed)


def _in_segments(
    p_values: Mapping[str, float], found: Mapping[str, PairedDifference], params: PromoteParams, version: str
) -> list[Check]:
    """One check for each segment shown to be worse; one for all where there is none."""
    needed = f"> -{params.segment_margin:g}"
    worse = holm(p_values, WRONGLY_REFUSED)
    if not worse:
        return [Check(f"in no segment worse than {version}", f"none of {len(p_values)}", needed, passed=True)]
    return [Check(f"not worse in {name}", f"{found[name].difference:+.3f}", needed, passed=False) for name in worse]


def _figures(found: PairedDifference, interval: Interval | None, needed: float) -> dict[str, Any]:
    bounds = {} if interval is None else {"low": interval.low, "high": interval.high, "by": interval.by}
    return {
        "challenger": found.challenger,
        "champion": found.champion,
        "difference": found.difference,
        **bounds,
        "needed": needed,
    }
