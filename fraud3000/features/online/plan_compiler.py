"""Compiles a catalogue into the tables of a plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from fraud3000 import durations
from fraud3000.errors import ParamsError
from fraud3000.features.formulas import MISSING, STEPS
from fraud3000.features.online.memory_pool import FIRST, size_of
from fraud3000.features.online.plan import (
    APPROVED,
    CELL,
    CODE_BITS,
    COUNT,
    COUNTED,
    DISTANCE,
    DISTINCT,
    EXTREME,
    FIRST_CONDITION,
    FLAG_BITS,
    HOME,
    LABELS,
    LAST,
    MAX,
    MEAN,
    MEASURE,
    MIN,
    MOST_CONDITIONS,
    MOST_PARTS,
    NUMBER,
    OPERATION,
    OVER,
    RATIO,
    SECOND,
    SECTION,
    SHARE,
    SINCE,
    SMOOTHED,
    SPEED,
    SQUARES,
    STD,
    STEP,
    SUM,
    TOTAL,
    UNSEEN,
    WIDTH,
    WINDOW,
    ZSCORE,
    Layout,
    Plan,
)
from fraud3000.features.spec.base import Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import FromHome, FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window

Measure = tuple[int, int, str | None, int]  # kind, mask, column, cap


@dataclass
class _Section:
    windows: dict[tuple[int, int], dict[Measure, int]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)

    @property
    def measures(self) -> list[Measure]:
        return list(dict.fromkeys(measure for cells in self.windows.values() for measure in cells))

    @property
    def labels(self) -> bool:
        return any(kind == LABELS for kind, *_ in self.measures)

    @property
    def mask(self) -> int:
        """Flags of the events that all windows select; 0 if they select different events."""
        masks = {mask for _, mask, *_ in self.measures}
        return masks.pop() if len(masks) == 1 and not self.labels else 0


def compile_plan(catalogue: Catalogue) -> tuple[Plan, Layout]:
    """Compile a catalogue into a plan for the kernels, and the layout of its events and memory.

    Raises
    ------
    ParamsError
        More different conditions, or combinations of key and bucket, than the store supports.
    """
    builder = _PlanBuilder(catalogue)
    return builder.plan(), builder.layout


class _PlanBuilder:
    def __init__(self, catalogue: Catalogue) -> None:
        self.layout = Layout()
        self._catalogue = catalogue
        self._sections: dict[tuple[tuple[str, ...], int, int], _Section] = {}  # by columns, bucket, last
        self._empty: list[int] = []
        self._steps: dict[tuple[str, ...], int] = {}
        stateful = catalogue.evaluation_order
        self._collect_columns(stateful)
        self._collect_keys(stateful)
        self._positions = {feature: position for position, feature in enumerate(stateful)}
        homes = [feature for feature in catalogue.features if isinstance(feature, FromHome)]
        self._operations = [*map(self._operation, stateful), *map(self._operation, homes)]

    def _collect_columns(self, stateful: list[Stateful]) -> None:
        layout = self.layout
        distinct_columns = [f.column for f in stateful if isinstance(f, Window) and f.agg == "distinct"]
        layout.texts = list(dict.fromkeys([*(column for f in stateful for column in f.keys), *distinct_columns]))
        aggregated = [f for f in stateful if isinstance(f, Versus | Window) and _aggregates_values(f)]
        layout.values = list(dict.fromkeys(f.column for f in aggregated))
        kinds = {type(feature) for feature in self._catalogue.features}
        card_coordinates = ["card_lat", "card_long"] if FromHome in kinds else []
        layout.coordinates = card_coordinates + (
            ["terminal_lat", "terminal_long"] if kinds & {FromHome, FromLast} else []
        )
        layout.conditions = list(dict.fromkeys(f.where for f in stateful if f.where is not None))
        if len(layout.conditions) > MOST_CONDITIONS:
            raise ParamsError(
                f"features: {len(layout.conditions)} different conditions; the online engine supports {MOST_CONDITIONS}",
                hint="Leave some of them out.",
            )

    def _collect_keys(self, stateful: list[Stateful]) -> None:
        for keys in dict.fromkeys(f.keys for f in stateful):
            for length in range(1, len(keys) + 1):
                self._steps.setdefault(keys[:length], len(self._steps))
        self.layout.keys = list(self._steps)

    # accumulators and operation of each feature

    def _mask(self, feature: Stateful, *, values: bool, with_condition: bool = True) -> int:
        condition = feature.where
        bit = 0 if condition is None else 1 << (FIRST_CONDITION + self.layout.conditions.index(condition))
        on_status = condition is not None and condition.column == "status"
        status = 0 if on_status else APPROVED if values else COUNTED
        return status | (bit if with_condition else 0)

    def _accumulator(self, feature: Stateful, kind: int, mask: int, column: str | None = None, cap: int = 0) -> int:
        """Offset in `sums` of an accumulator over the feature's window; adds the accumulator if it is new."""
        bucket = durations.seconds(feature.bucket) * SECOND if feature.bucket else 0
        section = self._sections.setdefault((feature.keys, bucket, mask if kind == LAST else 0), _Section())
        window = (feature.lookback * SECOND, durations.seconds(feature.delay) * SECOND)
        if column is not None and column not in section.columns:
            section.columns.append(column)
        cells = section.windows.setdefault(window, {})
        measure = (kind, mask, column, cap)
        if measure not in cells:
            cells[measure] = len(self._empty)
            self._empty += [MISSING if kind in {MAX, MIN} else 0] * WIDTH[kind]
        return cells[measure]

    def _operation(self, feature: Stateful | FromHome) -> tuple[float, ...]:
        self.layout.names.append(feature.name)
        if isinstance(feature, FromHome):
            first, second = self.layout.field_of("card_lat"), self.layout.field_of("terminal_lat")
            return (HOME, -1, first, second, 0, 1.0, 0.0, 0.0)
        if isinstance(feature, Shift):
            op, first, second = OVER, self._positions[feature.recent], self._positions[feature.usual]
        else:
            op, first, second = self._operation_inputs(feature)
        column = feature.column if isinstance(feature, Window | Versus) else "amount"
        field = self.layout.field_of(column) if column in self.layout.values else 0
        field = self.layout.field_of("terminal_lat") if isinstance(feature, FromLast) else field
        prior, strength = (feature.prior, feature.strength) if isinstance(feature, LabelWindow) else (0.0, 0.0)
        unit = 1.0 if column == "amount" else float(STEPS)
        return (op, self._steps[feature.keys], first, second, field, unit, prior, strength)

    def _operation_inputs(self, feature: Stateful) -> tuple[int, int, int]:
        """Operation of a feature, and the offsets of the accumulators that it reads."""
        match feature:
            case Window() | Versus() if _aggregates_values(feature):
                return self._value_inputs(feature)
            case Window(agg="share"):
                base = self._accumulator(feature, COUNT, self._mask(feature, values=False, with_condition=False))
                return SHARE, self._accumulator(feature, COUNT, self._mask(feature, values=False)), base
            case Window(agg="distinct"):
                mask = self._mask(feature, values=False)
                return NUMBER, self._accumulator(feature, DISTINCT, mask, feature.column, feature.cap), 0
            case Window():
                return NUMBER, self._accumulator(feature, COUNT, self._mask(feature, values=False)), 0
            case LabelWindow(agg=agg):
                labels = self._accumulator(feature, LABELS, self._mask(feature, values=False))
                op = {"frauds": NUMBER, "labelled": NUMBER, "rate": SHARE, "smoothed": SMOOTHED}[agg]
                return op, labels + (agg == "labelled"), labels + 1
            case _:
                return self._last_event_inputs(feature)

    def _value_inputs(self, feature: Window | Versus) -> tuple[int, int, int]:
        mask, column = self._mask(feature, values=True), feature.column
        agg = feature.agg if isinstance(feature, Window) else feature.how
        if agg in {"max", "min"}:
            return EXTREME, self._accumulator(feature, MAX if agg == "max" else MIN, mask, column), 0
        sum_offset = self._accumulator(feature, SUM, mask, column)
        squares_offset = self._accumulator(feature, SQUARES, mask, column) if agg in {"std", "zscore"} else 0
        return (
            {"sum": TOTAL, "mean": MEAN, "std": STD, "ratio": RATIO, "zscore": ZSCORE}[agg],
            sum_offset,
            squares_offset,
        )

    def _last_event_inputs(self, feature: Stateful) -> tuple[int, int, int]:
        mask = self._mask(feature, values=False)
        match feature:
            case FromLast(how=op):
                self._sections.setdefault((feature.keys, 0, mask), _Section()).columns = [
                    "terminal_lat",
                    "terminal_long",
                ]
                return DISTANCE if op == "distance" else SPEED, self._accumulator(feature, LAST, mask), 1
            case SinceLast():
                return SINCE, self._accumulator(feature, LAST, mask), 0
            case NotSeen():
                return UNSEEN, self._accumulator(feature, COUNT, mask), 0
            case _:
                raise TypeError(f"the online engine does not support {type(feature).__name__}")

    # the tables

    def plan(self) -> Plan:
        self._tables: dict[str, list[tuple[float, ...]]] = {"windows": [], "cells": [], "measures": []}
        self._fields: list[int] = []
        self.layout.parts = ["keys", "label changes"]
        children = Counter(keys[:-1] for keys in self._steps)
        sizes = [1] * len(self._steps)  # the newest ts
        sections = np.array(
            [self._section(section, *section_key, sizes) for section_key, section in self._sections.items()], SECTION
        )
        sizes = [max(size, children[keys] + 1) for keys, size in zip(self._steps, sizes, strict=True)]
        steps, offset, siblings = [], FIRST, Counter[tuple[str, ...]]()
        for step, (keys, size) in enumerate(zip(self._steps, sizes, strict=True)):
            own_sections = np.flatnonzero(sections["step"] == step)
            is_compact = not children[keys] and len(own_sections) == 1 and sections[own_sections[0]]["size"] == 1
            scratch, section = (offset, int(own_sections[0])) if is_compact else (0, 0)
            offset += size + size_of(0) if is_compact else 0
            siblings[keys[:-1]] += 1
            parent, field = self._steps.get(keys[:-1], -1), self.layout.field_of(keys[-1])
            steps.append((parent, field, size, len(own_sections) > 0, scratch, section, siblings[keys[:-1]]))
        self._set_label_layout()
        if len(self.layout.parts) > MOST_PARTS:
            raise ParamsError(
                f"features: {len(sections)} combinations of key and bucket; the online engine supports {MOST_PARTS - 2}",
                hint="Leave some of them out.",
            )
        horizon = self._catalogue.late_horizon * SECOND
        return Plan(
            steps=np.array(steps, STEP),
            sections=sections,
            windows=np.array(self._tables["windows"], WINDOW),
            cells=np.array(self._tables["cells"], CELL),
            fields=np.array(self._fields, np.int64),
            measures=np.array(self._tables["measures"], MEASURE),
            operations=np.array(self._operations, OPERATION),
            empty=np.array(self._empty, np.int64),
            horizon=horizon,
            max_record_slots=sum(sizes) + size_of(0) * sum(scratch > 0 for *_, scratch, _, _ in steps),
        )

    def _section(
        self, section: _Section, keys: tuple[str, ...], bucket: int, last_only: int, sizes: list[int]
    ) -> tuple[int, ...]:
        step = self._steps[keys]
        offset, sizes[step] = sizes[step], sizes[step] + 2 + section.labels
        fields, measures, windows = len(self._fields), len(self._tables["measures"]), len(self._tables["windows"])
        if bucket:
            size = self._add_measures(section)
        else:
            section.columns.sort(key=lambda column: column not in self.layout.texts)
            size = self._row_layout(section)[1]
            self._fields += [self.layout.field_of(column) for column in section.columns]
        self._add_windows(section, bucket)
        longest = max(far for far, _ in section.windows)
        name = f"{'_'.join(keys)} {'buckets' if bucket else 'last events' if last_only else 'events'}"
        self.layout.parts.append(name)
        horizon = self._catalogue.late_horizon * SECOND
        deltas, part = offset + 2 if section.labels else 0, len(self.layout.parts) - 1
        return (
            *(
                step,
                bucket,
                bool(last_only),
                section.mask,
                section.mask == 0,
                CODE_BITS if self._packs_flags(section) else 0,
            ),
            *(longest + horizon, horizon, offset, deltas, part, size),
            *(windows, len(self._tables["windows"]), fields, len(self._fields)),
            *(measures, len(self._tables["measures"])),
        )

    def _packs_flags(self, section: _Section) -> bool:
        """True if the flags of an event share a slot with the code of its first text."""
        texts = any(column in self.layout.texts for column in section.columns)
        return texts and not section.mask and FIRST_CONDITION + len(self.layout.conditions) <= FLAG_BITS

    def _row_layout(self, section: _Section) -> tuple[dict[str | None, int], int]:
        """Offset of each column in an event's row, and the slots of a row."""
        header = (1 if section.mask else 2) - self._packs_flags(section)
        offsets: dict[str | None, int] = {column: header + index for index, column in enumerate(section.columns)}
        return {**offsets, None: 0}, header + len(section.columns)

    def _add_measures(self, section: _Section) -> int:
        """Add the accumulators of a section's buckets to the measures; returns the slots of a row."""
        size = 1
        for kind, mask, column, cap in section.measures:
            field = self.layout.field_of(column) if column is not None else 0
            self._tables["measures"].append((kind, mask, field, size, cap))
            size += WIDTH[kind] + cap
        return size

    def _add_windows(self, section: _Section, bucket: int) -> None:
        starts, offset, sources = {}, 1, self._row_layout(section)[0]
        for measure in section.measures:
            starts[measure] = offset
            offset += WIDTH[measure[0]] + measure[3]
        smaller: dict[
            tuple[int, Measure], tuple[int, int, int]
        ] = {}  # by delay: accumulator, slot of the window's end, hash set
        for (near, far), cells in sorted(((near, far), cells) for (far, near), cells in section.windows.items()):
            first_cell, start_slot = len(self._tables["cells"]), len(self._empty)
            self._empty.append(0)
            for measure, out in cells.items():
                kind, mask, column, cap = measure
                source = starts[measure] if bucket else sources[column]
                continues = not bucket and (near, measure) in smaller
                smaller_out, end_slot, seen_offset = smaller[near, measure] if continues else (0, 0, self.layout.seen)
                capacity = 1 << (2 * cap - 1).bit_length() if cap else 0
                self._tables["cells"].append(
                    (
                        kind,
                        mask,
                        source,
                        out,
                        cap,
                        seen_offset,
                        capacity - 1,
                        smaller_out,
                        WIDTH[kind] if continues else 0,
                        end_slot,
                    )
                )
                self.layout.seen += 0 if continues else capacity
                smaller[near, measure] = (out, start_slot, seen_offset)
            self._tables["windows"].append((far, near, start_slot, first_cell, len(self._tables["cells"])))

    def _set_label_layout(self) -> None:
        windows = [feature for feature in self._catalogue.features if isinstance(feature, LabelWindow)]
        self.layout.label_steps = sorted({self._steps[feature.keys] for feature in windows})
        for section in self._sections.values():
            for kind, mask, *_ in section.measures:
                self.layout.label_flags |= mask if kind == LABELS else 0
        self.layout.label_span = max((feature.retention * SECOND for feature in windows), default=0)


def _aggregates_values(feature: Window | Versus) -> bool:
    return isinstance(feature, Versus) or feature.agg not in {"count", "share", "distinct"}
