"""params.yaml as frozen models: every key known, every value checked before any work starts.

A file states only what differs from the defaults below. ``${NAME}`` in a value is expanded from
the environment.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fraud3000 import durations, yaml_text
from fraud3000.errors import ParamsError
from fraud3000.redact import in_id, is_card_number

DEFAULT_FILE = Path("params.yaml")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_Model = TypeVar("_Model", bound=BaseModel)


_LONGEST = 100 * 366 * 86_400
_LONGEST_WINDOW = 10 * 366 * 86_400
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].+)?")
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _to_seconds(value: object, longest: int) -> int:
    """Read a duration from text; a number has no unit."""
    if not isinstance(value, str):
        raise PydanticCustomError("duration", "a duration needs a unit")
    length = durations.seconds(value)
    if length > longest:
        raise ValueError(f"'{value}' is more than {durations.text(longest)}")
    return length


def _to_timedelta(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=_to_seconds(value, _LONGEST))


def _checked_length(value: object) -> object:
    _to_seconds(value, _LONGEST_WINDOW)
    return value


def _to_datetime(value: object) -> object:
    """Read a date and time from text; a number such as 20240131 is not taken as seconds since 1970."""
    if isinstance(value, str):
        if not _DATE.fullmatch(value.strip()):
            raise ValueError(f"'{value}' is no date; write it as 2024-01-31 or 2024-01-31 13:05:00")
        return datetime.fromisoformat(value.strip())
    return datetime(value.year, value.month, value.day) if type(value) is date else value


def _to_sign(value: object) -> object:
    if type(value) is not int:
        raise PydanticCustomError("sign", "Input should be -1 or 1")
    return value


def _to_bool(value: object) -> object:
    return _SWITCH.get(value.lower(), value) if isinstance(value, str) else value


Duration = Annotated[
    timedelta,
    BeforeValidator(_to_timedelta),
    PlainSerializer(lambda d: durations.text(int(d.total_seconds())), return_type=str),
]
"""A whole-second duration, written as text such as ``7d``; a number without a unit is refused."""

Moment = Annotated[datetime, BeforeValidator(_to_datetime)]
"""A date, or a date and time, in UTC where no offset is given."""

Flag = Annotated[bool, BeforeValidator(_to_bool)]
"""True or false, also written yes, no, on and off."""

Sign = Annotated[Literal[-1, 1], BeforeValidator(_to_sign)]
"""1 or -1; true is neither."""

_Item = TypeVar("_Item")
Several = Annotated[tuple[_Item, ...], Strict(strict=False)]
"""A list of the file."""

Rate = Annotated[float, Field(gt=0, le=1)]
"""A share of rows."""

Columns = str | Several[str]
"""One column of the raw file, or several that together make the value."""


Length = Annotated[str, BeforeValidator(_checked_length)]
"""A whole-second duration that keeps its text, since the names of features hold it."""


class FromEnvironment(str):
    """Text that holds the value of an environment variable, in which numbers are text too."""

    __slots__ = ()


class _Section(BaseModel):
    """A part of the file. Values are taken in their own types only: true is no number, and 7 is no text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_from_environment(cls, content: object) -> object:
        """Read a variable's text as a number where the key takes no text."""
        if not isinstance(content, dict):
            return content
        return {
            key: _as_number(value, cls.model_fields[key].annotation)
            if isinstance(value, FromEnvironment) and key in cls.model_fields
            else value
            for key, value in content.items()
        }


def _as_number(value: FromEnvironment, annotation: Any) -> object:
    kinds = {annotation, *get_args(annotation)}
    if str in kinds:
        return value
    for kind in (int, float):
        if kind in kinds:
            with suppress(ValueError):
                return kind(value)
    return value


class SimulateParams(_Section):
    """A world of cards, terminals and fraudsters (`fraud3000 simulate`)."""

    rows: int = Field(1_000_000, ge=1)  # transactions
    days: int = Field(240, ge=1)  # that they span
    cards: int = Field(10_000, ge=1)
    terminals: int = Field(4_000, ge=1)
    seed: int = Field(2018, ge=0)  # same seed, same file


class ColumnRoles(_Section):
    """Which column of the raw file plays which role. What is not named is not there."""

    amount: str | None = None
    transaction_id: Columns | None = None
    ts: Columns | None = None
    card_id: Columns | None = None
    terminal_id: Columns | None = None
    is_fraud: str | None = None
    reported_at: Columns | None = None
    status: str | None = None
    currency: str | None = None
    seq: str | None = None
    card_lat: str | None = None
    card_long: str | None = None
    terminal_lat: str | None = None
    terminal_long: str | None = None


class DatedRate(_Section):
    """Base currency units for one unit of the foreign currency, valid from a date."""

    since: Moment
    rate: str = Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")


class AmountFormat(_Section):
    """How the raw file writes money."""

    unit: Literal["major", "minor"] = "major"  # minor: the file holds cents already
    decimals: int = Field(2, ge=0, le=4)  # of the currency
    currency: str | None = None  # the base currency, needed only where a currency column is mapped
    rates: dict[str, Several[DatedRate]] = {}  # by currency code

    @field_validator("rates")
    @classmethod
    def _one_rate_at_a_time(cls, value: dict[str, tuple[DatedRate, ...]]) -> dict[str, tuple[DatedRate, ...]]:
        codes = [code.upper() for code in value]
        twice = {code for code in codes if codes.count(code) > 1}
        twice |= {code for code, rates in value.items() if len({rate.since for rate in rates}) < len(rates)}
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} has two rates from the same date, or comes twice")
        return value


TIME_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us", "seconds_from")
"""Names of ways to write time; any other format is a strptime pattern."""


class TimeFormat(_Section):
    """How the raw file writes time.

    ``format`` is ``iso``, ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``seconds_from`` (with ``start``)
    or a strptime pattern. Times without an offset are read in ``zone``.
    """

    format: str = "iso"  # see above
    start: Moment | None = None  # of `seconds_from`
    zone: str = "UTC"  # of times without an offset

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return _check_zone(value)

    @field_validator("format")
    @classmethod
    def _name_or_pattern(cls, value: str) -> str:
        if value not in TIME_FORMATS and "%" not in value:
            unit = ": state its unit, epoch_s, epoch_ms or epoch_us" if "epoch" in value.lower() else ""
            raise ValueError(f"'{value}' is neither one of {', '.join(TIME_FORMATS)} nor a pattern with %{unit}")
        return value

    @model_validator(mode="after")
    def _start_where_needed(self) -> TimeFormat:
        if (self.format == "seconds_from") != (self.start is not None):
            raise ValueError("format 'seconds_from' needs a start, and only it takes one")
        return self


class LabelFormat(_Section):
    """Which values of the label column say what; compared as text, ignoring case."""

    fraud: Several[str] = ("1", "1.0", "true", "yes", "y", "fraud")
    legitimate: Several[str] = ("0", "0.0", "false", "no", "n", "legitimate")
    unlabelled: Several[str] = ("", "null", "none", "na", "unknown")


class StatusFormat(_Section):
    """Which values of the status column say what; compared as text, ignoring case.

    A value in none of the lists is ``otherwise``, or quarantined where that is null.
    """

    approved: Several[str] = ("", "approved", "reversed")
    declined: Several[str] = ("declined",)
    refund: Several[str] = ("refund",)
    otherwise: Literal["approved", "declined"] | None = None  # what every other value means


class Mapping(_Section):
    """How a raw file becomes TRANSACTIONS."""

    columns: ColumnRoles = ColumnRoles()
    numeric: Several[str] = ()  # columns passed on as numbers
    categorical: Several[str] = ()  # columns passed on as categories
    drop: Several[str] = ()  # columns kept out of every output
    amount: AmountFormat = AmountFormat()
    time: TimeFormat = TimeFormat()
    label: LabelFormat = LabelFormat()
    status: StatusFormat = StatusFormat()
    card_numbers: Literal["detect", "yes", "no"] = "detect"  # does the card column hold card numbers?
    card_like_ids: Several[Literal["transaction_id", "card_id", "terminal_id", "seq"]] | None = (
        None  # roles whose ids look like card numbers by chance and are none; null: detect
    )


class LabelsFile(_Section):
    """Label records in a file of their own, joined to the transactions by transaction id."""

    input: str  # a file, a glob or a folder
    transaction_id: str = "transaction_id"  # the column of each part of a record
    is_fraud: str = "is_fraud"
    source: str | None = None  # who said so; all records are of one source without it
    reported_at: str | None = None
    recorded_at: str | None = None  # without it: when reported, but not before the label delay has passed
    time: TimeFormat = TimeFormat()
    label: LabelFormat = LabelFormat()


class PrepareModelParams(_Section):
    """Raw files to TRANSACTIONS, quarantine and label ledger."""

    input: str = "{workspace}/raw/transactions.parquet"  # a file, a glob or a folder: CSV, Parquet, JSON lines
    source: Literal["simulated", "handbook", "sparkov", "tabformer", "ulb", "custom"] = "simulated"  # whose files
    mapping: dict[str, Any] = {}  # what differs from the source's own mapping; checked as a Mapping
    labels: LabelsFile | None = None  # label records in a file of their own
    label_delay: Duration = timedelta(days=7)  # how long after a transaction its label can be trusted
    source_precedence: Several[str] = ()  # label sources, the most trusted first; others come last, as equals
    earliest: Moment = datetime(1970, 1, 1)  # rows outside [earliest, latest) are refused
    latest: Moment = datetime(2100, 1, 1)
    publish: str | None = None  # a prefix in S3 under which the files written appear too, as one set

    @field_validator("publish")
    @classmethod
    def _in_s3(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("s3://"):
            raise ValueError("must be a prefix in S3, such as s3://bucket/prepared/")
        return value


Span = Annotated[tuple[Moment, Moment], Strict(strict=False)]
"""A half-open span of event time [first, last), in UTC where no offset is given."""


class SplitParams(_Section):
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


class ConditionParams(_Section):
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


class FeatureParams(_Section):
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


class FeaturizeModelParams(_Section):
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
        return _check_zone(value)


class PolicyParams(_Section):
    """How transactions are decided by score and amount, and what things cost, in minor units.

    [What a decision costs](policy.md) has the formulas.
    """

    threshold: Literal["capacity", "cost"] = "capacity"  # capacity: the highest scores; cost: what costs least
    cards_per_day: int = Field(100, ge=1)  # the alert budget: cards (rows where there are no cards) reviewed a day
    review_cost: int = Field(500, ge=0)  # of one alert
    fee: int = Field(0, ge=0)  # lost with every missed fraud, on top of its amount
    review_stops: float = Field(1.0, ge=0, le=1)  # share of fraud that a review stops
    friction: int = Field(0, ge=0)  # cost of reviewing an honest transaction, on top of the review
    lost_sale: int | None = Field(None, ge=0)  # cost of declining an honest transaction; default: nothing is declined
    lost_margin: float = Field(0.0, ge=0, le=1)  # share of the amount that is lost with it, on top


Estimator = Literal[
    "hist_gradient_boosting", "random_forest", "extra_trees", "logistic_regression", "lightgbm", "average"
]


class LearnerParams(_Section):
    """An estimator, and what is done about frauds being few."""

    estimator: Estimator = "hist_gradient_boosting"  # lightgbm needs its extra; average is of the members
    estimator_params: dict[str, Any] = {}  # as its library takes them
    imbalance: Literal["none", "balanced", "weighted", "undersample"] = "none"  # undersample: leave out legitimate rows
    fraud_weight: float = Field(10.0, gt=0)  # weighted: how many legitimate rows a fraud weighs
    undersample_to: float = Field(0.1, gt=0, lt=1)  # share of fraud after under-sampling
    bags: int = Field(1, ge=1)  # models averaged, each by a seed and an under-sample of its own


class MemberParams(LearnerParams):
    """One of several learners whose probabilities are averaged."""

    weight: float = Field(1.0, gt=0)  # in the average

    @field_validator("estimator")
    @classmethod
    def _no_average_of_averages(cls, value: str) -> str:
        if value == "average":
            raise ValueError("a member is a learner, not an average itself")
        return value


class TrainModelParams(LearnerParams):
    """FEATURED to a calibrated scorer."""

    members: Several[MemberParams] = ()  # learners to average, at least two
    monotone: dict[str, Sign] = {}  # by feature: 1, the score never falls as it grows; -1, never rises
    calibration: Literal["platt", "beta", "isotonic"] = "beta"  # from scores to probabilities
    seed: int = Field(2018, ge=0)

    @model_validator(mode="after")
    def _members_where_averaged(self) -> TrainModelParams:
        if self.estimator == "average" and len(self.members) < 2:
            raise ValueError("estimator 'average' needs at least two members")
        if self.estimator != "average" and self.members:
            raise ValueError("members are averaged by estimator 'average' only")
        own = {"estimator_params", "imbalance", "fraud_weight", "undersample_to", "bags"} & self.model_fields_set
        if self.estimator == "average" and own:
            raise ValueError(f"estimator 'average' takes {', '.join(sorted(own))} in each member, not beside them")
        return self

    @property
    def learners(self) -> tuple[MemberParams, ...]:
        """The learners to average; one, where there is nothing to average."""
        if self.estimator == "average":
            return self.members
        return (MemberParams.model_validate({name: getattr(self, name) for name in LearnerParams.model_fields}),)


class EvaluateModelParams(_Section):
    """SCORED to metrics."""

    label_date: Moment | None = None  # default: just after the newest transaction and label record
    compromised_cards: Literal["keep", "remove"] = "keep"  # remove: cards whose fraud is known before the day
    compromised_since: Moment | None = None  # first day whose frauds make a card known; default: that of train
    top_k: Several[Annotated[int, Field(ge=1)]] = (100,)  # cards alerted a day at which card precision is measured
    fpr: Several[Rate] = (0.01,)  # false-positive rates at which recall is measured
    alert_rate: Several[Rate] = (0.01,)  # shares of rows alerted at which recall is measured
    replicates: int = Field(200, ge=20)  # of the bootstrap behind every interval
    seed: int = Field(2018, ge=0)


class BacktestParams(_Section):
    """Weeks scored one after the other, each by a model of what was known before it."""

    first: Moment | None = None  # first day of the first test; default: first whole day of featurize.split.test
    folds: int | None = Field(None, ge=1)  # default: all of featurize.split.test whose labels are known, at least one
    step: Duration = timedelta(days=7)  # from the start of one test to the next
    test: Duration = timedelta(days=7)  # that a fold scores
    delay: Duration | None = None  # from the end of training to the test; default: prepare.label_delay
    window: Duration | None = None  # of training; default: all rows with history enough
    valid: Duration | None = None  # that sets calibration and threshold, a label delay before training; default: none
    refit: Flag = True  # false: the model of the first fold scores them all
    compromised_cards: Literal["keep", "remove"] = "keep"  # remove: cards whose fraud is known before the day
    compromised_window: Duration | None = None  # before the end of training; earlier frauds are forgotten
    seeds: Several[Annotated[int, Field(ge=0)]] = ()  # of the estimator, a whole run each; default: train.seed

    @model_validator(mode="after")
    def _spans_that_follow_each_other(self) -> BacktestParams:
        for name in ("step", "test", "window", "valid"):
            span = getattr(self, name)
            if span is not None and span <= timedelta(0):
                raise ValueError(f"{name} must be longer than 0 s")
        if self.step % timedelta(days=1):
            raise ValueError("step must be whole days, since a fold is named by its first day")
        if self.test > self.step:
            raise ValueError("test must not be longer than step, or rows would be scored twice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ")
        return self


class RangeParams(_Section):
    """What a search tries for one key: a range of numbers, or choices."""

    low: int | float | None = None  # whole numbers where both ends are written as such
    high: int | float | None = None
    log: Flag = False  # small numbers as often as large ones
    choices: Several[str | float | int | bool | None] = ()  # instead of a range

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> RangeParams:
        ends = (self.low, self.high)
        if (self.choices == ()) == (None in ends) or (self.choices and ends != (None, None)):
            raise ValueError("needs low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("log needs a low above 0")
        return self


class TuneParams(_Section):
    """A search for the learner's params on weeks before the test (`fraud3000 train --tune`).

    Its folds have the window, delay, test span, validation and compromised cards of `backtest`.
    """

    objective: Literal["average_precision", "savings"] = "average_precision"  # mean over the folds
    trials: int = Field(30, ge=1)  # in all, those of an interrupted search included
    time_budget: Duration | None = None  # no trial begins after this long
    first: Moment | None = None  # first day of the first fold; default: the folds end where their labels are known
    folds: int = Field(4, ge=1)
    space: dict[str, RangeParams] = {}  # by key below train: docs/tuning.md; default: the learner's own
    seed: int = Field(2018, ge=0)  # same seed, same search


Bounds = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], Strict(strict=False)]
"""The least and the most that is let through."""


class PromoteParams(_Section):
    """When a challenger becomes champion; both are measured on the same rows.

    [Into production, and back](promotion.md) tells the checks.
    """

    measure: Literal["average_precision", "savings"] = "average_precision"  # it must be better in, by the margin
    margin: float = Field(0.01, gt=0, lt=1)  # twice the deviation from seed to seed where that is more
    other_margin: float = Field(0.01, gt=0, lt=1)  # in the other one its lower bound may lie this far below 0
    level: float = Field(0.975, gt=0.5, lt=1)  # of both lower bounds
    replicates: int = Field(1_000, ge=100)  # of the paired bootstrap
    least_frauds: int = Field(50, ge=1)  # known among the rows; with fewer there is no verdict
    segment_margin: float = Field(0.02, gt=0, lt=1)  # shown worse than by this in any segment, it is refused
    observed_over_expected: Bounds = (0.5, 2.0)  # frauds in the top 1 % of scores over those expected there
    calibration_slope: Bounds = (0.5, 2.0)  # below 1: scores too extreme, above: too timid
    milliseconds: float = Field(50.0, gt=0)  # of computing to score one row; 95 of 100 rows must take less

    @model_validator(mode="after")
    def _bounds_in_order_and_replicates_enough(self) -> PromoteParams:
        for name in ("observed_over_expected", "calibration_slope"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} must be [least, most], found {low:g} and {high:g}")
        if self.replicates * (1 - self.level) < 2 - 1e-9:
            raise ValueError(f"level {self.level:g} needs at least {math.ceil(2 / (1 - self.level))} replicates")
        return self


class FallbackParams(_Section):
    """How the service decides when a request's deadline has passed: by the amount alone, in minor units."""

    review_from: int | None = Field(50_000, ge=0)  # reviewed from this amount on; null: never
    decline_from: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _review_before_decline(self) -> FallbackParams:
        if self.decline_from is not None and (self.review_from or 0) > self.decline_from:
            raise ValueError("review_from lies above decline_from: what is declined needs no review")
        return self


class RetentionParams(_Section):
    """How long the service keeps things where they are at hand."""

    journal: Duration = timedelta(days=30)  # then entries move to Parquet files by date, where they stay at hand
    decisions: Duration | None = None  # then features and answers are taken out of those; never if not given


class ClockParams(_Section):
    """How far the service trusts the clock of its machine."""

    jump: Duration = timedelta(hours=1)  # off the monotonic clock, or before the last entry: then nothing is taken
    gap: Duration = timedelta(days=90)  # after the last entry of the journal: then the service does not start


class ServeParams(_Section):
    """Where the service listens and keeps its journal; keys come from the environment."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    store: str | None = None  # a folder; `service` in the workspace if not given
    flush: Literal["full", "normal"] = "full"  # full: on the disk before the answer; normal: within a moment after it
    fallback: FallbackParams = FallbackParams()
    requests_per_second: float | None = Field(None, gt=0)  # of each key; any number if not given
    reload: Duration = timedelta(seconds=5)  # how often it looks whether another model was promoted
    snapshot_entries: int = Field(250_000, ge=1_000)  # of the journal, from one snapshot of the features to the next
    retention: RetentionParams = RetentionParams()
    clock: ClockParams = ClockParams()
    grace: Duration = timedelta(seconds=30)  # for requests under way when the service is asked to end
    anchors: str | None = None  # a file outside the store; beside it if not given
    shadow: str | None = None  # a version, or challenger: scores everything too, and decides nothing


class RetrainParams(_Section):
    """All steps in one go, for a schedule."""

    webhook: str | None = None  # a URL that is told how each run ended; nobody is if not given
    resume_within: Duration = timedelta(days=1)  # of its beginning, a run that broke off goes on; later one begins anew

    @field_validator("webhook")
    @classmethod
    def _of_the_web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value


class RegistryParams(_Section):
    """Where trained models are kept by name; the place itself comes from MLFLOW_TRACKING_URI."""

    name: str = "fraud3000"  # of the registered model
    experiment: str = "fraud3000"  # in which runs are kept


class Params(_Section):
    """A whole params file."""

    workspace: str = "data"  # the folder of all outputs
    simulate: SimulateParams = SimulateParams()
    prepare: PrepareModelParams = PrepareModelParams()
    featurize: FeaturizeModelParams = FeaturizeModelParams()
    train: TrainModelParams = TrainModelParams()
    evaluate: EvaluateModelParams = EvaluateModelParams()
    backtest: BacktestParams = BacktestParams()
    tune: TuneParams = TuneParams()
    policy: PolicyParams = PolicyParams()
    promote: PromoteParams = PromoteParams()
    serve: ServeParams = ServeParams()
    retrain: RetrainParams = RetrainParams()
    registry: RegistryParams = RegistryParams()

    @field_validator("workspace")
    @classmethod
    def _of_this_machine(cls, value: str) -> str:
        if value.startswith("s3:"):
            raise ValueError("must be a folder of this machine; prepare.publish brings its files to S3")
        return value


def load(path: Path | None = None) -> Params:
    """Read a params file; without a path ``params.yaml``, or the defaults where that is not there.

    Raises
    ------
    ParamsError
        Naming each key that is unknown or out of range, with what was found.
    """
    if path is None and not DEFAULT_FILE.exists():
        return Params()
    path = path or DEFAULT_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(
            f"{path}: cannot be read ({_reason(error)})", hint="Name a params file that exists."
        ) from error
    content = yaml_text.load(text, thing=str(path))
    if not isinstance(content or {}, dict):
        raise ParamsError(f"{path}: holds a {type(content).__name__}, not keys and values", hint="See params.yaml.")
    return parse(_expand(content or {}, ()), thing=str(path))


def parse(content: dict[str, Any], *, thing: str = "params") -> Params:
    """Check the content of a params file.

    Examples
    --------
    >>> parse({"train": {"estimater": "random_forest"}})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: params: train.estimater: unknown key
    Hint: Keys of train: estimator, estimator_params, imbalance, fraud_weight, undersample_to, bags, members, monotone, calibration, seed.
    """
    _refuse_card_numbers(content, (), thing)
    return validate(Params, content, thing=thing)


def _refuse_card_numbers(value: Any, path: tuple[str, ...], thing: str) -> None:
    """Refuse a card number in any key or value: models, reports and the registry repeat the params."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_card_numbers(str(key), path, thing)
            _refuse_card_numbers(item, (*path, str(key)), thing)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_card_numbers(item, path, thing)
    elif in_id(value).passes if isinstance(value, str) else isinstance(value, int | float) and is_card_number(value):
        raise ParamsError(
            f"{thing}: {'.'.join(path) or 'a key'}: contains a card number",
            hint="Remove it; rename the file or column that it names.",
        )


def validate(model: type[_Model], content: object, *, thing: str) -> _Model:
    """Build a params model and tell every problem in the user's own keys.

    Raises
    ------
    ParamsError
        Naming the key path, what was found and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        text = "; ".join(_problem(problem) for problem in problems)
        raise ParamsError(f"{thing}: {text}", hint=_keys_hint(model, problems)) from None


def _problem(problem: Any) -> str:
    key = ".".join(_keys(problem["loc"])) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    found = problem["input"]
    shown = f", found {_as_yaml(found)}" if isinstance(found, str | int | float | bool | None) else ""
    text = problem["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{key}: {text}{shown}"


def _keys(location: tuple[str | int, ...]) -> list[str]:
    """The keys of a place in the file, without the kinds of value that pydantic tried there."""
    named = [str(part) for part in location if "[" not in str(part)]
    return named[:-1] if len(named) > 1 and named[-1] in {"int", "float", "str", "bool"} else named


def _as_yaml(found: object) -> str:
    return (
        {True: "true", False: "false", None: "null"}[found] if found is None or isinstance(found, bool) else repr(found)
    )


_HINTS = {
    "duration": "Write a whole number and one unit of s, m, h, d, w, such as '7d'.",
    "string_type": "Put the value in quotes, so that it is read as text.",
    "datetime_type": "Write a date as 2024-01-31 or 2024-01-31 13:05:00.",
    "int_type": "Write a whole number as it is, such as 10: without quotes, a point or leading zeros.",
    "float_type": "Write a number as it is, such as 0.5: without quotes.",
    "bool_type": "Write true or false.",
}
"""What to do about a value of another type, by the type of the problem as pydantic names it."""


def _keys_hint(model: type[BaseModel], problems: list[Any]) -> str:
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    if not unknown:
        found = dict.fromkeys(_HINTS[problem["type"]] for problem in problems if problem["type"] in _HINTS)
        return " ".join(found) or "Correct the value, or leave the key out for its default."
    section: Any = model
    for part in unknown[0][:-1]:
        section = section if isinstance(part, int) else _below(section, part)
    fields = [field.alias or name for name, field in getattr(section, "model_fields", {}).items()]
    where = ".".join(str(part) for part in unknown[0][:-1])
    return f"Keys of {where or 'a params file'}: {', '.join(fields)}." if fields else "Leave the key out."


def _below(section: Any, key: str) -> Any:
    """The model that a key of a section holds, be it optional or several."""
    fields = getattr(section, "model_fields", {})
    annotation = fields[key].annotation if key in fields else None
    models = [kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")]
    return models[0] if models else None


def _expand(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*path, str(place))) for place, item in enumerate(value)]
    if not isinstance(value, str) or not _VARIABLE.search(value):
        return value
    return FromEnvironment(_VARIABLE.sub(lambda match: _variable(match[1], path), value))


def _variable(name: str, path: tuple[str, ...]) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ParamsError(
            f"{'.'.join(path)}: the environment variable {name} is {'empty' if name in os.environ else 'not set'}",
            hint=f"Set {name}, or write the value itself.",
        )
    return value


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"'{value}' is no time zone; write one such as 'Europe/Paris'") from error
    return value
