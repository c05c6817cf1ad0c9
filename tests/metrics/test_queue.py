"""The reviewers' queue: card precision, its ceiling, and what a daily budget alerts."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.metrics.card_precision import CardDays, max_cards_found
from fraud3000.metrics.scored_arrays import ScoredArrays

START = datetime(2018, 8, 8, tzinfo=UTC)


def scored(rows: list[tuple[int, str, float, int]]) -> pl.DataFrame:
    """Rows of (day, card, score, fraud)."""
    return pl.DataFrame(
        {
            "ts": [START + timedelta(days=day, minutes=place) for place, (day, *_) in enumerate(rows)],
            "card_id": [row[1] for row in rows],
            "score": [row[2] for row in rows],
            "is_fraud": pl.Series([row[3] for row in rows], dtype=pl.Int8),
            "amount": [100] * len(rows),
            "alert": [row[2] >= 0.5 for row in rows],
        },
        schema_overrides={"score": pl.Float64},
    )


def precision(rows: pl.DataFrame, k: int) -> float:
    sample = ScoredArrays.from_frame(rows)
    return CardDays(sample).queue(np.ones(sample.rows), None).precision_at(k)


def naive_precision(rows: pl.DataFrame, k: int) -> float:
    """The rule as it is told, day by day."""
    found: set[str] = set()
    daily = []
    for _, today in rows.sort("ts").group_by(pl.col("ts").dt.date(), maintain_order=True):
        cards = (
            today.filter(~pl.col("card_id").is_in(list(found)))
            .group_by("card_id")
            .agg(pl.col("score").max(), pl.col("is_fraud").max())
            .sort(["score", "card_id"], descending=[True, False])
            .head(k)
        )
        hits = cards.filter(pl.col("is_fraud") == 1)["card_id"].to_list()
        daily.append(len(hits) / k)
        found.update(hits)
    return float(np.mean(daily))


def test_a_found_card_leaves_the_queue():
    rows = scored([(0, "a", 0.9, 1), (0, "b", 0.8, 1), (0, "c", 0.1, 0), (1, "a", 0.9, 1), (1, "b", 0.5, 1)])
    assert precision(rows, 1) == 1.0  # a on the first day, b on the second
    assert precision(rows, 2) == 0.5  # both on the first day, none is left for the second


def test_a_card_stands_by_its_best_score_and_ties_by_its_id():
    rows = scored([(0, "b", 0.2, 1), (0, "b", 0.7, 0), (0, "a", 0.7, 0), (0, "c", 0.6, 0)])
    assert precision(rows, 1) == 0.0
    assert precision(rows, 2) == 0.5


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcdef"), st.sampled_from([0.1, 0.2, 0.3, 0.9]), st.integers(0, 1)),
    min_size=1,
    max_size=40,
)


@given(ROWS, st.integers(1, 4))
def test_card_precision_equals_the_rule_as_told(rows, k):
    assert precision(scored(rows), k) == pytest.approx(naive_precision(scored(rows), k))


@given(ROWS, st.lists(st.integers(0, 3), min_size=6, max_size=6), st.integers(1, 4))
def test_a_card_drawn_twice_stands_there_twice(rows, copies, k):
    frame = scored(rows)
    sample = ScoredArrays.from_frame(frame)
    cards = sorted(frame["card_id"].unique())
    times = dict(zip(cards, copies, strict=False))
    drawn = np.array([times[card] for card in cards], dtype=float)
    copied = pl.concat(
        [
            frame.filter(pl.col("card_id") == card).with_columns(card_id=pl.lit(f"{card}{copy}"))
            for card in cards
            for copy in range(times[card])
        ]
        or [frame.clear()]
    )
    days_left = copied["ts"].dt.date().n_unique()
    queue = CardDays(sample).queue(drawn[sample.keys["card"]], drawn)
    expected = naive_precision(copied, k) * days_left / sample.days if days_left else 0.0
    assert queue.precision_at(k) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), unique=True, min_size=1, max_size=12), st.integers(1, 3)
)
def test_the_ceiling_is_what_the_best_assignment_finds(card_days, k):
    card, day = np.array(card_days).T
    by_card = {one: [on for other, on in card_days if other == one] for one in set(card.tolist())}
    best = 0
    for choice in itertools.product(*([None, *days] for days in by_card.values())):
        taken = [on for on in choice if on is not None]
        if all(taken.count(on) <= k for on in taken):
            best = max(best, len(taken))
    assert max_cards_found(card, day, np.ones(len(card)), k) == best


def test_the_ceiling_does_not_count_a_card_twice():
    rows = scored([(0, "a", 0.1, 1), (1, "a", 0.1, 1), (1, "b", 0.9, 0)])
    sample = ScoredArrays.from_frame(rows)
    assert CardDays(sample).ceiling(2) == pytest.approx(1 / 4)


def budget(rows: pl.DataFrame, per_day: int) -> list[float]:
    sample = ScoredArrays.from_frame(rows)
    days = CardDays(sample)
    alerted = days.alerted_share(days.queue(np.ones(sample.rows), None), per_day)
    shares = np.zeros(sample.rows)
    shares[: len(alerted)] = alerted
    return shares[np.argsort(sample.time_rank)].tolist()


def test_a_budget_alerts_the_rows_of_the_first_cards_down_to_the_last_ones_best():
    rows = scored([(0, "a", 0.9, 1), (0, "a", 0.5, 1), (0, "a", 0.3, 0), (0, "b", 0.5, 0), (0, "c", 0.4, 1)])
    assert budget(rows, 1) == [1, 0, 0, 0, 0]
    assert budget(rows, 2) == [1, 1, 0, 1, 0]
    assert budget(rows, 9) == [1, 1, 0, 1, 1]


def test_each_day_has_a_budget_of_its_own():
    rows = scored([(0, "a", 0.9, 1), (0, "b", 0.8, 1), (1, "a", 0.1, 0), (1, "c", 0.05, 0)])
    assert budget(rows, 1) == [1, 0, 1, 0]


def test_without_cards_rows_queue_and_copies_take_places():
    rows = scored([(0, "", 0.9, 1), (0, "", 0.8, 0), (0, "", 0.7, 1)]).drop("card_id")
    assert budget(rows, 2) == [1, 1, 0]
    sample = ScoredArrays.from_frame(rows)
    days = CardDays(sample)
    assert not days.has_cards
    weight = np.array([1.0, 3.0, 1.0])
    assert days.alerted_share(days.queue(weight, None), 2).tolist() == pytest.approx([1, 1 / 3])


def test_a_sample_without_rows_has_an_empty_queue():
    sample = ScoredArrays.from_frame(scored([(0, "a", 0.9, 1)]).clear())
    days = CardDays(sample)
    assert np.isnan(days.queue(np.ones(0), None).precision_at(3))
    assert np.isnan(days.ceiling(3))


def test_days_are_needed():
    with pytest.raises(ValueError, match="time"):
        CardDays(ScoredArrays.from_frame(scored([(0, "a", 0.9, 1)]).drop("ts")))
