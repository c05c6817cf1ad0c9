"""Types of an evaluation: the content of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from fraud3000.errors import SchemaError
from fraud3000.params import PolicyParams

IsoTime = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str)]

BASELINES = ("random", "largest_amount", "always", "never")
"""Naive baselines by their names in metrics.json."""
EQUAL_ALERTS = ("random", "largest_amount")
"""Baselines with as many alerts as the model: a fair comparison of what alerts catch."""


class _Part(BaseModel):
    """Base class of the parts of metrics.json; a field that is not set is not written."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, allow_inf_nan=False, protected_namespaces=())


class MetricValue(_Part):
    """Value of one metric.

    Attributes
    ----------
    value
        None if the rows do not determine the metric.
    low, high
        Ends of the 95 % interval.
    by
        Cluster key that the interval was drawn by.
    reason
        Why there is no value or no interval.
    ceiling
        Highest possible value, for card precisions.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    by: str | None = None
    reason: str | None = None
    ceiling: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready content."""
        return self.model_dump(exclude_unset=True)


class DailyAlerts(_Part):
    """Mean and deviation over days of the number of cards (rows if there are no cards) with an alert.

    Attributes
    ----------
    reason
        Why there is no mean.
    """

    unit: Literal["cards", "rows"]
    mean: float | None
    sd: float | None
    days: int | None = None
    reason: str | None = None


class IntervalSettings(_Part):
    """How the intervals were computed: cluster keys, bootstrap replicates, seed and coverage."""

    by: tuple[str, ...]
    replicates: int
    seed: int
    coverage: float
    note: str


class Measurement(_Part):
    """Metrics of scored rows, with intervals and baselines.

    Attributes
    ----------
    excluded
        Number of rows that are not measured, by reason.
    baselines
        Metrics of each baseline; ``floors`` in metrics.json.
    """

    split: str
    rows: int
    frauds: int
    alerts: int
    prevalence: float | None
    excluded: dict[str, int]
    alerts_a_day: DailyAlerts
    intervals: IntervalSettings
    metrics: dict[str, MetricValue]
    baselines: dict[str, dict[str, MetricValue]] = Field(validation_alias="floors", serialization_alias="floors")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready content of metrics.json."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class CompromisedCards(_Part):
    """Rule for cards already known to be compromised, and the number of rows left out."""

    rule: Literal["keep", "remove"]
    rows: int
    since: IsoTime | None = None


class EvaluatedPolicy(PolicyParams):
    """Policy params of an evaluation, and the policy of the model."""

    model: dict[str, Any]


class Evaluation(Measurement):
    """Measurement of a model's test rows, with facts of the model and the rows.

    Attributes
    ----------
    model_as_of, label_date, test_span
        None for data without time.
    rows_sha256
        Hash of the measured rows and their labels.
    decimals
        Minor digits of the amounts.
    """

    model_version: str | None
    model_as_of: IsoTime | None
    data_fingerprint: str | None
    catalogue_hash: str
    rows_sha256: str
    label_date: IsoTime | None
    test_span: tuple[IsoTime, IsoTime] | None
    split_by: Literal["time", "random"]
    compromised_cards: CompromisedCards
    policy: EvaluatedPolicy
    decimals: int
    bundle_sha256: str

    @classmethod
    def has_all_keys(cls, content: Mapping[str, Any]) -> bool:
        """Return whether the content has every key of this release's metrics.json."""
        return {field.serialization_alias or name for name, field in cls.model_fields.items()} <= set(content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read the content of metrics.json.

        Raises
        ------
        SchemaError
            A key is missing or has an invalid value; the message names each of them.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
            )
            raise SchemaError(
                f"metrics.json is not a valid evaluation: {problems}", hint="Run `fraud3000 evaluate` again."
            ) from error


def best_baseline(baselines: Mapping[str, Mapping[str, MetricValue]], name: str) -> tuple[str, float] | None:
    """Return the best baseline of a metric and its value; None if no baseline has a value.

    Savings are compared with every baseline, other metrics with those that alert as many rows.

    Examples
    --------
    >>> best_baseline({"random": {"recall": MetricValue(value=0.1)}, "largest_amount": {"recall": MetricValue(value=0.3)}}, "recall")
    ('largest_amount', 0.3)
    """
    compared = BASELINES if name == "savings" else EQUAL_ALERTS
    entries = {baseline: baselines.get(baseline, {}).get(name) for baseline in compared}
    known = {baseline: entry.value for baseline, entry in entries.items() if entry and entry.value is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None
