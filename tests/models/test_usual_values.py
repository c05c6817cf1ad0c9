"""The norm of a key's feature follows from the key's longer windows in the same row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fraud3000.features.default_features import default_features
from fraud3000.features.spec.base import Condition
from fraud3000.features.spec.kinds import Calendar, Column, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from fraud3000.models.inference.usual_values import norms

ABROAD = Condition("country", "is", ("abroad",))


def of(feature, others, values):
    """The norm of a feature that stands before others in a row with their values."""
    (norm, *_) = norms([feature, *others])
    return None if norm is None else norm.value_in(np.array([7.0, *values]))


@pytest.mark.parametrize(
    ("feature", "longer", "value", "norm"),
    [
        (Window("card_id", "1d", "count"), Window("card_id", "30d", "count"), 15.0, 0.5),
        (Window("card_id", "1d", "sum"), Window("card_id", "10d", "sum"), 40_000.0, 4_000.0),
        (Window("card_id", "7d", "mean"), Window("card_id", "90d", "mean"), 1_200.0, 1_200.0),
        (Window("card_id", "7d", "std"), Window("card_id", "90d", "std"), 300.0, 300.0),
        (Window("terminal_id", "1h", "count", bucket="5m"), Window("terminal_id", "30d", "count", bucket="6h"), 720.0, 1.0),
        (Window("card_id", "1d", "count", where=ABROAD), Window("card_id", "10d", "count", where=ABROAD), 5.0, 0.5),
        (Window("card_id", "1d", "share", where=ABROAD), Window("card_id", "10d", "share", where=ABROAD), 0.25, 0.25),
        (LabelWindow("card_id", "7d", "frauds", delay="7d"), LabelWindow("card_id", "28d", "frauds", delay="7d"), 2.0, 0.5),
        (LabelWindow("card_id", "7d", "rate", delay="7d"), LabelWindow("card_id", "28d", "rate", delay="7d"), 0.1, 0.1),
        (SinceLast("card_id", "30d"), Window("card_id", "30d", "count"), 15.0, 2 * 86_400.0),
        (Column("amount"), Window("card_id", "90d", "mean"), 2_500.0, 2_500.0),
    ],
)  # fmt: skip
def test_a_longer_window_of_the_same_key_gives_the_usual_value(feature, longer, value, norm):
    assert of(feature, [longer], [value]) == pytest.approx(norm)
    assert math.isnan(of(feature, [longer], [math.nan]))


@pytest.mark.parametrize(
    ("feature", "other"),
    [
        (Window("card_id", "1d", "count"), Window("terminal_id", "30d", "count")),
        (Window("card_id", "1d", "count"), Window("card_id", "30d", "count", where=ABROAD)),
        (Window("card_id", "1d", "count"), Window("card_id", "30d", "count", delay="7d")),
        (Window("card_id", "1d", "count"), Window("card_id", "1h", "count")),
        (Window("card_id", "1d", "mean"), Window("card_id", "30d", "mean", column="points")),
        (Window("card_id", "1d", "max"), Window("card_id", "30d", "max")),
        (Window("card_id", "1d", "distinct", column="terminal_id"), Window("card_id", "30d", "distinct", column="terminal_id")),
        (LabelWindow("card_id", "7d", "rate", delay="7d"), LabelWindow("card_id", "28d", "frauds", delay="7d")),
        (SinceLast("card_id", "30d", where=ABROAD), Window("card_id", "30d", "count")),
        (Column("amount"), Window("card_id", "90d", "mean", where=ABROAD)),
        (Column("country", categorical=True), Window("card_id", "90d", "mean", column="country")),
        (NotSeen("card_id", "90d"), Window("card_id", "90d", "count")),
        (Calendar("hour"), Window("card_id", "90d", "count")),
    ],
)  # fmt: skip
def test_another_kind_of_window_gives_no_usual_value(feature, other):
    assert of(feature, [other], [3.0]) is None


def test_the_longest_window_is_used_and_the_card_before_other_keys():
    counts = [Window("card_id", length, "count") for length in ("7d", "30d", "14d")]
    assert of(Window("card_id", "1d", "count"), counts, [70.0, 30.0, 140.0]) == pytest.approx(1.0)
    means = [
        Window(key, length, "mean") for key, length in (("terminal_id", "90d"), ("card_id", "7d"), ("card_id", "30d"))
    ]
    features = [Column("amount"), *means]
    assert norms(features)[0].value_in(np.array([0.0, 1.0, 2.0, 3.0])) == 3.0
    assert norms(features)[0].owner == "this card"
    assert norms(features[:2])[0].owner == "this terminal"


def test_a_ratio_is_usually_one_and_a_deviation_none():
    assert of(Versus("card_id", "7d", "ratio"), [], []) == 1
    assert of(Versus("card_id", "7d", "zscore"), [], []) == 0
    assert of(Shift("card_id", "7d", "mean", "90d"), [], []) == 1
    assert of(Shift("card_id", "7d", "max", "90d"), [], []) is None


def test_no_event_in_the_longer_window_leaves_the_usual_gap_unknown():
    assert math.isnan(of(SinceLast("card_id", "30d"), [Window("card_id", "30d", "count")], [0.0]))


def test_the_usual_value_of_every_default_feature_is_read_from_its_row():
    features = default_features("7d")
    row = np.full(len(features), 2.0)
    told = [norm for norm in norms(features) if norm is not None]
    assert len(told) > len(features) / 2
    assert all(norm.value_in(row) >= 0 for norm in told)
