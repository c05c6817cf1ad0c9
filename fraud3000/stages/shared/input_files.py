"""Read input files: label records of `prepare.labels`, `labels import` and `labels status`; locations and rejected rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from fraud3000.data.cleaning import clean, label_files, sources
from fraud3000.data.cleaning.row_errors import quarantine
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.data.storage import locations
from fraud3000.data.storage.s3 import Address
from fraud3000.params import Params
from fraud3000.schema import LEDGER
from fraud3000.stages.shared.summary import Table
from fraud3000.stages.shared.workspace import Workspace, card_names_loader


def read_separate_labels(
    params: Params, transactions: pl.LazyFrame, published: tuple[Address, ...] = ()
) -> label_files.LabelFileResult | None:
    """Read the label records from separate files; None if `prepare.labels` is not set."""
    section = params.prepare
    form = section.labels
    if form is None:
        return None
    with locations.fetch(expand_workspace(form.input, params)) as data_files:
        refuse_inputs(published, data_files)
        return label_files.read(
            data_files, form, transactions, section.label_delay, earliest=section.earliest, latest=section.latest
        )


@dataclass(frozen=True)
class FileLabels:
    """Labels read from files.

    Attributes
    ----------
    transactions
        TRANSACTIONS; None if the files contain only label records.
    """

    transactions: pl.DataFrame | None
    ledger: pl.DataFrame
    quarantine: pl.DataFrame


def read_labels(params: Params, data_files: Sequence[DataFile], known: pl.LazyFrame | None = None) -> FileLabels:
    """Read labels from files of raw transactions or of label records only.

    Parameters
    ----------
    known
        TRANSACTIONS that the records belong to; None accepts records of all transactions.

    Raises
    ------
    DataError
        A file cannot be read.
    SchemaError
        Columns are missing; the message names all of them.
    """
    section, mapping = params.prepare, sources.resolve(params.prepare)
    forms = {file: label_files.detect_format(file, mapping) for file in data_files}
    accepted = None if mapping.card_like_ids is None else "transaction_id" in mapping.card_like_ids
    read = partial(
        label_files.read,
        label_delay=section.label_delay,
        earliest=section.earliest,
        latest=section.latest,
        card_like_ids=accepted,
    )
    results = [read([file], section.labels or form, known) for file, form in forms.items() if form is not None]
    ledgers, refused = [result.ledger for result in results], [result.quarantine for result in results]
    raw_files = [file for file, form in forms.items() if form is None]
    if not raw_files:
        return FileLabels(None, pl.concat(ledgers), quarantine(refused))
    ingested = clean.ingest(
        raw_files,
        mapping,
        label_delay=section.label_delay,
        earliest=section.earliest,
        latest=section.latest,
        card_key=card_names_loader(Workspace.from_params(params)),
    )
    ledger = pl.concat([ingested.ledger.select(*LEDGER), *ledgers])
    return FileLabels(ingested.transactions, ledger, quarantine([ingested.quarantine, *refused]))


def expand_workspace(location: str, params: Params) -> str:
    """Replace ``{workspace}`` in a location by the workspace of the params."""
    return location.replace("{workspace}", params.workspace)


def refuse_inputs(published: tuple[Address, ...], inputs: list[DataFile]) -> None:
    """Raise ParamsError if a file would be published over one of the inputs."""
    locations.refuse_inputs(published, locations.file_locations(inputs), hint="Set another prefix in prepare.publish.")


def quarantine_table(refused: pl.LazyFrame) -> tuple[Table, ...]:
    """Table of quarantine reasons with the number of rows and the first row of each; empty if no row was quarantined."""
    counts = (
        refused.group_by("reason", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("source_row").first(), pl.col("detail").first())
        .sort("rows", "reason", descending=[True, False])
        .collect()
    )
    rows = tuple(
        (reason, f"{count:,}", f"row {row:,}: {detail[:60]}") for reason, count, row, detail in counts.iter_rows()
    )
    return (Table("Quarantined", ("reason", "rows", "first"), rows),) if rows else ()
