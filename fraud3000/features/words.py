"""How features are told to people: the family they belong to, what they say, in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fraud3000 import durations
from fraud3000.features.spec import (
    Calendar,
    Column,
    Feature,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    SinceLast,
    Stateful,
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
class Told:
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


def tell(feature: Feature) -> Told:
    """Put a feature into words.

    Examples
    --------
    >>> tell(Window("card_id", "7d", "mean")).words
    'mean amount of this card in 7d'
    """
    match feature:
        case Column(column=column, categorical=categorical):
            unit: Unit = "money" if column == "amount" else "category" if categorical else "number"
            told = Told(column.replace("_", " "), column.replace("_", " "), unit)
        case Calendar(part="hour"):
            told = Told("time of day", "hour of the transaction", "hour")
        case Calendar():
            told = Told("day of the week", "weekday of the transaction", "weekday")
        case FromHome():
            told = Told("place", "distance of the terminal from the card's home", "km")
        case Stateful():
            told = _looking_back(feature)
        case _:
            raise TypeError(f"{type(feature).__name__}: no words for it")
    return told


def _looking_back(feature: Stateful) -> Told:
    owner, this = feature.owner, f"of this {feature.owner}"
    match feature:
        case Window(agg=agg, delay=delay):
            family = f"{owner} activity" if agg == "count" else f"{owner} amounts"
            said = f"{_AGGREGATES[agg]} {this} in {feature.length}{_until(delay)}"
            told = Told(family, said, "count" if agg == "count" else "money")
        case LabelWindow(agg=agg, delay=delay):
            said = f"{_LABELS[agg]} {this} in {feature.length}{_until(delay)}"
            told = Told(f"{owner} frauds", said, "share" if agg == "rate" else "count")
        case Versus(how="ratio"):
            told = Told(f"{owner} amounts", f"amount as a multiple of the mean {this} in {feature.length}", "ratio")
        case Versus():
            said = f"standard deviations of the amount from the mean {this} in {feature.length}"
            told = Told(f"{owner} amounts", said, "deviations")
        case SinceLast():
            told = Told(f"{owner} activity", f"time since the last transaction {this}", "seconds")
        case NotSeen():
            said = f"first transaction of this {' with this '.join(owner.split('_'))} in {feature.length}"
            told = Told(f"new {owner.replace('_', ' and ')}", said, "flag")
        case FromLast(how=how):
            told = Told("place", f"{how} from the last transaction {this}", "km" if how == "distance" else "km/h")
        case _:
            raise TypeError(f"{type(feature).__name__}: no words for it")
    return told


_AGGREGATES = {
    "count": "transactions",
    "sum": "money spent",
    "mean": "mean amount",
    "max": "largest amount",
    "std": "spread of amounts",
}
_LABELS = {"frauds": "known frauds", "labelled": "transactions with a known label", "rate": "share of known fraud"}


def _until(delay: str) -> str:
    return f" up to {delay} ago" if durations.seconds(delay) else ""
