"""Label records to the journal of a service that does not run, and what its ledger says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice

import polars as pl

from fraud3000.data import cards, clean, places, sources
from fraud3000.features.online.facts import EPOCH, microseconds
from fraud3000.interrupts import uninterrupted
from fraud3000.params import Params
from fraud3000.service import seals
from fraud3000.service.entries import Label
from fraud3000.service.folder import Folder
from fraud3000.service.ledger import Said, settled
from fraud3000.service.past import newest
from fraud3000.service.sqlite import SqliteJournal
from fraud3000.stages.kept import service_folder
from fraud3000.stages.summary import Summary, Table

_AT_ONCE = 10_000


def add(
    params: Params, transaction_id: str, *, is_fraud: bool, source: str, reported_at: datetime | None = None
) -> Summary:
    """Record what a source says of one transaction, known from now on.

    Raises
    ------
    UnavailableError
        The service runs (send the record to it), or its journal cannot be written.
    """
    reported = None if reported_at is None else microseconds(_zoned(reported_at))
    return _record(params, [Said(transaction_id, int(is_fraud), source, reported)], command="labels add")


def take_in(params: Params, location: str) -> Summary:
    """Record the labels of a raw file, known from when a file's labels are: when reported, and not before the label delay.

    Records of transactions that have not come yet are kept for them.

    Raises
    ------
    DataError
        The file cannot be read.
    UnavailableError
        The service runs (send the records to it), or its journal cannot be written.
    """
    with places.fetched(location) as files:
        ledger = clean.ingest(
            files,
            sources.resolve(params.prepare),
            label_delay=params.prepare.label_delay,
            earliest=params.prepare.earliest,
            latest=params.prepare.latest,
            card_key=partial(cards.load_key, os.environ),
        ).ledger
    times = pl.col("reported_at", "recorded_at").dt.epoch("us")
    told = ledger.select("transaction_id", "is_fraud", "source", times).iter_rows()
    return _record(params, (Said(*row) for row in told), command="labels import")


def status(params: Params) -> Summary:
    """Tell how many label records there are of each source, and since when."""
    labels: list[Label] = []
    root = service_folder(params)
    if (root / "journal.db").exists():
        with _journal(params) as (_, journal):
            labels = [entry for entry in journal.after(0) if isinstance(entry, Label)]
    rows = []
    for source in sorted({label.source for label in labels}):
        mine = [label for label in labels if label.source == source]
        last = EPOCH + timedelta(microseconds=max(label.recorded_at for label in mine))
        frauds = sum(label.is_fraud for label in mine)
        rows.append((source, *(f"{n:,}" for n in (len(mine), frauds, len(mine) - frauds)), f"{last:%Y-%m-%d %H:%M}"))
    facts = {
        "journal": str(root),
        "label records": len(labels),
        "transactions": len({label.transaction_id for label in labels}),
    }
    columns = ("source", "records", "fraud", "legitimate", "last recorded")
    return Summary(command="labels status", facts=facts, tables=(Table("Records by source", columns, tuple(rows)),))


def _record(params: Params, said: Iterable[Said], *, command: str) -> Summary:
    counts: Counter[str] = Counter()
    with _journal(params) as (folder, journal):
        latest, now = newest(folder.past(), journal), microseconds(datetime.now(UTC))
        coming = iter(said)
        while part := list(islice(coming, _AT_ONCE)):
            new: dict[str, list[Label]] = {}
            labels: list[Label] = []
            for one in part:
                known = [*journal.of_transaction(one.transaction_id), *new.get(one.transaction_id, ())]
                number = journal.last + len(labels) + 1
                label = settled(one, known, number=number, now=now, newest=latest)
                counts["records read"] += 1
                if label.number == number:
                    labels.append(label)
                    new.setdefault(one.transaction_id, []).append(label)
            with uninterrupted():
                journal.append(labels)
            counts["recorded"] += len(labels)
    repeated = counts["records read"] - counts["recorded"]
    return Summary(command=command, facts={**counts, "said before": repeated, "journal": str(folder.root)})


@contextmanager
def _journal(params: Params) -> Iterator[tuple[Folder, SqliteJournal]]:
    with (
        closing(Folder(service_folder(params))) as folder,
        closing(folder.journal(key=seals.audit_key(os.environ), flush=params.serve.flush)) as journal,
    ):
        yield folder, journal


def _zoned(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
