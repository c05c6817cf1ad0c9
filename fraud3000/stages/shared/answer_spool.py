"""Restore the input order of rows that were scored in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from fraud3000.data.cleaning.clean import CleanedData
from fraud3000.data.cleaning.file_rows import DUPLICATE, KEPT
from fraud3000.data.storage.external_sort import sort_pieces
from fraud3000.data.storage.spill import SLICE, Spill
from fraud3000.schema import SCORED


class AnswerSpool:
    """SCORED rows of the input's transactions, on disk.

    Parameters
    ----------
    incoming
        The input.
    folder
        Folder for the rows.
    """

    def __init__(self, incoming: CleanedData, folder: Path) -> None:
        self._incoming, self._folder = incoming, folder
        self._scored = Spill(folder / "scored-by-time")
        self._repeated: list[pl.DataFrame] = []

    def add(self, indices: pl.Series, scored: pl.DataFrame) -> None:
        """Add scored rows with their indices in the input."""
        self._scored.add(scored.with_columns(indices.alias("row_index")))
        self._repeated.append(scored.filter(pl.col("transaction_id").is_in(self._incoming.duplicate_ids.implode())))

    def in_input_order(self) -> Spill:
        """Return one scored row per accepted row; a duplicate has the score of the row it repeats."""
        scored, repeated = Spill(self._folder / "scored", SCORED), pl.concat(self._repeated)
        in_input_order = sort_pieces(self._scored.scans(), ["row_index"], SLICE, self._folder / "order")
        for rows, mine in _zip_slices(self._incoming.outcomes(), in_input_order):
            first = rows.filter(pl.col("outcome") == KEPT).select("row_index").join(mine, on="row_index", how="left")
            again = rows.filter(pl.col("outcome") == DUPLICATE).select("row_index", "transaction_id")
            duplicates = again.join(repeated, on="transaction_id", how="left")
            scored.add(pl.concat([first, duplicates], how="diagonal").sort("row_index").select(*SCORED))
        return scored


def _zip_slices(
    outcomes: Iterator[pl.DataFrame], scored: Iterator[pl.DataFrame]
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield each slice of the input with the scored rows of that slice."""
    ready = next(scored)
    for rows in outcomes:
        indices = rows["row_index"].drop_nulls()
        last = indices[-1] if len(indices) else -1
        while ready.is_empty() or ready["row_index"][-1] < last:
            more = next(scored, None)
            if more is None:
                break
            ready = pl.concat([ready, more])
        of_these = pl.col("row_index") <= last
        yield rows, ready.filter(of_these)
        ready = ready.filter(~of_these)
