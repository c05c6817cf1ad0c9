"""CSV files as banks export them: separators, encodings, decimal commas, lines that are no rows, compression."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from fraud3000.data.cleaning import amounts, passthrough, sources
from fraud3000.data.cleaning.row_errors import first_errors
from fraud3000.data.reading import files
from fraud3000.errors import DataError, ParamsError, SchemaError
from fraud3000.params import AmountFormat, CsvFormat, parse

ROWS = [("a1", "Müller; Söhne", "1.234,56"), ("a2", "Café", "-0,50")]


def read(path: Path, **form: Any) -> tuple[list[str], list[tuple[str | None, ...]]]:
    raw = files.read(path, CsvFormat(**form))
    return raw.rows.columns, raw.rows.rows()


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str, encoding: str = "utf-8", name: str = "a.csv") -> Path:
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return written


TEXT = 'id;name;amount\na1;"Müller; Söhne";1.234,56\na2;Café;-0,50\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_encoding_and_line_end(write: Any, encoding: str, end: str) -> None:
    path = write(TEXT.replace("\n", end), encoding)
    form = "utf-8" if encoding == "utf-8-sig" else encoding
    assert read(path, separator=";", encoding=form) == (["id", "name", "amount"], ROWS)


@pytest.mark.parametrize(("separator", "written"), [(";", ";"), ("\\t", "\t"), ("\t", "\t"), ("|", "|"), ("^", "^")])
def test_any_separator(write: Any, separator: str, written: str) -> None:
    path = write(f"a{written}b\n1{written}2\n3{written}4\n")
    assert read(path, separator=separator) == (["a", "b"], [("1", "2"), ("3", "4")])


def test_other_quotes_and_none(write: Any) -> None:
    path = write("a,b\n'1,5',x\n")
    assert read(path, quote="'")[1] == [("1,5", "x")]
    path = write('a|b\n5" screen|x\n')
    assert read(path, separator="|", quote="")[1] == [('5" screen', "x")]


def test_lines_that_are_no_rows(write: Any) -> None:
    path = write("Export of 2024\n\n# made by hand\na,b\n1,2\n# a break\n3,4\nTotal,6\n2 rows,\n")
    assert read(path, skip=1, comment="#", footer=2) == (["a", "b"], [("1", "2"), ("3", "4")])


def test_a_file_without_a_header(write: Any) -> None:
    path = write("1,2\n3,4\n")
    assert read(path, header=False, names=("a", "b")) == (["a", "b"], [("1", "2"), ("3", "4")])
    assert read(path, header=False)[0] == ["column_1", "column_2"]


def test_compressed_files(tmp_path: Path) -> None:
    content = b"a,b\n1,2\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    (tmp_path / "a.csv.bz2").write_bytes(bz2.compress(content))
    (tmp_path / "a.csv.zst").write_bytes(pa.compress(content, "zstd", asbytes=True))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("inside.csv", content)
    for path in tmp_path.iterdir():
        assert read(path) == (["a", "b"], [("1", "2")]), path.name


def test_an_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    with pytest.raises(SchemaError, match="an archive of 2 files, not of one"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.zst", "a.zip"])
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"incomplete|cannot be read"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "encoding", "form", "message", "hint"),
    [
        ("a;b\n1;2\n", "utf-8", {}, "separated by semicolons, not by commas", 'prepare.csv.separator to ";"'),
        ("a\tb\n1\t2\n", "utf-8", {}, "separated by tabs", r'prepare.csv.separator to "\t"'),
        ("a,b\n1,2\n", "utf-8", {"separator": ";"}, "separated by commas, not by semicolons", 'to ","'),
        ("a;b\né;2\n", "latin-1", {"separator": ";"}, r"not UTF-8 text \(byte 0xe9 in line 2\)", "encoding"),
        ("a,b\n1,2\n", "utf-8", {"encoding": "utf-16"}, "not utf-16 text", "encoding"),
        ("a\n\x81\n", "latin-1", {"encoding": "cp1252"}, r"not CP1252 text \(byte 0x81 in line 2\)", "encoding"),
        ("sep=;\na;b\n1;2\n", "utf-8", {}, "a note for spreadsheets", "{skip: 1, separator: ';'}"),
    ],
)
def test_another_format_is_refused_with_the_key_to_set(
    write: Any, text: str, encoding: str, form: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(write(text, encoding), **form)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("form", "text", "minor"),
    [
        ({"decimal": ","}, "1.234,56", 123456),
        ({"decimal": ","}, "1.234.567,8", 123456780),
        ({"decimal": ","}, "-0,5", -50),
        ({"decimal": ","}, "12,50-", -1250),
        ({"decimal": ","}, "(12,50)", -1250),
        ({"decimal": ","}, "12,50 €", 1250),
        ({"decimal": ",", "thousands": " "}, "1 234,56", 123456),
        ({"decimal": ",", "thousands": " "}, "1\u202f234\u00a0567,89", 123456789),
        ({"thousands": "'"}, "1\u2019234.50", 123450),
        ({"decimal": ","}, "1.5", None),
        ({"decimal": ","}, "1.23,4", None),
        ({"decimal": ","}, "1,234.5", None),
        ({"thousands": ""}, "1,234", None),
        ({"thousands": "."}, "1.234", None),
    ],
)
def test_amounts_in_the_format_of_the_file(form: dict[str, Any], text: str, minor: int | None) -> None:
    if form == {"thousands": "."}:
        with pytest.raises(ValueError, match="the same character"):
            CsvFormat(**form)
        return
    values, errors = amounts.read(pl.Series("Betrag", [text]), AmountFormat(), CsvFormat(**form))
    assert values.to_list() == [minor]
    shown = first_errors(errors)
    assert shown["reason"].to_list() == ([] if minor is not None else ["amount_unreadable"])
    assert all(text in detail for detail in shown["detail"])


def test_numbers_in_the_format_of_the_file() -> None:
    values, nulled = passthrough.number(pl.Series(["1.234,5", "2,5", "7", "1.5", ""]), CsvFormat(decimal=","))
    assert (values.to_list(), nulled) == ([1234.5, 2.5, 7.0, None, None], 1)
    assert passthrough.number(pl.Series(["1,234"]))[1] == 1, "the comma may be a decimal sign"
    assert passthrough.number(pl.Series(["1,234"]), CsvFormat(thousands=","))[0].to_list() == [1234.0]


def test_the_format_is_part_of_the_mapping_of_a_bundle() -> None:
    params = parse({"prepare": {"source": "custom", "csv": {"separator": ";", "decimal": ","}}})
    assert sources.resolve(params.prepare).csv == CsvFormat(separator=";", decimal=",")


@pytest.mark.parametrize(
    "section",
    [
        {"mapping": {"csv": {"separator": ";"}}},
        {"csv": {"separator": ";;"}},
        {"csv": {"separator": "a"}},
        {"csv": {"separator": '"'}},
        {"csv": {"quote": "''"}},
        {"csv": {"names": ["a"]}},
        {"csv": {"header": False, "names": ["a", "a"]}},
        {"csv": {"skip": -1}},
        {"csv": {"encoding": "utf8"}},
        {"csv": {"decimal": ";"}},
    ],
)
def test_a_wrong_format_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=r"prepare\.(mapping\.)?csv"):
        sources.resolve(parse({"prepare": {"source": "custom", **section}}).prepare)
