"""Plant card numbers in every field of every input, and search every output for them.

The search knows the planted numbers and shares nothing with the scanner of the package: it takes all digits of a text,
whatever separates them, and looks for the digits of each number.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import logging
import sqlite3
import struct
import subprocess
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from loguru import logger
from starlette.testclient import TestClient

from fraud3000 import logs
from fraud3000 import params as params_files
from fraud3000.errors import ParamsError
from fraud3000.stages.serve import Service
from tests.conftest import SMALL_WORLD, Console
from tests.service.world import items

BRANDS = {
    "visa": ("4", 16),
    "visa 19": ("4", 19),
    "mastercard": ("55", 16),
    "mastercard 2": ("2345", 16),
    "amex": ("37", 15),
    "diners": ("36", 14),
    "jcb": ("3530", 16),
    "discover": ("6011", 16),
    "unionpay": ("62", 19),
    "maestro": ("6759", 18),
}
SEPARATORS = ["", " ", "-", ".", "_", "/", ",", "\n", "\r\n", "\t", ", ", " - ", "\u00a0", "\u2013", "\u200b", "|", ":", ";", "*", "+", "#", "\\", "'"]  # fmt: skip
"""What stands between the groups of a number."""

FRAMES = ["{}", "paid by {} in full", "x{}y", "({})", '"{}"', "-{}-", "#{}", "card={}", "{};{}"]
"""What stands around a number, in an id as in text."""

IN_TEXT_ONLY = ["12{}", "{}34", "0{}0", "2018{}2018"]
"""Further digits directly before and after: an id with these is an id of more digits."""


def luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


class Planter:
    """Generates unique card numbers and remembers them all."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.numbers: list[str] = []

    def number(self, brand: str | None = None) -> str:
        prefix, length = BRANDS[brand or self._random.choice(list(BRANDS))]
        body = prefix + "".join(map(str, self._random.integers(0, 10, length - len(prefix) - 1)))
        made = next(body + str(last) for last in range(10) if luhn(body + str(last)))
        self.numbers.append(made)
        return made

    def separated(self, separator: str) -> str:
        number = self.number()
        sizes = (4, 6, 99) if len(number) in {14, 15} else (4, 4, 4, 4, 99)
        cuts = np.cumsum((0, *sizes))
        return separator.join(filter(None, (number[a:b] for a, b in pairwise(cuts))))

    def ids(self) -> Iterator[str]:
        """Forms of a number as it may stand in an id."""
        for separator in SEPARATORS:
            yield self.separated(separator)
        for frame in FRAMES:
            yield frame.format(*(self.number() for _ in range(frame.count("{}"))))
        yield "".join(chr(0xFF10 + int(digit)) for digit in self.number())
        yield "".join(chr(0x0660 + int(digit)) for digit in self.number())

    def texts(self) -> Iterator[str]:
        """Forms of a number as it may stand in text."""
        yield from self.ids()
        yield from (frame.format(self.number("mastercard")) for frame in IN_TEXT_ONLY)
        yield " ".join(self.number())
        yield "\n".join(self.number() for _ in range(3))


def digits_of(text: str) -> str:
    """All decimal digits of a text, of any script, joined."""
    others = {ord(sign): unicodedata.decimal(sign, None) for sign in set(text)}
    return text.translate({code: None if digit is None else str(digit) for code, digit in others.items()})


def found_in(text: str, numbers: Iterable[str]) -> list[str]:
    unescaped = text.replace("\\u00a0", " ").replace("\\u2013", "-").replace("\\u200b", "")
    digits = digits_of(unescaped)
    return [number for number in numbers if number in digits]


def columns_as_text(frame: pl.DataFrame) -> Iterator[str]:
    """The values of each column as text, with all digits of numbers."""
    for column in frame:
        values = column.unique()
        if values.dtype.is_float():
            values = values.filter(values.is_finite()).cast(pl.Int128, strict=False)
        yield "x".join(map(str, values))


def content(path: Path) -> Iterator[str]:
    """The content of a file: its bytes and their decoded values."""
    raw = path.read_bytes()
    yield raw.decode("utf-8", errors="replace")
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
        yield from (*frame.columns, *columns_as_text(frame))
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw).decode("utf-8", errors="replace")
    if raw.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as file:
            yield "\nx".join(file.iterdump())


def in_binary(path: Path, numbers: Iterable[str]) -> list[str]:
    """Numbers in a file as 64-bit integers or floats."""
    raw = path.read_bytes()
    return [
        number for number in numbers if struct.pack("<q", int(number)) in raw or struct.pack("<d", float(number)) in raw
    ]


def leaks(folder: Path, numbers: list[str], without: set[Path]) -> list[str]:
    """Files that hold a planted number, each with the first."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in without]
    assert files
    listed = []
    for path in files:
        bad = [*found_in(str(path.relative_to(folder)), numbers), *in_binary(path, numbers)]
        bad += [number for text in content(path) for number in found_in(text, numbers)]
        listed += [f"{path.relative_to(folder)}: {bad[0]}"] if bad else []
    return listed


# ---------------------------------------------------------------------------------------------------------------------
# Files


ID_FIELDS = ("transaction_id", "card_id", "terminal_id")
TEXT_FIELDS = ("category", "note", "unmapped", "status", "ts", "amount", "reported_at", "is_fraud")
NUMBER_FIELDS = ("basket", "card_lat", "terminal_long")

PARAMS = (
    SMALL_WORLD.replace("rows: 20000", "rows: 6000").replace("n_estimators: 20", "n_estimators: 5")
    + """
prepare:
  input: planted
  source: custom
  mapping:
    columns: {amount: amount, transaction_id: transaction_id, ts: ts, card_id: card_id, terminal_id: terminal_id,
      is_fraud: is_fraud, reported_at: reported_at, status: status,
      card_lat: card_lat, card_long: card_long, terminal_lat: terminal_lat, terminal_long: terminal_long}
    numeric: [basket]
    categorical: [category, note]
    drop: [fraud_scenario]
    card_numbers: 'no'
    card_like_ids: []
    status: {approved: [approved], declined: [declined], refund: [refund]}
  labels: {input: labels.csv, source: source}
"""
)


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    times = pl.col("ts", "reported_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return rows.with_columns(times).with_columns(pl.all().cast(pl.String))


def plant(rows: pl.DataFrame, planter: Planter, first: int) -> pl.DataFrame:
    """Put one number into one field of each of many rows, from row `first` on."""
    planted = rows.to_dicts()
    place = first
    for field, forms in (
        *((field, planter.ids) for field in ID_FIELDS),
        *((field, planter.texts) for field in TEXT_FIELDS),
        *((field, lambda: (planter.number() for _ in range(8))) for field in NUMBER_FIELDS),
    ):
        for value in forms():
            planted[place][field] = value
            if field in {
                "status",
                "is_fraud",
                "reported_at",
            }:  # a column that holds little else than card numbers stops the run
                planted[place + 1][field] = f"junk {place}"
            place += 2
    return pl.DataFrame(planted, schema=rows.schema)


def typed(rows: pl.DataFrame, planter: Planter, first: int) -> pl.DataFrame:
    """The same for Parquet, with numbers in columns of numbers, lists and structs."""
    count = rows.height
    numbers: list[str | None] = [None] * count
    numbers[first : first + 20] = [planter.number(brand) for brand in list(BRANDS) * 2]
    exact = pl.Series(
        [place if number is None else int(number) for place, number in enumerate(numbers)], dtype=pl.Int64
    )
    as_float = [float(planter.number("visa") if first <= place < first + 9 else place) for place in range(count)]
    return rows.with_columns(
        basket=pl.Series(as_float),
        whole=exact,
        exact=exact.cast(pl.Decimal(21, 2)),
        several=pl.Series([[number] for number in numbers], dtype=pl.List(pl.String)),
        within=pl.Series([{"pan": number} for number in numbers], dtype=pl.Struct({"pan": pl.String})),
        note=rows["note"].cast(pl.Categorical),
    )


def write_world(folder: Path, planter: Planter, rows: pl.DataFrame) -> set[Path]:
    """The raw files and the labels file with planted numbers, and which files these are."""
    row = pl.int_range(pl.len())
    raw = rows.with_columns(
        pl.format("{} {}", "category", row % 100),
        basket=(row * 0.5).cast(pl.String),
        note=pl.format("note {}", row % 1_000),
        unmapped=pl.format("x{}", row),
    )
    third = raw.height // 3
    inputs = folder / "planted"
    inputs.mkdir()
    text = as_text(raw)
    csv = inputs / f"a-{planter.number()}.csv"
    plant(text.head(third), planter, 100).write_csv(csv)
    lines = inputs / "b.jsonl"
    plant(text.slice(third, third), planter, 100).write_ndjson(lines)
    columns = inputs / "c.parquet"
    last = raw.slice(2 * third)
    typed(last, planter, 500).write_parquet(columns)
    return {csv, lines, columns, _write_labels(folder, planter, raw)}


def _write_labels(folder: Path, planter: Planter, raw: pl.DataFrame) -> Path:
    ids = raw["transaction_id"].head(200).to_list()
    records = [
        {"transaction_id": one, "is_fraud": "1", "source": "analyst", "reported_at": "2018-06-01"} for one in ids
    ]
    for field in ("transaction_id", "is_fraud", "source", "reported_at"):
        values = planter.ids() if field == "transaction_id" else planter.texts()
        records += [{**records[place], field: value} for place, value in enumerate(values)]
    path = folder / "labels.csv"
    pl.DataFrame(records).write_csv(path)
    return path


@dataclasses.dataclass
class World:
    """A workspace made of planted files.

    Attributes
    ----------
    inputs
        The planted files, the only ones that may have the numbers.
    printed
        All that the commands printed.
    """

    folder: Path
    command: str
    planter: Planter = dataclasses.field(default_factory=lambda: Planter(5))
    inputs: set[Path] = dataclasses.field(default_factory=set)
    printed: str = ""

    def run(self, *arguments: str) -> None:
        command = [self.command, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=900, check=False)
        self.printed += f"x{done.stdout}x{done.stderr}"
        assert done.returncode == 0, done.stderr

    def prepare(self) -> None:
        (self.folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
        self.run("simulate", "--out", "raw.parquet")
        self.inputs = write_world(self.folder, self.planter, pl.read_parquet(self.folder / "raw.parquet"))
        self.run("prepare", "-vv")

    def check(self) -> None:
        assert len(self.planter.numbers) > 400
        assert leaks(self.folder, self.planter.numbers, without=self.inputs) == []
        assert found_in(self.printed, self.planter.numbers) == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, console_command: str) -> World:
    world = World(tmp_path_factory.mktemp("planted"), console_command)
    world.prepare()
    return world


def test_prepare_neither_writes_nor_prints_a_planted_number(prepared: World) -> None:
    prepared.check()


def test_every_rejected_row_has_a_reason_and_all_others_are_in_the_output(prepared: World) -> None:
    quarantine = pl.read_parquet(prepared.folder / "data/interim/quarantine.parquet")
    rows = pl.read_parquet(prepared.folder / "data/interim/transactions.parquet").height
    by_role = dict(quarantine["reason"].value_counts().iter_rows())
    ids = sum(1 for _ in Planter(0).ids())
    refused = {role: by_role[f"{role}_card_number"] + by_role[f"{role}_hidden"] for role in ID_FIELDS}
    in_labels = refused["transaction_id"] - refused["card_id"]  # ids of label records with a control character
    assert 0 <= in_labels < ids
    assert refused == {**dict.fromkeys(ID_FIELDS, 2 * ids), "transaction_id": 2 * ids + in_labels}
    assert by_role["source_card_number"] == sum(1 for _ in Planter(0).texts())
    assert rows + quarantine.filter(pl.col("source_file").str.starts_with("planted")).height == 6_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, console_command: str) -> World:
    """A world that every command has worked on."""
    world = World(tmp_path_factory.mktemp("whole"), console_command)
    world.prepare()
    for command in ("featurize", "train", "evaluate"):
        world.run(command, "-vv")
    world.run("score-file", "planted", "--model", "challenger", "--out", "scored.parquet", "--cold-start", "--json")
    world.run("labels", "status", "--json")
    return world


@pytest.mark.slow
def test_full_run_neither_writes_nor_prints_a_planted_number(whole: World) -> None:
    whole.check()


TYPES: dict[str, Callable[[str], pl.Series]] = {
    "Int64": lambda number: pl.Series([int(number)]),
    "UInt64": lambda number: pl.Series([int(number)], dtype=pl.UInt64),
    "Int128": lambda number: pl.Series([int(number)], dtype=pl.Int128),
    "Float64": lambda number: pl.Series([float(number)]),
    "Decimal": lambda number: pl.Series([Decimal(number)], dtype=pl.Decimal(20, 2)),
    "String": lambda number: pl.Series([number]),
    "Categorical": lambda number: pl.Series([number], dtype=pl.Categorical),
    "exponent": lambda number: pl.Series([f"{number[0]}.{number[1:]}e15"]),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("role", ["numeric", "categorical", "terminal_id", "transaction_id"])
def test_a_single_number_in_a_parquet_column_of_any_type(
    console: Console, tmp_path: Path, kind: str, role: str
) -> None:
    from datetime import datetime, timedelta

    from fraud3000.data.cleaning import clean
    from fraud3000.params import ColumnMapping

    number = Planter(len(kind)).number("visa")
    planted = TYPES[kind](number)
    if role.endswith("_id") and (planted.dtype.is_float() or planted.dtype.is_decimal()):
        pytest.skip("columns of floats and of decimals are refused as ids")
    other = pl.Series(["1", "2", "3"]).cast(pl.String if kind in {"String", "Categorical", "exponent"} else pl.Int64)
    if kind == "Categorical":
        planted = planted.cast(pl.String)
    values = pl.concat([planted, other.cast(planted.dtype)])
    values = values.cast(pl.Categorical) if kind == "Categorical" and role != "numeric" else values
    pl.DataFrame({"amount": [1, 2, 3, 4], "field": values}).write_parquet(tmp_path / "in.parquet")
    mapping: dict[str, Any] = {"columns": {"amount": "amount"}}
    if role.endswith("_id"):
        mapping["columns"][role] = "field"
    else:
        mapping[role] = ["field"]
    taken = clean.ingest(
        [tmp_path / "in.parquet"],
        ColumnMapping.model_validate(mapping),
        label_delay=timedelta(days=7),
        earliest=datetime(1970, 1, 1),
        latest=datetime(2100, 1, 1),
    )
    told = [*columns_as_text(taken.transactions), *columns_as_text(taken.quarantine)]
    assert [text for text in told if found_in(text, [number])] == []
    assert taken.kept == (3 if role.endswith("_id") else 4)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments and params


ARGUMENTS = [
    ("{}",),
    ("prepare", "--params", "{}.yaml"),
    ("score-file", "{}.csv", "--model", "challenger"),
    ("score-file", "raw.parquet", "--model", "{}"),
    ("prepare", "--option-{}"),
    ("explain", "{}"),
    ("labels", "add", "{}", "--fraud", "--source", "analyst"),
    ("labels", "add", "1", "--fraud", "--source", "{}"),
    ("labels", "import", "{}.csv"),
    ("policy", "what-if", "{}"),
    ("simulate", "--rows", "{}x"),
    ("promote", "--version", "{}x"),
]


def _refused(folder: Path, command: str, arguments: Iterable[str]) -> str:
    done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode not in {0, 1}, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [*ARGUMENTS[:2], *(pytest.param(a, marks=pytest.mark.slow) for a in ARGUMENTS[2:])]
)
def test_errors_do_not_quote_card_numbers_in_arguments(prepared: World, arguments: tuple[str, ...]) -> None:
    planter = Planter(len("".join(arguments)))
    printed = _refused(prepared.folder, prepared.command, [argument.format(planter.number()) for argument in arguments])
    assert found_in(printed, planter.numbers) == []


def leaves(section: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key of the params."""
    for name, value in section.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))


def test_no_key_of_the_params_accepts_a_card_number() -> None:
    planter = Planter(9)
    for path in leaves(params_files.Params().model_dump()):
        for value in (planter.number(), int(planter.number()), [planter.separated("-")], {planter.number(): 1}):
            document: Any = value
            for name in reversed(path):
                document = {name: document}
            with pytest.raises(ParamsError) as caught:
                params_files.parse(document)
            assert found_in(str(caught.value), planter.numbers) == []


# ---------------------------------------------------------------------------------------------------------------------
# Service


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """The log output of the service."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.set_up(2, style="json", stream=stream)
    try:
        yield stream
    finally:
        logger.remove()
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(level)


def requests_with_numbers(planter: Planter, item: dict[str, Any], *, whole: bool) -> Iterator[dict[str, Any]]:
    """Requests, each with one planted number in one place."""
    step = 1 if whole else 5
    score = {"method": "POST", "url": "/score"}
    for place, field in enumerate(item):
        forms = planter.ids() if field in ID_FIELDS else planter.texts()
        for count, value in enumerate([*forms, int(planter.number()), float(planter.number("visa"))]):
            if (count + place) % step == 0:
                yield {**score, "json": {**item, "transaction_id": f"{field}-{count}x", field: value}}
    for number in (planter.number(), planter.separated(" "), planter.number() * 30, f"{planter.number()}{'x' * 500}"):
        yield {**score, "json": {**item, "card_id": number}}
        yield {**score, "json": {**item, number: 1}}
        yield {**score, "json": {number: [item]}}
        yield {**score, "content": f'{{"{number}": 1, "{number}": 2}}', "headers": {"Content-Type": "application/json"}}
        yield {**score, "content": f"{number}, {number}", "headers": {"Content-Type": "application/json"}}
        yield {
            **score,
            "content": json.dumps({**item, "card_id": number}),
            "headers": {"Content-Type": "application/x-ndjson"},
        }
        for header in ("X-Request-ID", "X-API-Key", "Content-Type", "Content-Encoding", "User-Agent", "Accept"):
            yield {**score, "json": item, "headers": {header: number}}
        yield {**score, "json": item, "params": {"reasons": number}}
        yield {**score, "json": item, "params": {"deadline_ms": number}}
        yield {**score, "json": item, "params": {number: "1"}}
        for url in (
            "/decisions/{}",
            "/{}",
            "/score/{}",
            "/alerts?after={}",
            "/alerts?limit={}",
            "/alerts?{}=1",
            "/metrics/{}",
        ):
            yield {"method": "GET", "url": url.format(number.replace("\n", "%0A"))}
        yield {"method": number.replace(" ", "")[:40], "url": "/score"}
    record = {"transaction_id": item["transaction_id"], "is_fraud": True, "source": "analyst", "reported_at": None}
    for field in record:
        forms = planter.ids() if field in ID_FIELDS else planter.texts()
        for count, value in enumerate([*forms, int(planter.number())]):
            if count % step == 0:
                yield {"method": "POST", "url": "/labels", "json": {**record, field: value}}


def _attack(item: dict[str, Any], store: Path, *, whole: bool) -> None:
    params = params_files.load()
    params = params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(store)})})
    planter = Planter(11)
    answers: list[str] = []
    with logged() as log, closing(Service.open(params, port=0, history=None, model="challenger")) as service:
        client = TestClient(service.app, raise_server_exceptions=False)
        for request in requests_with_numbers(planter, item, whole=whole):
            answer = client.request(
                **{key: value for key, value in request.items() if key != "method"}, method=request["method"]
            )
            assert answer.status_code < 500, answer.text
            answers.append(f"{answer.text} {dict(answer.headers)}")
            bad = found_in(answers[-1], planter.numbers[-200:])
            assert bad == [], f"{request}: {answers[-1]}"
        answers += [client.get(url).text for url in ("/metrics", "/alerts?status=all", "/model")]
    assert len(answers) > 100
    assert found_in("\nx".join(answers), planter.numbers) == []
    assert found_in(log.getvalue(), planter.numbers) == []
    assert leaks(store, planter.numbers, without=set()) == []


def test_responses_logs_and_files_of_a_service_contain_no_planted_number(in_trained: Path, tmp_path: Path) -> None:
    newest = pl.read_parquet("data/raw/transactions.parquet").sort("ts").tail(1)
    _attack(items(newest)[0], tmp_path / "store", whole=False)


@pytest.mark.slow
def test_service_with_every_form_in_every_field(whole: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(whole.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    newest = pl.read_parquet("raw.parquet").sort("ts").tail(1)
    _attack({**items(newest)[0], "basket": 1.5, "note": "none"}, tmp_path / "store", whole=True)
