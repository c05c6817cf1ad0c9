"""Chooses the kernel for each window and binds its arguments; one sweep computes all features of a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fraud3000.features import formulas
from fraud3000.features.batch import window_kernels
from fraud3000.features.batch.keyed_events import KeyedEvents
from fraud3000.features.batch.window_kernels import KeyedRows, OutputSpec
from fraud3000.features.spec.base import Stateful
from fraud3000.features.spec.kinds import FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window

Sweep = Callable[[KeyedRows], None]
"""Computes the features of one window for a block of keys."""


def group_by_window(features: Sequence[Stateful]) -> dict[tuple[object, ...], list[int]]:
    """Group the positions of features that one sweep computes; the first item of each group's key names the sweep."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for slot, f in enumerate(features):
        match f:
            case Shift():
                continue
            case Window(agg="max" | "min" | "distinct"):
                sweep: tuple[object, ...] = ("distinct" if f.agg == "distinct" else "extreme", slot)
            case Window(agg="std") | Versus(how="zscore"):
                sweep = ("deviation", f.column)
            case Window() | Versus():
                valueless = isinstance(f, Window) and f.agg in {"count", "share"}
                sweep = ("sum", None if valueless else f.column)
            case LabelWindow():
                sweep = ("labels", None)
            case SinceLast() | NotSeen() | FromLast():
                sweep = ("recency", None)
            case _:
                raise TypeError(f"no sweep computes {type(f).__name__}")
        groups.setdefault((*sweep, f.keys, f.delay, f.length, f.bucket, f.where), []).append(slot)
    return _merge_counts(groups)


def _merge_counts(groups: dict[tuple[object, ...], list[int]]) -> dict[tuple[object, ...], list[int]]:
    """Compute counts in the sweep over amounts of the same window, if there is one."""
    merged = dict(groups)
    for window, slots in groups.items():
        with_amounts = ("sum", "amount", *window[2:])
        if window[:2] == ("sum", None) and with_amounts in merged:
            merged[with_amounts] = merged[with_amounts] + slots
            del merged[window]
    return merged


def _bind_sums(keyed: KeyedEvents, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    ops = [_OPS[f.how if isinstance(f, Versus) else f.agg] for f in features if isinstance(f, Window | Versus)]
    valued = (f for f, op in zip(features, ops, strict=True) if op > window_kernels.SHARE)
    column = next((f.column for f in valued if isinstance(f, Window | Versus)), "amount")
    edges, events, outputs = keyed.edges(features[0]), keyed.columns(features[0].where, column), _outputs(ops, slots)
    return lambda rows: window_kernels.count_and_sum(rows, edges, events, outputs, _unit(column))


def _bind_deviations(keyed: KeyedEvents, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    feature = features[0]
    assert isinstance(feature, Window | Versus)
    ops = [window_kernels.STD if isinstance(f, Window) else window_kernels.ZSCORE for f in features]
    outputs = _outputs(ops, slots)
    edges, events = keyed.edges(feature), keyed.columns(feature.where, feature.column)
    return lambda rows: window_kernels.compute_deviations(rows, edges, events, outputs, _unit(feature.column))


_OPS = {
    "count": window_kernels.COUNT,
    "share": window_kernels.SHARE,
    "sum": window_kernels.SUM,
    "mean": window_kernels.MEAN,
    "ratio": window_kernels.RATIO,
}


def _outputs(ops: Sequence[int], slots: Sequence[int]) -> OutputSpec:
    return OutputSpec(np.array(ops), np.array(slots))


def _bind_extremes(keyed: KeyedEvents, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    feature = features[0]
    assert isinstance(feature, Window)
    edges, events = keyed.edges(feature), keyed.columns(feature.where, feature.column)
    sign = 1 if feature.agg == "max" else -1
    return lambda rows: window_kernels.find_extremes(rows, edges, events, sign, slots[0], _unit(feature.column))


def _bind_distinct(keyed: KeyedEvents, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    feature = features[0]
    assert isinstance(feature, Window)
    edges, codes = keyed.edges(feature), keyed.codes(feature.where, feature.column)
    values = int(codes.max(initial=-1)) + 1
    return lambda rows: window_kernels.count_distinct(rows, edges, codes, values, feature.cap, slots[0])


def _bind_recency(keyed: KeyedEvents, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    edges, counted, (lat, long) = keyed.edges(features[0]), keyed.counted(features[0].where), keyed.coordinates()
    outputs = _outputs([_recency_op(f) for f in features], slots)
    return lambda rows: window_kernels.compute_recency(rows, edges, counted, lat, long, outputs)


def _recency_op(feature: Stateful) -> int:
    match feature:
        case SinceLast():
            return window_kernels.SINCE
        case NotSeen():
            return window_kernels.NOT_SEEN
        case FromLast(how="distance"):
            return window_kernels.DISTANCE
        case FromLast(how="speed"):
            return window_kernels.SPEED
        case _:
            raise TypeError(f"no loop over the last event computes {type(feature).__name__}")


def _bind_labels(keyed: KeyedEvents, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    windows = [f for f in features if isinstance(f, LabelWindow)]
    edges, where = keyed.edges(windows[0]), windows[0].where
    presumed, spans = keyed.presumed(where), keyed.label_spans(where)
    op_of = {
        "frauds": window_kernels.FRAUDS,
        "labelled": window_kernels.LABELLED,
        "rate": window_kernels.RATE,
        "smoothed": window_kernels.SMOOTHED,
    }
    outputs = _outputs([op_of[f.agg] for f in windows], slots)
    priors, strengths = np.array([f.prior for f in windows]), np.array([f.strength for f in windows])
    return lambda rows: window_kernels.count_labels(rows, edges, presumed, spans, outputs, priors, strengths)


SWEEPS: dict[object, Callable[[KeyedEvents, Sequence[Stateful], Sequence[int]], Sweep]] = {
    "sum": _bind_sums,
    "deviation": _bind_deviations,
    "extreme": _bind_extremes,
    "distinct": _bind_distinct,
    "recency": _bind_recency,
    "labels": _bind_labels,
}
"""By name of the sweep: binds a kernel to the events of a key, the features of a window and their rows of output."""


def _unit(column: str) -> float:
    return 1.0 if column == "amount" else float(formulas.STEPS)
