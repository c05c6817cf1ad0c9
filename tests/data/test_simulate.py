import hashlib
import itertools
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud3000.data.simulation import draws as drawing
from fraud3000.data.simulation import traffic, world
from fraud3000.data.simulation.draws import UNIT, Choice, Draws
from fraud3000.data.simulation.simulate import SIMULATED, START, blocks, simulate
from fraud3000.params import SimulateParams

PARAMS = SimulateParams(rows=120_000, days=90, cards=2_000, terminals=800, seed=11)
DIGEST = "b7298a9b09bab01544add2116afb4130f9c85e7a20f6871a447c8a27d619898b"


def digest(frame: pl.DataFrame) -> str:
    """A hash of the values, not of how a library lays them out."""
    text = frame.with_columns(pl.col(pl.Float64).round(4)).write_csv(float_precision=4, null_value="-")
    return hashlib.sha256(text.encode()).hexdigest()


def number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


@pytest.fixture(scope="module")
def transactions() -> pl.DataFrame:
    return simulate(PARAMS)


class TestFrame:
    def test_columns_and_rows(self, transactions: pl.DataFrame) -> None:
        assert dict(transactions.schema) == SIMULATED
        assert transactions.height == PARAMS.rows
        assert transactions["transaction_id"].is_unique().all()
        assert transactions.drop("reported_at", "fraud_scenario").null_count().sum_horizontal().item() == 0

    def test_order_of_time_is_order_of_ids(self, transactions: pl.DataFrame) -> None:
        assert transactions["ts"].is_sorted()
        assert transactions["transaction_id"].is_sorted()
        assert (transactions["ts"].dt.microsecond() == 0).all()
        assert transactions["ts"].is_between(START, START + timedelta(days=PARAMS.days), closed="left").all()

    def test_amounts_are_whole_cents(self, transactions: pl.DataFrame) -> None:
        amount = transactions["amount"].to_numpy()
        assert (np.round(amount * 100) / 100 == amount).all()
        assert ((transactions["amount"] < 0) == (transactions["status"] == "refund")).all()
        assert (transactions["amount"] != 0).all()

    def test_reports_come_after_frauds_only(self, transactions: pl.DataFrame) -> None:
        fraud = transactions["is_fraud"] == 1
        assert (transactions["reported_at"].is_not_null() == fraud).all()
        assert (transactions["fraud_scenario"].is_not_null() == fraud).all()
        assert (transactions["reported_at"] > transactions["ts"]).all()

    @pytest.mark.parametrize(
        ("rows", "days", "cards", "terminals"), [(1, 1, 1, 1), (999, 1, 1, 1), (7, 400, 3, 2), (3_000, 2, 900, 500)]
    )
    def test_any_size(self, rows: int, days: int, cards: int, terminals: int) -> None:
        frame = simulate(SimulateParams(rows=rows, days=days, cards=cards, terminals=terminals))
        assert frame.height == rows
        assert frame["ts"].is_sorted()
        assert frame["card_id"].n_unique() <= cards
        assert frame["terminal_id"].n_unique() <= terminals


class TestSameEverywhere:
    def test_the_same_seed_gives_the_same_values(self, transactions: pl.DataFrame) -> None:
        assert digest(transactions) == DIGEST

    def test_another_seed_gives_others(self, transactions: pl.DataFrame) -> None:
        other = simulate(PARAMS.model_copy(update={"seed": 12}))
        assert not transactions["amount"].equals(other["amount"])

    def test_nothing_in_the_world_is_a_float(self) -> None:
        settled = world.build(PARAMS)
        arrays = {name: value for name, value in vars(settled).items() if isinstance(value, np.ndarray)}
        assert {name: array.dtype.kind for name, array in arrays.items()} == dict.fromkeys(arrays, "i")

    def test_no_function_that_differs_between_builds(self) -> None:
        folder = Path(drawing.__file__).parent
        code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
        assert not [
            name for name in ("np.exp", "np.log", "np.sin", "np.cos", "np.power", "default_rng") if name in code
        ]

    def test_work_is_cut_into_blocks_of_days(self) -> None:
        parts = list(blocks(SimulateParams(rows=1_300_000, days=30, cards=500, terminals=200)))
        assert len(parts) == 3
        assert sum(part.height for part in parts) == 1_300_000
        ends = [(part["ts"].min(), part["ts"].max()) for part in parts]
        assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))


class TestTraffic:
    def test_it_is_the_same_every_week(self, transactions: pl.DataFrame) -> None:
        week = (transactions["ts"] - START).dt.total_days() // 7
        rows = week.filter(week < 12).value_counts()["count"]
        assert number(rows.max()) < 1.02 * number(rows.min())

    def test_cards_keep_their_hours(self, transactions: pl.DataFrame) -> None:
        hour = pl.col("ts").dt.hour()
        by_card = transactions.group_by("card_id").agg(late=hour.is_in([23, 0, 1]).mean())
        assert transactions.select(hour.is_in([2, 3, 4]).mean()).item() < 0.06
        assert number(by_card["late"].max()) > 0.3

    def test_cards_keep_their_amounts(self, transactions: pl.DataFrame) -> None:
        honest = transactions.filter(is_fraud=0, status="approved").with_columns(pl.col("amount").log())
        levels = honest.group_by("card_id").agg(pl.col("amount").mean(), spread=pl.col("amount").std())
        assert number(levels["amount"].std()) > 0.4
        assert number(levels["spread"].mean()) < number(honest["amount"].std())

    def test_cards_shop_near_home_and_at_a_few_places(self, transactions: pl.DataFrame) -> None:
        honest = transactions.filter(pl.col("is_fraud") == 0)
        near = (honest["card_lat"] - honest["terminal_lat"]).abs() < 0.25
        assert 0.5 < number(near.mean()) < 0.9
        places = honest.group_by("card_id").agg(
            share=pl.col("terminal_id").value_counts(sort=True).head(12).struct.field("count").sum() / pl.len()
        )
        assert number(places["share"].mean()) > 0.75

    def test_some_attempts_are_declined(self, transactions: pl.DataFrame) -> None:
        declined = transactions.group_by("is_fraud").agg((pl.col("status") == "declined").mean()).sort("is_fraud")
        honest, fraud = declined["status"]
        assert 0.005 < honest < 0.02 < fraud < 0.3


class TestFraud:
    def test_share(self, transactions: pl.DataFrame) -> None:
        assert 0.005 < number(transactions["is_fraud"].mean()) < 0.01
        assert set(transactions["fraud_scenario"].drop_nulls()) == {
            "amount_outlier",
            "compromised_terminal",
            "stolen_card",
            "card_testing",
            "account_takeover",
        }

    def test_delays_have_a_realistic_spread(self, transactions: pl.DataFrame) -> None:
        days = (transactions["reported_at"] - transactions["ts"]).dt.total_seconds().drop_nulls() / 86_400
        assert 6 < number(days.median()) < 10
        assert number(days.quantile(0.1)) < 2.5
        assert number(days.quantile(0.95)) > 25
        assert 60 < number(days.max()) <= 151

    def test_card_testing_is_tiny_amounts_within_seconds(self, transactions: pl.DataFrame) -> None:
        testing = transactions.filter(fraud_scenario="card_testing").sort("card_id", "ts")
        gaps = testing["ts"].diff().dt.total_seconds().filter(testing["card_id"] == testing["card_id"].shift())
        assert number(gaps.median()) < 15
        assert (testing["amount"] <= 4).mean() > 0.9
        assert 0.2 < (testing["status"] == "declined").mean() < 0.4

    def test_stolen_cards_pay_several_times_what_they_did(self, transactions: pl.DataFrame) -> None:
        usual = transactions.filter(is_fraud=0).group_by("card_id").agg(usual=pl.col("amount").median())
        stolen = transactions.filter(fraud_scenario="stolen_card").join(usual, on="card_id")
        assert 2 < number((stolen["amount"] / stolen["usual"]).median()) < 8
        spans = stolen.group_by("card_id").agg((pl.col("ts").max() - pl.col("ts").min()).dt.total_days().alias("days"))
        assert number(spans["days"].median()) <= 7

    def test_takeovers_grow(self, transactions: pl.DataFrame) -> None:
        taken = transactions.filter(fraud_scenario="account_takeover").sort("ts")
        place = pl.int_range(pl.len()).over("card_id") / pl.len().over("card_id")
        far = (pl.col("card_lat") - pl.col("terminal_lat")).abs() > 0.5
        early, late = (taken.filter(place < 0.3), taken.filter(place >= 0.7))
        assert number(late["amount"].median()) > 1.5 * number(early["amount"].median())
        assert late.select(far.mean()).item() > 1.5 * early.select(far.mean()).item()

    def test_compromised_terminals_are_few_and_busy_with_fraud_for_weeks(self, transactions: pl.DataFrame) -> None:
        skimmed = transactions.filter(fraud_scenario="compromised_terminal")
        spans = skimmed.group_by("terminal_id").agg(
            pl.len(), days=(pl.col("ts").max() - pl.col("ts").min()).dt.total_days()
        )
        assert spans.height < 0.05 * PARAMS.terminals
        assert number(spans["days"].max()) >= 7
        at_them = transactions.join(spans, on="terminal_id")
        assert number(at_them["is_fraud"].mean()) > 10 * number(transactions["is_fraud"].mean())


class TestDraws:
    def test_streams_are_apart_and_repeat(self) -> None:
        assert Draws(1, 2).bits(5).tolist() == Draws(1, 2).bits(5).tolist()
        assert Draws(1, 2).bits(5).tolist() != Draws(1, 3).bits(5).tolist()

    def test_bounds(self) -> None:
        values = Draws(3).between(-2, 2, 10_000)
        assert sorted(set(values.tolist())) == [-2, -1, 0, 1, 2]
        assert sorted(Draws(3).order(100).tolist()) == list(range(100))

    def test_normal(self) -> None:
        values = Draws(4).normal(200_000) / UNIT
        assert abs(values.mean()) < 0.01
        assert abs(values.std() - 1) < 0.01

    def test_choice_follows_the_weights(self) -> None:
        counts = np.bincount(Choice(np.array([100, 300, 600])).draw(Draws(5), 100_000))
        assert np.allclose(counts / 100_000, [0.1, 0.3, 0.6], atol=0.03)

    def test_days_add_up(self) -> None:
        assert sum(traffic.per_day(1_000_003, 17)) == 1_000_003
