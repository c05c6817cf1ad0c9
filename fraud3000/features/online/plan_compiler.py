"""From a catalogue's declarations to the tables of a plan."""

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
    RECORD,
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
    Table,
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
        """The flags of all events that windows take; 0 where they take different ones."""
        masks = {mask for _, mask, *_ in self.measures}
        return masks.pop() if len(masks) == 1 and not self.labels else 0


def plan_of(catalogue: Catalogue) -> tuple[Plan, Layout]:
    """Lay a catalogue out for the kernels.

    Raises
    ------
    ParamsError
        More different conditions than the store can keep apart.
    """
    draft = _PlanBuilder(catalogue)
    return draft.plan(), draft.layout


class _PlanBuilder:
    def __init__(self, catalogue: Catalogue) -> None:
        self.layout = Layout()
        self._catalogue = catalogue
        self._sections: dict[tuple[tuple[str, ...], int, int], _Section] = {}  # by columns, bucket, last
        self._empty: list[int] = []
        self._steps: dict[tuple[str, ...], int] = {}
        stateful = catalogue.evaluation_order
        self._know_columns(stateful)
        self._know_keys(stateful)
        self._places = {feature: place for place, feature in enumerate(stateful)}
        homes = [feature for feature in catalogue.features if isinstance(feature, FromHome)]
        self._operations = [*map(self._operation, stateful), *map(self._operation, homes)]

    def _know_columns(self, stateful: list[Stateful]) -> None:
        layout = self.layout
        distinct = [f.column for f in stateful if isinstance(f, Window) and f.agg == "distinct"]
        layout.texts = list(dict.fromkeys([*(column for f in stateful for column in f.keys), *distinct]))
        summed = [f for f in stateful if isinstance(f, Versus | Window) and _of_values(f)]
        layout.values = list(dict.fromkeys(f.column for f in summed))
        kinds = {type(feature) for feature in self._catalogue.features}
        card = ["card_lat", "card_long"] if FromHome in kinds else []
        layout.places = card + (["terminal_lat", "terminal_long"] if kinds & {FromHome, FromLast} else [])
        layout.conditions = list(dict.fromkeys(f.where for f in stateful if f.where is not None))
        if len(layout.conditions) > MOST_CONDITIONS:
            raise ParamsError(
                f"features: {len(layout.conditions)} different conditions; the store keeps {MOST_CONDITIONS} apart",
                hint="Leave some of them out.",
            )

    def _know_keys(self, stateful: list[Stateful]) -> None:
        for keys in dict.fromkeys(f.keys for f in stateful):
            for length in range(1, len(keys) + 1):
                self._steps.setdefault(keys[:length], len(self._steps))
        self.layout.keys = list(self._steps)

    # what is asked of each feature

    def _mask(self, feature: Stateful, *, values: bool, where: bool = True) -> int:
        condition = feature.where
        bit = 0 if condition is None else 1 << (FIRST_CONDITION + self.layout.conditions.index(condition))
        of_status = condition is not None and condition.column == "status"
        status = 0 if of_status else APPROVED if values else COUNTED
        return status | (bit if where else 0)

    def _cell(self, feature: Stateful, kind: int, mask: int, column: str | None = None, cap: int = 0) -> int:
        """Where the sums find what is gathered over the feature's window."""
        bucket = durations.seconds(feature.bucket) * SECOND if feature.bucket else 0
        section = self._sections.setdefault((feature.keys, bucket, mask if kind == LAST else 0), _Section())
        window = (feature.longest * SECOND, durations.seconds(feature.delay) * SECOND)
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
            first, second = self.layout.fact("card_lat"), self.layout.fact("terminal_lat")
            return (HOME, -1, first, second, 0, 1.0, 0.0, 0.0)
        if isinstance(feature, Shift):
            how, first, second = OVER, self._places[feature.recent], self._places[feature.usual]
        else:
            how, first, second = self._gathered(feature)
        column = feature.column if isinstance(feature, Window | Versus) else "amount"
        fact = self.layout.fact(column) if column in self.layout.values else 0
        fact = self.layout.fact("terminal_lat") if isinstance(feature, FromLast) else fact
        prior, strength = (feature.prior, feature.strength) if isinstance(feature, LabelWindow) else (0.0, 0.0)
        unit = 1.0 if column == "amount" else float(STEPS)
        return (how, self._steps[feature.keys], first, second, fact, unit, prior, strength)

    def _gathered(self, feature: Stateful) -> tuple[int, int, int]:
        """The operation and what it reads."""
        match feature:
            case Window() | Versus() if _of_values(feature):
                return self._of_values(feature)
            case Window(agg="share"):
                whole = self._cell(feature, COUNT, self._mask(feature, values=False, where=False))
                return SHARE, self._cell(feature, COUNT, self._mask(feature, values=False)), whole
            case Window(agg="distinct"):
                mask = self._mask(feature, values=False)
                return NUMBER, self._cell(feature, DISTINCT, mask, feature.column, feature.cap), 0
            case Window():
                return NUMBER, self._cell(feature, COUNT, self._mask(feature, values=False)), 0
            case LabelWindow(agg=agg):
                at = self._cell(feature, LABELS, self._mask(feature, values=False))
                how = {"frauds": NUMBER, "labelled": NUMBER, "rate": SHARE, "smoothed": SMOOTHED}[agg]
                return how, at + (agg == "labelled"), at + 1
            case _:
                return self._of_last(feature)

    def _of_values(self, feature: Window | Versus) -> tuple[int, int, int]:
        mask, column = self._mask(feature, values=True), feature.column
        agg = feature.agg if isinstance(feature, Window) else feature.how
        if agg in {"max", "min"}:
            return EXTREME, self._cell(feature, MAX if agg == "max" else MIN, mask, column), 0
        summed = self._cell(feature, SUM, mask, column)
        squares = self._cell(feature, SQUARES, mask, column) if agg in {"std", "zscore"} else 0
        return {"sum": TOTAL, "mean": MEAN, "std": STD, "ratio": RATIO, "zscore": ZSCORE}[agg], summed, squares

    def _of_last(self, feature: Stateful) -> tuple[int, int, int]:
        mask = self._mask(feature, values=False)
        match feature:
            case FromLast(how=how):
                self._sections.setdefault((feature.keys, 0, mask), _Section()).columns = [
                    "terminal_lat",
                    "terminal_long",
                ]
                return DISTANCE if how == "distance" else SPEED, self._cell(feature, LAST, mask), 1
            case SinceLast():
                return SINCE, self._cell(feature, LAST, mask), 0
            case NotSeen():
                return UNSEEN, self._cell(feature, COUNT, mask), 0
            case _:
                raise TypeError(f"{type(feature).__name__}: unknown to the online engine")

    # the tables

    def plan(self) -> Plan:
        self._tables: dict[str, list[tuple[float, ...]]] = {"windows": [], "cells": [], "measures": []}
        self._fields: list[int] = []
        self.layout.parts = ["keys", "label changes"]
        sizes = [RECORD if self._is_key(keys) else RECORD - 1 for keys in self._steps]
        sections = np.array([self._section(section, *of, sizes) for of, section in self._sections.items()], SECTION)
        singles = self._singles(sections, sizes)
        steps = [
            (self._steps.get(keys[:-1], -1), self.layout.fact(keys[-1]), size, self._is_key(keys), *single)
            for keys, size, single in zip(self._steps, sizes, singles, strict=True)
        ]
        self._know_labels()
        if len(self.layout.parts) > MOST_PARTS:
            raise ParamsError(
                f"features: {len(sections)} combinations of key and bucket; the store keeps {MOST_PARTS - 2} apart",
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
            most=sum(sizes) + sum(size_of(0) for own, *_ in singles if own),
        )

    def _singles(self, sections: Table, sizes: list[int]) -> list[tuple[int, int, int]]:
        """Of each step, where its own record lies, its section and its number; zeros where it needs a record for each key."""
        under: Counter[tuple[str, ...]] = Counter()
        at, found = FIRST, []
        for step, keys in enumerate(self._steps):
            of = np.flatnonzero(sections["step"] == step)
            goes_on = any(keys == other[:-1] for other in self._steps)
            if goes_on or len(of) != 1 or sections[of[0]]["size"] != 1:
                found.append((0, 0, 0))
                continue
            under[keys[:-1]] += 1
            found.append((at, int(of[0]), under[keys[:-1]]))
            at += sizes[step] + size_of(0)
        for keys, many in under.items():
            if keys:
                sizes[self._steps[keys]] = max(sizes[self._steps[keys]], many + 1)
        return found

    def _is_key(self, keys: tuple[str, ...]) -> bool:
        return any(keys == owner for owner, *_ in self._sections)

    def _section(
        self, section: _Section, keys: tuple[str, ...], bucket: int, last: int, sizes: list[int]
    ) -> tuple[int, ...]:
        step = self._steps[keys]
        at, sizes[step] = sizes[step], sizes[step] + 2 + section.labels
        fields, measures, windows = len(self._fields), len(self._tables["measures"]), len(self._tables["windows"])
        if bucket:
            size = self._lay_measures(section)
        else:
            section.columns.sort(key=lambda column: column not in self.layout.texts)
            size = self._sources(section)[1]
            self._fields += [self.layout.fact(column) for column in section.columns]
        self._lay_windows(section, bucket)
        longest = max(far for far, _ in section.windows)
        name = f"{'_'.join(keys)} {'buckets' if bucket else 'last events' if last else 'events'}"
        self.layout.parts.append(name)
        horizon = self._catalogue.late_horizon * SECOND
        changes, part = at + 2 if section.labels else 0, len(self.layout.parts) - 1
        return (
            *(step, bucket, bool(last), section.mask, section.mask == 0, CODE_BITS if self._packed(section) else 0),
            *(longest + horizon, horizon, at, changes, part, size),
            *(windows, len(self._tables["windows"]), fields, len(self._fields)),
            *(measures, len(self._tables["measures"])),
        )

    def _packed(self, section: _Section) -> bool:
        """Whether the flags of an event stand above the code of its first text."""
        texts = any(column in self.layout.texts for column in section.columns)
        return texts and not section.mask and FIRST_CONDITION + len(self.layout.conditions) <= FLAG_BITS

    def _sources(self, section: _Section) -> tuple[dict[str | None, int], int]:
        """Where an event keeps each column; in how many words."""
        head = (1 if section.mask else 2) - self._packed(section)
        places: dict[str | None, int] = {column: head + place for place, column in enumerate(section.columns)}
        return {**places, None: 0}, head + len(section.columns)

    def _lay_measures(self, section: _Section) -> int:
        """What each bucket of a section keeps, after its start; how many words that is."""
        size = 1
        for kind, mask, column, cap in section.measures:
            fact = self.layout.fact(column) if column is not None else 0
            self._tables["measures"].append((kind, mask, fact, size, cap))
            size += WIDTH[kind] + cap
        return size

    def _lay_windows(self, section: _Section, bucket: int) -> None:
        starts, at, sources = {}, 1, self._sources(section)[0]
        for measure in section.measures:
            starts[measure] = at
            at += WIDTH[measure[0]] + measure[3]
        smaller: dict[tuple[int, Measure], tuple[int, int, int]] = {}  # by delay: out, taken, seen
        for (near, far), cells in sorted(((near, far), cells) for (far, near), cells in section.windows.items()):
            first, start = len(self._tables["cells"]), len(self._empty)
            self._empty.append(0)
            for measure, out in cells.items():
                kind, mask, column, cap = measure
                source = starts[measure] if bucket else sources[column]
                goes_on = not bucket and (near, measure) in smaller
                before, taken, seen = smaller[near, measure] if goes_on else (0, 0, self.layout.seen)
                room = 1 << (2 * cap - 1).bit_length() if cap else 0
                self._tables["cells"].append(
                    (kind, mask, source, out, cap, seen, room - 1, before, WIDTH[kind] if goes_on else 0, taken)
                )
                self.layout.seen += 0 if goes_on else room
                smaller[near, measure] = (out, start, seen)
            self._tables["windows"].append((far, near, start, first, len(self._tables["cells"])))

    def _know_labels(self) -> None:
        windows = [feature for feature in self._catalogue.features if isinstance(feature, LabelWindow)]
        self.layout.label_steps = sorted({self._steps[feature.keys] for feature in windows})
        for section in self._sections.values():
            for kind, mask, *_ in section.measures:
                self.layout.label_flags |= mask if kind == LABELS else 0
        self.layout.label_span = max((feature.span * SECOND for feature in windows), default=0)


def _of_values(feature: Window | Versus) -> bool:
    return isinstance(feature, Versus) or feature.agg not in {"count", "share", "distinct"}
