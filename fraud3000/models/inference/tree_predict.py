"""Tree prediction: traverse eight trees at once for each row.

Each step of a traversal depends on the one before it, and branch prediction fails half of the time. So a step is branch-free
arithmetic, and eight independent traversals are interleaved to hide its latency.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]

_STEP = np.dtype([("cut", "f8"), ("left", "i4"), ("column_bit", "i4")])
"""`column_bit` is twice the column, plus 1 if a missing value goes left. The right child follows the left one. A leaf is its
own right child; its cut is NaN, so that no value goes left."""
_CACHE_LINE = 64
"""Bytes of a cache line: it holds two pairs of children if they are aligned to it."""
_BLOCK = 256
"""Rows that pass through eight trees before the next eight, so that these trees stay in the cache."""
_INTERLEAVED = 8


def lay_out(
    roots: Ints, column: Ints, cut: Floats, left: Ints, right: Ints, gap_left: Flags, value: Floats
) -> tuple[Ints, Records, Floats]:
    """Lay out nodes so that the two children of a node are adjacent.

    Parameters
    ----------
    roots, column, cut, left, right, gap_left, value
        As in `Trees`: the nodes of a tree are contiguous, its root first, and every other node has one parent.

    Returns
    -------
    roots : numpy.ndarray
        New indices of the roots: odd, so that pairs of children begin at even indices.
    steps : numpy.ndarray
        One record for each index, some of them unused.
    values : numpy.ndarray
        Values of the nodes, in the order of the steps.
    """
    inner = np.flatnonzero(column >= 0)
    tree = np.searchsorted(roots, inner, side="right") - 1
    before = np.searchsorted(inner, roots)[tree]
    moved = roots + np.arange(1, len(roots) + 1)  # a tree has an odd number of nodes
    pair = moved[tree] + 1 + 2 * (np.arange(len(inner)) - before)
    index = np.empty(len(column), dtype=np.int64)
    index[roots], index[left[inner]], index[right[inner]] = moved, pair, pair + 1

    size = len(column) + len(roots) + 1
    steps, values = _aligned(size), np.zeros(size)
    steps["cut"], steps["column_bit"], steps["left"] = np.nan, 0, np.arange(size) - 1
    steps["cut"][index[inner]] = cut[inner]
    steps["column_bit"][index[inner]] = 2 * column[inner] + gap_left[inner]
    steps["left"][index[inner]] = pair
    values[index] = value
    return moved.astype(np.int32), steps, values


def _aligned(size: int) -> Records:
    """Return records aligned to a cache line."""
    buffer = np.empty(size * _STEP.itemsize + _CACHE_LINE, dtype=np.uint8)
    begin = -buffer.ctypes.data % _CACHE_LINE
    return buffer[begin : begin + size * _STEP.itemsize].view(_STEP)


@kernel
def add(rows: Floats, roots: Ints, steps: Records, values: Floats, total: Floats) -> None:
    """Add to each row's total the value of its leaf in every tree, in the order of the trees."""
    interleaved = len(roots) // _INTERLEAVED * _INTERLEAVED
    for begin in range(0, rows.shape[0], _BLOCK):
        end = min(begin + _BLOCK, rows.shape[0])
        for tree in range(0, interleaved, _INTERLEAVED):
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
                for leaf in at:
                    total[row] += values[leaf]
        for tree in range(interleaved, len(roots)):
            root = np.int64(roots[tree])
            for row in range(begin, end):
                here, there = root, _next(rows, row, steps, root)
                while there != here:
                    here, there = there, _next(rows, row, steps, there)
                total[row] += values[here]


@kernel
def _next(rows: Floats, row: int, steps: Records, index: np.int64) -> np.int64:
    """Return the next node of a row; a leaf returns itself."""
    step = steps[index]
    value = rows[row, step["column_bit"] >> 1]
    goes_left = (value <= step["cut"]) | (np.isnan(value) & ((step["column_bit"] & 1) != 0))
    return np.int64(step["left"] + 1) - np.int64(goes_left)
