"""Raw files to the workspace's transactions, quarantine and label ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from fraud3000 import labels
from fraud3000.data import clean, doctor, labelfile, outputs, places, sources, uploads
from fraud3000.data.faults import quarantine
from fraud3000.data.raw import DataFile
from fraud3000.data.s3 import Address
from fraud3000.params import Params
from fraud3000.schema import TIME
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.workspace import Workspace


def prepare(params: Params) -> Summary:
    """Clean raw transactions and write them with the refused rows and the label records.

    Raises
    ------
    DataError
        The input cannot be taken; nothing is written then.
    UnavailableError
        The workspace, or the prefix to publish under, cannot be written.
    """
    section, workspace = params.prepare, Workspace.of(params)
    mapping = sources.resolve(section)
    written = (workspace.transactions, workspace.quarantine, workspace.labels)
    published = _published(section.publish, written)
    places.require_writable(*published)
    with places.fetched(_located(section.input, params)) as raw:
        _refuse_inputs(published, raw)
        ingested = clean.ingest(
            raw,
            mapping,
            label_delay=section.label_delay,
            earliest=section.earliest,
            latest=section.latest,
        )
    told = _labels_of_their_own(params, ingested.transactions, published)
    ledger, refused = ingested.ledger, ingested.quarantine
    if told is not None:
        ledger = labels.merge(ledger, told.ledger)
        refused = quarantine([refused, told.quarantine])
    with outputs.whole(*written) as parts:
        for frame, part in zip((ingested.transactions, refused, ledger), parts, strict=True):
            frame.write_parquet(part)
        if published:
            uploads.upload(dict(zip(published, parts, strict=True)))
    findings = doctor.examine(ingested.transactions, ledger)
    return Summary(
        command="prepare",
        facts=_facts(params, ingested, told, ledger),
        tables=(*_reasons(refused), *_remarks(findings)),
        outputs={
            "transactions": str(workspace.transactions),
            "quarantine": str(workspace.quarantine),
            "labels": str(workspace.labels),
            **{f"published {one.stem}": str(one) for one in published},
        },
        warnings=(*_lost(ingested.lost), *(finding.text for finding in findings if finding.severity == "warn")),
        next_step="fraud3000 featurize, with the same params",
    )


def _located(location: str, params: Params) -> str:
    return location.replace("{workspace}", params.workspace)


def _labels_of_their_own(
    params: Params, transactions: pl.DataFrame, published: tuple[Address, ...]
) -> labelfile.Labelled | None:
    section = params.prepare
    form = section.labels
    if form is None:
        return None
    with places.fetched(_located(form.input, params)) as told:
        _refuse_inputs(published, told)
        return labelfile.read(
            told, form, transactions, section.label_delay, earliest=section.earliest, latest=section.latest
        )


def _published(prefix: str | None, written: tuple[Path, ...]) -> tuple[Address, ...]:
    """Where in S3 each of the files written has its copy."""
    if prefix is None:
        return ()
    start = Address.of(f"{prefix.rstrip('/')}/")
    return tuple(start.with_name(path.name) for path in written)


def _refuse_inputs(published: tuple[Address, ...], read_from: list[DataFile]) -> None:
    places.refuse_inputs(published, places.of_files(read_from), hint="Name another prefix under prepare.publish.")


def _facts(
    params: Params, ingested: clean.Ingested, told: labelfile.Labelled | None, ledger: pl.DataFrame
) -> dict[str, Any]:
    transactions = ingested.transactions
    facts: dict[str, Any] = {
        "source": params.prepare.source,
        "rows read": ingested.rows.height,
        "rows kept": ingested.kept,
        "duplicates": ingested.duplicates,
        "quarantined": ingested.quarantined,
        "frauds": ledger.filter(pl.col("is_fraud") == 1)["transaction_id"].n_unique(),
        "label records": ledger.height,
    }
    if told is not None:
        facts["label rows read"] = told.read
        facts["label rows quarantined"] = told.quarantine.height
    for name, column in (("cards", "card_id"), ("terminals", "terminal_id")):
        facts[name] = transactions[column].n_unique() if column in transactions.columns else None
    first, last = _span(transactions)
    facts |= {"first": first, "last": last, "unused columns": list(ingested.unused)}
    return facts


def _span(transactions: pl.DataFrame) -> tuple[str | None, str | None]:
    if transactions.schema.get("ts") != TIME:
        return None, None
    ends = transactions.select(first=pl.col("ts").min(), last=pl.col("ts").max())
    return ends["first"].item().isoformat(), ends["last"].item().isoformat()


def _reasons(refused: pl.DataFrame) -> tuple[Table, ...]:
    """How many rows were refused for what, and where the first of each stands."""
    if refused.is_empty():
        return ()
    counts = (
        refused.group_by("reason", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("source_row").first(), pl.col("detail").first())
        .sort("rows", "reason", descending=[True, False])
    )
    rows = tuple(
        (reason, f"{count:,}", f"row {row:,}: {detail[:60]}") for reason, count, row, detail in counts.iter_rows()
    )
    return (Table("Quarantined", ("reason", "rows", "first"), rows),)


def _remarks(findings: list[doctor.Finding]) -> tuple[Table, ...]:
    """What limits the data without spoiling it."""
    rows = tuple((finding.code, finding.text) for finding in findings if finding.severity == "info")
    return (Table("Data quality", ("finding", "what"), rows),) if rows else ()


def _lost(lost: dict[str, int]) -> list[str]:
    return [
        f"Column {name}: {count:,} value{'s' * (count > 1)} could not be read and became null."
        for name, count in lost.items()
        if count
    ]
