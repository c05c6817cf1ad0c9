"""Transactions before those to be scored, and whether they fit them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from fraud3000 import durations, labels
from fraud3000.data import cards
from fraud3000.data.clean import Ingested
from fraud3000.errors import DataError
from fraud3000.features.spec import Catalogue
from fraud3000.params import Mapping
from fraud3000.schema import LEDGER, TRANSACTIONS
from fraud3000.stages.workspace import Workspace, read


@dataclass(frozen=True)
class History:
    """Earlier transactions with what was recorded about them.

    Attributes
    ----------
    transactions
        TRANSACTIONS; None where there are none.
    ledger
        LEDGER.
    told
        Where they come from.
    """

    transactions: pl.DataFrame | None
    ledger: pl.DataFrame
    told: str

    @classmethod
    def given(cls, ingested: Ingested, *, told: str) -> History:
        """The history that the user names."""
        return cls(ingested.transactions, ingested.ledger, f"{told}, {ingested.transactions.height:,} rows")

    @classmethod
    def of(cls, workspace: Workspace) -> History:
        """The workspace's own, where prepare has run."""
        if not workspace.transactions.exists():
            return cls(None, pl.DataFrame(schema=LEDGER), "none")
        transactions = read(workspace.transactions, made_by="prepare")
        told = f"{workspace.transactions}, {transactions.height:,} rows"
        return cls(transactions, read(workspace.labels, made_by="prepare"), told)

    def joined_by(self, incoming: Ingested, mapping: Mapping) -> tuple[pl.DataFrame, pl.DataFrame]:
        """History and input as one stream and one ledger; an id that is in both counts once, as the input has it.

        Raises
        ------
        DataError
            Both have rows that arrived at the same place.
        """
        ledger = labels.merge(self.ledger, incoming.ledger)
        if self.transactions is None:
            return incoming.transactions, ledger
        rows = _labelled_as_before(incoming.transactions, self.transactions)
        shared = [name for name in rows.columns if name in self.transactions.columns]
        before = self.transactions.join(rows, on="transaction_id", how="anti").select(shared)
        together = pl.concat([before, rows], how="diagonal")
        if mapping.columns.seq is not None:
            _check_arrivals(before, rows)
        elif "ts" in together.columns:
            place = pl.struct("ts", "transaction_id").rank("ordinal").cast(TRANSACTIONS["seq"]) - 1
            together = together.with_columns(seq=place)
        return together, ledger

    def doubts(self, incoming: Ingested, mapping: Mapping) -> tuple[str, ...]:
        """What makes it doubtful that history and input speak of the same cards and rows."""
        if self.transactions is None:
            return ()
        new = incoming.transactions
        return (*_perhaps_twice(self.transactions, new, mapping), *_other_keys(self.transactions, new))


def require_span(transactions: pl.DataFrame, incoming: Ingested, catalogue: Catalogue) -> None:
    """Refuse input whose first row lies less than the longest window after the first row of all.

    Raises
    ------
    DataError
        Saying how much history there is and how much is needed.
    """
    if not catalogue.span or "ts" not in transactions.columns:
        return
    first = incoming.transactions.select(pl.col("ts").min()).item()
    reach = first - transactions.select(pl.col("ts").min()).item()
    if reach < timedelta(seconds=catalogue.span):
        raise DataError(
            f"history: only {reach.total_seconds() / 86_400:.1f} days lie before the first row to be scored, "
            f"{first:%Y-%m-%d %H:%M}, and the longest window needs {durations.text(catalogue.span)}",
            hint="Give earlier transactions with --history, or accept incomplete features with --cold-start.",
        )


def _labelled_as_before(rows: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """A row that came without a label from its own source is not labelled by coming again without one."""
    silent = before.filter(~pl.col("labelled"))["transaction_id"]
    still_silent = pl.col("transaction_id").is_in(silent.implode()) & pl.col("is_fraud").is_null()
    return rows.with_columns(labelled=pl.col("labelled") & ~still_silent)


def _check_arrivals(before: pl.DataFrame, rows: pl.DataFrame) -> None:
    shared = before.join(rows, on="seq", how="semi")["seq"]
    if len(shared):
        raise DataError(
            f"seq: {len(shared):,} rows of the history arrived at places that rows of the input have too, "
            f"such as {shared[0]}",
            hint="Number arrivals on from the history, or give the history that belongs to the input with --history.",
        )


def _perhaps_twice(before: pl.DataFrame, new: pl.DataFrame, mapping: Mapping) -> tuple[str, ...]:
    """Warn where the input may be in the history already, but has no ids to tell it by."""
    if mapping.columns.transaction_id is not None or "ts" not in new.columns:
        return ()
    others = before.join(new, on="transaction_id", how="anti")
    within = others.filter(pl.col("ts") >= new["ts"].min()).height
    text = (
        f"The rows have no ids, and {within:,} rows of the history lie in their time: any that are in both count twice."
    )
    return (text,) if within else ()


def _other_keys(before: pl.DataFrame, new: pl.DataFrame) -> tuple[str, ...]:
    """Warn where no card of the input can be found in the history, since another key hashed its number."""
    if "card_id" not in new.columns or "card_id" not in before.columns:
        return ()
    mine, theirs = cards.key_ids(new["card_id"]), cards.key_ids(before["card_id"])
    if not mine or not theirs or mine & theirs:
        return ()
    keys = f"the key {', '.join(sorted(mine))}, those of the history with {', '.join(sorted(theirs))}"
    return (f"Card numbers were hashed with {keys}: no card of the input has a history.",)
