"""Whatever the slices that rows pass through, the same becomes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.data.cleaning import cards, clean
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.data.storage.external_sort import sort_pieces
from fraud3000.data.storage.spill import Spill
from fraud3000.errors import DataError, FraudError
from fraud3000.params import ColumnMapping

KEY = cards.CardKey.from_secret(bytes(range(100, 132)))
NUMBERS = ["4111111111111111", "5500005555555559", "340000000000009", "30000000000004"]
MAPPED = {
    "transaction_id": "id",
    "ts": "time",
    "amount": "amount",
    "card_id": "card",
    "is_fraud": "label",
    "reported_at": "seen",
}
days = st.integers(1, 6).map(lambda day: f"2024-01-{day:02}")
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from([*"abcdefgh", ""]),
            "time": days | st.just("never"),
            "amount": st.sampled_from(["1", "1", "2", "$3", "x"]),
            "card": st.sampled_from(["c1", "c2", ""]),
            "label": st.sampled_from(["0", "1", ""]),
            "seen": st.just("") | days,
            "place": st.integers(0, 9).map(str),
            "size": st.sampled_from(["1.5", "", "many"]),
        }
    ),
    min_size=1,
    max_size=10,
)


def ingest(paths: list[Path], size: int, **mapping: Any) -> Ingested | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean, "COMPARED", size)
        return _ingest(paths, size, **mapping)


def _ingest(paths: list[Path], size: int, **mapping: Any) -> Ingested | str:
    try:
        return clean.ingest(
            paths,
            ColumnMapping.model_validate({"columns": MAPPED} | mapping),
            label_delay=timedelta(days=2),
            earliest=datetime(1970, 1, 1),
            latest=datetime(2100, 1, 1),
            card_key=lambda: KEY,
            size=size,
        )
    except FraudError as error:
        return str(error)


def assert_same(paths: list[Path], sizes: tuple[int, ...] = (1, 7), **mapping: Any) -> Ingested | str:
    whole = ingest(paths, 1_000, **mapping)
    for size in sizes:
        sliced = ingest(paths, size, **mapping)
        if isinstance(whole, str) or isinstance(sliced, str):
            assert sliced == whole
            continue
        for name in ("transactions", "quarantine", "ledger", "rows"):
            assert getattr(sliced, name).equals(getattr(whole, name)), name
            assert getattr(sliced, name).schema == getattr(whole, name).schema
        assert (sliced.unused, sliced.nulled) == (whole.unused, whole.nulled)
    return whole


def write(path: Path, given: list[dict[str, str]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
    elif path.suffix == ".parquet":
        pl.DataFrame(given).write_parquet(path)
    else:
        lines = [",".join(row.values()) for row in given]
        path.write_text("\n".join([",".join(given[0]), *lines]) + "\n")
    return path


@given(
    files=st.lists(st.tuples(rows, st.sampled_from([".csv", ".jsonl", ".parquet"])), min_size=1, max_size=2),
    numbered=st.booleans(),
)
@settings(max_examples=8)
def test_duplicates_conflicts_and_late_rows_across_slices(
    files: list[tuple[list[dict[str, str]], str]], numbered: bool
) -> None:
    columns = MAPPED | ({"seq": "place"} if numbered else {})
    with TemporaryDirectory() as folder:
        paths = [write(Path(folder) / f"{n}{suffix}", given) for n, (given, suffix) in enumerate(files)]
        assert_same(paths, (1, 3), columns=columns, numeric=["size"])


def test_lines_that_are_no_rows_stay_where_they_stood(tmp_path: Path) -> None:
    lines = ["id,time,amount,card,label,seen", "a,2024-01-01,1,c,0,", "ragged", "b,2024-01-01,x,c,0,", "c,1", "d,1,2"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "b.jsonl").write_text('oops\n{"id": "e", "amount": "1"}\n[]\n')
    columns = {"transaction_id": "id", "amount": "amount"}
    csv = assert_same([tmp_path / "a.csv"])
    assert isinstance(csv, Ingested)
    assert csv.rows["source_row"].to_list() == [1, 2, 3, 4, 5]
    assert csv.quarantine["reason"].to_list() == ["ragged_row", "amount_unreadable", "ragged_row", "ragged_row"]
    both = assert_same([tmp_path / "b.jsonl", tmp_path / "a.csv"], columns=columns)
    assert isinstance(both, Ingested)
    assert both.rows["source_row"].to_list() == [1, 2, 3, 1, 2, 3, 4, 5]


def test_what_is_decided_for_a_whole_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [str(n) for n in range(40)], "amount": ["1"] * 40})
    columns = {"transaction_id": "id", "amount": "amount"}

    def told(changed: pl.DataFrame, **mapping: Any) -> Ingested | str:
        changed.write_parquet(tmp_path / "a.parquet")
        return assert_same([tmp_path / "a.parquet"], (7,), columns=columns | mapping.pop("more", {}), **mapping)

    few_numbers = frame.with_columns(card=pl.Series([*NUMBERS, *["none"] * 36]))
    hashed = told(few_numbers, more={"card_id": "card"})
    assert isinstance(hashed, Ingested)
    assert cards.are_hashes(hashed.transactions["card_id"])
    assert "holds card numbers" in str(told(frame.with_columns(memo=pl.Series(NUMBERS * 10))))
    assert isinstance(told(frame.with_columns(memo=pl.Series([*NUMBERS, *map(str, range(36))]))), Ingested)
    assert "authentication data" in str(told(frame.with_columns(used_pin=pl.Series([*["yes"] * 39, "1234"]))))
    assert "'$' (1), '€' (1)" in str(told(frame.with_columns(amount=pl.Series(["$1", *["2"] * 38, "€3"]))))
    assert "USD (1 row)" in str(
        told(
            frame.with_columns(code=pl.Series([*["EUR"] * 39, "USD"])),
            more={"currency": "code"},
            amount={"currency": "EUR"},
        )
    )
    bad = frame.with_columns(amount=pl.Series(["x", *["1"] * 38, "y"]), long=pl.Series([1, *[2] * 38, 10**12]))
    quarantined = told(bad)
    assert isinstance(quarantined, Ingested)
    assert [json.loads(raw)["long"] for raw in quarantined.quarantine["raw"]] == ["1", str(10**12)]


def test_made_up_ids_and_rates_of_a_later_slice(tmp_path: Path) -> None:
    lines = [f"2024-01-{1 + n % 5:02},{n},{'USD' if n % 3 else 'EUR'}" for n in range(20)]
    (tmp_path / "a.csv").write_text("\n".join(["time,amount,code", *lines]) + "\n")
    amount = {"currency": "EUR", "rates": {"USD": [{"since": "2024-01-02", "rate": "0.5"}]}}
    columns = {"ts": "time", "amount": "amount", "currency": "code"}
    whole = assert_same([tmp_path / "a.csv"], columns=columns, amount=amount)
    assert isinstance(whole, Ingested)
    assert set(whole.quarantine["reason"]) == {"currency_no_rate"}
    assert "currency" not in whole.transactions.columns


def test_a_prepared_file_in_slices(tmp_path: Path) -> None:
    lines = [f"{n % 9},2024-01-0{1 + n % 4},{n % 2},c{n},0," for n in range(20)]
    (tmp_path / "a.csv").write_text("\n".join(["id,time,amount,card,label,seen", *lines]) + "\n")
    whole = assert_same([tmp_path / "a.csv"])
    assert isinstance(whole, Ingested)
    whole.transactions.write_parquet(tmp_path / "b.parquet")
    again = assert_same([tmp_path / "b.parquet"])
    assert isinstance(again, Ingested)
    assert again.transactions.equals(whole.transactions)


def test_a_file_whose_rows_break_off_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"id": [f"{n:09}" for n in range(50_000)], "amount": ["1"] * 50_000}).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[200:4_000] = bytes(3_800)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: incomplete file"):
        clean.ingest(
            [path],
            ColumnMapping.model_validate({"columns": {"transaction_id": "id", "amount": "amount"}}),
            label_delay=timedelta(days=2),
            earliest=datetime(1970, 1, 1, tzinfo=UTC),
            latest=datetime(2100, 1, 1, tzinfo=UTC),
        )


@given(pieces=st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=9), max_size=6))
@settings(max_examples=20)
def test_sorting_on_disk_is_sorting(pieces: list[list[tuple[int, int]]]) -> None:
    given_rows = list(dict.fromkeys(row for piece in pieces for row in piece))
    frames, left = [], list(given_rows)
    for piece in pieces:
        cut, left = left[: len(piece)], left[len(piece) :]
        frames.append(pl.DataFrame(cut, schema={"a": pl.Int64, "b": pl.Int64}, orient="row").lazy())
    with TemporaryDirectory() as folder:
        for size in (1, 3, 100):
            found = list(sort_pieces(frames, ["a", "b"], size, Path(folder) / str(size)))
            assert [row for frame in found for row in frame.rows()] == sorted(given_rows)
            ends = [(frame["a"][0], frame["a"][-1]) for frame in found]
            assert all(high < low for (_, high), (low, _) in pairwise(ends))


def test_a_spill_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "none")
    spill.add(pl.DataFrame(schema={"a": pl.Int64}))
    assert spill.rows.collect().schema == {"a": pl.Int64}
    assert (spill.height, list(tmp_path.iterdir())) == (0, [])
