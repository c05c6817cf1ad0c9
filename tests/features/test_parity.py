"""Parity of both engines, and that a difference of one bit in one cell is detected."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.features.batch import batch_engine
from fraud3000.features.online import FeatureStore
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column, FromLast, LabelWindow, Window
from fraud3000.features.verification import adversarial_stream, every_kind
from fraud3000.features.verification.parity import compare
from fraud3000.schema import LEDGER, TIME

EVERY_KIND = every_kind.build_catalogue(precedence=adversarial_stream.SOURCES)
FEW = Catalogue(
    features=(
        Column("amount"),
        Window("card_id", "10s", "sum"),
        LabelWindow("card_id", "10s", "frauds", delay="2s"),
    ),
    label_delay=2,
    late_horizon=100,
)


def at(second: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


def rows(seconds: list[int]) -> pl.DataFrame:
    """Transactions of one card in order of arrival."""
    return pl.DataFrame(
        {
            "transaction_id": [f"{index}" for index in range(len(seconds))],
            "ts": [at(second) for second in seconds],
            "card_id": "card",
            "amount": [2**index for index in range(len(seconds))],
            "status": "approved",
            "labelled": True,
            "seq": range(len(seconds)),
        },
        schema_overrides={"ts": TIME, "amount": pl.Int64, "seq": pl.Int64},
    )


def ledger(*records: tuple[str, int, int]) -> pl.DataFrame:
    records_ = [
        {"transaction_id": i, "is_fraud": fraud, "source": "file", "recorded_at": at(s)} for i, fraud, s in records
    ]
    return pl.DataFrame(records_, schema=LEDGER)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_engines_agree_on_an_adversarial_stream(seed):
    generated = adversarial_stream.generate(EVERY_KIND, rows=1_500, seed=seed)
    parity = compare(generated.transactions, generated.ledger, EVERY_KIND)
    assert {name: count for name, count in parity.differing.items() if count} == {}
    assert (parity.rows, parity.cells) == (1_500, 1_500 * len(EVERY_KIND.names))
    assert parity.late > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2018, 5])
def test_the_engines_agree_on_a_long_stream(seed):
    generated = adversarial_stream.generate(EVERY_KIND, rows=40_000, seed=seed)
    assert compare(generated.transactions, generated.ledger, EVERY_KIND).differing_cells == 0


def test_the_result_does_not_depend_on_row_order_or_slice_size():
    transactions, labels = rows([0, 5, 3, 11, 10]), ledger(("0", 1, 2))
    whole = compare(transactions, labels, FEW)
    assert compare(transactions.reverse(), labels, FEW, size=2) == whole
    assert (whole.rows, whole.differing_cells) == (5, 0)


def test_rows_whose_features_depend_on_arrival_are_counted():
    assert compare(rows([0, 1, 2, 3]), ledger(), FEW).late == 0
    assert compare(rows([0, 2, 1, 3]), ledger(), FEW).late == 1  # row 1 has not seen row 2
    assert compare(rows([0, 2, 20, 1, 40]), ledger(), FEW).late == 1


def test_one_wrong_cell_is_one_difference_and_listed():
    def wrong(*arguments, **options):
        generated = batch_engine.featurize(*arguments, **options)
        changed = pl.when(pl.int_range(pl.len()) == 2).then(pl.col("card_amount_sum_10s") + 1)
        return generated.with_columns(changed.otherwise("card_amount_sum_10s").alias("card_amount_sum_10s"))

    parity = compare(rows([0, 1, 2, 3]), ledger(), FEW, featurize=wrong, size=2)
    assert parity.differing == {"amount": 0, "card_amount_sum_10s": 1, "card_frauds_10s_delayed_2s": 0}
    (first,) = parity.first
    assert (first.transaction_id, first.ts, first.feature) == ("2", at(2), "card_amount_sum_10s")
    assert (first.batch, first.online) == (4.0, 3.0)


def test_null_against_a_number_and_minus_zero_against_zero_are_differences():
    class Odd(FeatureStore):
        def observe(self, transaction):
            answer = dict(super().observe(transaction))
            return answer | {"amount": None, "card_frauds_10s_delayed_2s": -0.0}

    parity = compare(rows([0, 1]), ledger(), FEW, store=Odd)
    assert parity.differing == {"amount": 2, "card_amount_sum_10s": 0, "card_frauds_10s_delayed_2s": 2}


def test_only_the_first_differences_are_listed_in_order_of_arrival():
    class Odd(FeatureStore):
        def observe(self, transaction):
            return dict(super().observe(transaction)) | {"amount": -1.0}

    parity = compare(rows(list(range(30))), ledger(), FEW, store=Odd, size=7)
    assert parity.differing_cells == 30
    assert [difference.transaction_id for difference in parity.first] == [f"{index}" for index in range(10)]


def test_label_records_are_added_by_time_and_position_before_later_rows():
    received: list[tuple[str, int]] = []

    class Listening(FeatureStore):
        def observe(self, transaction):
            received.append((transaction["transaction_id"], -1))
            return super().observe(transaction)

        def record_label(self, transaction_id, is_fraud, **rest):
            received.append((transaction_id, is_fraud))
            return super().record_label(transaction_id, is_fraud, **rest)

    records = ledger(("1", 1, 8), ("0", 0, 4), ("0", 1, 4), ("1", 0, 3))
    parity = compare(rows([0, 4, 8, 9]), records, FEW, store=Listening)
    assert received == [("0", -1), ("1", 0), ("1", -1), ("0", 0), ("0", 1), ("2", -1), ("1", 1), ("3", -1)]
    assert parity.differing_cells == 0


def test_a_record_of_a_row_that_arrives_later_is_added_before_it():
    transactions = rows([10, 3, 12])  # the second is late, and its fraud was recorded before it came in
    catalogue = Catalogue((LabelWindow("card_id", "20s", "frauds", delay="2s"),), label_delay=2, late_horizon=100)
    parity = compare(transactions, ledger(("1", 1, 9)), catalogue)
    assert parity.differing_cells == 0
    assert batch_engine.featurize(transactions, ledger(("1", 1, 9)), catalogue)["card_frauds_20s_delayed_2s"][2] == 1


def test_data_without_time_is_compared_by_the_columns_of_the_row():
    transactions = rows([0, 1]).drop("ts", "card_id")
    parity = compare(transactions, pl.DataFrame(schema=LEDGER), Catalogue((Column("amount"),), label_delay=0))
    assert (parity.cells, parity.differing_cells, parity.late) == (2, 0, 0)


def test_coordinates_that_are_missing_are_equal_nulls():
    places = rows([0, 1, 2]).with_columns(
        terminal_lat=pl.Series([None, 1.0, 2.0]), terminal_long=pl.Series([0.0, None, 2.0])
    )
    catalogue = Catalogue((FromLast("card_id", "10s", "distance"),), label_delay=0)
    assert compare(places, ledger(), catalogue).differing_cells == 0
