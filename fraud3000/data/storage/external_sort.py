"""External sort: partition rows on disk by ranges of the first column, and sort each range in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data.storage.spill import Spill

_SAMPLED = 1_000  # rows sampled, of those sorted at a time, to choose the limits of the ranges
_OPEN = 2  # overlapping pieces held in memory; with more, rows are partitioned on disk


def sort_pieces(
    pieces: Sequence[pl.LazyFrame], order: Sequence[str], size: int, folder: Path
) -> Iterator[pl.DataFrame]:
    """Sort more rows than memory should hold; each yielded frame lies entirely after the one before it.

    Pieces that are almost in order are merged in memory, piece by piece. Other pieces are partitioned
    on disk by ranges of the first column, and each range is sorted. Rows that are equal in the first
    column are yielded in one frame, whatever their number.

    Parameters
    ----------
    order
        The columns to sort by; together they identify a row. No nulls.
    size
        About how many rows to sort at a time.
    folder
        Where rows are stored meanwhile.

    Examples
    --------
    >>> import tempfile
    >>> pieces = [pl.LazyFrame({"a": rows}) for rows in ([5, 1], [4, 2, 3])]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [rows["a"].to_list() for rows in sort_pieces(pieces, ["a"], 2, Path(folder))]
    [[1], [2, 3, 4, 5]]
    """
    key = pl.col(order[0])
    limits = [piece.select(low=key.min(), high=key.max()).collect().row(0) for piece in pieces]
    nonempty = [(piece, low, high) for piece, (low, high) in zip(pieces, limits, strict=True) if low is not None]
    lows = [low for _, low, _ in nonempty]
    following = list(accumulate(reversed(lows[1:]), min))[::-1]
    overlapping = [sum(high >= low for *_, high in nonempty[: n + 1]) for n, low in enumerate(following)]
    if max(overlapping, default=0) <= _OPEN:
        yield from _merge_in_memory([piece for piece, *_ in nonempty], order, following)
    else:
        yield from _partition_on_disk([piece for piece, *_ in nonempty], order, size, folder)


def _merge_in_memory(
    pieces: Sequence[pl.LazyFrame], order: Sequence[str], following: Sequence[Any]
) -> Iterator[pl.DataFrame]:
    """Yield the rows that precede all later pieces; carry the others over to the next piece."""
    key, carried = pl.col(order[0]), None
    for piece, low in zip_longest(pieces, following):
        rows = piece.collect()
        rows = rows if carried is None else pl.concat([carried, rows])
        ready = rows if low is None else rows.filter(key < low)
        carried = rows.clear() if low is None else rows.filter(key >= low)
        if ready.height:
            yield ready.sort(order)


def _partition_on_disk(
    pieces: Sequence[pl.LazyFrame], order: Sequence[str], size: int, folder: Path
) -> Iterator[pl.DataFrame]:
    key = pl.col(order[0])
    values = [piece.select(key.gather_every(max(1, size // _SAMPLED))).collect().to_series() for piece in pieces]
    edges = _edges(pl.concat(values), max(1, min(size, _SAMPLED)))
    ranges = [Spill(folder / f"range-{number}") for number in range(len(edges) + 1)]
    for piece in pieces:
        rows = piece.collect()
        first, last = (bisect_right(edges, limit) for limit in rows.select(a=key.min(), b=key.max()).row(0))
        for number in range(first, last + 1):
            low = key >= edges[number - 1] if number > first else pl.lit(value=True)
            high = key < edges[number] if number < last else pl.lit(value=True)
            ranges[number].add(rows.filter(low & high))
    for spill in ranges:
        if spill.height:
            yield pl.concat(list(spill.pieces())).sort(order)


def _edges(sample: pl.Series, step: int) -> list[Any]:
    """The lower limits of all ranges but the first."""
    return sample.sort().gather_every(step).unique().sort()[1:].to_list()
