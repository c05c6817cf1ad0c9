"""Plan of a catalogue: tables of numbers that the kernels loop over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel
from fraud3000.features.spec.base import Condition

Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.void]
Row = Any  # of a table

SECOND = 1_000_000
TS, FLAGS = 0, 1  # the first fields of every encoded event
PRESUMED, APPROVED, COUNTED = 1, 2, 4  # the first flags: presumed legitimate, approved, not a refund
FIRST_CONDITION = 3
MOST_CONDITIONS = 59  # one bit each beside these three, of 62

COUNT, SUM, SQUARES, MAX, MIN, LABELS, DISTINCT, LAST = range(8)
"""Kinds of accumulators of a window."""

WIDTH = {COUNT: 1, SUM: 3, SQUARES: 2, MAX: 1, MIN: 1, LABELS: 2, DISTINCT: 1, LAST: 1}
"""Slots of each kind; a sum is a count and an int124 pair, labels are frauds and labelled."""

NUMBER, TOTAL, EXTREME, MEAN, STD, RATIO, ZSCORE, SHARE, SMOOTHED, OVER, UNSEEN, SINCE, DISTANCE, SPEED, HOME = range(
    15
)
"""Operations that compute a feature from accumulators; those from `UNSEEN` on read the last event of a key."""

CODE_BITS = 32  # of a text's code
PARENT_BITS, PACKED_CODE_BITS = 35, 28  # of a key, which is packed in one slot
MOST_TEXTS = 1 << PACKED_CODE_BITS  # of a column
FLAG_BITS = 30  # flags that fit above a code in one slot
DELTA_SLOTS, DELTA_CLASS = 6, 3  # slots of a label delta, and their size class
KEYS_PART, DELTAS_PART = 0, 1  # parts of the memory; one for each section follows
MOST_PARTS = 250


def _table(*names: str, floats: tuple[str, ...] = ()) -> np.dtype[Any]:
    return np.dtype([*((name, np.int64) for name in names), *((name, np.float64) for name in floats)], align=True)


STEP = _table("parent", "field", "size", "is_key", "scratch", "section", "sibling")
SECTION = _table(
    *(
        "step",
        "bucket",
        "last_only",
        "mask",
        "has_flags",
        "flag_shift",
        "retention",
        "horizon",
        "offset",
        "deltas",
        "part",
        "size",
    ),
    *("windows", "windows_end", "fields", "fields_end", "measures", "measures_end"),
)
WINDOW = _table("far", "near", "start", "cells", "cells_end")
CELL = _table("kind", "mask", "source", "out", "cap", "seen", "seen_mask", "smaller_out", "width", "end_slot")
MEASURE = _table("kind", "mask", "field", "offset", "cap")
OPERATION = _table("op", "step", "first", "second", "field", floats=("unit", "prior", "strength"))


class Plan(NamedTuple):
    """Tables that the kernels run for every transaction.

    Attributes
    ----------
    steps
        A key is found column by column: each step leads from the record of the columns before to the record with
        one more column. ``is_key`` marks keys of the catalogue. ``sibling`` is its number, from 1, among the steps with
        the same parent. If keys of one event need no record, ``scratch`` is the address of the step's scratch record,
        and ``section`` its section; else they are 0.
    sections
        Events of a key that are stored in one form: single events, or buckets of one length.
    windows, cells
        Windows of a section, and the accumulators of each.
    fields
        Fields of an event that a section stores.
    measures
        Accumulators that a bucket stores.
    operations
        Operations on accumulators, one per stateful feature.
    empty
        Accumulators of all windows over no events.
    horizon
        The late horizon in microseconds.
    max_record_slots
        Most slots that the records of a transaction's keys can take.
    """

    steps: Table
    sections: Table
    windows: Table
    cells: Table
    fields: Ints
    measures: Table
    operations: Table
    empty: Ints
    horizon: int
    max_record_slots: int


def pack(plan: Plan) -> Ints:
    """Concatenate the end of each table, the horizon, `max_record_slots`, and the tables.

    Passing one array to a kernel is much faster than passing ten tables.
    """
    *tables, horizon, max_record_slots = plan
    parts = [np.ascontiguousarray(table).view(np.int64).reshape(-1) for table in tables]
    ends = np.cumsum([len(parts) + 2, *(len(part) for part in parts)])[1:]
    return np.concatenate([ends, [horizon, max_record_slots], *parts])


@kernel
def unpack(packed_plan: Ints) -> Plan:
    """Return the plan as views of the packed array."""
    return Plan(
        steps=packed_plan[10 : packed_plan[0]].view(STEP),
        sections=packed_plan[packed_plan[0] : packed_plan[1]].view(SECTION),
        windows=packed_plan[packed_plan[1] : packed_plan[2]].view(WINDOW),
        cells=packed_plan[packed_plan[2] : packed_plan[3]].view(CELL),
        fields=packed_plan[packed_plan[3] : packed_plan[4]],
        measures=packed_plan[packed_plan[4] : packed_plan[5]].view(MEASURE),
        operations=packed_plan[packed_plan[5] : packed_plan[6]].view(OPERATION),
        empty=packed_plan[packed_plan[6] : packed_plan[7]],
        horizon=packed_plan[8],
        max_record_slots=packed_plan[9],
    )


@dataclass
class Layout:
    """Position of each column in an encoded event, and names of steps and memory parts."""

    texts: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    coordinates: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # features with an operation
    keys: list[tuple[str, ...]] = field(default_factory=list)  # columns of each step
    parts: list[str] = field(default_factory=list)  # memory parts
    seen: int = 0  # slots for the hash sets of distinct counts
    label_steps: list[int] = field(default_factory=list)
    label_span: int = 0  # microseconds; 0 without label windows
    label_flags: int = 0  # flags that label windows test

    @property
    def width(self) -> int:
        return 2 + len(self.texts) + len(self.values) + len(self.coordinates)

    def field_of(self, column: str) -> int:
        """Position of a column in an encoded event."""
        return 2 + [*self.texts, *self.values, *self.coordinates].index(column)
