"""`prepare`: clean raw files into the workspace's transactions, quarantine and label ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data import quality
from fraud3000.data.cleaning import clean, label_files, roles, sources
from fraud3000.data.cleaning.row_errors import Rejections, quarantine
from fraud3000.data.inspection import mapping_check
from fraud3000.data.inspection.mapping_check import Fault
from fraud3000.data.storage import atomic_write, locations, s3_upload
from fraud3000.data.storage.s3 import Address
from fraud3000.errors import DataError, ParamsError
from fraud3000.labels import splits
from fraud3000.models import policy
from fraud3000.params import ColumnMapping, Params, PrepareModelParams
from fraud3000.schema import LEDGER, TIME
from fraud3000.stages.shared.catalogues import build_catalogue
from fraud3000.stages.shared.input_files import expand_workspace, quarantine_table, read_separate_labels, refuse_inputs
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import NOTHING_HERE, Workspace, card_names_loader


def prepare(params: Params) -> Summary:
    """Load and clean raw transactions; write them with the quarantined rows and the label records.

    Raises
    ------
    DataError
        The input cannot be used; nothing is written.
    UnavailableError
        The workspace, or the prefix of prepare.publish, cannot be written.
    """
    workspace, rules = Workspace.from_params(params), _rules(params)
    _require_input(params)
    written = (workspace.transactions, workspace.quarantine, workspace.labels)
    published = _published(params.prepare.publish, written)
    locations.require_writable(*published)
    raw = locations.fetch(expand_workspace(params.prepare.input, params))
    with raw as files, atomic_write.scratch_dir(workspace.transactions) as folder:
        refuse_inputs(published, files)
        cleaned = clean.ingest_to_disk(files, rules, folder, label_delay=params.prepare.label_delay)
        _check_rejections(cleaned, params.prepare.rejected_frauds)
        # raises now what featurize would raise later
        build_catalogue(params.prepare, params.featurize, pl.DataFrame(schema=cleaned.transactions.collect_schema()))
        labels = read_separate_labels(params, cleaned.transactions, published)
        ledger, refused = cleaned.ledger.rows, cleaned.quarantine.rows
        if labels is not None:
            ledger = _without_repeats(pl.concat([ledger.select(*LEDGER), labels.ledger.lazy()]))
            refused = pl.concat([refused, quarantine([labels.quarantine]).lazy()])
        with atomic_write.atomic_outputs(*written) as parts:
            for frame, part in zip((cleaned.transactions, refused, ledger), parts, strict=True):
                atomic_write.write_parquet(frame, part)
            if published:
                s3_upload.upload(dict(zip(published, parts, strict=True)))
        return _summary(params, workspace, cleaned, labels, published)


def check(params: Params) -> tuple[Summary, DataError | None]:
    """Read a sample of every file by the mapping and list all faults, each with the key to change; writes nothing.

    Returns
    -------
    tuple
        The summary, and the error to raise after it if a role cannot be read or `prepare` would stop.

    Raises
    ------
    DataError
        A file cannot be read at all.
    """
    _require_input(params)
    rules, rows, source = _rules(params), 0, expand_workspace(params.prepare.input, params)
    faults: list[tuple[str, Fault]] = []
    rejections = Rejections(0, 0, 0, 0)
    with locations.fetch(source) as data_files, tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(data_files):
            result = mapping_check.check(file.path, rules, Path(folder, str(number)))
            rows += result.rows
            rejections = rejections.add(result.rejections)
            faults += [(str(file), fault) for fault in result.faults]
    if params.prepare.labels is not None:
        faults += _check_label_files(params, rules)
    unreadable = sorted({fault.role for _, fault in faults if fault.unreadable})
    dependent = rejections.depend_on_label and rejections.share_of_frauds > params.prepare.rejected_frauds
    problems = [f"cannot be read by the mapping: {', '.join(unreadable)}"] if unreadable else []
    problems += [rejections.describe()] if dependent else []
    error = DataError(
        f"{source}: {'; '.join(problems)}", hint="Change the keys that the warnings name, and check again."
    )
    return _check_summary(source, rows, faults, rejections), error if problems else None


def _check_label_files(params: Params, rules: roles.CleaningRules) -> list[tuple[str, Fault]]:
    """Check the files of label records like transactions of which only the roles of labels are known."""
    section = params.prepare.labels
    assert section is not None
    columns = {"transaction_id": section.transaction_id, "is_fraud": section.is_fraud}
    mapping = ColumnMapping.model_validate(
        {
            "columns": {**columns, "reported_at": section.reported_at, "amount": section.transaction_id},
            "time": section.time,
            "label": section.label,
            "csv": section.csv,
        }
    )
    faults = []
    with (
        locations.fetch(expand_workspace(section.input, params)) as data_files,
        tempfile.TemporaryDirectory() as folder,
    ):
        for number, file in enumerate(data_files):
            found = mapping_check.check(file.path, replace(rules, mapping=mapping), Path(folder, str(number)))
            faults += [(str(file), fault.within("prepare.labels")) for fault in found.faults if fault.role != "amount"]
    return [(name, fault) for name, fault in faults if fault.problem != "conflicting_duplicate"]


def _check_summary(source: str, rows: int, faults: list[tuple[str, Fault]], rejections: Rejections) -> Summary:
    several = len({name for name, _ in faults}) > 1
    listed = tuple(
        (
            *((Path(name).name,) if several else ()),
            fault.role,
            fault.problem,
            f"{fault.share:.2%}",
            fault.example,
        )
        for name, fault in faults
    )
    columns = (*(("file",) if several else ()), "role", "fault", "rows", "example")
    return Summary(
        command="prepare --check",
        facts={"input": source, "rows sampled": rows, "faults": len(faults), "frauds in the sample": rejections.frauds},
        tables=(Table("Faults", columns, listed),) if listed else (),
        warnings=(
            *dict.fromkeys(fault.change for _, fault in faults),
            *((f"{rejections.describe()}.",) if rejections.depend_on_label else ()),
        ),
        next_step=None if faults else "fraud3000 prepare, with the same params",
    )


def _require_input(params: Params) -> None:
    """Say how to begin if the params name no file and nothing was simulated."""
    default = PrepareModelParams().input
    source = expand_workspace(params.prepare.input, params)
    if params.prepare.input == default and not Path(source).exists():
        raise DataError(f"{source}: no such file", hint=NOTHING_HERE)


def _rules(params: Params) -> roles.CleaningRules:
    section = params.prepare
    return roles.CleaningRules(
        sources.resolve(section), section.earliest, section.latest, card_names_loader(Workspace.from_params(params))
    )


def _check_rejections(cleaned: clean.CleanedData, allowed: float) -> None:
    """Refuse data whose rejected rows depend on the label: a model of the rest would learn from the wrong frauds."""
    rejections = cleaned.rejections
    if rejections.depend_on_label and rejections.share_of_frauds > allowed:
        reasons = (
            cleaned.quarantine.rows.group_by("reason").len().sort("len", "reason", descending=[True, False]).head(3)
        )
        listed = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.collect().iter_rows())
        raise DataError(
            f"{rejections.describe()}; reasons of all: {listed}",
            hint="Correct prepare.mapping for these rows, or accept the loss with a larger prepare.rejected_frauds.",
        )


def _summary(
    params: Params,
    workspace: Workspace,
    cleaned: clean.CleanedData,
    labels: label_files.LabelFileResult | None,
    published: tuple[Address, ...],
) -> Summary:
    transactions, ledger = pl.scan_parquet(workspace.transactions), pl.scan_parquet(workspace.labels)
    refused = pl.scan_parquet(workspace.quarantine)
    findings = quality.examine(transactions, ledger, cleaned.nulled)
    return Summary(
        command="prepare",
        facts=_facts(params, cleaned, labels, transactions, ledger),
        tables=(*quarantine_table(refused), *_findings_table(findings)),
        outputs={
            "transactions": str(workspace.transactions),
            "quarantine": str(workspace.quarantine),
            "labels": str(workspace.labels),
            **{f"published {address.stem}": str(address) for address in published},
        },
        warnings=(
            *((f"{cleaned.rejections.describe()}.",) if cleaned.rejections.depend_on_label else ()),
            *(finding.text for finding in findings if finding.severity == "warn"),
            *_later_refusals(params, transactions.collect_schema()),
        ),
        next_step="fraud3000 featurize, with the same params",
    )


def _later_refusals(params: Params, columns: Collection[str]) -> Iterator[str]:
    """Yield a warning for each of the params that `featurize` will refuse for data with these columns."""
    checks: tuple[Callable[[], None], ...] = (
        lambda: policy.require_columns(columns, params.policy),
        lambda: splits.require_columns(columns, params.featurize.split),
    )
    for check in checks:
        try:
            check()
        except ParamsError as error:
            yield f"{error.message}. {error.hint}"


def _without_repeats(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """Remove repeated records; keeping the last of equal records does not change any decision of the ledger."""
    return ledger.unique(keep="last", maintain_order=True)


def _published(prefix: str | None, written: tuple[Path, ...]) -> tuple[Address, ...]:
    """The S3 addresses to which the output files are published."""
    if prefix is None:
        return ()
    start = Address.from_uri(f"{prefix.rstrip('/')}/")
    return tuple(start.with_name(path.name) for path in written)


def _facts(
    params: Params,
    cleaned: clean.CleanedData,
    labels: label_files.LabelFileResult | None,
    transactions: pl.LazyFrame,
    ledger: pl.LazyFrame,
) -> dict[str, Any]:
    records = ledger.collect()
    facts: dict[str, Any] = {
        "source": params.prepare.source,
        "rows read": cleaned.read,
        "rows kept": cleaned.kept,
        "duplicates": cleaned.duplicates,
        "quarantined": cleaned.quarantine.height,
        "frauds": records.filter(pl.col("is_fraud") == 1)["transaction_id"].n_unique(),
        "label records": records.height,
    }
    if labels is not None:
        facts["label rows read"] = labels.read
        facts["label rows quarantined"] = labels.quarantine.height
    columns = transactions.collect_schema()
    for name, column in (("cards", "card_id"), ("terminals", "terminal_id")):
        facts[name] = _scalar(transactions, pl.col(column).n_unique()) if column in columns else None
    first, last = _span(transactions)
    facts |= {"first": first, "last": last, "unused columns": list(cleaned.unused)}
    return facts


def _scalar(transactions: pl.LazyFrame, expression: pl.Expr) -> Any:
    return transactions.select(expression).collect(engine="streaming").item()


def _span(transactions: pl.LazyFrame) -> tuple[str | None, str | None]:
    if transactions.collect_schema().get("ts") != TIME:
        return None, None
    return _scalar(transactions, pl.col("ts").min()).isoformat(), _scalar(transactions, pl.col("ts").max()).isoformat()


def _findings_table(findings: list[quality.Finding]) -> tuple[Table, ...]:
    """Table of the findings of severity `info`; warnings are listed separately."""
    rows = tuple((finding.code, finding.text) for finding in findings if finding.severity == "info")
    return (Table("Data quality", ("finding", "what"), rows),) if rows else ()
