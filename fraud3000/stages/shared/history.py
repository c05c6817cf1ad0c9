"""Earlier transactions of rows to be scored, and checks that both fit together."""

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
from fraud3000.data.cleaning.clean import CleanedData
from fraud3000.data.storage.external_sort import sort_pieces
from fraud3000.data.storage.spill import SLICE, PartitionedSpill, Spill, read_slices
from fraud3000.errors import DataError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.params import ColumnMapping
from fraud3000.schema import LEDGER
from fraud3000.stages.shared.stream import Stream, TimeOrderedRows
from fraud3000.stages.shared.workspace import Workspace, scan

_PARTS = 64  # partitions of ids, compared one at a time


@dataclass(frozen=True)
class History:
    """Earlier transactions with their label records.

    Attributes
    ----------
    transactions
        TRANSACTIONS, in order of time if the data has time; None if there are none.
    ledger
        LEDGER.
    source
        Description of their source.
    warnings
        Warnings about their columns.
    """

    transactions: pl.LazyFrame | None
    ledger: pl.LazyFrame
    source: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def empty(cls) -> History:
        """Return an empty history."""
        return cls(None, pl.LazyFrame(schema=LEDGER), "none")

    @classmethod
    def from_cleaned(cls, taken: CleanedData, *, source: str) -> History:
        """Return the history read from the files that the user names."""
        warnings = tuple(f"history: {text}" for text in quality.column_warnings(taken.transactions, taken.nulled))
        return cls(taken.transactions, taken.ledger.rows, f"{source}, {taken.kept:,} rows", warnings)

    @classmethod
    def from_workspace(cls, workspace: Workspace, folder: Path) -> History:
        """Return the workspace's transactions, if prepare has run; `folder` is for sorting them if necessary."""
        if not workspace.transactions.exists():
            return cls.empty()
        transactions = scan(workspace.transactions, made_by="prepare")
        rows = transactions.select(pl.len()).collect().item()
        ledger = scan(workspace.labels, made_by="prepare")
        return cls(cls.sort_by_time(transactions, rows, folder), ledger, f"{workspace.transactions}, {rows:,} rows")

    @staticmethod
    def sort_by_time(transactions: pl.LazyFrame, rows: int, folder: Path) -> pl.LazyFrame:
        """Return transactions in order of time; those that prepare wrote are already sorted."""
        if "ts" not in transactions.collect_schema() or _sorted(transactions):
            return transactions
        ordered = Spill(folder / "history")
        pieces = [transactions.slice(start, SLICE) for start in range(0, rows, SLICE)]
        for piece in sort_pieces(pieces, ["ts", "transaction_id"], SLICE, folder / "history-order"):
            ordered.add(piece)
        return ordered.rows

    def join_input(self, incoming: CleanedData, mapping: ColumnMapping, folder: Path) -> Stream:
        """Join history and input into one stream with one ledger; of an id in both, only the input's row counts.

        Parameters
        ----------
        folder
            Folder for ids while they are compared.

        Raises
        ------
        DataError
            History and input have rows with the same `seq`.
        """
        ledger = pl.concat([part.select(*LEDGER) for part in (self.ledger, incoming.ledger.rows)])
        new = TimeOrderedRows(incoming.indexed.rows, np.ones(incoming.kept, dtype=np.bool_))
        unlabelled = np.zeros(incoming.read, dtype=np.bool_)
        numbered = mapping.columns.seq is not None
        if self.transactions is None:
            return Stream(None, new, unlabelled, ledger, numbered)
        counts = np.ones(self.transactions.select(pl.len()).collect().item(), dtype=np.bool_)
        for again in in_both(self.transactions, new.rows, folder):
            counts[again["row"].to_numpy()] = False
            unlabelled[again.filter("still_unlabelled")["row_index"].to_numpy()] = True
        stream = Stream(TimeOrderedRows(self.transactions, counts), new, unlabelled, ledger, numbered)
        if numbered:
            _check_arrivals(stream, folder)
        return stream


def mismatch_warnings(stream: Stream, mapping: ColumnMapping) -> tuple[str, ...]:
    """Return warnings that history and input may not belong together."""
    if stream.before is None:
        return ()
    return (
        *_possible_duplicates(stream.before, stream.new, mapping),
        *_key_mismatch(stream.before.rows, stream.new.rows),
    )


def require_span(stream: Stream, catalogue: Catalogue) -> None:
    """Refuse input with less history than the longest window.

    Raises
    ------
    DataError
        Names the length of the history and the length needed.
    """
    if not catalogue.lookback or not stream.timed:
        return
    first = stream.new.rows.select(pl.col("ts").min()).collect().item()
    reach = timedelta(microseconds=stream.first - stream.earliest)
    if reach < timedelta(seconds=catalogue.lookback):
        raise DataError(
            f"history: only {reach.total_seconds() / 86_400:.1f} days lie before the first row to be scored, "
            f"{first:%Y-%m-%d %H:%M}, and the longest window needs {durations.text(catalogue.lookback)}",
            hint="Give earlier transactions with --history, or accept incomplete features with --cold-start.",
        )


def in_both(before: pl.LazyFrame, rows: pl.LazyFrame, folder: Path) -> Iterator[pl.DataFrame]:
    """Yield the rows of the history that the input has too, one partition of ids at a time.

    A row that had no label in the history stays unlabelled if the input has no label either.

    Parameters
    ----------
    before
        TRANSACTIONS.
    rows
        TRANSACTIONS with `row_index`.
    folder
        Folder for ids.

    Yields
    ------
    polars.DataFrame
        `row` (index in the history), `row_index` (index in the input), and `still_unlabelled` (still without a label).
    """
    theirs = _numbered(before.select("transaction_id", "labelled"))
    mine = read_slices(rows.select("transaction_id", "row_index", no_label=pl.col("is_fraud").is_null()))
    for both in _matched(theirs, mine, "transaction_id", folder / "ids"):
        yield both.select("row", "row_index", still_unlabelled=~pl.col("labelled") & pl.col("no_label"))


def _numbered(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    number = 0
    for piece in read_slices(rows):
        yield piece.with_row_index("row", offset=number)
        number += piece.height


def _matched(
    left: Iterable[pl.DataFrame], right: Iterable[pl.DataFrame], on: str, folder: Path
) -> Iterator[pl.DataFrame]:
    """Join rows by a column; both sides are partitioned by its hash so that one partition is in memory at a time."""
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
    for piece in read_slices(transactions.select("ts")):
        ts = piece["ts"]
        if not ts.is_sorted() or (last is not None and ts[0] < last):
            return False
        last = ts[-1]
    return True


def _check_arrivals(stream: Stream, folder: Path) -> None:
    if stream.before is None:
        return
    found = _matched(stream.before.column("seq"), stream.new.column("seq"), "seq", folder / "arrival-numbers")
    shared = pl.concat([pl.DataFrame(schema={"seq": pl.Int64}), *found])["seq"]
    if len(shared):
        raise DataError(
            f"seq: {len(shared):,} rows of the history have the same number as rows of the input, "
            f"such as {shared.sort()[0]}",
            hint="Continue the numbers of the history, or give the history of this input with --history.",
        )


def _possible_duplicates(before: TimeOrderedRows, new: TimeOrderedRows, mapping: ColumnMapping) -> tuple[str, ...]:
    """Warn if rows of the input may be in the history too, but have no ids to match them by."""
    if mapping.columns.transaction_id is not None or "ts" not in new.rows.collect_schema():
        return ()
    within = int(before.counts[before.before([new.at(0)])[0] :].sum())
    text = f"The rows have no ids, and {within:,} rows of the history are in their time span: rows in both count twice."
    return (text,) if within else ()


def _key_mismatch(before: pl.LazyFrame, new: pl.LazyFrame) -> tuple[str, ...]:
    """Warn if the card numbers of input and history were hashed with different keys, so that no card matches."""
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
