from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from fraud3000.data.clean import Ingested
from fraud3000.errors import DataError, SchemaError
from fraud3000.redact import passes_luhn

Ingest = Callable[..., Ingested]
CARDS = ["4111111111111111", "5500005555555559", "4012888888881881", "340000000000009", "6011000000000004"]
FRAME = pl.DataFrame({"id": ["1", "2", "3", "4", "5"], "amount": ["1", "2", "3", "4", "x"]})


@pytest.mark.parametrize(
    "name",
    [
        "cvv",
        "CVV2",
        "Card CVC",
        "cvc2",
        "CID",
        "PIN",
        "pin_block",
        "PinBlock",
        "Track",
        "track1",
        "Track 2",
        "track_data",
    ],
)
def test_authentication_data_is_refused_by_name_unless_dropped(ingest: Ingest, name: str) -> None:
    frame = FRAME.with_columns(pl.lit("1234").alias(name))
    with pytest.raises(DataError, match=f"column '{name}' holds sensitive authentication data") as caught:
        ingest(frame)
    assert "must not be kept after authorisation" in str(caught.value)
    quarantine = ingest(frame, drop=[name]).quarantine
    assert "1234" not in quarantine["raw"][0]


@pytest.mark.parametrize("name", ["shipping", "opinion", "tracking_number", "backtrack", "cvvx"])
def test_only_whole_words_count(ingest: Ingest, name: str) -> None:
    assert ingest(FRAME.with_columns(pl.lit("1234").alias(name))).kept == 4


def test_flags_about_a_pin_are_no_pins(ingest: Ingest) -> None:
    assert ingest(FRAME.with_columns(used_pin_number=pl.lit("1.0"), cvv_result=pl.lit("M"))).kept == 4
    with pytest.raises(DataError, match="'pin'"):
        ingest(FRAME.with_columns(pin=pl.lit("1")))


def test_cid_may_be_a_customer(ingest: Ingest) -> None:
    frame = FRAME.with_columns(cid=pl.col("id"))
    assert ingest(frame, columns={"card_id": "cid"}).transactions["card_id"].to_list() == ["1", "2", "3", "4"]


@pytest.mark.parametrize("kind", [pl.String(), pl.Int64(), pl.Float64()])
def test_card_numbers_outside_the_card_column_are_refused_unless_dropped(ingest: Ingest, kind: pl.DataType) -> None:
    frame = FRAME.with_columns(memo=pl.Series(CARDS).cast(pl.Int64).cast(kind))
    with pytest.raises(DataError, match="column 'memo' holds card numbers") as caught:
        ingest(frame)
    assert not any(number in str(caught.value) for number in CARDS)
    assert ingest(frame, drop=["memo"]).kept == 4


def test_ids_negative_hashes_and_terminals_are_no_card_numbers(ingest: Ingest) -> None:
    frame = FRAME.with_columns(
        shop=pl.Series([-4111111111111111, -5500005555555559, -4012888888881881, -340000000000009, -6011000000000004]),
        card=pl.int_range(1_000_000_000_000_000, 1_000_000_000_000_005, eager=True),
    )
    assert ingest(frame).transactions["card_id"].to_list()[0] == "1000000000000000"


@pytest.mark.parametrize("role", ["id", "shop"])
def test_few_ids_may_pass_luhn_by_chance_but_many_do_not(ingest: Ingest, role: str) -> None:
    few = FRAME.head(1).with_columns(pl.lit(CARDS[0]).alias(role))
    assert ingest(few).kept == 1
    passing = [str(number) for number in range(4 * 10**15, 4 * 10**15 + 400) if passes_luhn(str(number))]
    many = pl.concat([FRAME.head(1).with_columns(id=pl.lit(number), shop=pl.lit(number)) for number in passing])
    with pytest.raises(DataError, match=f"column .*'{role}' holds card numbers"):
        ingest(many.with_columns(pl.lit("1").alias("shop" if role == "id" else "card")))


@pytest.mark.parametrize("said", ["detect", "yes"])
def test_card_numbers_are_hashed_and_appear_nowhere(ingest: Ingest, said: str) -> None:
    frame = FRAME.with_columns(card=pl.Series(CARDS), note=pl.lit("paid with 4111111111111111"))
    ingested = ingest(frame, card_numbers=said)
    assert ingested.transactions["card_id"].str.contains(r"^k959e5af4\.[\w-]{43}$").all()
    raw = ingested.quarantine["raw"][0]
    assert "card" not in pl.Series([raw]).str.json_decode(pl.Struct({"card": pl.String})).struct.field("card")
    assert not any(number in raw for number in CARDS)


def test_no_means_no_and_ordinary_ids_stay(ingest: Ingest) -> None:
    assert ingest(FRAME.with_columns(card=pl.Series(CARDS)), card_numbers="no").transactions["card_id"][0] == CARDS[0]
    assert ingest(FRAME.with_columns(card=pl.col("id"))).transactions["card_id"].to_list() == ["1", "2", "3", "4"]


def test_card_numbers_in_floats_are_refused_and_in_float_notation_quarantined_unquoted(ingest: Ingest) -> None:
    with pytest.raises(SchemaError, match="column 'card' is Float64"):
        ingest(FRAME.with_columns(card=pl.Series(CARDS).cast(pl.Float64)))
    ingested = ingest(FRAME.with_columns(card=pl.Series([*CARDS[:3], "4.11E+15", "4.22E+15"])), card_numbers="yes")
    assert ingested.quarantine["reason"].to_list()[0] == "card_id_not_exact"
    assert "4.11" not in str(ingested.quarantine.rows())
