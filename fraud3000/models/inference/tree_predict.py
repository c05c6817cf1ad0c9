"""The walk of rows through trees, eight trees at a time.

One step of a walk waits for the one before it, and guesses which way a branch goes are wrong half of the time. So a step is
arithmetic without branches, and eight walks that do not wait for each other go on side by side.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]

_STEP = np.dtype([("cut", "f8"), ("left", "i4"), ("asked", "i4")])
"""What is asked is twice the column, and one more where a gap goes left. The right child stands behind the left one. A leaf
is its own right child, and no value is at most its cut, which is NaN."""
_LINE = 64
"""Bytes that come from memory together: two pairs of children, where they begin with it."""
_BLOCK = 256
"""Rows that go through eight trees before the next eight: these stay near the processor meanwhile."""
_ABREAST = 8


def laid_out(
    roots: Ints, column: Ints, cut: Floats, left: Ints, right: Ints, gap_left: Flags, value: Floats
) -> tuple[Ints, Records, Floats]:
    """Put children beside each other.

    Parameters
    ----------
    roots, column, cut, left, right, gap_left, value
        As `Trees` has them: a tree's nodes stand together, its root first, and each other one is the child of one.

    Returns
    -------
    roots : numpy.ndarray
        Where the roots stand now: at odd places, so that pairs of children stand at even ones.
    steps : numpy.ndarray
        One record for each place, some of them empty.
    values : numpy.ndarray
        What the nodes add, in the order of the steps.
    """
    inner = np.flatnonzero(column >= 0)
    tree = np.searchsorted(roots, inner, side="right") - 1
    before = np.searchsorted(inner, roots)[tree]
    moved = roots + np.arange(1, len(roots) + 1)  # a tree has an odd number of nodes
    pair = moved[tree] + 1 + 2 * (np.arange(len(inner)) - before)
    place = np.empty(len(column), dtype=np.int64)
    place[roots], place[left[inner]], place[right[inner]] = moved, pair, pair + 1

    size = len(column) + len(roots) + 1
    steps, values = _at_a_line(size), np.zeros(size)
    steps["cut"], steps["asked"], steps["left"] = np.nan, 0, np.arange(size) - 1
    steps["cut"][place[inner]] = cut[inner]
    steps["asked"][place[inner]] = 2 * column[inner] + gap_left[inner]
    steps["left"][place[inner]] = pair
    values[place] = value
    return moved.astype(np.int32), steps, values


def _at_a_line(size: int) -> Records:
    """Records that begin where a line of memory does."""
    room = np.empty(size * _STEP.itemsize + _LINE, dtype=np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + size * _STEP.itemsize].view(_STEP)


@kernel
def add(rows: Floats, roots: Ints, steps: Records, values: Floats, total: Floats) -> None:
    """Add to each row's total the leaf that it comes to in every tree, in the order of the trees."""
    abreast = len(roots) // _ABREAST * _ABREAST
    for begin in range(0, rows.shape[0], _BLOCK):
        end = min(begin + _BLOCK, rows.shape[0])
        for tree in range(0, abreast, _ABREAST):
            first = (
                np.int64(roots[tree]),
                np.int64(roots[tree + 1]),
                np.int64(roots[tree + 2]),
                np.int64(roots[tree + 3]),
                np.int64(roots[tree + 4]),
                np.int64(roots[tree + 5]),
                np.int64(roots[tree + 6]),
                np.int64(roots[tree + 7]),
            )
            for row in range(begin, end):
                at, moved = first, True
                while moved:
                    to = (
                        _next(rows, row, steps, at[0]),
                        _next(rows, row, steps, at[1]),
                        _next(rows, row, steps, at[2]),
                        _next(rows, row, steps, at[3]),
                        _next(rows, row, steps, at[4]),
                        _next(rows, row, steps, at[5]),
                        _next(rows, row, steps, at[6]),
                        _next(rows, row, steps, at[7]),
                    )
                    moved = to != at
                    at = to
                for place in at:
                    total[row] += values[place]
        for tree in range(abreast, len(roots)):
            root = np.int64(roots[tree])
            for row in range(begin, end):
                here, there = root, _next(rows, row, steps, root)
                while there != here:
                    here, there = there, _next(rows, row, steps, there)
                total[row] += values[here]


@kernel
def _next(rows: Floats, row: int, steps: Records, place: np.int64) -> np.int64:
    """Where a row goes from here; it stays at a leaf."""
    step = steps[place]
    found = rows[row, step["asked"] >> 1]
    goes_left = (found <= step["cut"]) | (np.isnan(found) & ((step["asked"] & 1) != 0))
    return np.int64(step["left"] + 1) - np.int64(goes_left)
