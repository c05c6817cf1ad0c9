"""Every type of a Parquet column in every role: read as what it says, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from fraud3000.data.cleaning import label_files
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.errors import DataError, SchemaError
from fraud3000.params import LabelsFile

CENTS = [Decimal("1.50"), Decimal("2.50")]
COLUMNS: dict[str, pa.Array] = {
    **{f"duration {unit}": pa.array([3, None], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")},
    "binary": pa.array([b"1", b"\xff"], pa.binary()),
    "large binary": pa.array([b"1", b"\xff"], pa.large_binary()),
    "fixed binary": pa.array([b"12", b"\xff\x00"], pa.binary(2)),
    "list": pa.array([[1], [2]]),
    "large list": pa.array([[1], [2]], pa.large_list(pa.int64())),
    "fixed list": pa.array([[1, 2], [2, 3]], pa.list_(pa.int64(), 2)),
    "list of durations": pa.array([[1], [2]], pa.list_(pa.duration("us"))),
    "list of binary": pa.array([[b"\xff"], [b"a"]]),
    "struct": pa.array([{"a": 1}, {"a": 2}]),
    "map": pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64())),
    "dictionary of text": pa.array(["1", "2"]).dictionary_encode(),
    "dictionary of integers": pa.array([1, 2]).dictionary_encode(),
    "dictionary of binary": pa.array([b"1", b"\xff"]).dictionary_encode(),
    "decimal32": pa.array(CENTS, pa.decimal32(9, 2)),
    "decimal64": pa.array(CENTS, pa.decimal64(18, 2)),
    "decimal128": pa.array(CENTS, pa.decimal128(38, 2)),
    "whole decimal128": pa.array([Decimal(1), Decimal(2)], pa.decimal128(38, 0)),
    "decimal256": pa.array(CENTS, pa.decimal256(40, 2)),
    "wide decimal256": pa.array([Decimal(10) ** 70, Decimal("2.5")], pa.decimal256(76, 2)),
    "time32 s": pa.array([1, 2], pa.time32("s")),
    "time32 ms": pa.array([1, 2], pa.time32("ms")),
    "time64 us": pa.array([1, 2], pa.time64("us")),
    "time64 ns": pa.array([1, 2], pa.time64("ns")),
    "date32": pa.array([date(2024, 1, 1)] * 2, pa.date32()),
    "date64": pa.array([date(2024, 1, 1)] * 2, pa.date64()),
    "null": pa.nulls(2),
    "boolean": pa.array([True, False]),
    "float16": pa.array([1.5, 2.5], pa.float16()),
    "float32": pa.array([1.5, 2.5], pa.float32()),
    "float64": pa.array([1.5, float("nan")]),
    **{f"{sign}int{bits}": pa.array([1, 2], f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "largest uint64": pa.array([1, 2**64 - 1], pa.uint64()),
    "text": pa.array(["1", "2"]),
    "large text": pa.array(["1", "2"], pa.large_string()),
    "text view": pa.array(["1", "2"], pa.string_view()),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, b"\xff" * 16], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', "{}"])),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
    **{
        f"timestamp {unit} {zone}": pa.array([datetime(2024, 1, 1, 10), None], pa.timestamp(unit, zone))
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "Europe/Paris", "+02:00")
    },
}
ROLES = (
    "transaction_id", "ts", "card_id", "terminal_id", "amount", "is_fraud", "reported_at", "status", "currency", "seq",
    "card_lat", "numeric", "categorical",
)  # fmt: skip
NEVER = (
    "duration",
    "binary",
    "large binary",
    "fixed",
    "list",
    "large list",
    "struct",
    "map",
    "dictionary of binary",
    "uuid",
)


@pytest.fixture
def take(tmp_path: Path, ingest_files: Callable[..., Ingested]) -> Callable[..., Ingested]:
    """Ingest two rows, one of them without an amount or a time, and a column x in the role that is given."""

    def run(column: pa.Array, role: str) -> Ingested:
        days = [datetime(2024, 1, 1), None if role == "amount" else datetime(2024, 1, 2)]
        table = {
            "id": ["A", "B"],
            "day": days,
            "card": ["c", "d"],
            "shop": ["s", "s"],
            "money": [10.0, None],
            "x": column,
        }
        parquet.write_table(pa.table(table), tmp_path / "x.parquet")
        mapping: dict[str, Any] = {
            "columns": {
                "transaction_id": "id",
                "ts": "day",
                "card_id": "card",
                "terminal_id": "shop",
                "amount": "money",
            }
        }
        if role in {"numeric", "categorical", "drop"}:
            mapping[role] = ["x"]
        elif role != "unmapped":
            mapping["columns"][role] = "x"
        return ingest_files([tmp_path / "x.parquet"], amount={"currency": "EUR"}, **mapping)

    return run


def test_a_column_that_is_not_mapped_stops_nothing(take: Callable[..., Ingested]) -> None:
    problems = [
        f"{name}, {role}: {problem}"
        for name, column in COLUMNS.items()
        for role in ("unmapped", "drop")
        for problem in problems_of_an_unmapped_column(take, name, column, role)
    ]
    assert problems == []


def problems_of_an_unmapped_column(
    take: Callable[..., Ingested], name: str, column: pa.Array, role: str
) -> Iterator[str]:
    outcome = taken_or_refused(take, column, role)
    if "decimal256" in name:
        if not str(outcome).startswith("SchemaError: ") or "column 'x' is Decimal" not in str(outcome):
            yield f"not refused: {outcome}"
    elif isinstance(outcome, str):
        yield f"refused: {outcome}"
    else:
        if outcome.transactions["transaction_id"].to_list() != ["A"]:
            yield f"taken: {outcome.transactions}"
        if outcome.quarantine["reason"].to_list() != ["amount_missing"]:
            yield f"quarantined: {outcome.quarantine}"
        elif ('"x":' in outcome.quarantine["raw"][0]) != (role == "unmapped"):
            yield f"raw row: {outcome.quarantine['raw'][0]}"


@pytest.mark.parametrize("role", ROLES)
def test_a_mapped_column_is_read_or_refused(take: Callable[..., Ingested], role: str) -> None:
    problems = [
        f"{name}: {problem}"
        for name, column in COLUMNS.items()
        for problem in problems_of_a_mapped_column(take, name, column, role)
    ]
    assert problems == []


def problems_of_a_mapped_column(take: Callable[..., Ingested], name: str, column: pa.Array, role: str) -> Iterator[str]:
    """A type that contains no plain value is refused with the type and the role; another one is read, or refused by name."""
    outcome = taken_or_refused(take, column, role)
    if not isinstance(outcome, str):
        if name.startswith(NEVER):
            yield "not refused"
        elif outcome.kept + outcome.quarantined != 2:
            yield f"{outcome.kept} rows kept, {outcome.quarantined} quarantined"
        return
    if outcome.count("x.parquet") != 1:
        yield f"does not name the file once: {outcome}"
    if "incomplete file" in outcome:
        yield f"blames the file: {outcome}"
    if not any(words in outcome for words in ("column 'x'", "all 2 rows", "without a rate")):
        yield f"does not say what: {outcome}"
    if name.startswith(NEVER) and not re.search(
        rf"^SchemaError: .*column 'x' is \w+.*, which cannot be read as {role}", outcome
    ):
        yield f"does not name type and role: {outcome}"


def taken_or_refused(take: Callable[..., Ingested], column: pa.Array, role: str) -> Ingested | str:
    """Take a column; returns the message if it is refused, which must have exit code 3."""
    try:
        return take(column, role)
    except DataError as error:
        if error.exit_code != 3:
            raise
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("name", "role", "value"),
    [
        ("decimal128", "amount", 150),
        ("float16", "amount", 150),
        ("float32", "amount", 150),
        ("largest uint64", "amount", 100),
        ("text view", "amount", 100),
        ("largest uint64", "card_id", "1"),
        ("whole decimal128", "transaction_id", "1"),
        ("dictionary of integers", "seq", 1),
        ("boolean", "is_fraud", 1),
        ("bool8", "is_fraud", 1),
        ("null", "is_fraud", None),
        ("timestamp s None", "ts", datetime(2024, 1, 1, 10)),
        ("timestamp ns Europe/Paris", "ts", datetime(2024, 1, 1, 10)),
        ("timestamp us +02:00", "ts", datetime(2024, 1, 1, 10)),
        ("date32", "reported_at", datetime(2024, 1, 1)),
        ("float16", "numeric", 1.5),
        ("decimal64", "numeric", 1.5),
        ("json", "categorical", '{"a":1}'),
        ("time64 us", "categorical", "00:00:00.000001"),
    ],
)
def test_values_are_read_exactly(take: Callable[..., Ingested], name: str, role: str, value: object) -> None:
    row = take(COLUMNS[name], role).transactions
    read = row[role if role in row.columns else "x"][0]
    assert (read.replace(tzinfo=None) if isinstance(read, datetime) else read) == value


def test_an_unknown_time_zone_is_refused(take: Callable[..., Ingested]) -> None:
    column = pa.array([datetime(2024, 1, 1), None], pa.timestamp("us", "Mars/Olympus"))
    with pytest.raises(SchemaError, match=r"a column has a type that cannot be read .*Mars/Olympus"):
        take(column, "unmapped")


def test_a_name_of_secrets_on_a_column_of_durations_stops_nothing(
    tmp_path: Path, ingest_files: Callable[..., Ingested]
) -> None:
    rows = {"amount": [1.0], "pin_delay": pa.array([None], pa.duration("s"))}
    parquet.write_table(pa.table(rows), tmp_path / "x.parquet")
    assert ingest_files([tmp_path / "x.parquet"], columns={"amount": "amount"}).kept == 1


def test_all_columns_of_wrong_types_are_named(tmp_path: Path, ingest_files: Callable[..., Ingested]) -> None:
    rows = {"amount": [1.0], "a": pa.array([1], pa.duration("s")), "b": pa.array([b"x"])}
    parquet.write_table(pa.table(rows), tmp_path / "x.parquet")
    with pytest.raises(SchemaError) as caught:
        ingest_files([tmp_path / "x.parquet"], columns={"amount": "amount", "card_id": "a"}, categorical=["b"])
    assert "column 'a' is Duration" in str(caught.value)
    assert "column 'b' is Binary, which cannot be read as categorical" in str(caught.value)


@pytest.mark.parametrize("part", ["transaction_id", "is_fraud", "source", "reported_at", "recorded_at"])
def test_a_labels_file_is_checked_too(tmp_path: Path, part: str) -> None:
    rows = pl.DataFrame(
        {"transaction_id": ["A"], "is_fraud": [1], "source": ["x"], "reported_at": [None], "recorded_at": [None]}
    )
    path = tmp_path / "labels.parquet"
    rows.with_columns(pl.duration(seconds=1).alias(part)).write_parquet(path)
    form = LabelsFile(input="unused", source="source", reported_at="reported_at", recorded_at="recorded_at")
    with pytest.raises(SchemaError, match=rf"column '{part}' is Duration.*, which cannot be read as {part}"):
        label_files.read(
            [DataFile(path, "labels.parquet")],
            form,
            None,
            timedelta(days=1),
            earliest=datetime(1970, 1, 1),
            latest=datetime(2100, 1, 1),
        )
