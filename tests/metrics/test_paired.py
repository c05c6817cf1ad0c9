"""The paired bootstrap: the same draws as every interval, whatever the order of scores."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.errors import DataError
from fraud3000.metrics.intervals import draws
from fraud3000.metrics.paired_bootstrap import holm, paired_bootstrap
from fraud3000.metrics.scored_arrays import ScoredArrays
from fraud3000.metrics.weighted_metrics import WeightedMetrics
from fraud3000.params import EvaluateModelParams, PolicyParams

POLICY, REPLICATES, SEED = PolicyParams(review_cost=300), 100, 7


def scored(
    seed: int, n: int = 300, *, decimals: int = 1, keys: tuple[str, ...] = ("card_id", "terminal_id")
) -> pl.DataFrame:
    """Rows of one world, scored by chance; few decimals make ties."""
    world, source = np.random.default_rng(1), np.random.default_rng(seed)
    score = source.random(n).round(decimals)
    columns = {
        "transaction_id": [f"{one:03}" for one in range(n)],
        "is_fraud": (world.random(n) < 0.1).astype(np.int8),
        "amount": world.integers(100, 9_000, n),
        "card_id": world.integers(0, 60, n).astype(str),
        "terminal_id": world.integers(0, 25, n).astype(str),
    }
    kept = {
        name: column
        for name, column in columns.items()
        if (not name.endswith("l_id") and name != "card_id") or name in keys
    }
    return pl.DataFrame(kept).with_columns(score=pl.Series(score), alert=pl.Series(score > 0.7))


def measured(rows: pl.DataFrame, measure: str) -> list[float]:
    sample = ScoredArrays.from_frame(rows)
    by_draw = WeightedMetrics(sample, POLICY, EvaluateModelParams(top_k=()))
    return [by_draw(draw)[measure] for draw in draws(sample.keys, sample.rows, replicates=REPLICATES, seed=SEED)]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1_000), st.integers(0, 1_000), st.integers(1, 6))
@pytest.mark.parametrize("measure", ["average_precision", "savings"])
def test_each_draw_is_that_of_the_evaluation(measure: str, one: int, other: int, decimals: int) -> None:
    ours, theirs = scored(one, decimals=decimals), scored(other, decimals=decimals)
    found = paired_bootstrap(ours, theirs, policy=POLICY, replicates=REPLICATES, seed=SEED)[measure]
    expected = np.subtract(measured(ours, measure), measured(theirs, measure))
    together = np.concatenate([found.draws["card"], found.draws["terminal"]])
    np.testing.assert_allclose(together, expected, atol=1e-12)


def test_models_that_change_places_change_the_sign() -> None:
    ours, theirs = scored(1), scored(2)
    forth, back = (
        paired_bootstrap(*two, policy=POLICY, replicates=REPLICATES, seed=SEED)
        for two in ((ours, theirs), (theirs, ours))
    )
    for name, found in forth.items():
        assert found.difference == -back[name].difference
        np.testing.assert_array_equal(found.draws["card"], -back[name].draws["card"])


def test_data_without_keys_is_drawn_by_row() -> None:
    found = paired_bootstrap(scored(1, keys=()), scored(2, keys=()), policy=POLICY, replicates=REPLICATES, seed=SEED)
    assert found["savings"].interval(0.9).by == "row"


def test_a_segment_is_measured_among_its_own_rows() -> None:
    ours, theirs = scored(1), scored(2)
    some = pl.Series(np.arange(ours.height) % 2 == 0)
    asked = {"policy": POLICY, "replicates": REPLICATES, "seed": SEED}
    within = paired_bootstrap(ours, theirs, segments={"even rows": some}, **asked)["even rows"]
    alone = paired_bootstrap(ours.filter(some), theirs.filter(some), **asked)["average_precision"]
    assert within.difference == pytest.approx(alone.difference)


def test_rows_that_do_not_count_play_no_part() -> None:
    ours, theirs = scored(1), scored(2)
    unknown = pl.DataFrame({**dict.fromkeys(ours.columns), "transaction_id": "x", "amount": 5, "score": 0.9})
    more = [pl.concat([rows, unknown], how="vertical_relaxed") for rows in (ours, theirs)]
    asked = {"policy": POLICY, "replicates": REPLICATES, "seed": SEED}
    some = pl.Series(np.arange(ours.height + 1) % 3 > 0)
    with_it = paired_bootstrap(*more, segments={"some": some}, **asked)
    without = paired_bootstrap(ours, theirs, segments={"some": some.head(ours.height)}, **asked)
    assert {name: one.difference for name, one in with_it.items()} == {
        name: one.difference for name, one in without.items()
    }


@pytest.mark.parametrize("column", ["transaction_id", "is_fraud", "amount"])
def test_other_rows_are_refused(column: str) -> None:
    ours = scored(1)
    with pytest.raises(DataError, match=f"differ in {column}"):
        paired_bootstrap(
            ours, ours.with_columns(pl.col(column).reverse()), policy=POLICY, replicates=REPLICATES, seed=SEED
        )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_more_than_bonferroni_and_less_than_none(p_values: list[float]) -> None:
    named = {str(place): p for place, p in enumerate(p_values)}
    rejected = set(holm(named, 0.05))
    assert {name for name, p in named.items() if p <= 0.05 / len(named)} <= rejected
    assert rejected <= {name for name, p in named.items() if p <= 0.05}
