"""Label records to the journal of a service that does not run, and its ledger to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import polars as pl

from fraud3000.data.cleaning import clean, label_files, sources
from fraud3000.data.cleaning.row_errors import quarantine
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.data.storage import atomic_write, locations
from fraud3000.errors import DataError, ParamsError
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.params import Params
from fraud3000.redact import in_id, mask
from fraud3000.schema import LEDGER
from fraud3000.service.data_dir import DataDir
from fraud3000.service.engine.clock import require_plausible, wall
from fraud3000.service.engine.label_input import LabelInput, deduplicate
from fraud3000.service.engine.seed_history import newest
from fraud3000.service.journal import hash_chain, history_frames
from fraud3000.service.journal.entries import Entry, LabelEntry
from fraud3000.service.journal.repair import last_received
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.signals import uninterrupted
from fraud3000.stages.keys import key_of
from fraud3000.stages.prepare import reasons
from fraud3000.stages.shared.service_store import anchors_of, service_folder
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace


def add(
    params: Params, transaction_id: str, *, is_fraud: bool, source: str, reported_at: datetime | None = None
) -> Summary:
    """Record what a source says of one transaction, known from now on.

    Raises
    ------
    DataError
        The transaction's id or the source contains a card number.
    UnavailableError
        The service runs (send the record to it), or its journal cannot be written.
    """
    accepted = sources.resolve(params.prepare).card_like_ids or ()
    if "transaction_id" not in accepted and in_id(transaction_id).passes:
        raise DataError("transaction_id: contains a card number", hint="Name the transaction by another id.")
    if mask(source) != source:
        raise DataError("source: contains a card number", hint="Name who says so, such as chargeback or analyst.")
    reported = None if reported_at is None else microseconds(_zoned(reported_at))
    return _record(params, [LabelInput(transaction_id, int(is_fraud), source, reported)], command="labels add")


def take_in(params: Params, location: str) -> Summary:
    """Record the labels of a file, all of them or none.

    Those of raw transactions are known from when a file's labels are: when reported, and not before the label delay. A file
    of label records alone is read as `prepare.labels` says, or by the names of LEDGER; a record is known from its
    `recorded_at`, and from now on where it has none. Records of transactions that have not come yet are kept for them.

    Raises
    ------
    DataError
        The file cannot be read.
    UnavailableError
        The service runs (send the records to it), or its journal cannot be written.
    """
    with locations.fetched(location) as found:
        read = labels_in(params, found)
    done = _record(params, _said(read.ledger), command="labels import")
    if read.quarantine.is_empty():
        return done
    path = Workspace.from_params(params).refused_labels
    with atomic_write.whole(path) as (part,):
        read.quarantine.write_parquet(part)
    facts = {"rows quarantined": read.quarantine.height, **done.facts}
    return replace(done, facts=facts, tables=reasons(read.quarantine.lazy()), outputs={"quarantine": str(path)})


@dataclass(frozen=True)
class Read:
    """What files say of labels.

    Attributes
    ----------
    transactions
        TRANSACTIONS; None where the files hold label records alone.
    """

    transactions: pl.DataFrame | None
    ledger: pl.DataFrame
    quarantine: pl.DataFrame


def labels_in(params: Params, found: Sequence[DataFile], known: pl.LazyFrame | None = None) -> Read:
    """Read files of raw transactions, or of label records alone.

    Parameters
    ----------
    known
        TRANSACTIONS of which the records are; None takes those of any.

    Raises
    ------
    DataError
        A file cannot be read.
    SchemaError
        Columns are missing, all of them named.
    """
    section, mapping = params.prepare, sources.resolve(params.prepare)
    forms = {file: label_files.form_of(file, mapping) for file in found}
    accepted = None if mapping.card_like_ids is None else "transaction_id" in mapping.card_like_ids
    read = partial(
        label_files.read,
        label_delay=section.label_delay,
        earliest=section.earliest,
        latest=section.latest,
        card_like_ids=accepted,
    )
    told = [read([file], section.labels or form, known) for file, form in forms.items() if form is not None]
    ledgers, refused = [one.ledger for one in told], [one.quarantine for one in told]
    rows = [file for file, form in forms.items() if form is None]
    if not rows:
        return Read(None, pl.concat(ledgers), quarantine(refused))
    taken = clean.ingest(
        rows,
        mapping,
        label_delay=section.label_delay,
        earliest=section.earliest,
        latest=section.latest,
        card_key=key_of(params),
    )
    ledger = pl.concat([taken.ledger.select(*LEDGER), *ledgers])
    return Read(taken.transactions, ledger, quarantine([taken.quarantine, *refused]))


def export(params: Params, file: str, transactions: str | None = None) -> Summary:
    """Write the service's ledger, what it began with and what came in since, and with it its transactions.

    A running service is not disturbed. `prepare` reads both files as they are, the ledger as `prepare.labels.input`.

    Parameters
    ----------
    file, transactions
        Parquet files to write, here or in S3; None for no transactions.

    Raises
    ------
    CheckFailed
        The journal is not what it was when it was sealed.
    DataError
        There is no service.
    ParamsError
        A file is not named as Parquet.
    UnavailableError
        A file cannot be written.
    """
    wanted = {"labels": file} if transactions is None else {"labels": file, "transactions": transactions}
    for name in wanted.values():
        if not name.endswith(".parquet"):
            raise ParamsError(f"{name}: is written as Parquet", hint="Name a file that ends with .parquet.")
    root = service_folder(params)
    known = history_frames.known(root, key=hash_chain.audit_key(os.environ))
    if known is None:
        raise DataError(f"{root}: no service has kept anything there", hint="See serve.store of the params.")
    with locations.whole(*map(locations.place, wanted.values())) as parts:
        atomic_write.write_parquet(known.ledger.lazy(), parts[0])
        for part in parts[1:]:
            atomic_write.write_parquet(known.transactions, part)
    facts = {
        "service": str(root),
        "label records": known.ledger.height,
        "transactions": known.rows,
    }
    said = f"prepare.labels.input: {file}" + ("" if transactions is None else f", prepare.input: {transactions}")
    return Summary(command="labels export", facts=facts, outputs=wanted, next_step=f"fraud3000 prepare, with {said}")


def _said(ledger: pl.DataFrame) -> list[LabelInput]:
    times = pl.col("reported_at", "recorded_at").dt.epoch("us")
    return [LabelInput(*row) for row in ledger.select("transaction_id", "is_fraud", "source", times).iter_rows()]


def _record(params: Params, said: Sequence[LabelInput], *, command: str) -> Summary:
    with _journal(params) as (folder, journal):
        trusted = params.serve.clock
        require_plausible(wall(), last_received(journal), jump=trusted.jump, gap=trusted.gap)
        latest, now = newest(folder.past(), journal), microseconds(wall())
        new: dict[str, list[LabelEntry]] = {}
        added: list[LabelEntry] = []
        for one in said:
            known = [*journal.of_transaction(one.transaction_id), *new.get(one.transaction_id, ())]
            number = journal.last + len(added) + 1
            label = _told_before(one, known) or deduplicate(one, known, number=number, now=now, newest=latest)
            if label.number == number:
                added.append(label)
                new.setdefault(one.transaction_id, []).append(label)
        with uninterrupted():
            journal.append(added)
    counts = {"records read": len(said), "recorded": len(added), "said before": len(said) - len(added)}
    return Summary(command=command, facts={**counts, "journal": str(folder.root)})


def _told_before(said: LabelInput, known: Sequence[Entry]) -> LabelEntry | None:
    """The record that says the same of the same report, so that a file that comes again changes nothing.

    What its source said in between does not matter, unlike for a record without the time of its report.
    """
    if said.reported_at is None:
        return None
    same = (said.source, said.is_fraud, said.reported_at)
    told = (one for one in known if isinstance(one, LabelEntry) and (one.source, one.is_fraud, one.reported_at) == same)
    return next(told, None)


@contextmanager
def _journal(params: Params) -> Iterator[tuple[DataDir, SqliteJournal]]:
    with (
        closing(DataDir(service_folder(params), anchors_of(params))) as folder,
        closing(folder.journal(key=hash_chain.audit_key(os.environ), flush=params.serve.flush)) as journal,
    ):
        yield folder, journal


def _zoned(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
