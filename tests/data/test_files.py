from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.reading import files
from fraud3000.errors import DataError, EmptyDataError, SchemaError

CUT_GZIP = gzip.compress(b"id,amount\n" + b"1,2\n" * 9999)[:-30]
FRAME = pl.DataFrame({"id": [1, 2], "amount": ["5.00", "6.00"]})


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class TestDiscover:
    def test_a_folder_gives_data_files_of_all_levels_in_order(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        names = ["b/2.parquet", "a.csv.gz", "z.jsonl", ".hidden.csv", "_SUCCESS.csv", "notes.txt"]
        for name in names:
            (tmp_path / name).touch()
        assert [path.relative_to(tmp_path).as_posix() for path in files.discover(str(tmp_path))] == [
            "a.csv.gz",
            "b/2.parquet",
            "z.jsonl",
        ]

    def test_a_glob_gives_what_matches(self, tmp_path: Path) -> None:
        for name in ("2.csv", "1.csv", "1.parquet"):
            (tmp_path / name).touch()
        assert [path.name for path in files.discover(str(tmp_path / "*.csv"))] == ["1.csv", "2.csv"]

    def test_a_file_whose_name_has_glob_signs_is_that_file(self, tmp_path: Path) -> None:
        (tmp_path / "a[1].csv").touch()
        assert files.discover(str(tmp_path / "a[1].csv")) == [tmp_path / "a[1].csv"]

    @pytest.mark.parametrize(("place", "found"), [("none.csv", "no such file"), ("*.csv", "no file matches")])
    def test_nothing_there_is_an_error(self, tmp_path: Path, place: str, found: str) -> None:
        with pytest.raises(DataError, match=found) as caught:
            files.discover(str(tmp_path / place))
        assert caught.value.hint

    def test_a_folder_without_data_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "readme.txt").touch()
        with pytest.raises(DataError, match="a folder without data files"):
            files.discover(str(tmp_path))


class TestCsv:
    def test_every_column_is_text_and_empty_is_null(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", "id,amount\n0012345678901234567,\n2,1.10\n"))
        assert raw.rows.to_dict(as_series=False) == {"id": ["0012345678901234567", "2"], "amount": [None, "1.10"]}
        assert raw.row_numbers.to_list() == [1, 2]

    @pytest.mark.parametrize("text", ["\ufeffid,amount\r\n1,2\r\n", 'id,"amount"\n"1","2"\n', "id,amount\n1,2"])
    def test_byte_order_mark_line_ends_and_quotes_do_not_matter(self, tmp_path: Path, text: str) -> None:
        assert files.read(write(tmp_path / "a.csv", text)).rows.rows() == [("1", "2")]

    def test_gzip(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv.gz", gzip.compress(b"id,amount\n1,2\n3,4,5\n"))
        raw = files.read(path)
        assert raw.rows.rows() == [("1", "2")]
        assert raw.refused["source_row"].to_list() == [2]

    def test_rows_with_too_many_or_too_few_fields_are_set_apart(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", 'id,amount,label\n1,2,0\n3,4,5,6\n7,"8,0",1\n9,10\n\n11,12,\n'))
        assert raw.rows.rows() == [("1", "2", "0"), ("7", "8,0", "1"), ("11", "12", None)]
        assert raw.row_numbers.to_list() == [1, 3, 5]
        assert raw.refused.rows() == [
            (2, "ragged_row", "4 fields, the header has 3", '["3", "4", "5", "6"]'),
            (4, "ragged_row", "2 fields, the header has 3", '["9", "10"]'),
        ]
        assert raw.height == 5

    def test_short_rows_alone_are_seen_too(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", "id,amount,label\n1,2,0\n3,4\n5,6,\n"))
        assert raw.rows.height == 2
        assert raw.refused["source_row"].to_list() == [2]

    def test_empty_last_fields_and_quoted_commas_are_no_short_rows(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", 'id,amount,label\n1,"2,5",\n3,4,\n'))
        assert raw.rows.rows() == [("1", "2,5", None), ("3", "4", None)]

    def test_a_quoted_short_row_with_commas_inside_is_set_apart(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", 'id,amount,label\n1,"2,5,7"\n3,4,0\n'))
        assert raw.rows.rows() == [("3", "4", "0")]
        assert raw.refused["source_row"].to_list() == [1]

    def test_a_line_break_in_quotes_is_part_of_its_row(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", 'id,memo\n1,"a\nb"\n2,\n'))
        assert raw.rows.rows() == [("1", "a\nb"), ("2", None)]

    def test_only_a_header_gives_no_rows(self, tmp_path: Path) -> None:
        raw = files.read(write(tmp_path / "a.csv", "id,amount\n"))
        assert (raw.rows.columns, raw.height) == (["id", "amount"], 0)

    def test_columns_without_a_name_are_told_apart(self, tmp_path: Path) -> None:
        assert files.read(write(tmp_path / "a.csv", ",id,\n1,2,3\n")).rows.columns == ["", "id", "column_3"]

    @pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
    def test_another_delimiter_is_named(self, tmp_path: Path, sign: str, word: str) -> None:
        with pytest.raises(DataError, match=f"separated by {word}, not by commas"):
            files.read(write(tmp_path / "a.csv", f"id{sign}amount\n1{sign}2\n"))

    @pytest.mark.parametrize(
        ("content", "error", "found"),
        [
            (b"", EmptyDataError, "the file is empty"),
            (b"\n\n", EmptyDataError, "the file is empty"),
            ("id,näme\n1,2\n".encode("latin-1"), DataError, "not UTF-8 text .byte 0xe4 in line 1"),
            ("id,name\n1,2\n3,café\n".encode("latin-1"), DataError, "not UTF-8 text .byte 0xe9 in line 3"),
            (b'id,name\n1,"open\n2,3\n', DataError, "line 3 cannot be read"),
            (b"id,id\n1,2\n", SchemaError, "more than one column is named 'id'"),
        ],
    )
    def test_what_cannot_be_read_is_told(
        self, tmp_path: Path, content: bytes, error: type[DataError], found: str
    ) -> None:
        with pytest.raises(error, match=found) as caught:
            files.read(write(tmp_path / "a.csv", content))
        assert caught.value.hint

    def test_a_gzip_file_cut_after_its_header_is_told(self, tmp_path: Path) -> None:
        lines = "id,amount\n" + "".join(f"{row},{row * 7919 % 9973}\n" for row in range(40_000))
        with pytest.raises(DataError, match="incomplete gzip file") as caught:
            files.read(write(tmp_path / "a.csv.gz", gzip.compress(lines.encode())[:-20_000]))
        assert caught.value.hint == "Copy or export the file again."

    @pytest.mark.parametrize("content", [b"no gzip at all", CUT_GZIP], ids=["no gzip", "cut"])
    def test_a_broken_gzip_file_is_told(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(DataError, match="gzip"):
            files.read(write(tmp_path / "a.csv.gz", content))


class TestJsonLines:
    def test_numbers_are_kept_as_they_are_written(self, tmp_path: Path) -> None:
        text = (
            '{"id": 12345678901234567890, "amount": 0.10, "on": true}\n\n{"id": "x", "more": [1, 2], "amount": null}\n'
        )
        raw = files.read(write(tmp_path / "a.jsonl", text))
        assert raw.rows.to_dicts() == [
            {"id": "12345678901234567890", "amount": "0.10", "on": "true", "more": None},
            {"id": "x", "amount": None, "on": None, "more": '["1", "2"]'},
        ]

    @pytest.mark.parametrize(
        "line",
        ['{"id": 1', "[1]", '"x"', '{"id": "\\ud800"}', "[" * 100_000, "{}"],
        ids=["cut", "list", "text", "not valid Unicode", "deep", "nothing"],
    )
    def test_a_line_that_is_no_object_is_set_apart(self, tmp_path: Path, line: str) -> None:
        raw = files.read(write(tmp_path / "a.ndjson", f'{{"id": 1}}\n{line}\n{{"id": 2}}\n'))
        assert raw.rows["id"].to_list() == ["1", "2"]
        assert raw.refused.select("source_row", "reason").rows() == [(2, "unreadable_line")]
        assert raw.row_numbers.to_list() == [1, 3]

    @pytest.mark.parametrize(
        ("line", "key"),
        [
            ('{"id": 1, "amount": 10, "amount": 9000}', "amount"),
            ('{"amount": 10, "amount": 10}', "amount"),
            ('{"amount": 10, "amo\\u0075nt": 9000}', "amount"),
            ('{"id": 1, "place": {"city": "a", "city": "b"}}', "city"),
            ('{"id": 1, "items": [{"a": 1}, {"b": 1, "b": null}]}', "b"),
            ('{"\\ud800": 1, "\\ud800": 2}', "?"),
        ],
    )
    def test_a_line_with_a_key_twice_is_set_apart(self, tmp_path: Path, line: str, key: str) -> None:
        raw = files.read(write(tmp_path / "a.ndjson", f'{{"id": 1}}\n{line}\n{{"id": 2}}\n'))
        assert raw.rows.to_dicts() == [{"id": "1"}, {"id": "2"}]
        [refused] = raw.refused.to_dicts()
        assert (refused["source_row"], refused["reason"]) == (2, "duplicate_key")
        assert refused["detail"] == f"the key '{key}' appears twice in an object"

    def test_gzip_and_many_lines(self, tmp_path: Path) -> None:
        lines = "".join(f'{{"id": {number}}}\n' for number in range(50_001))
        raw = files.read(write(tmp_path / "a.jsonl.gz", gzip.compress(lines.encode())))
        assert raw.rows["id"].to_list() == [str(number) for number in range(50_001)]

    def test_empty_and_other_text_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(EmptyDataError, match="the file is empty"):
            files.read(write(tmp_path / "a.jsonl", ""))
        with pytest.raises(DataError, match="not UTF-8"):
            files.read(write(tmp_path / "b.jsonl", b'{"a": "\xe9"}\n'))


class TestParquet:
    def test_types_are_kept(self, tmp_path: Path) -> None:
        FRAME.write_parquet(tmp_path / "a.parquet")
        assert files.read(tmp_path / "a.parquet").rows.schema == FRAME.schema

    @pytest.mark.parametrize("size", [0, 4, 200])
    def test_a_cut_file_is_told(self, tmp_path: Path, size: int) -> None:
        FRAME.write_parquet(tmp_path / "whole.parquet")
        cut = write(tmp_path / "a.parquet", (tmp_path / "whole.parquet").read_bytes()[:size])
        with pytest.raises(DataError, match="incomplete Parquet file") as caught:
            files.read(cut)
        assert caught.value.hint


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\.xlsx' are not supported"):
        files.read(write(tmp_path / "a.xlsx", "x"))
