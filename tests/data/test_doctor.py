from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.data import quality, target_leakage
from fraud3000.data.quality import Finding

START = datetime(2025, 1, 1, tzinfo=UTC)


def ledger_of(frauds: list[str], legitimate: list[str] | None = None) -> pl.DataFrame:
    said = [(name, 1) for name in frauds] + [(name, 0) for name in legitimate or []]
    return pl.DataFrame(said, schema={"transaction_id": pl.String, "is_fraud": pl.Int8}, orient="row")


def transactions_of(rows: int, *, days: int = 180, fraud_every: int = 100, **columns: Iterable[Any]) -> pl.DataFrame:
    """Rows at equal steps of time, with a fraud every so many."""
    step = timedelta(days=days) / rows
    frame = pl.DataFrame(
        {
            "transaction_id": [f"t{row:06d}" for row in range(rows)],
            "ts": pl.Series([START + row * step for row in range(rows)]).dt.truncate("1s"),
            "card_id": [f"c{row % 997}" for row in range(rows)],
            "amount": pl.Series(np.random.default_rng(3).integers(100, 10_000, rows)),
            "is_fraud": pl.Series([int(row % fraud_every == 0) for row in range(rows)], dtype=pl.Int8),
            "labelled": [True] * rows,
        }
    )
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def examine(transactions: pl.DataFrame, ledger: pl.DataFrame | None = None) -> dict[str, Finding]:
    found = quality.examine(transactions, ledger_of([]) if ledger is None else ledger)
    return {finding.code: finding for finding in found}


def test_sound_data_give_no_finding() -> None:
    rng = np.random.default_rng(5)
    transactions = transactions_of(
        20_000, shop=[f"s{value}" for value in rng.integers(0, 500, 20_000)], v1=rng.random(20_000)
    )
    assert examine(transactions) == {}


def test_input_is_left_as_it_is() -> None:
    transactions = transactions_of(1_000)
    before = transactions.clone()
    examine(transactions)
    assert transactions.equals(before)


class TestMonths:
    def test_a_month_without_labels(self) -> None:
        transactions = transactions_of(12_000)
        march = pl.col("ts").dt.month() == 3
        found = examine(transactions.with_columns(labelled=~march, is_fraud=pl.when(~march).then("is_fraud")))
        assert "2025-03: 2," in found["months_without_labels"].text
        assert found["unlabelled"].severity == "info"

    def test_a_month_without_frauds(self) -> None:
        transactions = transactions_of(12_000)
        late = pl.col("ts").dt.month() == 6
        found = examine(transactions.with_columns(is_fraud=pl.when(late).then(0).otherwise("is_fraud").cast(pl.Int8)))
        assert found["months_without_frauds"].severity == "warn"
        assert found["months_without_frauds"].text.startswith("2025-06: no fraud in 1,")

    def test_few_rows_do_not_cry_wolf(self) -> None:
        transactions = transactions_of(600)
        late = pl.col("ts").dt.month() == 6
        found = examine(transactions.with_columns(is_fraud=pl.when(late).then(0).otherwise("is_fraud").cast(pl.Int8)))
        assert found == {}

    def test_a_break_in_the_label_rate(self) -> None:
        transactions = transactions_of(40_000, fraud_every=50)
        early = pl.col("ts").dt.month() < 4
        thinned = pl.when(early & (pl.int_range(pl.len()) % 200 != 0)).then(0).otherwise("is_fraud").cast(pl.Int8)
        found = examine(transactions.with_columns(is_fraud=thinned))
        assert found["label_rate_break"].text.startswith("2025-04: 2.0")

    def test_runs_of_one_card_count_once(self) -> None:
        transactions = transactions_of(4_000, fraud_every=10**9)
        april = pl.int_range(2_000, 2_100)
        run = pl.int_range(pl.len()).is_in(april)
        base = (pl.int_range(pl.len()) % 150 == 1) | run
        one_card = transactions.with_columns(
            is_fraud=base.cast(pl.Int8), card_id=pl.when(run).then(pl.lit("c1")).otherwise("card_id")
        )
        assert "label_rate_break" not in examine(one_card.with_columns(card_id=pl.lit("c1")))
        assert "label_rate_break" in examine(one_card.drop("card_id"))

    def test_the_last_record_of_the_ledger_counts(self) -> None:
        transactions = transactions_of(2_000, fraud_every=10**9)
        ids = transactions["transaction_id"].gather_every(50).to_list()
        assert "no_frauds" not in examine(transactions, ledger_of(ids))
        assert "no_frauds" in examine(transactions.with_columns(is_fraud=pl.lit(0, pl.Int8)), ledger_of(ids, ids))


class TestTies:
    def test_whole_days(self) -> None:
        transactions = transactions_of(20_000).with_columns(pl.col("ts").dt.truncate("1d"), card_id=pl.lit("c1"))
        found = examine(transactions)["ties"]
        assert found == Finding(
            "ties",
            "warn",
            "20,000 transactions (100.00%) share card and one whole day with another transaction; "
            "features of neither include the other.",
        )

    def test_few_ties_of_whole_minutes_are_worth_a_word(self) -> None:
        whole = transactions_of(2_000).with_columns(pl.col("ts").dt.truncate("1m"))
        pair = pl.col("transaction_id").is_in(["t000500", "t000501"])
        tied = whole.with_columns(
            ts=pl.when(pair).then(pl.lit(whole["ts"][500])).otherwise("ts"),
            card_id=pl.when(pair).then(pl.lit("c1")).otherwise("card_id"),
        )
        assert "ties" not in examine(whole)
        assert examine(tied)["ties"].severity == "info"
        assert "2 transactions (0.10%) share card and one whole minute" in examine(tied)["ties"].text

    def test_ties_of_different_cards_are_none(self) -> None:
        assert "ties" not in examine(transactions_of(500, days=1).with_columns(ts=pl.lit(START + timedelta(seconds=1))))

    def test_data_without_time_or_cards(self) -> None:
        assert examine(transactions_of(500).drop("ts", "card_id")) == {}


class TestGiveaways:
    LABEL = pl.Series([int(row % 100 == 0) for row in range(20_000)], dtype=pl.Int8)
    NOISE = np.random.default_rng(9).random(20_000)

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (LABEL.cast(pl.Float64), "cover 100.0% of all frauds"),
            (1 - LABEL.cast(pl.Float64) + pl.Series(NOISE) / 2, "an AUC of 0.99"),
            (LABEL.cast(pl.String).replace({"1": "charged back", "0": "settled"}), "cover 100.0% of all frauds"),
            (
                pl.Series([3.0 if row % 200 == 0 else None for row in range(20_000)]),
                "in 100 rows, of which 100.0% are frauds, and cover 50.0%",
            ),
            (
                pl.Series([None if row % 200 == 0 else "x" for row in range(20_000)]),
                "in 100 rows, of which 100.0% are frauds, and cover 50.0%",
            ),
            (
                pl.Series(["case 7" if row % 300 == 0 else f"s{row % 13}" for row in range(20_000)]),
                "in 67 rows, of which 100.0% are frauds, and cover 33.5%",
            ),
        ],
    )
    def test_found(self, values: pl.Series, words: str) -> None:
        assert words in str(target_leakage.leak_reason(values, self.LABEL))

    @pytest.mark.parametrize(
        "values",
        [
            pl.Series(NOISE),
            pl.Series([f"id{row}" for row in range(20_000)]),
            pl.Series([f"s{int(value * 40)}" for value in NOISE]),
            pl.Series(NOISE) + LABEL.cast(pl.Float64) * 0.6,
            pl.Series([None] * 20_000, dtype=pl.Float64),
            pl.Series([float("nan")] * 20_000),
            pl.Series([1.0 if row % 2 else None for row in range(20_000)]),
        ],
    )
    def test_honest(self, values: pl.Series) -> None:
        assert target_leakage.leak_reason(values, self.LABEL) is None

    def test_few_frauds_need_a_perfect_ranking(self) -> None:
        label = pl.Series([int(row < 25) for row in range(8_000)])
        nearly = pl.Series([30.0 if row < 25 else float(row % 31) for row in range(8_000)])
        assert target_leakage.leak_reason(nearly, label) is None
        assert target_leakage.leak_reason(label.cast(pl.Float64), label) is not None

    FORMS: ClassVar[dict[str, Callable[[pl.Series], pl.Series]]] = {
        "integer": lambda flag: flag.cast(pl.Int64),
        "float": lambda flag: flag.cast(pl.Float64),
        "boolean": lambda flag: flag,
        "text": lambda flag: flag.cast(pl.String).replace({"true": "yes", "false": "no"}),
        "number as text": lambda flag: flag.cast(pl.Int64).cast(pl.String),
        "number or null": lambda flag: flag.cast(pl.Float64).set(~flag, None),
        "number or NaN": lambda flag: flag.cast(pl.Float64).set(~flag, float("nan")),
        "text or null": lambda flag: flag.cast(pl.String).set(~flag, None),
        "null or text": lambda flag: flag.cast(pl.String).set(flag, None),
        "inverted": lambda flag: 7.5 - flag.cast(pl.Float64) * 20,
    }

    @pytest.mark.parametrize(
        ("flag", "found"),
        [
            ((LABEL == 1) & (pl.Series(NOISE) < 0.9), True),  # on 90 % of frauds, never on others
            ((LABEL == 1) != (pl.Series(NOISE) < 0.01), True),  # a label with 1 % flips
            ((LABEL == 1) & (pl.Series(NOISE) < 0.1), False),  # on few frauds
            ((LABEL == 1) != (pl.Series(NOISE) < 0.2), False),  # an honest predictor
            (pl.Series(NOISE) < 0.5, False),
        ],
    )
    def test_the_same_information_gives_the_same_finding_in_any_form(self, flag: pl.Series, found: bool) -> None:
        reasons = {name: target_leakage.leak_reason(form(flag), self.LABEL) for name, form in self.FORMS.items()}
        assert len(set(reasons.values())) == 1, reasons
        assert (reasons["integer"] is not None) is found

    @given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 0.1), st.integers(2, 6))
    @settings(max_examples=40)
    def test_any_column_of_few_values_gives_the_same_finding_in_any_form(
        self, seed: int, on_frauds: float, on_others: float, values: int
    ) -> None:
        source = np.random.default_rng(seed)
        hit = source.random(len(self.LABEL)) < np.where(self.LABEL.to_numpy() == 1, on_frauds, on_others)
        codes = pl.Series(np.where(hit, 1, source.integers(2, values + 2, len(hit))))
        shuffled = {code: int(number) for code, number in enumerate(source.permutation(values + 2))}
        forms = [
            codes,
            codes.cast(pl.Float64) / 7,
            codes.replace_strict(shuffled),
            codes.cast(pl.String) + " of a kind",
            codes.cast(pl.String).set(codes == 1, None),
            codes.cast(pl.Float64).set(codes == 2, None),
        ]
        assert len({target_leakage.leak_reason(form, self.LABEL) for form in forms}) == 1

    def test_too_few_labels_say_nothing(self) -> None:
        assert target_leakage.leak_reason(pl.Series([1.0] * 5 + [0.0] * 95), pl.Series([1] * 5 + [0] * 95)) is None

    def test_named_in_the_findings(self) -> None:
        transactions = transactions_of(5_000)
        found = examine(transactions.with_columns(chargeback_code=pl.when(pl.col("is_fraud") == 1).then(pl.lit("F1"))))
        assert found["gives_label_away"].severity == "warn"
        assert "Column chargeback_code" in found["gives_label_away"].text


class TestColumns:
    def test_empty_and_constant(self) -> None:
        transactions = transactions_of(1_000).with_columns(
            channel=pl.lit("web"), fee=pl.lit(None, dtype=pl.Float64), card_lat=pl.lit(None, dtype=pl.Float64)
        )
        found = quality.examine(transactions, ledger_of([]))
        assert [(finding.severity, finding.code, finding.text.split()[1]) for finding in found] == [
            ("warn", "all_null_column", "card_lat"),
            ("warn", "all_null_column", "fee"),
            ("info", "constant_column", "channel"),
        ]

    def test_mostly_unlabelled(self) -> None:
        transactions = transactions_of(1_000).with_columns(
            labelled=pl.int_range(pl.len()) < 300, is_fraud=pl.when(pl.int_range(pl.len()) < 300).then("is_fraud")
        )
        assert examine(transactions)["unlabelled"].severity == "warn"
        assert "700 of 1,000 transactions (70.0%)" in examine(transactions)["unlabelled"].text
