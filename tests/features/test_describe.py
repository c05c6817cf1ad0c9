"""Descriptions of features, as reasons and docs show them."""

from __future__ import annotations

import pytest

from fraud3000.features.default_features import default_features
from fraud3000.features.spec.base import Condition, Feature, Stateful
from fraud3000.features.spec.describe import describe
from fraud3000.features.spec.kinds import Calendar, FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from tests.streams import FEATURES

PAIR, TRIPLE = ("card_id", "terminal_id"), ("card_id", "terminal_id", "device_id")
TRAVEL = Condition("category", "is", ("travel",))
LARGE = Condition("amount", "at_least", (50_000.0,))


@pytest.mark.parametrize(
    ("feature", "family", "words", "unit"),
    [
        (Window("card_id", "10m", "count"), "card activity", "transactions of this card in 10m", "count"),
        (Window("card_id", "1d", "sum"), "card amounts", "money spent of this card in 1d", "money"),
        (Window("card_id", "1d", "min"), "card amounts", "smallest amount of this card in 1d", "money"),
        (
            Window("device_id", "1d", "std", column="basket_size"),
            "device basket size",
            "spread of basket size of this device in 1d",
            "number",
        ),
        (
            Window("card_id", "7d", "distinct", column="terminal_id"),
            "card activity",
            "different terminals of this card in 7d",
            "count",
        ),
        (
            Window("card_id", "7d", "distinct", column="category", where=LARGE),
            "card activity",
            "different categories in transactions with amount of at least 500.00 of this card in 7d",
            "count",
        ),
        (
            Window("card_id", "1d", "share", where=TRAVEL),
            "card activity",
            "share of transactions with category travel of this card in 1d",
            "share",
        ),
        (
            Window("terminal_id", "7d", "mean", bucket="1h", where=TRAVEL),
            "terminal amounts",
            "mean amount in transactions with category travel of this terminal in 7d, in steps of 1h",
            "money",
        ),
        (
            Versus("card_id", "30d", "zscore", column="basket_size"),
            "card basket size",
            "standard deviations of the basket size from the mean of this card in 30d",
            "deviations",
        ),
        (
            Shift("card_id", "7d", "max", "90d"),
            "card amounts",
            "largest amount of this card in 7d, as a multiple of the mean in 90d",
            "ratio",
        ),
        (
            LabelWindow(PAIR, "30d", "smoothed", delay="7d", bucket="6h"),
            "card and terminal frauds",
            "share of known fraud, smoothed, of this card with this terminal in 30d up to 7d ago, in steps of 6h",
            "share",
        ),
        (NotSeen("device_id", "90d"), "new device", "first transaction of this device in 90d", "flag"),
        (
            NotSeen(TRIPLE, "90d"),
            "new card and terminal and device",
            "first transaction of this card with this terminal and device in 90d",
            "flag",
        ),
        (
            SinceLast("card_id", "30d", where=TRAVEL),
            "card activity",
            "time since the last transaction with category travel of this card",
            "seconds",
        ),
        (FromLast("card_id", "30d", "speed"), "place", "speed from the last transaction of this card", "km/h"),
        (Calendar("night"), "time of day", "transaction at night", "flag"),
    ],
)
def test_a_feature_is_described(feature: Feature, family: str, words: str, unit: str) -> None:
    description = describe(feature)
    assert (description.family, description.words, description.unit) == (family, words, unit)


def test_amounts_in_conditions_follow_the_currencys_decimals() -> None:
    assert "of at least 50,000 of" in describe(Window("card_id", "1d", "count", where=LARGE), decimals=0).words


def test_descriptions_are_unique() -> None:
    for catalogue in (default_features("7d"), FEATURES):
        windows = [feature for feature in catalogue if isinstance(feature, Stateful)]
        description = {(describe(feature).words, feature.length, getattr(feature, "cap", 0)) for feature in windows}
        assert len(description) == len(windows)
