from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from fraud3000.data.cleaning.clean import Ingested
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
    assert "must not be stored after authorisation" in str(caught.value)
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


@pytest.mark.parametrize(("column", "role"), [("id", "transaction_id"), ("shop", "terminal_id"), ("card", "card_id")])
@pytest.mark.parametrize("number", [CARDS[0], "order-4111_1111_1111_1111/7", "T378282246310005"])
def test_a_row_whose_id_contains_a_card_number_is_quarantined(
    ingest: Ingest, column: str, role: str, number: str
) -> None:
    frame = FRAME.with_columns(shop=pl.lit("s"), card=pl.Series([f"{place:012d}" for place in range(5)]))
    changed = frame.with_columns(pl.when(pl.col("id") == "2").then(pl.lit(number)).otherwise(column).alias(column))
    ingested = ingest(changed)
    assert ingested.kept == 3, "one has no amount"
    refused = ingested.quarantine.filter(pl.col("reason") == f"{role}_card_number").row(0, named=True)
    assert refused["source_row"] == 2
    assert refused["detail"] == f"{role} contains a card number"
    assert "[card number]" in refused["raw"]


def test_a_card_number_as_place_of_arrival_is_quarantined(ingest: Ingest) -> None:
    frame = FRAME.with_columns(order=pl.Series([1, 2, int(CARDS[0]), 4, 5]))
    ingested = ingest(frame, columns={"seq": "order"})
    assert ingested.quarantine["reason"].to_list() == ["seq_card_number", "amount_unreadable"]
    assert CARDS[0] not in str(ingested.quarantine.rows())


def test_an_id_made_of_several_columns_is_judged_as_a_whole(ingest: Ingest) -> None:
    frame = FRAME.with_columns(a=pl.lit("4111"), b=pl.lit("1111"), c=pl.Series(["11111111", *"1234"]))
    ingested = ingest(frame, columns={"terminal_id": ["a", "b", "c"]})
    assert ingested.quarantine["reason"].to_list() == ["terminal_id_card_number", "amount_unreadable"]


def many(first: int, count: int) -> pl.DataFrame:
    """Transactions whose ids are numbers that follow each other: one in ten passes the check digit."""
    ids = pl.Series([str(number) for number in range(first, first + count)])
    return pl.DataFrame({"id": ids, "amount": ["1"] * count})


def test_ids_that_pass_the_check_digit_by_chance_are_kept(ingest: Ingest) -> None:
    assert ingest(many(4 * 10**15, 400)).kept == 400


def test_stated_roles_are_not_searched_and_all_others_are(ingest: Ingest) -> None:
    few = many(int(CARDS[0]), 1)
    assert ingest(few, card_like_ids=["transaction_id"]).kept == 1
    refused = ingest(many(4 * 10**15, 400), card_like_ids=["terminal_id"])
    assert (refused.kept, refused.quarantined) == (360, 40)


@pytest.mark.parametrize("role", ["id", "shop"])
def test_a_column_of_ids_most_of_which_are_card_numbers_stops_the_run(ingest: Ingest, role: str) -> None:
    passing = [str(number) for number in range(4 * 10**15, 4 * 10**15 + 400) if passes_luhn(str(number))]
    all_of_them = pl.concat([FRAME.head(1).with_columns(id=pl.lit(number), shop=pl.lit(number)) for number in passing])
    with pytest.raises(DataError, match=f"column .*'{role}' holds card numbers"):
        ingest(all_of_them.with_columns(pl.lit("1").alias("shop" if role == "id" else "card")))


NUMERIC = [
    pl.Series([int(number) for number in CARDS]),
    pl.Series([float(number) for number in CARDS]),
    pl.Series([Decimal(number) for number in CARDS], dtype=pl.Decimal(20, 2)),
    pl.Series([f"{number}.0" for number in CARDS]),
    pl.Series([f"{number}.00" for number in CARDS]),
    pl.Series([f"{number[0]}.{number[1:]}E+{len(number) - 1}" for number in CARDS]),
    pl.Series(["_".join((number[:4], number[4:10], number[10:])) for number in CARDS]),
]


@pytest.mark.parametrize("values", NUMERIC, ids=lambda values: f"{values.dtype}-{values[0]}")
@pytest.mark.parametrize("mapping", [{"numeric": ["memo"]}, {"categorical": ["memo"]}, {}], ids=str)
def test_a_column_of_card_numbers_in_any_form_is_refused(
    ingest: Ingest, values: pl.Series, mapping: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="column 'memo' holds card numbers"):
        ingest(FRAME.with_columns(memo=values), **mapping)


@pytest.mark.parametrize("values", NUMERIC, ids=lambda values: f"{values.dtype}-{values[0]}")
def test_single_card_numbers_in_a_column_of_numbers_become_null_and_are_counted(
    ingest: Ingest, values: pl.Series
) -> None:
    memo = pl.concat([values.head(1), pl.Series([1, 2, 3, 4]).cast(values.dtype)])
    ingested = ingest(FRAME.with_columns(memo=memo), numeric=["memo"])
    assert ingested.transactions["memo"].to_list() == [None, 1.0, 2.0, 3.0]
    assert ingested.nulled["memo"] == 1


def test_a_column_named_by_a_card_number_is_refused(ingest: Ingest) -> None:
    with pytest.raises(DataError, match=r"the name of column '\[card number\]' contains a card number"):
        ingest(FRAME.with_columns(pl.lit("1").alias(CARDS[0])))


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
