"""Rows put in order on disk: spread over ranges of the first column, each range sorted in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data.storage.spill import Spill

_SAMPLED = 1_000  # of so many rows as are sorted at a time, how many tell where ranges are cut
_OPEN = 2  # pieces that may wait for later ones before rows are spread instead


def in_order(pieces: Sequence[pl.LazyFrame], order: Sequence[str], size: int, folder: Path) -> Iterator[pl.DataFrame]:
    """Sort more rows than memory should hold; each frame that comes lies wholly after the one before.

    Pieces that nearly are in order already only hand on the rows that later ones may still come
    before. Others are spread over ranges of the first column, and each range is sorted. Rows that
    are equal in the first column come in one frame, however many they are.

    Parameters
    ----------
    order
        The columns to sort by; together they tell all rows apart. No nulls.
    size
        About how many rows to sort at a time.
    folder
        Where rows are kept.

    Examples
    --------
    >>> import tempfile
    >>> given = [pl.LazyFrame({"a": rows}) for rows in ([5, 1], [4, 2, 3])]
    >>> with tempfile.TemporaryDirectory() as place:
    ...     [rows["a"].to_list() for rows in in_order(given, ["a"], 2, Path(place))]
    [[1], [2, 3, 4, 5]]
    """
    at = pl.col(order[0])
    ends = [piece.select(low=at.min(), high=at.max()).collect().row(0) for piece in pieces]
    given = [(piece, low, high) for piece, (low, high) in zip(pieces, ends, strict=True) if low is not None]
    lows = [low for _, low, _ in given]
    following = list(accumulate(reversed(lows[1:]), min))[::-1]
    waiting = [sum(high >= low for *_, high in given[: n + 1]) for n, low in enumerate(following)]
    if max(waiting, default=0) <= _OPEN:
        yield from _handed_on([piece for piece, *_ in given], order, following)
    else:
        yield from _spread([piece for piece, *_ in given], order, size, folder)


def _handed_on(
    pieces: Sequence[pl.LazyFrame], order: Sequence[str], following: Sequence[Any]
) -> Iterator[pl.DataFrame]:
    """Give out the rows before all that follow, keep the others for the next piece."""
    at, kept = pl.col(order[0]), None
    for piece, low in zip_longest(pieces, following):
        rows = piece.collect()
        rows = rows if kept is None else pl.concat([kept, rows])
        ready = rows if low is None else rows.filter(at < low)
        kept = rows.clear() if low is None else rows.filter(at >= low)
        if ready.height:
            yield ready.sort(order)


def _spread(pieces: Sequence[pl.LazyFrame], order: Sequence[str], size: int, folder: Path) -> Iterator[pl.DataFrame]:
    at = pl.col(order[0])
    values = [piece.select(at.gather_every(max(1, size // _SAMPLED))).collect().to_series() for piece in pieces]
    edges = _edges(pl.concat(values), max(1, min(size, _SAMPLED)))
    ranges = [Spill(folder / f"range-{number}") for number in range(len(edges) + 1)]
    for piece in pieces:
        rows = piece.collect()
        first, last = (bisect_right(edges, end) for end in rows.select(a=at.min(), b=at.max()).row(0))
        for number in range(first, last + 1):
            low = at >= edges[number - 1] if number > first else pl.lit(value=True)
            high = at < edges[number] if number < last else pl.lit(value=True)
            ranges[number].add(rows.filter(low & high))
    for spill in ranges:
        if spill.height:
            yield pl.concat(list(spill.pieces())).sort(order)


def _edges(sample: pl.Series, step: int) -> list[Any]:
    """The first values of all ranges but the first."""
    return sample.sort().gather_every(step).unique().sort()[1:].to_list()
