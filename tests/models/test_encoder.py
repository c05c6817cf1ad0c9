"""From FEATURED to numbers."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from fraud3000.errors import SchemaError
from fraud3000.features.spec.kinds import Column
from fraud3000.models.inference.encoder import FEWEST_ROWS, MOST_CATEGORIES, Encoder


def test_uninformative_features_are_dropped_with_the_reason(small_featured, small_catalogue):
    encoder = Encoder.learn(small_featured, small_catalogue.features)
    assert encoder.dropped == {"nothing": "no values", "same": "one value only"}
    assert list(encoder.columns) == small_catalogue.names[:5]


def test_a_column_with_some_missing_values_stays():
    encoder = Encoder.learn(pl.DataFrame({"x": [1.0, None, 1.0]}), [Column("x")])
    assert encoder.columns == ("x",)


def test_categories_are_coded_by_how_frequent_they_are_and_rare_or_unknown_ones_are_missing():
    rows = pl.DataFrame({"c": ["b"] * 30 + ["a"] * 20 + ["z"] * 20 + ["rare"] * (FEWEST_ROWS - 1)})
    encoder = Encoder.learn(rows, [Column("c", categorical=True)])
    asked = pl.DataFrame({"c": ["a", "b", "z", "rare", "unheard of", None]})
    np.testing.assert_array_equal(encoder.matrix(asked)[:, 0], [1, 0, 2, np.nan, np.nan, np.nan])


def test_no_more_categories_than_a_histogram_can_hold():
    rows = pl.DataFrame({"c": [f"{i:04}" for i in range(400) for _ in range(FEWEST_ROWS)]})
    encoder = Encoder.learn(rows, [Column("c", categorical=True)])
    assert len(encoder.categories["c"]) == MOST_CATEGORIES


def test_infinite_and_not_a_number_read_as_missing():
    encoder = Encoder.learn(pl.DataFrame({"x": [1.0, 2.0]}), [Column("x")])
    asked = pl.DataFrame({"x": [np.inf, -np.inf, np.nan, None, 3.0]})
    np.testing.assert_array_equal(encoder.matrix(asked)[:, 0], [np.nan] * 4 + [3.0])


def test_a_missing_column_and_text_for_numbers_are_refused():
    encoder = Encoder.learn(pl.DataFrame({"x": [1.0, 2.0]}), [Column("x")])
    with pytest.raises(SchemaError, match="column 'x' is missing; nearest: 'xx'"):
        encoder.matrix(pl.DataFrame({"xx": [1.0]}))
    with pytest.raises(SchemaError, match="column 'x' is String, not a number"):
        encoder.matrix(pl.DataFrame({"x": ["1"]}))


def test_an_encoder_survives_json(small_featured, small_catalogue):
    encoder = Encoder.learn(small_featured, small_catalogue.features)
    assert Encoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
