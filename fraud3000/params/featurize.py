"""Section `featurize`: the split and custom features."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Columns, Duration, Length, Several, Span, Zone


class SplitParams(Section):
    """The split into train, gap, validation, gap and test: by fractions of the time after burn-in, or by dates.

    ``by: random`` is only for data without time, and every summary states it.
    """

    by: Literal["time", "dates", "random"] = "time"  # time and random take fractions, dates takes [first, last) spans
    train: float | Span = 0.6  # fraction, or span of dates
    valid: float | Span = 0.2
    test: float | Span = 0.2
    gap: Duration | None = None  # between the spans; default: prepare.label_delay
    seed: int = Field(2018, ge=0)  # of the random split

    @model_validator(mode="after")
    def _check_spans_or_fractions(self) -> SplitParams:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        fractions = {name: part for name, part in parts.items() if isinstance(part, float)}
        if self.by == "dates":
            if fractions:
                raise ValueError(f"by 'dates' needs [first, last) dates, found fractions for {', '.join(fractions)}")
            if any(first >= last for first, last in (p for p in parts.values() if isinstance(p, tuple))):
                raise ValueError("the first date of a span must be before its last date")
        elif len(fractions) < 3:
            raise ValueError(f"by '{self.by}' needs fractions for train, valid and test")
        elif abs(sum(fractions.values()) - 1) > 1e-9 or min(fractions.values()) <= 0:
            raise ValueError(f"train, valid and test must be above 0 and sum to 1, found {sum(fractions.values()):g}")
        return self


class ConditionParams(Section):
    """Which transactions a feature includes: by the text or the number in a column.

    A transaction without a value in that column is not included.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    column: str  # a text column for `is`, a numeric column for the others
    is_: str | Several[str] | None = Field(None, alias="is")  # the text, or a list of allowed texts
    above: float | None = None  # amounts are in minor units: 50000 is 500.00
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _check_one_comparison(self) -> ConditionParams:
        comparisons = (self.is_, self.above, self.at_least, self.below, self.at_most)
        stated = [value for value in comparisons if value is not None]
        if len(stated) != 1 or stated == [()]:
            raise ValueError("needs exactly one of is, above, at_least, below, at_most")
        return self


Aggregate = Literal[
    "count", "sum", "mean", "max", "min", "std", "distinct", "share", "ratio", "zscore", "since_last", "not_seen",
    "distance", "speed", "frauds", "labelled", "rate", "smoothed",
]  # fmt: skip


class FeatureParams(Section):
    """A custom feature, computed from the earlier transactions of a key.

    [A feature of your own](mapping.md#a-feature-of-your-own) has an example and states which parameters each aggregate takes.
    """

    key: Columns  # the column that identifies the key, such as device_id, or a list of columns
    aggregate: Aggregate  # how the transactions of the window are aggregated
    length: Length  # of the window
    column: str | None = None  # the column that is aggregated; default: amount
    over: Length | None = None  # express the result as a multiple of the key's mean over this longer window
    delay: Length | None = None  # from the window's end to the transaction; default: 0d, for labels the label delay
    bucket: Length | None = None  # use whole buckets of this length: less memory, but coarser window edges
    where: ConditionParams | None = None  # include only these transactions
    cap: int | None = None  # the largest value of distinct; default: 50
    prior: float | None = None  # the prior rate of smoothed; default: 0.01
    strength: float | None = None  # the weight of the prior rate, in transactions; default: 20


class FeaturizeModelParams(Section):
    """How features are computed from transactions, and how the rows are split."""

    zone: Zone = "UTC"  # time zone of calendar features; windows never use it
    late_horizon: Duration = timedelta(days=1)  # how late an event may arrive and still count for its key
    burn_in: Duration | None = None  # history that rows need for training; default: the longest delay + length
    features: Several[FeatureParams] = ()  # custom features, in addition to the default features
    without: Several[str] = ()  # names of default features to leave out
    split: SplitParams = SplitParams()
