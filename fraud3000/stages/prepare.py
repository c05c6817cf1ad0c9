"""Raw files to the workspace's transactions, quarantine and label ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data import quality
from fraud3000.data.cleaning import clean, label_files, roles, sources
from fraud3000.data.cleaning.row_errors import quarantine
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.data.storage import atomic_write, locations, s3_upload
from fraud3000.data.storage.s3 import Address
from fraud3000.params import Params
from fraud3000.schema import LEDGER, TIME
from fraud3000.stages.keys import key_of
from fraud3000.stages.shared import preflight
from fraud3000.stages.shared.catalogues import build_catalogue
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace


def prepare(params: Params) -> Summary:
    """Clean raw transactions and write them with the refused rows and the label records.

    Raises
    ------
    DataError
        The input cannot be taken; nothing is written then.
    UnavailableError
        The workspace, or the prefix to publish under, cannot be written.
    """
    workspace, rules = Workspace.from_params(params), _rules(params)
    written = (workspace.transactions, workspace.quarantine, workspace.labels)
    published = _published(params.prepare.publish, written)
    locations.require_writable(*published)
    raw = locations.fetched(_located(params.prepare.input, params))
    with raw as files, atomic_write.beside(workspace.transactions) as folder:
        _refuse_inputs(published, files)
        taken = clean.intake(files, rules, folder, label_delay=params.prepare.label_delay)
        build_catalogue(
            params, pl.DataFrame(schema=taken.transactions.collect_schema())
        )  # refuses what featurize would
        told = labels_of_their_own(params, taken.transactions, published)
        ledger, refused = taken.ledger.rows, taken.quarantine.rows
        if told is not None:
            ledger = _once(pl.concat([ledger.select(*LEDGER), told.ledger.lazy()]))
            refused = pl.concat([refused, quarantine([told.quarantine]).lazy()])
        with atomic_write.whole(*written) as parts:
            for frame, part in zip((taken.transactions, refused, ledger), parts, strict=True):
                atomic_write.write_parquet(frame, part)
            if published:
                s3_upload.upload(dict(zip(published, parts, strict=True)))
        return _summary(params, workspace, taken, told, published)


def _rules(params: Params) -> roles.Rules:
    section = params.prepare
    return roles.Rules(sources.resolve(section), section.earliest, section.latest, key_of(params))


def _summary(
    params: Params,
    workspace: Workspace,
    taken: clean.Intake,
    told: label_files.LabelFileResult | None,
    published: tuple[Address, ...],
) -> Summary:
    transactions, ledger = pl.scan_parquet(workspace.transactions), pl.scan_parquet(workspace.labels)
    refused = pl.scan_parquet(workspace.quarantine)
    findings = quality.examine(transactions, ledger, taken.lost)
    return Summary(
        command="prepare",
        facts=_facts(params, taken, told, transactions, ledger),
        tables=(*reasons(refused), *_remarks(findings)),
        outputs={
            "transactions": str(workspace.transactions),
            "quarantine": str(workspace.quarantine),
            "labels": str(workspace.labels),
            **{f"published {one.stem}": str(one) for one in published},
        },
        warnings=(
            *(finding.text for finding in findings if finding.severity == "warn"),
            *preflight.warnings(params, transactions.collect_schema()),
        ),
        next_step="fraud3000 featurize, with the same params",
    )


def _once(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """Leave out records that come again: of equal ones the last decides whatever any of them does."""
    return ledger.unique(keep="last", maintain_order=True)


def _located(location: str, params: Params) -> str:
    return location.replace("{workspace}", params.workspace)


def labels_of_their_own(
    params: Params, transactions: pl.LazyFrame, published: tuple[Address, ...] = ()
) -> label_files.LabelFileResult | None:
    """Read the label records that have a file of their own, where the params name one."""
    section = params.prepare
    form = section.labels
    if form is None:
        return None
    with locations.fetched(_located(form.input, params)) as told:
        _refuse_inputs(published, told)
        return label_files.read(
            told, form, transactions, section.label_delay, earliest=section.earliest, latest=section.latest
        )


def _published(prefix: str | None, written: tuple[Path, ...]) -> tuple[Address, ...]:
    """Where in S3 each of the files written has its copy."""
    if prefix is None:
        return ()
    start = Address.of(f"{prefix.rstrip('/')}/")
    return tuple(start.with_name(path.name) for path in written)


def _refuse_inputs(published: tuple[Address, ...], read_from: list[DataFile]) -> None:
    locations.refuse_inputs(published, locations.of_files(read_from), hint="Name another prefix under prepare.publish.")


def _facts(
    params: Params,
    taken: clean.Intake,
    told: label_files.LabelFileResult | None,
    transactions: pl.LazyFrame,
    ledger: pl.LazyFrame,
) -> dict[str, Any]:
    records = ledger.collect()
    facts: dict[str, Any] = {
        "source": params.prepare.source,
        "rows read": taken.read,
        "rows kept": taken.kept,
        "duplicates": taken.duplicates,
        "quarantined": taken.quarantine.height,
        "frauds": records.filter(pl.col("is_fraud") == 1)["transaction_id"].n_unique(),
        "label records": records.height,
    }
    if told is not None:
        facts["label rows read"] = told.read
        facts["label rows quarantined"] = told.quarantine.height
    columns = transactions.collect_schema()
    for name, column in (("cards", "card_id"), ("terminals", "terminal_id")):
        facts[name] = _one(transactions, pl.col(column).n_unique()) if column in columns else None
    first, last = _span(transactions)
    facts |= {"first": first, "last": last, "unused columns": list(taken.unused)}
    return facts


def _one(transactions: pl.LazyFrame, what: pl.Expr) -> Any:
    return transactions.select(what).collect(engine="streaming").item()


def _span(transactions: pl.LazyFrame) -> tuple[str | None, str | None]:
    if transactions.collect_schema().get("ts") != TIME:
        return None, None
    return _one(transactions, pl.col("ts").min()).isoformat(), _one(transactions, pl.col("ts").max()).isoformat()


def reasons(refused: pl.LazyFrame) -> tuple[Table, ...]:
    """How many rows were refused for what, and where the first of each stands."""
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


def _remarks(findings: list[quality.Finding]) -> tuple[Table, ...]:
    """What limits the data without spoiling it."""
    rows = tuple((finding.code, finding.text) for finding in findings if finding.severity == "info")
    return (Table("Data quality", ("finding", "what"), rows),) if rows else ()
