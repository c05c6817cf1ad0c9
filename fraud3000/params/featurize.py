"""Section `featurize`: splits and your own features."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import (
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Columns, Duration, Length, Several, Span, check_zone


class SplitParams(Section):
    """Train, gap, validation, gap, test: by fractions of the time after burn-in, or by dates.

    ``by: random`` is for data without time only, and every summary says so.
    """

    by: Literal["time", "dates", "random"] = "time"  # dates: spans instead of fractions
    train: float | Span = 0.6
    valid: float | Span = 0.2
    test: float | Span = 0.2
    gap: Duration | None = None  # default: prepare.label_delay
    seed: int = Field(2018, ge=0)  # of the random split

    @model_validator(mode="after")
    def _spans_or_fractions(self) -> SplitParams:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        fractions = {name: part for name, part in parts.items() if isinstance(part, float)}
        if self.by == "dates":
            if fractions:
                raise ValueError(f"by 'dates' needs [first, last) dates, found fractions for {', '.join(fractions)}")
            if any(first >= last for first, last in (p for p in parts.values() if isinstance(p, tuple))):
                raise ValueError("the first date of a span must lie before its last")
        elif len(fractions) < 3:
            raise ValueError(f"by '{self.by}' needs fractions for train, valid and test")
        elif abs(sum(fractions.values()) - 1) > 1e-9 or min(fractions.values()) <= 0:
            raise ValueError(f"train, valid and test must be above 0 and sum to 1, found {sum(fractions.values()):g}")
        return self


class ConditionParams(Section):
    """Which transactions a feature takes: by the text of a column, or by its number.

    A transaction without the column's value is not taken.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    column: str  # of text for `is`, of numbers for the others
    is_: str | Several[str] | None = Field(None, alias="is")  # the text, or several of which it is one
    above: float | None = None  # amounts are in minor units: 50000 is 500.00
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_comparison(self) -> ConditionParams:
        given = [one for one in (self.is_, self.above, self.at_least, self.below, self.at_most) if one is not None]
        if len(given) != 1 or given == [()]:
            raise ValueError("needs one of is, above, at_least, below, at_most")
        return self


Aggregate = Literal[
    "count", "sum", "mean", "max", "min", "std", "distinct", "share", "ratio", "zscore", "since_last", "not_seen",
    "distance", "speed", "frauds", "labelled", "rate", "smoothed",
]  # fmt: skip


class FeatureParams(Section):
    """A feature of your own, made of the earlier transactions of a key.

    [A feature of your own](own-features.md) shows one, and says which aggregate takes what.
    """

    key: Columns  # whose transactions: a text column such as device_id, or a list of them
    aggregate: Aggregate  # what is made of them
    length: Length  # of the window
    column: str | None = None  # whose values are aggregated; default: amount
    over: Length | None = None  # tell it as a multiple of the key's mean over this longer window
    delay: Length | None = None  # from the window's end to the transaction; default: 0d, for labels their delay
    bucket: Length | None = None  # take whole buckets of this length: less state, a coarser edge
    where: ConditionParams | None = None  # take these transactions only
    cap: int | None = None  # the most that distinct says; default: 50
    prior: float | None = None  # the rate that smoothed begins with; default: 0.01
    strength: float | None = None  # how many transactions that rate is worth; default: 20


class FeaturizeModelParams(Section):
    """TRANSACTIONS to FEATURED, and the split."""

    zone: str = "UTC"  # local zone of calendar features; windows never use it
    late_horizon: Duration = timedelta(days=1)  # how late an event may come and still be counted for its key
    burn_in: Duration | None = None  # default: the catalogue's longest delay + length
    features: Several[FeatureParams] = ()  # of your own, beside the default ones
    without: Several[str] = ()  # names of default features to leave out
    split: SplitParams = SplitParams()

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return check_zone(value)
