"""Walks through trees of any shape and number, beside the same walk in plain words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fraud3000.models.inference import tree_predict
from fraud3000.models.inference.trees import LEAF, Trees

COLUMNS = 3
VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf, np.nan])


@st.composite
def grown_trees(draw):
    """One to twenty trees of up to ten inner nodes, each leaf of which adds something of its own."""
    columns, cuts, lefts, rights, gaps, roots = [], [], [], [], [], []
    for _ in range(draw(st.integers(1, 20))):
        roots.append(root := len(columns))
        for name, value in ((columns, LEAF), (cuts, 0.0), (lefts, -1), (rights, -1), (gaps, False)):
            name.append(value)
        for _ in range(draw(st.integers(0, 10))):
            leaves = [place for place in range(root, len(columns)) if columns[place] == LEAF]
            place = draw(st.sampled_from(leaves))
            columns[place] = draw(st.integers(0, COLUMNS - 1))
            cuts[place], gaps[place] = draw(st.sampled_from([-1.0, 0.0, 0.5, np.inf])), draw(st.booleans())
            children = [len(columns), len(columns) + 1]
            lefts[place], rights[place] = children if draw(st.booleans()) else reversed(children)
            for name, value in ((columns, LEAF), (cuts, 0.0), (lefts, -1), (rights, -1), (gaps, False)):
                name += [value, value]
    return (
        np.array(roots, np.int32), np.array(columns, np.int32), np.array(cuts), np.array(lefts, np.int32),
        np.array(rights, np.int32), np.array(gaps), 1.0 + np.arange(len(columns)) / 3,
    )  # fmt: skip


def plain(row, roots, column, cut, left, right, gap_left, value):
    total = 0.0
    for root in roots:
        place = root
        while column[place] != LEAF:
            found = row[column[place]]
            goes_left = gap_left[place] if np.isnan(found) else found <= cut[place]
            place = left[place] if goes_left else right[place]
        total += value[place]
    return total


@settings(max_examples=200, deadline=None)
@given(grown_trees(), arrays.arrays(np.float64, st.tuples(st.integers(0, 9), st.just(COLUMNS)), elements=VALUES))
def test_every_row_reaches_the_leaves_of_its_values(nodes, rows):
    total = np.zeros(len(rows))
    tree_predict.add(rows, *tree_predict.lay_out(*nodes), total)
    np.testing.assert_array_equal(total, [plain(row, *nodes) for row in rows])


def test_more_rows_than_a_block_and_more_than_eight_trees_are_all_scored():
    roots = np.arange(0, 51, 3, dtype=np.int32)
    column = np.tile(np.array([0, LEAF, LEAF], np.int32), 17)
    left, right = (np.where(column == 0, np.arange(51) + ahead, -1).astype(np.int32) for ahead in (1, 2))
    trees = Trees(
        roots=roots, column=column, cut=np.zeros(51), left=left, right=right, gap_left=np.ones(51, bool),
        value=np.tile([0.0, 1.0, 2.0], 17), cover=np.tile([2.0, 1.0, 1.0], 17), base=0.5, forest=False,
    )  # fmt: skip
    rows = np.linspace(-1, 1, 10_000)[:, None]
    np.testing.assert_array_equal(trees.sums(rows), 0.5 + np.where(rows[:, 0] <= 0, 17.0, 34.0))
