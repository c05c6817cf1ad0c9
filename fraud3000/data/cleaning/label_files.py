"""Read label records from separate files, such as a month's chargebacks or a ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from fraud3000.data.cleaning import cards, column_types, ids, prepared, sensitive, value_mapping
from fraud3000.data.cleaning.duplicates import recorded_at
from fraud3000.data.cleaning.row_errors import RowError, as_json, first_errors, quarantine
from fraud3000.data.reading import files, times
from fraud3000.data.reading.columns import normalised
from fraud3000.data.reading.raw_table import REFUSED, DataFile, RawFile
from fraud3000.errors import DataError, EmptyDataError, SchemaError
from fraud3000.params import ColumnMapping, LabelsFile, Span
from fraud3000.schema import LEDGER, TIME

SOURCE = "labels"
"""Source of label records whose file does not name a source."""


NO_LINES = pl.DataFrame(schema=REFUSED)
"""The lines that could not be read as rows, of a frame."""

_LEDGER_FORMAT = LabelsFile.model_validate({"input": "", **{name: name for name in LEDGER}})


@dataclass(frozen=True)
class LabelFileResult:
    """Result of reading label files.

    Attributes
    ----------
    ledger
        LEDGER, in file order.
    quarantine
        QUARANTINE: rows of unknown transactions, without a label, or with unreadable times.
    read
        Rows read.
    """

    ledger: pl.DataFrame
    quarantine: pl.DataFrame
    read: int


def is_ledger(schema: Mapping[str, pl.DataType]) -> bool:
    """Whether a schema has every column of LEDGER with its type.

    Examples
    --------
    >>> is_ledger({"transaction_id": pl.String(), "is_fraud": pl.Int8()}), is_ledger(LEDGER)
    (False, True)
    """
    return all(schema.get(name) == kind for name, kind in LEDGER.items())


def detect_format(file: DataFile | Path, mapping: ColumnMapping) -> LabelsFile | None:
    """The format of a file of label records with the column names of LEDGER; None if the file contains transactions.

    A file without a column for the mapping's amount contains no transactions.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        schema = files.scan(file, Path(folder), mapping.csv).schema
    names = {*schema.names(), *normalised(schema.names()).values()}
    if prepared.is_prepared(schema) or mapping.columns.amount in names:
        return None
    time_columns = {name: name for name in ("reported_at", "recorded_at") if name in names}
    return LabelsFile.model_validate({"input": str(file), "source": "source", "csv": mapping.csv, **time_columns})


def read(
    paths: Sequence[DataFile | Path],
    form: LabelsFile,
    transactions: pl.DataFrame | pl.LazyFrame | None,
    label_delay: timedelta,
    *,
    earliest: datetime,
    latest: datetime,
    card_like_ids: bool | None = None,
) -> LabelFileResult:
    """Read label records and join them to their transactions.

    A record keeps its `recorded_at`; without one it is `max(reported_at, ts + label_delay)`. A file that already is a
    LEDGER is read by the columns of LEDGER, whatever `form` states.

    Parameters
    ----------
    transactions
        TRANSACTIONS; a record of any other transaction is quarantined as ``label_unknown_transaction``. None accepts records of
        all transactions and leaves `recorded_at` null if a record has none.
    earliest, latest
        Records with times outside [earliest, latest) are quarantined; UTC if they have no offset.
    card_like_ids
        Without transactions: True if ids only look like card numbers by chance; None decides by how many do.

    Raises
    ------
    SchemaError
        Columns are missing; the message names all of them.
    EmptyDataError
        The files contain no rows.
    """
    known = None if transactions is None else known_transactions(transactions.lazy())
    raw = [files.read(path, form.csv) for path in paths]
    parts = [read_rows(file, form, known, label_delay, (earliest, latest), card_like_ids) for file in raw]
    total = sum(part.read for part in parts)
    if not total:
        raise EmptyDataError(f"{paths[0]}: no label records, only a header", hint="Export the file again.")
    ledger = pl.concat([pl.DataFrame(schema=LEDGER), *(part.ledger for part in parts)])
    return LabelFileResult(ledger, quarantine(part.quarantine for part in parts), total)


def known_transactions(transactions: pl.LazyFrame) -> pl.LazyFrame:
    """The columns of TRANSACTIONS that label records are joined to."""
    timed = ["ts"] if "ts" in transactions.collect_schema() else []
    return transactions.select("transaction_id", *timed)


def read_rows(
    raw: RawFile,
    form: LabelsFile,
    transactions: pl.LazyFrame | None,
    label_delay: timedelta,
    span: Span,
    card_like_ids: bool | None = None,
) -> LabelFileResult:
    """Read the label records of one file that is in memory; see `read`."""
    if not raw.rows.width:
        return LabelFileResult(pl.DataFrame(schema=LEDGER), _refused(raw), raw.height)
    sensitive.refuse_names(raw.rows.columns, thing=raw.name)
    form = _LEDGER_FORMAT if is_ledger(raw.rows.schema) else form
    columns = _columns(raw, form)
    column_types.check_roles(raw.rows.schema, {part: [values.name] for part, values in columns.items()}, thing=raw.name)
    try:
        records, errors = _records(columns, form, span)
    except DataError as error:
        raise type(error)(f"{raw.name}: {error.message}", hint=error.hint) from error
    joined = records
    errors.append(_card_number("source", records["source"], cards.with_card_numbers(records["source"])))
    if transactions is None:
        stray = cards.refused_ids(cards.find_in_ids(records["transaction_id"]), accepted=card_like_ids)
        errors.append(_card_number("transaction_id", records["transaction_id"], stray))
    else:
        ids_in_file = records.lazy().select("transaction_id").unique()
        known = transactions.join(ids_in_file, on="transaction_id", how="semi").collect(engine="streaming")
        joined = records.join(known, on="transaction_id", how="left", maintain_order="left", nulls_equal=False)
        is_known = records["transaction_id"].is_in(known["transaction_id"].implode())
        errors.append(
            RowError.where("label_unknown_transaction", ~is_known, "transaction_id", records["transaction_id"])
        )
    bad = first_errors(errors)
    stated = pl.col("recorded_at") if "recorded_at" in joined.columns else pl.lit(None, dtype=TIME)
    good = joined.with_row_index("row").join(bad, on="row", how="anti", maintain_order="left")
    default = recorded_at(good, label_delay) if transactions is not None else pl.lit(None, dtype=TIME)
    ledger = good.with_columns(recorded_at=pl.coalesce(stated, default))
    rows = pl.DataFrame(
        {
            "source_file": pl.Series([raw.name] * bad.height, dtype=pl.String),
            "source_row": raw.row_numbers.gather(bad["row"]),
            "reason": bad["reason"],
            "detail": bad["detail"],
            "raw": as_json(raw.rows[bad["row"]].select(column.name for column in columns.values())),
        }
    )
    refused = pl.concat([rows, _refused(raw)]).sort("source_row")
    return LabelFileResult(ledger.select(pl.col(name).cast(kind) for name, kind in LEDGER.items()), refused, raw.height)


def _card_number(part: str, values: pl.Series, refused: pl.Series) -> RowError:
    return RowError.with_detail(
        f"{part}_card_number", values.is_in(refused.implode()), f"{part} contains a card number"
    )


def _refused(raw: RawFile) -> pl.DataFrame:
    lines = raw.refused.with_columns(source_file=pl.lit(raw.name), raw=pl.lit(None, dtype=pl.String))
    return lines.select("source_file", "source_row", "reason", "detail", "raw")


def _columns(raw: RawFile, form: LabelsFile) -> dict[str, pl.Series]:
    """The raw column of each part of a record, by raw or normalised name."""
    by_name = {norm: name for name, norm in normalised(raw.rows.columns).items()} | {n: n for n in raw.rows.columns}
    parts = form.model_dump(include={"transaction_id", "is_fraud", "source", "reported_at", "recorded_at"})
    mapped = {part: name for part, name in parts.items() if name is not None}
    missing = [name for name in mapped.values() if name not in by_name]
    if missing:
        files.check_header(raw, missing, form.csv)
        hint = "Rename the column, or state its name under prepare.labels."
        raise SchemaError.missing_columns(raw.name, missing, raw.rows.columns, hint=hint)
    return {part: raw.rows[by_name[name]] for part, name in mapped.items()}


def _records(columns: dict[str, pl.Series], form: LabelsFile, span: Span) -> tuple[pl.DataFrame, list[RowError]]:
    transaction_id, errors = ids.read([columns["transaction_id"]], "transaction_id")
    height = len(transaction_id)
    is_fraud = pl.Series([1], dtype=pl.Int8).new_from_index(0, height)
    if "is_fraud" in columns:
        is_fraud, labelled, more = value_mapping.read_labels(columns["is_fraud"], form.label)
        errors += [*more, RowError.with_detail("label_missing", ~labelled, "the record has no label")]
    source = pl.Series([SOURCE], dtype=pl.String).new_from_index(0, height)
    if "source" in columns:
        source = columns["source"].cast(pl.String).str.strip_chars().fill_null(SOURCE)
    record = {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": source}
    record["reported_at"] = pl.Series([None], dtype=TIME).new_from_index(0, height)
    for name in ("reported_at", "recorded_at"):
        if name in columns:
            record[name] = times.read([columns[name]], form.time, "prepare.labels.time")
            present = columns[name].cast(pl.String).str.strip_chars().fill_null("") != ""
            errors.append(RowError.where(f"{name}_unreadable", record[name].is_null() & present, name, columns[name]))
            errors.append(
                RowError.where(f"{name}_out_of_range", times.outside_range(record[name], *span), name, columns[name])
            )
    return pl.DataFrame(record), errors
