"""A catalogue as tables of numbers that the kernels walk through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fraud3000.features.spec.base import Condition

Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.void]
Row = Any  # one of a table

SECOND = 1_000_000
TS, FLAGS = 0, 1  # the first facts of every event
PRESUMED, APPROVED, COUNTED = 1, 2, 4  # the first flags: presumed legitimate, approved, no refund
FIRST_CONDITION = 3
MOST_CONDITIONS = 59  # one bit each beside these three, in a whole number that has 62

COUNT, SUM, SQUARES, MAX, MIN, LABELS, DISTINCT, LAST = range(8)
"""What is gathered over a window."""

WIDTH = {COUNT: 1, SUM: 3, SQUARES: 2, MAX: 1, MIN: 1, LABELS: 2, DISTINCT: 1, LAST: 1}
"""In how many whole numbers; a sum is a count and a pair, labels are frauds and labelled."""

NUMBER, TOTAL, EXTREME, MEAN, STD, RATIO, ZSCORE, SHARE, SMOOTHED, OVER, UNSEEN, SINCE, DISTANCE, SPEED, HOME = range(
    15
)
"""What is made of it."""

CODE_BITS = 32  # of a text's code
SINGLE_PARENT_BITS, SINGLE_CODE_BITS = 35, 28  # of a key that is told in one word
FLAG_BITS = 30  # so many fit above a code
RECORD_SLOTS = 3  # words at the head of a key's record: its code, the record it hangs under, its newest ts
DELTA_SLOTS, DELTA_CLASS = 6, 3  # words of a label change, and their class of block
KEYS_PART, DELTAS_PART = 0, 1  # of the memory; one for each section follows
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
    """What the kernels do for every transaction.

    Attributes
    ----------
    steps
        A key is found column by column: each step from the record of the columns before to the record with
        one more. Those that are keys of the catalogue are ``kept``. Where keys of one event stand in a table of
        their own, ``own`` is a record that the step has to itself, ``section`` its section, and ``number`` its place
        among such steps that go on from the same one; else they are 0.
    sections
        The events of a key that are kept in one form: each for itself, or summed up in buckets of one length.
    windows, cells
        A section's windows, and what is gathered over each.
    fields
        The facts that an event keeps in a section.
    measures
        What a bucket keeps.
    operations
        What is made of the gathered, one for each stateful feature.
    empty
        All that is gathered, over nothing.
    horizon
        The late horizon in microseconds.
    most
        The most words that the records of a transaction's keys can take.
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


@dataclass
class Layout:
    """Where each column of a transaction goes, and how the sections are called."""

    texts: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    coordinates: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of the features with an operation
    keys: list[tuple[str, ...]] = field(default_factory=list)  # of the steps
    parts: list[str] = field(default_factory=list)  # of the classes of memory
    seen: int = 0  # places for the values of distinct counts
    label_steps: list[int] = field(default_factory=list)
    label_span: int = 0  # microseconds; 0 without label windows
    label_flags: int = 0  # those that label windows ask for

    @property
    def width(self) -> int:
        return 2 + len(self.texts) + len(self.values) + len(self.coordinates)

    def field_of(self, column: str) -> int:
        """The place of a column among the facts of an event."""
        return 2 + [*self.texts, *self.values, *self.coordinates].index(column)
