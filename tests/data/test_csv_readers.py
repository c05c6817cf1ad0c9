"""The two readers of CSV: where polars reads a file, the csv module reads the same from it."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fraud3000.data.reading import csv_reader, files
from fraud3000.data.storage.spill import Spill
from fraud3000.errors import DataError

FIELD = st.sampled_from(
    ["", "1", "a b", " ", "é", "\ufeff", "\x1c", "\u2028", "NULL", "-", "a'b", "\t", "\x00", "x" * 300]
)
QUOTED = st.sampled_from(
    ['""', '"a"', '"a,b"', '"a""b"', '"\n"', '"\r\n"', '"\r"', '""""', '"a"b', 'a"b', '"', ' "a"', '"a" ', '"é"']
)
LINE = st.lists(FIELD | FIELD | QUOTED, min_size=1, max_size=4).map(",".join)
END = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\n\n", "\r\r\n"])


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Bytes of a CSV file with any fault there is, with or without a last line end."""
    lines = draw(st.lists(st.tuples(LINE, END), max_size=8))
    header = draw(st.sampled_from(["a,b,c", "a,b,c", "a,b", "a", 'a,"b,c",d', ",b,c", "\ufeffa,b,c", "\na,b,c"]))
    text = header + draw(END) + "".join(line + end for line, end in lines)
    content = text.removesuffix("\n") if draw(st.booleans()) else text
    return content.encode() + draw(st.sampled_from([b"", b"", b"", b"\xff,1,2\n", b"\xc3"]))


Outcome = tuple[list[str], list[tuple[str | None, ...]], list[int], list[tuple[object, ...]]] | str


def source(path: Path) -> csv_reader._Source:
    return csv_reader._Source(path, path, csv_reader.DEFAULT)


def by_csv_module(path: Path, folder: Path) -> Outcome:
    """What the slow reader alone makes of a file."""
    try:
        raw = csv_reader._slow(source(path), csv_reader._header(source(path)), Spill(folder / "slow")).whole()
    except UnicodeDecodeError:
        return "not UTF-8"
    except DataError as error:
        return str(error)
    return raw.rows.columns, raw.rows.rows(), raw.row_numbers.to_list(), raw.refused.rows()


def by_scan(path: Path, folder: Path) -> Outcome:
    """What the project reads, whichever reader that takes."""
    try:
        raw = csv_reader.scan(path, folder / "scan").whole()
    except DataError as error:
        return "not UTF-8" if "not UTF-8" in str(error) else str(error)
    return raw.rows.columns, raw.rows.rows(), raw.row_numbers.to_list(), raw.refused.rows()


@given(contents())
@example(b"a,b,c\n1,2,3\n4,5,6,")
@example(b"a,b,c\n1,2,3\n4,5,6,\n")
@example(b"a,b,c\n1,2,3\n4,5")
@example(b'a,b,c\n1,2,""\n')
@example(b"a\n1\n\n2\n")
@example(b"a,b,c\r\n1,2,\r\n")
@example(b'a,b,c\n"1,2,3\n')
@example(b"a,b,c\n1,2,3\x00\n")
@example(b"a,b,c\n" + b"x" * 140_000 + b",2,3\n")
def test_both_readers_agree(content: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "a.csv"
        path.write_bytes(content)
        assert by_scan(path, folder) == by_csv_module(path, folder)


PLAIN = st.lists(st.sampled_from(["", "1", '"a,b"', '""', '"a""b"', "é"]), min_size=3, max_size=3).map(",".join)


@given(st.lists(PLAIN, min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_polars_reads_what_is_plain(lines: list[str], end: str, last_end: bool, compressed: bool) -> None:
    text = end.join(["a,b,c", *lines]) + end * last_end
    with TemporaryDirectory() as name:
        path = Path(name) / ("a.csv.gz" if compressed else "a.csv")
        path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
        read = csv_reader._fast(source(path), ["a", "b", "c"], Path(name) / "fast.parquet")
        assert read is not None
        expected = [[field or None for field in row] for row in csv.reader(io.StringIO(text, newline=""))][1:]
        assert [list(row) for row in read.collect().rows()] == expected


def test_a_fault_beyond_the_first_block_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "_BLOCK", 64)
    rows = "".join(f"{number},x\n" for number in range(50))
    (tmp_path / "a.csv").write_text(f"a,b\n{rows}7,8,\n{rows}")
    raw = files.read(tmp_path / "a.csv")
    assert raw.rows["a"].to_list() == [str(number) for number in range(50)] * 2
    assert raw.refused.select("source_row", "reason").rows() == [(51, "ragged_row")]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
@pytest.mark.parametrize("row", ["A2,2,", "A2,2,,", "A2", "A2,2,3"])
def test_a_last_row_is_ragged_whatever_ends_it(tmp_path: Path, row: str, end: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"id,amount\nA1,1\n{row}{end}".encode())
    raw = files.read(tmp_path / "a.csv")
    assert raw.rows.rows() == [("A1", "1")]
    assert raw.refused["reason"].to_list() == ["ragged_row"]


def test_an_empty_field_is_null_quoted_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,amount\nA1,""\nA2,\n')
    assert files.read(tmp_path / "a.csv").rows["amount"].to_list() == [None, None]
    assert pl.read_csv(tmp_path / "a.csv")["amount"].to_list() != [None, None]  # polars alone keeps the first
