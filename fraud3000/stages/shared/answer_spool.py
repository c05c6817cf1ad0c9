"""Answers given in order of time, put in the order of the input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from fraud3000.data.cleaning.clean import Intake
from fraud3000.data.cleaning.file_rows import DUPLICATE, KEPT
from fraud3000.data.storage.external_sort import sort_pieces
from fraud3000.data.storage.spill import SLICE, Spill
from fraud3000.schema import SCORED


class AnswerSpool:
    """SCORED rows of the input's transactions, kept on disk.

    Parameters
    ----------
    incoming
        The input.
    folder
        Where answers are kept.
    """

    def __init__(self, incoming: Intake, folder: Path) -> None:
        self._incoming, self._folder = incoming, folder
        self._given = Spill(folder / "given")
        self._repeated: list[pl.DataFrame] = []

    def add(self, places: pl.Series, answers: pl.DataFrame) -> None:
        """Take the answers of rows at some places of the input."""
        self._given.add(answers.with_columns(places.alias("place")))
        self._repeated.append(answers.filter(pl.col("transaction_id").is_in(self._incoming.repeated.implode())))

    def in_input_order(self) -> Spill:
        """One answer for each accepted row; a duplicate has that of the row it repeats."""
        scored, repeated = Spill(self._folder / "scored", SCORED), pl.concat(self._repeated)
        answers = sort_pieces(self._given.scans(), ["place"], SLICE, self._folder / "order")
        for rows, mine in _side_by_side(self._incoming.outcomes(), answers):
            first = rows.filter(pl.col("outcome") == KEPT).select("place").join(mine, on="place", how="left")
            again = rows.filter(pl.col("outcome") == DUPLICATE).select("place", "transaction_id")
            told = again.join(repeated, on="transaction_id", how="left")
            scored.add(pl.concat([first, told], how="diagonal").sort("place").select(*SCORED))
        return scored


def _side_by_side(
    outcomes: Iterator[pl.DataFrame], answers: Iterator[pl.DataFrame]
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Each slice of the input with the answers to its rows."""
    ready = next(answers)
    for rows in outcomes:
        places = rows["place"].drop_nulls()
        last = places[-1] if len(places) else -1
        while ready.is_empty() or ready["place"][-1] < last:
            more = next(answers, None)
            if more is None:
                break
            ready = pl.concat([ready, more])
        of_these = pl.col("place") <= last
        yield rows, ready.filter(of_these)
        ready = ready.filter(~of_these)
