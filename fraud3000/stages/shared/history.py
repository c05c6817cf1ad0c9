"""Transactions before those to be scored, and whether they fit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from fraud3000 import durations
from fraud3000.data import quality
from fraud3000.data.cleaning import cards
from fraud3000.data.cleaning.clean import Intake
from fraud3000.data.storage.external_sort import in_order
from fraud3000.data.storage.spill import SLICE, PartitionedSpill, Spill, in_pieces
from fraud3000.errors import DataError
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.params import ColumnMapping
from fraud3000.schema import LEDGER
from fraud3000.stages.shared.stream import Stream, TimeOrderedRows
from fraud3000.stages.shared.workspace import Workspace, scan

_PARTS = 64  # of the ids of history and input, each compared at a time


@dataclass(frozen=True)
class History:
    """Earlier transactions with what was recorded about them.

    Attributes
    ----------
    transactions
        TRANSACTIONS, in order of time where there is time; None where there are none.
    ledger
        LEDGER.
    source
        Where they come from.
    warnings
        What was found in its columns when it was read.
    """

    transactions: pl.LazyFrame | None
    ledger: pl.LazyFrame
    source: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def empty(cls) -> History:
        """No history at all."""
        return cls(None, pl.LazyFrame(schema=LEDGER), "none")

    @classmethod
    def from_intake(cls, taken: Intake, *, source: str) -> History:
        """The history that the user names."""
        warnings = tuple(f"history: {text}" for text in quality.column_warnings(taken.transactions, taken.lost))
        return cls(taken.transactions, taken.ledger.rows, f"{source}, {taken.kept:,} rows", warnings)

    @classmethod
    def from_workspace(cls, workspace: Workspace, folder: Path) -> History:
        """The workspace's own, where prepare has run; put in order in a folder should it not be."""
        if not workspace.transactions.exists():
            return cls.empty()
        transactions = scan(workspace.transactions, made_by="prepare")
        rows = transactions.select(pl.len()).collect().item()
        ledger = scan(workspace.labels, made_by="prepare")
        return cls(cls.sort_by_time(transactions, rows, folder), ledger, f"{workspace.transactions}, {rows:,} rows")

    @staticmethod
    def sort_by_time(transactions: pl.LazyFrame, rows: int, folder: Path) -> pl.LazyFrame:
        """Transactions in order of time, which those that prepare wrote already are."""
        if "ts" not in transactions.collect_schema() or _sorted(transactions):
            return transactions
        ordered = Spill(folder / "history")
        pieces = [transactions.slice(start, SLICE) for start in range(0, rows, SLICE)]
        for piece in in_order(pieces, ["ts", "transaction_id"], SLICE, folder / "history-order"):
            ordered.add(piece)
        return ordered.rows

    def join_input(self, incoming: Intake, mapping: ColumnMapping, folder: Path) -> Stream:
        """History and input as one stream and one ledger; an id that is in both counts once, as the input has it.

        Parameters
        ----------
        folder
            Where ids are kept while they are compared.

        Raises
        ------
        DataError
            Both have rows that arrived at the same place.
        """
        ledger = pl.concat([part.select(*LEDGER) for part in (self.ledger, incoming.ledger.rows)])
        new = TimeOrderedRows(incoming.placed.rows, np.ones(incoming.kept, dtype=np.bool_))
        unlabelled = np.zeros(incoming.read, dtype=np.bool_)
        numbered = mapping.columns.seq is not None
        if self.transactions is None:
            return Stream(None, new, unlabelled, ledger, numbered)
        counts = np.ones(self.transactions.select(pl.len()).collect().item(), dtype=np.bool_)
        for again in in_both(self.transactions, new.rows, folder):
            counts[again["row"].to_numpy()] = False
            unlabelled[again.filter("still_silent")["place"].to_numpy()] = True
        stream = Stream(TimeOrderedRows(self.transactions, counts), new, unlabelled, ledger, numbered)
        if numbered:
            _check_arrivals(stream, folder)
        return stream


def mismatch_warnings(stream: Stream, mapping: ColumnMapping) -> tuple[str, ...]:
    """What makes it doubtful that history and input speak of the same cards and rows."""
    if stream.before is None:
        return ()
    return (*_perhaps_twice(stream.before, stream.new, mapping), *_other_keys(stream.before.rows, stream.new.rows))


def require_span(stream: Stream, catalogue: Catalogue) -> None:
    """Refuse input whose first row lies less than the longest window after the first row of all.

    Raises
    ------
    DataError
        Saying how much history there is and how much is needed.
    """
    if not catalogue.longest or not stream.timed:
        return
    first = stream.new.rows.select(pl.col("ts").min()).collect().item()
    reach = timedelta(microseconds=stream.first - stream.earliest)
    if reach < timedelta(seconds=catalogue.longest):
        raise DataError(
            f"history: only {reach.total_seconds() / 86_400:.1f} days lie before the first row to be scored, "
            f"{first:%Y-%m-%d %H:%M}, and the longest window needs {durations.text(catalogue.longest)}",
            hint="Give earlier transactions with --history, or accept incomplete features with --cold-start.",
        )


def in_both(before: pl.LazyFrame, rows: pl.LazyFrame, folder: Path) -> Iterator[pl.DataFrame]:
    """Which rows of the history the input has too, found part by part of the ids.

    A row that came without a label from its own source is not labelled by coming again without one.

    Parameters
    ----------
    before
        TRANSACTIONS.
    rows
        TRANSACTIONS with `place`.
    folder
        Where ids are kept.

    Yields
    ------
    polars.DataFrame
        `row` in the history, `place` in the input, and whether the row is `still_silent`.
    """
    theirs = _numbered(before.select("transaction_id", "labelled"))
    mine = in_pieces(rows.select("transaction_id", "place", silent=pl.col("is_fraud").is_null()))
    for found in _matched(theirs, mine, "transaction_id", folder / "ids"):
        yield found.select("row", "place", still_silent=~pl.col("labelled") & pl.col("silent"))


def _numbered(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    number = 0
    for piece in in_pieces(rows):
        yield piece.with_row_index("row", offset=number)
        number += piece.height


def _matched(
    left: Iterable[pl.DataFrame], right: Iterable[pl.DataFrame], on: str, folder: Path
) -> Iterator[pl.DataFrame]:
    """Join rows by a column, both sides dealt out by its hash so that memory holds one part of them."""
    sides = [PartitionedSpill(folder / name) for name in ("left", "right")]
    for side, pieces in zip(sides, (left, right), strict=True):
        for piece in pieces:
            side.add(piece, piece[on].hash() % _PARTS)
    for part in range(_PARTS):
        theirs, mine = (side.take(part) for side in sides)
        if theirs.height and mine.height:
            yield theirs.join(mine, on=on)


def _sorted(transactions: pl.LazyFrame) -> bool:
    last = None
    for piece in in_pieces(transactions.select("ts")):
        ts = piece["ts"]
        if not ts.is_sorted() or (last is not None and ts[0] < last):
            return False
        last = ts[-1]
    return True


def _check_arrivals(stream: Stream, folder: Path) -> None:
    if stream.before is None:
        return
    found = _matched(stream.before.column("seq"), stream.new.column("seq"), "seq", folder / "places")
    shared = pl.concat([pl.DataFrame(schema={"seq": pl.Int64}), *found])["seq"]
    if len(shared):
        raise DataError(
            f"seq: {len(shared):,} rows of the history arrived at places that rows of the input have too, "
            f"such as {shared.sort()[0]}",
            hint="Number arrivals on from the history, or give the history that belongs to the input with --history.",
        )


def _perhaps_twice(before: TimeOrderedRows, new: TimeOrderedRows, mapping: ColumnMapping) -> tuple[str, ...]:
    """Warn where the input may be in the history already, but has no ids to tell it by."""
    if mapping.columns.transaction_id is not None or "ts" not in new.rows.collect_schema():
        return ()
    within = int(before.counts[before.before([new.at(0)])[0] :].sum())
    text = (
        f"The rows have no ids, and {within:,} rows of the history lie in their time: any that are in both count twice."
    )
    return (text,) if within else ()


def _other_keys(before: pl.LazyFrame, new: pl.LazyFrame) -> tuple[str, ...]:
    """Warn where no card of the input can be found in the history, since another key hashed its number."""
    if any("card_id" not in rows.collect_schema() for rows in (before, new)):
        return ()
    distinct = pl.col("card_id").unique()
    mine, theirs = (
        cards.key_ids(rows.select(distinct).collect(engine="streaming").to_series()) for rows in (new, before)
    )
    if not mine or not theirs or mine & theirs:
        return ()
    keys = f"the key {', '.join(sorted(mine))}, those of the history with {', '.join(sorted(theirs))}"
    return (f"Card numbers were hashed with {keys}: no card of the input has a history.",)
