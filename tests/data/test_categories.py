"""A category has one text, whatever type a file or a request stores it in."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.data.cleaning import clean, passthrough
from fraud3000.data.cleaning.category_text import canonical
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.features.custom_features import declare
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column
from fraud3000.models.inference.encoder import Encoder
from fraud3000.params import ColumnMapping, FeatureParams
from fraud3000.service.http.schemas import transaction_model

SAME = [
    pl.Series([7995, 5411, None]),
    pl.Series([7995, 5411, None], dtype=pl.Int16),
    pl.Series([7995.0, 5411.0, None]),
    pl.Series([7995.0, 5411.0, float("nan")]),
    pl.Series([7995.0, 5411.0, None], dtype=pl.Float32),
    pl.Series([Decimal("7995.00"), Decimal("5411.00"), None]),
    pl.Series(["7995", "5411", ""]),
    pl.Series([" 7995.0 ", "5411.00", None]),
    pl.Series(["7995", "5411", None], dtype=pl.Categorical),
    pl.Series(["7995", "5411", None], dtype=pl.Enum(["7995", "5411"])),
]


@pytest.mark.parametrize("values", SAME, ids=lambda values: f"{values.dtype}")
def test_every_type_of_a_column_gives_the_same_texts(values: pl.Series) -> None:
    assert passthrough.category(values).to_list() == ["7995", "5411", None]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7995, "7995"),
        (7995.0, "7995"),
        (-0.0, "0"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (True, "true"),
        ("True", "true"),
        ("FALSE", "false"),
        ("0742", "0742"),
        ("0742.0", "0742.0"),
        ("1.5.0", "1.5.0"),
        ("1e3", "1e3"),
        ("N/A", "N/A"),
        ("nan", None),
        (" ", None),
        (None, None),
    ],
)
def test_one_value(value: Any, text: str | None) -> None:
    assert canonical(value) == text
    assert passthrough.canonical(pl.Series([value])).to_list() == [text]


@given(st.lists(st.text(max_size=8) | st.from_regex(r"\A\s?-?0?[0-9]{1,3}\.0{0,2}\s?\Z"), min_size=1))
def test_texts_of_a_column_and_single_texts_agree(values: list[str]) -> None:
    texts = passthrough.canonical(pl.Series(values, dtype=pl.String))
    assert texts.to_list() == [canonical(value) for value in values]
    assert passthrough.canonical(texts).equals(texts)


@given(st.lists(st.floats() | st.integers(-(10**6), 10**6).map(float), min_size=1))
def test_floats_of_a_column_and_single_floats_agree(values: list[float]) -> None:
    assert passthrough.canonical(pl.Series(values, dtype=pl.Float64)).to_list() == [
        canonical(value) for value in values
    ]


MAPPING = ColumnMapping.model_validate(
    {"columns": {"transaction_id": "id", "amount": "amount"}, "categorical": ["mcc"], "amount": {"decimals": 2}}
)


def ingested(path: Path) -> Ingested:
    year_1, year_3000 = datetime(1, 1, 1), datetime(3000, 1, 1)
    return clean.ingest([path], MAPPING, label_delay=timedelta(days=7), earliest=year_1, latest=year_3000)


@pytest.mark.parametrize("sent", [7995, 7995.0, "7995", " 7995.0"])
def test_a_request_reads_a_category_as_a_file_does(sent: object) -> None:
    made = transaction_model(MAPPING).model_validate({"transaction_id": "a", "amount": 1, "mcc": sent})
    assert made.mcc == "7995"  # type: ignore[attr-defined]


@pytest.mark.parametrize("sent", [[7995], {"code": 7995}, "x" * 1001])
def test_a_request_refuses_what_is_no_category(sent: object) -> None:
    with pytest.raises(ValueError, match="mcc"):
        transaction_model(MAPPING).model_validate({"transaction_id": "a", "amount": 1, "mcc": sent})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,amount,mcc\na,1.00,7995\nb,2.00,\n"),
        ("a.csv", "id,amount,mcc\na,1.00,7995.0\nb,2.00,\n"),
        ("a.csv", 'id,amount,mcc\n"a","1.00","7995.0"\n"b","2.00","nan"\n'),
        ("a.jsonl", '{"id": "a", "amount": 1.0, "mcc": 7995}\n{"id": "b", "amount": 2.0, "mcc": null}\n'),
        ("a.jsonl", '{"id": "a", "amount": 1.0, "mcc": 7995.0}\n{"id": "b", "amount": 2.0, "mcc": NaN}\n'),
        ("a.jsonl", '{"id": "a", "amount": 1.0, "mcc": "7995"}\n{"id": "b", "amount": 2.0}\n'),
    ],
)
def test_every_form_of_file_gives_the_same_texts(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert ingested(tmp_path / name).transactions["mcc"].to_list() == ["7995", None]


@pytest.mark.parametrize("values", SAME, ids=lambda values: f"{values.dtype}")
def test_a_prepared_file_with_a_category_of_another_type_is_read_alike(tmp_path: Path, values: pl.Series) -> None:
    (tmp_path / "a.csv").write_text("id,amount,mcc\na,1.00,1\nb,2.00,2\nc,3.00,3\n", encoding="utf-8")
    prepared = ingested(tmp_path / "a.csv").transactions.with_columns(values.alias("mcc"))
    prepared.write_parquet(tmp_path / "a.parquet")
    assert ingested(tmp_path / "a.parquet").transactions["mcc"].to_list() == ["7995", "5411", None]


def test_a_condition_names_a_category_in_any_form() -> None:
    entry = FeatureParams.model_validate(
        {"key": "card_id", "aggregate": "count", "length": "1h", "where": {"column": "mcc", "is": ["7995.0", "0742"]}}
    )
    schema = {"ts": pl.Datetime("us", "UTC"), "card_id": pl.String(), "mcc": pl.String()}
    made = declare(Catalogue((), label_delay=604_800), [entry], [], schema).features[0]
    assert made.where.values == ("7995", "0742")  # type: ignore[attr-defined]


def test_the_encoder_knows_a_category_of_any_type_also_one_that_an_earlier_release_learnt_as_float() -> None:
    numbers = pl.DataFrame({"mcc": [7995] * 20 + [5411] * 10})
    learnt = Encoder.learn(numbers, [Column("mcc", categorical=True)])
    assert learnt.categories == {"mcc": ("7995", "5411")}
    for encoder in (learnt, Encoder(("mcc",), {"mcc": ("7995.0", "5411.0")}, {})):
        for values in ([7995, 5411], [7995.0, 5411.0], ["7995", "5411"]):
            assert encoder.rows([{"mcc": value} for value in values]).ravel().tolist() == [0, 1]
            assert encoder.matrix(pl.DataFrame({"mcc": values})).ravel().tolist() == [0, 1]
