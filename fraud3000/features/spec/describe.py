"""Describes features for people: the family that each belongs to, its meaning in words, and its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fraud3000 import durations
from fraud3000.features.spec.base import Condition, Feature, Stateful
from fraud3000.features.spec.kinds import (
    Calendar,
    Column,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    Shift,
    SinceLast,
    Versus,
    Window,
)

Unit = Literal[
    "count",
    "money",
    "share",
    "seconds",
    "ratio",
    "deviations",
    "flag",
    "hour",
    "weekday",
    "km",
    "km/h",
    "category",
    "number",
]


@dataclass(frozen=True)
class FeatureDescription:
    """A feature in words.

    Attributes
    ----------
    family
        Features of one family are combined in one reason.
    words
        Meaning of the value, as a phrase that fits before a colon.
    """

    family: str
    words: str
    unit: Unit


_CALENDAR_PARTS = {
    "hour": FeatureDescription("time of day", "hour of the transaction", "hour"),
    "weekday": FeatureDescription("day of the week", "weekday of the transaction", "weekday"),
    "night": FeatureDescription("time of day", "transaction at night", "flag"),
    "weekend": FeatureDescription("day of the week", "transaction at the weekend", "flag"),
}


def describe(feature: Feature, *, decimals: int = 2) -> FeatureDescription:
    """Describe a feature in words.

    Parameters
    ----------
    decimals
        Decimal places of the currency.

    Examples
    --------
    >>> describe(Window("card_id", "7d", "mean")).words
    'mean amount of this card in 7d'
    >>> describe(Window("card_id", "1d", "share", where=Condition("category", "is", ("travel",)))).words
    'share of transactions with category travel of this card in 1d'
    >>> describe(Window("terminal_id", "7d", "distinct", column="card_id", bucket="1h")).words
    'different cards of this terminal in 7d, in steps of 1h'
    """
    match feature:
        case Column(column=column, categorical=categorical):
            unit: Unit = "money" if column == "amount" else "category" if categorical else "number"
            description = FeatureDescription(column.replace("_", " "), column.replace("_", " "), unit)
        case Calendar(part=part):
            description = _CALENDAR_PARTS[part]
        case FromHome():
            description = FeatureDescription("place", "distance of the terminal from the card's home", "km")
        case Stateful():
            description = _describe_stateful(feature, decimals)
        case _:
            raise TypeError(f"{type(feature).__name__} has no description")
    return description


def _describe_stateful(feature: Stateful, decimals: int) -> FeatureDescription:
    names = [_column_words(column) for column in feature.keys]
    key_name, this_key = " and ".join(names), f"of this {' and '.join(names).replace(' and ', ' with this ', 1)}"
    condition = f" {_condition_words(feature.where, decimals)}" if feature.where else ""
    of_key = f"{condition} {this_key}"
    in_window = f"{' in transactions' if condition else ''}{of_key} {_window_words(feature)}"
    match feature:
        case Window():
            description = _describe_aggregate(feature, key_name, of_key, in_window)
        case Versus(how=how, column=column):
            words = f"{_VERSUS_WORDS[how].format(_column_words(column))}{in_window}"
            description = FeatureDescription(
                _value_family(key_name, column), words, "ratio" if how == "ratio" else "deviations"
            )
        case Shift(over=over):
            recent = _describe_aggregate(feature.recent, key_name, of_key, in_window)
            description = FeatureDescription(
                recent.family, f"{recent.words}, as a multiple of the mean in {over}", "ratio"
            )
        case LabelWindow(agg=agg):
            unit: Unit = "count" if agg in {"frauds", "labelled"} else "share"
            description = FeatureDescription(f"{key_name} frauds", f"{_LABEL_WORDS[agg]}{in_window}", unit)
        case SinceLast():
            description = FeatureDescription(
                f"{key_name} activity", f"time since the last transaction{of_key}", "seconds"
            )
        case NotSeen():
            description = FeatureDescription(
                f"new {key_name}", f"first transaction{of_key} {_window_words(feature)}", "flag"
            )
        case FromLast(how=how):
            description = FeatureDescription(
                "place", f"{how} from the last transaction{of_key}", "km" if how == "distance" else "km/h"
            )
        case _:
            raise TypeError(f"{type(feature).__name__} has no description")
    return description


def _describe_aggregate(window: Window, key_name: str, of_key: str, in_window: str) -> FeatureDescription:
    match window.agg:
        case "count":
            return FeatureDescription(f"{key_name} activity", f"transactions{of_key} {_window_words(window)}", "count")
        case "share":
            return FeatureDescription(
                f"{key_name} activity", f"share of transactions{of_key} {_window_words(window)}", "share"
            )
        case "distinct":
            return FeatureDescription(
                f"{key_name} activity", f"different {_plural(_column_words(window.column))}{in_window}", "count"
            )
        case agg if window.column == "amount":
            return FeatureDescription(
                _value_family(key_name, window.column), f"{_AMOUNT_WORDS[agg]}{in_window}", "money"
            )
        case agg:
            words = f"{_VALUE_WORDS[agg]} {_column_words(window.column)}{in_window}"
            return FeatureDescription(_value_family(key_name, window.column), words, "number")


def _value_family(key_name: str, column: str) -> str:
    return f"{key_name} amounts" if column == "amount" else f"{key_name} {_column_words(column)}"


_AMOUNT_WORDS = {
    "sum": "money spent",
    "mean": "mean amount",
    "max": "largest amount",
    "min": "smallest amount",
    "std": "spread of amounts",
}
_VALUE_WORDS = {"sum": "sum of", "mean": "mean", "max": "largest", "min": "smallest", "std": "spread of"}
_VERSUS_WORDS = {
    "ratio": "{} as a multiple of the mean",
    "zscore": "standard deviations of the {} from the mean",
}
_LABEL_WORDS = {
    "frauds": "known frauds",
    "labelled": "transactions with a known label",
    "rate": "share of known fraud",
    "smoothed": "share of known fraud, smoothed,",
}
_COMPARISONS = {"above": "above", "at_least": "of at least", "below": "below", "at_most": "of at most"}


def _window_words(feature: Stateful) -> str:
    delayed = f" up to {feature.delay} ago" if durations.seconds(feature.delay) else ""
    bucketed = f", in steps of {feature.bucket}" if feature.bucket else ""
    return f"in {feature.length}{delayed}{bucketed}"


def _condition_words(condition: Condition, decimals: int) -> str:
    """Condition as a phrase after the transactions that it selects.

    Examples
    --------
    >>> _condition_words(Condition("amount", "above", (50_000.0,)), 2)
    'with amount above 500.00'
    """
    column, [value, *others] = _column_words(condition.column), condition.values
    if condition.how == "is":
        return f"with {column} {' or '.join(str(text) or 'empty' for text in (value, *others))}"
    assert not isinstance(value, str)
    written = f"{value / 10**decimals:,.{decimals}f}" if condition.column == "amount" else f"{value:,.15g}"
    return f"with {column} {_COMPARISONS[condition.how]} {written}"


def _column_words(column: str) -> str:
    """Column name in words: card for card_id."""
    return column.removesuffix("_id").replace("_", " ") or column


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2:-1] not in set("aeiou"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
