"""How features are told to people: the family they belong to, what they say, in which unit."""

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
        Features of one family are told as one reason.
    words
        What the value is, to stand before a colon.
    """

    family: str
    words: str
    unit: Unit


_CALENDAR = {
    "hour": FeatureDescription("time of day", "hour of the transaction", "hour"),
    "weekday": FeatureDescription("day of the week", "weekday of the transaction", "weekday"),
    "night": FeatureDescription("time of day", "transaction at night", "flag"),
    "weekend": FeatureDescription("day of the week", "transaction at the weekend", "flag"),
}


def tell(feature: Feature, *, decimals: int = 2) -> FeatureDescription:
    """Put a feature into words.

    Parameters
    ----------
    decimals
        Of the currency: how many digits of an amount are minor units.

    Examples
    --------
    >>> tell(Window("card_id", "7d", "mean")).words
    'mean amount of this card in 7d'
    >>> tell(Window("card_id", "1d", "share", where=Condition("category", "is", ("travel",)))).words
    'share of transactions with category travel of this card in 1d'
    >>> tell(Window("terminal_id", "7d", "distinct", column="card_id", bucket="1h")).words
    'different cards of this terminal in 7d, in steps of 1h'
    """
    match feature:
        case Column(column=column, categorical=categorical):
            unit: Unit = "money" if column == "amount" else "category" if categorical else "number"
            told = FeatureDescription(column.replace("_", " "), column.replace("_", " "), unit)
        case Calendar(part=part):
            told = _CALENDAR[part]
        case FromHome():
            told = FeatureDescription("place", "distance of the terminal from the card's home", "km")
        case Stateful():
            told = _looking_back(feature, decimals)
        case _:
            raise TypeError(f"{type(feature).__name__}: no words for it")
    return told


def _looking_back(feature: Stateful, decimals: int) -> FeatureDescription:
    names = [_plainly(column) for column in feature.keys]
    owner, of_this = " and ".join(names), f"of this {' and '.join(names).replace(' and ', ' with this ', 1)}"
    which = f" {_under(feature.where, decimals)}" if feature.where else ""
    behind = f"{which} {of_this}"
    within = f"{' in transactions' if which else ''}{behind} {_when(feature)}"
    match feature:
        case Window():
            told = _aggregate(feature, owner, behind, within)
        case Versus(how=how, column=column):
            said = f"{_AGAINST[how].format(_plainly(column))}{within}"
            told = FeatureDescription(_values(owner, column), said, "ratio" if how == "ratio" else "deviations")
        case Shift(over=over):
            recent = _aggregate(feature.recent, owner, behind, within)
            told = FeatureDescription(recent.family, f"{recent.words}, as a multiple of the mean in {over}", "ratio")
        case LabelWindow(agg=agg):
            unit: Unit = "count" if agg in {"frauds", "labelled"} else "share"
            told = FeatureDescription(f"{owner} frauds", f"{_LABELS[agg]}{within}", unit)
        case SinceLast():
            told = FeatureDescription(f"{owner} activity", f"time since the last transaction{behind}", "seconds")
        case NotSeen():
            told = FeatureDescription(f"new {owner}", f"first transaction{behind} {_when(feature)}", "flag")
        case FromLast(how=how):
            told = FeatureDescription(
                "place", f"{how} from the last transaction{behind}", "km" if how == "distance" else "km/h"
            )
        case _:
            raise TypeError(f"{type(feature).__name__}: no words for it")
    return told


def _aggregate(window: Window, owner: str, behind: str, within: str) -> FeatureDescription:
    match window.agg:
        case "count":
            return FeatureDescription(f"{owner} activity", f"transactions{behind} {_when(window)}", "count")
        case "share":
            return FeatureDescription(f"{owner} activity", f"share of transactions{behind} {_when(window)}", "share")
        case "distinct":
            return FeatureDescription(
                f"{owner} activity", f"different {_many(_plainly(window.column))}{within}", "count"
            )
        case agg if window.column == "amount":
            return FeatureDescription(_values(owner, window.column), f"{_OF_AMOUNTS[agg]}{within}", "money")
        case agg:
            said = f"{_OF_VALUES[agg]} {_plainly(window.column)}{within}"
            return FeatureDescription(_values(owner, window.column), said, "number")


def _values(owner: str, column: str) -> str:
    return f"{owner} amounts" if column == "amount" else f"{owner} {_plainly(column)}"


_OF_AMOUNTS = {
    "sum": "money spent",
    "mean": "mean amount",
    "max": "largest amount",
    "min": "smallest amount",
    "std": "spread of amounts",
}
_OF_VALUES = {"sum": "sum of", "mean": "mean", "max": "largest", "min": "smallest", "std": "spread of"}
_AGAINST = {
    "ratio": "{} as a multiple of the mean",
    "zscore": "standard deviations of the {} from the mean",
}
_LABELS = {
    "frauds": "known frauds",
    "labelled": "transactions with a known label",
    "rate": "share of known fraud",
    "smoothed": "share of known fraud, smoothed,",
}
_HOW = {"above": "above", "at_least": "of at least", "below": "below", "at_most": "of at most"}


def _when(feature: Stateful) -> str:
    delayed = f" up to {feature.delay} ago" if durations.seconds(feature.delay) else ""
    bucketed = f", in steps of {feature.bucket}" if feature.bucket else ""
    return f"in {feature.length}{delayed}{bucketed}"


def _under(condition: Condition, decimals: int) -> str:
    """A condition, to stand behind the transactions that it takes.

    Examples
    --------
    >>> _under(Condition("amount", "above", (50_000.0,)), 2)
    'with amount above 500.00'
    """
    column, [value, *others] = _plainly(condition.column), condition.values
    if condition.how == "is":
        return f"with {column} {' or '.join(str(one) or 'empty' for one in (value, *others))}"
    assert not isinstance(value, str)
    written = f"{value / 10**decimals:,.{decimals}f}" if condition.column == "amount" else f"{value:,.15g}"
    return f"with {column} {_HOW[condition.how]} {written}"


def _plainly(column: str) -> str:
    """A column's name as people say it: card for card_id."""
    return column.removesuffix("_id").replace("_", " ") or column


def _many(name: str) -> str:
    if name.endswith("y") and name[-2:-1] not in set("aeiou"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
