"""The delay curve: what it is without truncation, what it corrects, and what it does not pretend to know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.labels import delay_estimate
from fraud3000.schema import LEDGER, TIME

Floats = npt.NDArray[np.float64]

DELAY = timedelta(days=7)
START = datetime(2024, 1, 1, tzinfo=UTC)
ASKED = [3.0, 7.0, 14.0, 30.0]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def seen(source: np.random.Generator, frauds: int, days: float, *, whole: bool = False) -> tuple[Floats, Floats]:
    """Delays, about a week, and ages of frauds that came evenly over some days, as far as they are reported by now."""
    age, delay = source.uniform(0, days, frauds), source.lognormal(np.log(7), 0.9, frauds)
    if whole:
        age, delay = np.ceil(age), np.floor(delay)
    return delay[delay < age], age[delay < age]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_without_truncation_it_is_the_empirical_distribution(found: list[int]) -> None:
    curve = delay_estimate.estimate(found, np.full(len(found), np.inf))
    asked = np.arange(42)
    share, low, high = curve.at(asked)
    assert share == pytest.approx([np.mean(np.array(found) <= one) for one in asked])
    assert (low <= share + 1e-12).all()
    assert (share <= high + 1e-12).all()


@given(st.integers(0, 2**32), st.integers(1, 60), st.booleans())
def test_it_is_the_product_over_the_delays_at_risk(seed: int, frauds: int, whole: bool) -> None:
    delay, age = seen(np.random.default_rng(seed), frauds, 40, whole=whole)
    curve = delay_estimate.estimate(delay, age)
    for asked in curve.days:
        told, inside = 1.0, delay < curve.horizon
        for one in np.unique(delay[inside & (delay > asked)]):
            at_risk = (delay <= one) & (np.minimum(age, curve.horizon) > one) & inside
            told *= 1 - (delay[at_risk] == one).sum() / at_risk.sum()
        assert curve.at(asked)[0] == pytest.approx(told)


@given(st.permutations(range(30)))
def test_the_order_of_reports_does_not_matter(order: list[int]) -> None:
    delay, age = (part[:30] for part in seen(np.random.default_rng(4), 100, 40, whole=True))
    one, other = delay_estimate.estimate(delay, age), delay_estimate.estimate(delay[order], age[order])
    for name in ("days", "share", "deviation"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert (one.horizon, one.begin, one.reports) == (other.horizon, other.begin, other.reports)


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_right_where_counting_what_is_there_is_not(whole: bool) -> None:
    source = np.random.default_rng(7)
    every = source.lognormal(np.log(7), 0.9, 400_000)
    every = np.floor(every) if whole else every
    truth = np.array([np.mean(every <= one) for one in ASKED]) / np.mean(every < 60)
    counted, told, within = [], [], []
    for _ in range(200):
        delay, age = seen(source, 1_500, 61, whole=whole)
        curve = delay_estimate.estimate(delay, age)
        share, low, high = curve.at(ASKED)
        counted.append([np.mean(delay <= one) for one in ASKED])
        told.append(share)
        within.append((low <= truth) & (truth <= high))
    assert np.abs(np.mean(told, axis=0) - truth).max() < 0.004
    assert (np.mean(counted, axis=0) - truth > 0.02).all(), "what was reported late is missing there"
    assert (np.mean(within, axis=0) > 0.90).all()


def test_the_proposal_does_not_shrink_where_the_newest_are_many() -> None:
    delay, age = seen(np.random.default_rng(2), 20_000, 90)
    curve = delay_estimate.estimate(delay, age)
    found = curve.quantile(0.95)
    assert found is not None
    expected = 7 * np.exp(0.9 * 1.645)
    assert found[1] < expected * 1.05
    assert found[2] > expected * 0.95
    assert found[1] <= found[0] <= found[2]
    assert np.quantile(delay, 0.95) < 0.93 * found[0]
    assert delay_estimate.propose_label_delay(curve, 0.95) == timedelta(days=int(np.ceil(found[0])))


def test_nothing_is_said_of_what_no_transaction_is_old_enough_for() -> None:
    delay, age = seen(np.random.default_rng(2), 1_000, 30)
    curve = delay_estimate.estimate(delay, age)
    assert 25 < curve.horizon < 30
    share, low, high = curve.at([curve.horizon - 0.01, curve.horizon, 60])
    assert share[0] == pytest.approx(1, abs=0.01)
    for ends in (share, low, high):
        assert np.isnan(ends[1:]).all()
    assert curve.beyond == (delay >= curve.horizon).sum()


def test_one_report_and_none() -> None:
    one = delay_estimate.estimate([5], [30])
    assert one.at([4.9, 5, 6])[0].tolist() == [0, 1, 1]
    assert one.quantile(0.95) == (5, 5, 5)
    none = delay_estimate.estimate([], [])
    assert np.isnan(none.at([0, 5])[0]).all()
    assert none.quantile(0.95) is None
    assert delay_estimate.propose_label_delay(none, 0.95) is None


def test_delays_of_nothing_and_ties() -> None:
    curve = delay_estimate.estimate([0, 0, 0, 2], [5, 5, 5, 5])
    assert curve.at([0, 1, 2])[0].tolist() == [0.75, 0.75, 1]
    at_once = delay_estimate.estimate([0, 0], [5, 3])
    assert at_once.quantile(0.95) == (0, 0, 0)
    assert delay_estimate.propose_label_delay(at_once, 0.95) == timedelta(0)


def test_below_a_delay_that_only_old_transactions_had_nothing_is_known() -> None:
    curve = delay_estimate.estimate([20, 20, 1, 1, 2], [30, 29, 5, 5, 5])
    assert curve.begin == 20
    assert np.isnan(curve.at([1, 10])[0]).all()
    assert curve.at(20)[0] == 1
    assert curve.quantile(0.5) == (20, 20, 20)


@pytest.mark.parametrize(("delay", "age"), [(-1.0, 5.0), (5.0, 5.0), (6.0, 5.0)])
def test_delays_that_could_not_be_seen_are_refused(delay: float, age: float) -> None:
    with pytest.raises(ValueError, match="less than the age of its transaction"):
        delay_estimate.estimate([delay], [age])


def transactions(*days: float) -> pl.DataFrame:
    ids = [chr(97 + place) for place in range(len(days))]
    told = {"transaction_id": ids, "ts": pl.Series([day(one) for one in days], dtype=TIME), "status": "approved"}
    return pl.DataFrame(told)


def ledger(*told: tuple[str, int, str, float | None, float]) -> pl.DataFrame:
    rows = [
        (id_, fraud, source, None if reported is None else day(reported), day(recorded))
        for id_, fraud, source, reported, recorded in told
    ]
    return pl.DataFrame(rows, schema=LEDGER, orient="row")


def frauds(said: pl.DataFrame, as_of: float, precedence: tuple[str, ...] = ()) -> list[tuple[str, float | None, float]]:
    found = delay_estimate.known_frauds(
        delay_estimate.when_known(transactions(0, 1), said, DELAY), day(as_of), precedence
    )
    return found.select("transaction_id", "delay", "age").rows()


def test_a_fraud_takes_until_it_was_first_known() -> None:
    said = ledger(("a", 1, "chargeback", 18, 20), ("a", 1, "analyst", None, 12), ("z", 1, "analyst", None, 12))
    assert frauds(said, 30) == [("a", 12, 30)]
    assert frauds(said, 12) == [], "known from after that moment on"


def test_a_reversed_fraud_is_none_and_one_that_came_back_is() -> None:
    said = ledger(("a", 1, "bank", None, 10), ("a", 0, "bank", None, 20), ("a", 1, "bank", None, 25))
    assert frauds(said, 15) == [("a", 10, 15)]
    assert frauds(said, 22) == []
    assert frauds(said, 30) == [("a", 10, 30)]


def test_the_most_trusted_source_says_what_is_fraud() -> None:
    said = ledger(("a", 0, "analyst", None, 9), ("a", 1, "chargeback", None, 12))
    assert frauds(said, 30) == [("a", 12, 30)]
    assert frauds(said, 30, ("analyst",)) == []


def test_the_label_delay_of_a_ledger_is_not_taken_for_a_delay() -> None:
    said = ledger(("a", 1, "file", 2, 7), ("b", 1, "file", None, 8))
    assert frauds(said, 30) == [("a", 2, 30), ("b", None, 29)]
    assert frauds(said, 5) == [("a", 2, 5)]
    known = delay_estimate.known_frauds(delay_estimate.when_known(transactions(0, 1), said, DELAY), day(30))
    assert delay_estimate.curve_from_frauds(known).reports == 1


def test_a_record_before_its_transaction_took_no_time() -> None:
    assert frauds(ledger(("b", 1, "bank", None, 0.5)), 30) == [("b", 0, 29)]


def test_the_last_weeks_are_corrected() -> None:
    source = np.random.default_rng(5)
    off, whole, n = [], [], 40_000
    for _ in range(40):
        at, took = source.uniform(0, 120, n), source.lognormal(np.log(7), 0.9, n)
        fraud = source.random(n) < 0.04
        rows = (
            transactions(0)
            .clear()
            .vstack(
                pl.DataFrame(
                    {
                        "transaction_id": [f"{one:05}" for one in range(n)],
                        "ts": (pl.Series((at * 86_400e6).astype(np.int64)).cast(pl.Duration("us")) + START).cast(TIME),
                        "status": "approved",
                    }
                )
            )
        )
        mine = fraud & (at + took < 120)
        known = rows.filter(mine).with_columns(delay=pl.Series(took[mine]), age=pl.Series(120 - at[mine]))
        told = delay_estimate.nowcast(delay_estimate.curve_from_frauds(known), rows, known, day(120), weeks=6)
        truth = [int((fraud & (at >= 120 - 7 * week) & (at < 127 - 7 * week)).sum()) for week in range(6, 0, -1)]
        shown = told.with_columns(truth=pl.Series(truth)).drop_nulls("expected")
        assert shown.height >= 5
        assert (told["known"] < told.with_columns(truth=pl.Series(truth))["truth"])[-3:].all()
        off += ((shown["expected"] - shown["truth"]) / shown["truth"]).to_list()
        whole += ((shown["low"] <= shown["truth"]) & (shown["truth"] <= shown["high"])).to_list()
    assert abs(np.mean(off)) < 0.02
    assert np.mean(whole) > 0.88


def test_a_week_too_young_to_tell_is_not_told() -> None:
    rows = transactions(0, 13.5, 13.9)
    known = delay_estimate.known_frauds(
        delay_estimate.when_known(rows, ledger(("a", 1, "bank", None, 3)), DELAY), day(14)
    )
    told = delay_estimate.nowcast(delay_estimate.curve_from_frauds(known), rows, known, day(14))
    assert told.select("transactions", "known", "coverage", "expected").rows() == [(1, 1, 1.0, 1.0), (2, 0, 0.0, None)]
    assert told["first"].to_list() == [day(0), day(7)]
