"""Counts of category values that a model knows, does not know or finds missing."""

from __future__ import annotations

import json

import polars as pl
import pytest

from fraud3000.features.spec.kinds import Column
from fraud3000.models.inference import category_counts
from fraud3000.models.inference.category_counts import CategoryCounts, TrainedColumn
from fraud3000.models.inference.encoder import Encoder

FEATURES = (Column("shop", categorical=True), Column("rare", categorical=True))


def trained() -> dict[str, TrainedColumn]:
    """300 shops in 11 rows each, of which 250 are kept; a column without a frequent value; a new shop in validation."""
    shops = [f"s{number:03}" for number in range(300) for _ in range(11)]
    train = pl.DataFrame({"shop": [*shops, None], "rare": [f"r{row}" for row in range(len(shops))] + [None]})
    valid = pl.DataFrame({"shop": ["s000", "new", None], "rare": ["r1", "r2", None]})
    encoder = Encoder.learn(train, FEATURES)
    return category_counts.count_training(encoder, FEATURES, train, valid)


def test_values_that_are_not_kept_are_counted() -> None:
    shop = trained()["shop"]
    assert (shop.values, shop.kept) == (300, 250)
    assert shop.train == CategoryCounts(rows=3_301, missing=1, unknown=50 * 11)
    assert shop.valid == CategoryCounts(rows=3, missing=1, unknown=1)


def test_a_column_that_is_dropped_for_its_rare_values_is_counted_too() -> None:
    rare = trained()["rare"]
    assert (rare.values, rare.kept, rare.train.unknown) == (3_300, 0, 3_300)


def test_counts_survive_the_bundle() -> None:
    columns = trained()
    content = json.loads(json.dumps({name: column.to_dict() for name, column in columns.items()}))
    assert {name: TrainedColumn.from_dict(column) for name, column in content.items()} == columns


@pytest.mark.parametrize(
    ("found", "expected", "jump"),
    [
        (CategoryCounts(10, 0, 10), CategoryCounts(1_000, 0, 0), True),
        (CategoryCounts(2, 0, 2), CategoryCounts(1_000, 0, 0), False),  # too few to tell
        (CategoryCounts(1_000, 0, 30), CategoryCounts(1_000, 0, 10), False),  # a little more
        (CategoryCounts(1_000, 0, 200), CategoryCounts(1_000, 0, 10), True),
        (CategoryCounts(1_000, 0, 620), CategoryCounts(1_000, 0, 600), False),
        (CategoryCounts(1_000, 0, 1_000), CategoryCounts(1_000, 0, 600), True),  # none is known any more
        (CategoryCounts(0, 0, 0), CategoryCounts(1_000, 0, 10), False),
    ],
)
def test_a_jump(found: CategoryCounts, expected: CategoryCounts, jump: bool) -> None:
    assert category_counts.has_jumped(found, expected, "unknown") is jump
