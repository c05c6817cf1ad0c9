"""`labels add`, `import` and `export`: write label records to the journal of a stopped service; export its ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime

import polars as pl

from fraud3000.data.cleaning import sources
from fraud3000.data.storage import atomic_write, locations
from fraud3000.errors import DataError, ParamsError
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.params import Params
from fraud3000.redact import find_in_id, mask
from fraud3000.service.data_dir import DataDir
from fraud3000.service.engine.clock import require_plausible, wall
from fraud3000.service.engine.label_input import LabelInput, deduplicate
from fraud3000.service.engine.seed_history import newest_ts
from fraud3000.service.entries import Entry, LabelEntry
from fraud3000.service.journal import hash_chain, history_frames
from fraud3000.service.journal.repair import last_received
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.signals import uninterrupted
from fraud3000.stages.shared.input_files import quarantine_table, read_labels
from fraud3000.stages.shared.service_store import checkpoint_file, service_folder
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.utc import as_utc


def add(
    params: Params, transaction_id: str, *, is_fraud: bool, source: str, reported_at: datetime | None = None
) -> Summary:
    """Record the label of one transaction by one source, known from now on.

    Raises
    ------
    DataError
        The transaction's id or the source contains a card number.
    UnavailableError
        The service is running (send the record to it instead), or its journal cannot be written.
    """
    accepted = sources.resolve(params.prepare).card_like_ids or ()
    if "transaction_id" not in accepted and find_in_id(transaction_id).passes:
        raise DataError("transaction_id: contains a card number", hint="Use an id that is not a card number.")
    if mask(source) != source:
        raise DataError("source: contains a card number", hint="State the source, such as chargeback or analyst.")
    reported = None if reported_at is None else microseconds(as_utc(reported_at))
    return _record(params, [LabelInput(transaction_id, int(is_fraud), source, reported)], command="labels add")


def import_labels(params: Params, location: str) -> Summary:
    """Record the labels of a file, all or none.

    Labels of raw transactions are known from their report time, but not before the label delay has passed. A file that
    contains only label records is read as `prepare.labels` states, or by the column names of LEDGER; a record is known from
    its `recorded_at`, or from now on if it has none. Records of transactions that have not arrived yet are stored, too.

    Raises
    ------
    DataError
        The file cannot be read.
    UnavailableError
        The service is running (send the records to it instead), or its journal cannot be written.
    """
    with locations.fetch(location) as data_files:
        labels = read_labels(params, data_files)
    summary = _record(params, _label_inputs(labels.ledger), command="labels import")
    if labels.quarantine.is_empty():
        return summary
    path = Workspace.from_params(params).refused_labels
    with atomic_write.atomic_outputs(path) as (part,):
        labels.quarantine.write_parquet(part)
    facts = {"rows quarantined": labels.quarantine.height, **summary.facts}
    tables = quarantine_table(labels.quarantine.lazy())
    return replace(summary, facts=facts, tables=tables, outputs={"quarantine": str(path)})


def export(params: Params, file: str, transactions: str | None = None) -> Summary:
    """Export the service's ledger (its initial records and all records since), and optionally its transactions.

    A running service is not affected. `prepare` can read both files, the ledger as `prepare.labels.input`.

    Parameters
    ----------
    file, transactions
        Parquet files to write, on this machine or in S3; None omits the transactions.

    Raises
    ------
    CheckFailed
        The journal was changed after it was sealed.
    DataError
        There is no service data.
    ParamsError
        A file name does not end with .parquet.
    UnavailableError
        A file cannot be written.
    """
    outputs = {"labels": file} if transactions is None else {"labels": file, "transactions": transactions}
    for name in outputs.values():
        if not name.endswith(".parquet"):
            raise ParamsError(
                f"{name}: only Parquet can be written", hint="Choose a file name that ends with .parquet."
            )
    root = service_folder(params)
    known = history_frames.read_history(root, key=hash_chain.audit_key(os.environ))
    if known is None:
        raise DataError(f"{root}: contains no service data", hint="Check serve.store in the params.")
    with locations.atomic_outputs(*map(locations.parse, outputs.values())) as parts:
        atomic_write.write_parquet(known.ledger.lazy(), parts[0])
        for part in parts[1:]:
            atomic_write.write_parquet(known.transactions, part)
    facts = {
        "service": str(root),
        "label records": known.ledger.height,
        "transactions": known.rows,
    }
    settings = f"prepare.labels.input: {file}" + ("" if transactions is None else f", prepare.input: {transactions}")
    return Summary(
        command="labels export", facts=facts, outputs=outputs, next_step=f"fraud3000 prepare, with {settings}"
    )


def _label_inputs(ledger: pl.DataFrame) -> list[LabelInput]:
    times = pl.col("reported_at", "recorded_at").dt.epoch("us")
    return [LabelInput(*row) for row in ledger.select("transaction_id", "is_fraud", "source", times).iter_rows()]


def _record(params: Params, labels: Sequence[LabelInput], *, command: str) -> Summary:
    with _journal(params) as (folder, journal):
        trusted = params.serve.clock
        require_plausible(wall(), last_received(journal), jump=trusted.jump, gap=trusted.gap)
        latest, now = newest_ts(folder.past(), journal), microseconds(wall())
        new: dict[str, list[LabelEntry]] = {}
        added: list[LabelEntry] = []
        for label in labels:
            known = [*journal.of_transaction(label.transaction_id), *new.get(label.transaction_id, ())]
            number = journal.last + len(added) + 1
            entry = _existing_entry(label, known) or deduplicate(label, known, number=number, now=now, newest=latest)
            if entry.number == number:
                added.append(entry)
                new.setdefault(label.transaction_id, []).append(entry)
        with uninterrupted():
            journal.append(added)
    counts = {"records read": len(labels), "recorded": len(added), "already recorded": len(labels) - len(added)}
    return Summary(command=command, facts={**counts, "journal": str(folder.root)})


def _existing_entry(label: LabelInput, known: Sequence[Entry]) -> LabelEntry | None:
    """Find an entry with the same source, label and report time, so that importing a file again changes nothing.

    Later records of the source do not matter, unlike for a record without a report time.
    """
    if label.reported_at is None:
        return None
    content = (label.source, label.is_fraud, label.reported_at)
    entries = (entry for entry in known if isinstance(entry, LabelEntry))
    return next((entry for entry in entries if (entry.source, entry.is_fraud, entry.reported_at) == content), None)


@contextmanager
def _journal(params: Params) -> Iterator[tuple[DataDir, SqliteJournal]]:
    with (
        closing(DataDir(service_folder(params), checkpoint_file(params))) as folder,
        closing(folder.journal(key=hash_chain.audit_key(os.environ), flush=params.serve.flush)) as journal,
    ):
        yield folder, journal
