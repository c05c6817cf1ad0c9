"""Schema of `scorer.json`: every field of a bundle's parts with its allowed values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.models.policy import NEVER
from fraud3000.params import ColumnMapping
from fraud3000.strict_json import InvalidPartError, Strict

MOST_ROWS = 1_000
"""Largest number of self-test rows."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Cost = Annotated[int, Field(ge=0, le=10**13)]
Above0 = Annotated[float, Field(gt=0)]
Row = tuple[float | None, ...]


def _require_rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later < earlier for earlier, later in pairwise(values)):
        raise ValueError("the values must not fall")
    return values


def _require_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class EncoderJson(Strict):
    """Columns of the model's matrix, and their categories in order of their codes."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    categories: dict[str, tuple[str, ...]]
    dropped: dict[str, str]


class MemberJson(Strict):
    """One learner: its file, and the shift and weight of its log-odds."""

    file: Annotated[str, Field(pattern=r"^model-\d{1,4}\.(npz|json)$")]
    shift: float
    weight: Annotated[float, Field(gt=0, le=1e100)]


class PlattJson(Strict):
    """Logistic (Platt) calibration."""

    method: Literal["platt"]
    slope: Above0
    intercept: float


class BetaJson(Strict):
    """Beta calibration."""

    method: Literal["beta"]
    a: Above0
    b: Above0
    c: float


class IsotonicJson(Strict):
    """Isotonic calibration: linear interpolation between points."""

    method: Literal["isotonic"]
    centres: Annotated[tuple[float, ...], Field(min_length=1), AfterValidator(_require_rising)]
    rates: Annotated[tuple[Share, ...], AfterValidator(_require_rising)]

    @model_validator(mode="after")
    def _require_rate_per_centre(self) -> IsotonicJson:
        if len(self.rates) != len(self.centres):
            raise ValueError(f"{len(self.rates)} rates for {len(self.centres)} centres")
        return self


class PolicyJson(Strict):
    """Decision policy; costs in minor units."""

    kind: Literal["capacity", "cost"]
    value: Annotated[float, Field(ge=0, le=NEVER)] | None
    review_cost: Cost
    fee: Cost
    review_stops: Share
    friction: Cost
    lost_sale: Cost | None
    lost_margin: Share
    price: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _require_threshold_by_kind(self) -> PolicyJson:
        if (self.kind == "capacity") != (self.value is not None):
            raise ValueError("value: a capacity policy has a threshold, a cost policy has none")
        return self


class UsualValuesJson(Strict):
    """Usual value among legitimate transactions, by column."""

    values: dict[str, float | None]


class SelfTestRowsJson(Strict):
    """Rows of the model's matrix with the scores that the model gave them after training."""

    rows: Annotated[tuple[Row, ...], Field(min_length=1, max_length=MOST_ROWS)]
    scores: tuple[Share, ...]

    @model_validator(mode="after")
    def _require_score_per_row(self) -> SelfTestRowsJson:
        if len(self.scores) != len(self.rows):
            raise ValueError(f"{len(self.scores)} scores for {len(self.rows)} rows")
        return self


class SeedNoiseJson(Strict):
    """Standard deviation of each metric over seeds."""

    model_config = ConfigDict(extra="allow")

    values: dict[str, float]


class FactsJson(Strict):
    """Origin of a model; fields that other commands read are typed, further fields are allowed."""

    model_config = ConfigDict(extra="allow")

    estimator: str = ""
    calibration: str = ""
    recipe: dict[str, Any] = Field(default_factory=dict)
    recipe_sha256: Sha256 = ""
    data_fingerprint: str = ""
    as_of: Annotated[str, AfterValidator(_require_time)] | None = None
    split: Literal["time", "random"] = "time"
    rows: dict[str, int] = Field(default_factory=dict)
    seed_deviation: SeedNoiseJson | None = None
    final: bool = False
    judged_as: Annotated[str, Field(pattern=r"^\d+$")] = "0"


class ScorerJson(Strict):
    """Content of `scorer.json`."""

    mapping: ColumnMapping
    encoder: EncoderJson
    members: Annotated[tuple[MemberJson, ...], Field(min_length=1)]
    calibrator: Annotated[PlattJson | BetaJson | IsotonicJson, Field(discriminator="method")]
    policy: PolicyJson
    typical: UsualValuesJson
    recorded: SelfTestRowsJson
    facts: FactsJson
    checksums: dict[str, Sha256]


def require_consistent(text: ScorerJson, catalogue: Catalogue, files: set[str]) -> None:
    """Refuse parts that are inconsistent with each other.

    Parameters
    ----------
    files
        Names of the bundle's files, without the manifest.

    Raises
    ------
    InvalidPartError
        Naming the field.
    """
    for problem in (*_encoder_problems(text, catalogue), *_member_problems(text, files)):
        raise InvalidPartError(problem)  # the checks below rely on these
    for problem in (*_typical_problems(text), *_recorded_problems(text)):
        raise InvalidPartError(problem)


def _encoder_problems(text: ScorerJson, catalogue: Catalogue) -> Iterator[str]:
    kinds = {feature.name: feature.kind for feature in catalogue.features}
    encoder, columns = text.encoder, set(text.encoder.columns)
    if len(columns) < len(encoder.columns):
        yield "encoder.columns: one is listed twice"
    for name in (*encoder.columns, *encoder.dropped):
        if name not in kinds:
            yield f"encoder: '{name}' is none of the features in catalogue.json"
    for name in kinds:
        if (name in columns) == (name in encoder.dropped):
            yield f"encoder: '{name}' of the features in catalogue.json must be in either columns or dropped"
    categorical = {name for name in columns if kinds.get(name) == "categorical"}
    if set(encoder.categories) != categorical:
        yield f"encoder.categories: not those of the columns that are categorical in catalogue.json ({len(categorical)})"
    for name, values in encoder.categories.items():
        if len(set(values)) < len(values):
            yield f"encoder.categories.{name}: a category is listed twice"


def _member_problems(text: ScorerJson, files: set[str]) -> Iterator[str]:
    listed = [member.file for member in text.members]
    for index, name in enumerate(listed):
        if name.partition(".")[0] != f"model-{index}":
            yield f"members.{index}.file: '{name}' instead of model-{index}"
    unknown = sorted(files.symmetric_difference({"catalogue.json", "scorer.json", *listed}))
    if unknown:
        yield f"members: '{unknown[0]}' is in the bundle and in no member, or the other way round"


def _typical_problems(text: ScorerJson) -> Iterator[str]:
    values = text.typical.values
    if set(values) != set(text.encoder.columns):
        yield "typical.values: not those of encoder.columns"
        return
    for name in text.encoder.columns:
        yield from _code_problems(text.encoder, name, values[name], f"typical.values.{name}")


def _recorded_problems(text: ScorerJson) -> Iterator[str]:
    columns = text.encoder.columns
    for index, row in enumerate(text.recorded.rows):
        if len(row) != len(columns):
            yield f"recorded.rows.{index}: {len(row)} values for {len(columns)} columns"
            return
        for name, value in zip(columns, row, strict=True):
            yield from _code_problems(text.encoder, name, value, f"recorded.rows.{index}.{name}")


def _code_problems(encoder: EncoderJson, name: str, value: float | None, field: str) -> Iterator[str]:
    if name not in encoder.categories or value is None:
        return
    if not (value.is_integer() and 0 <= value < len(encoder.categories[name])):
        yield f"{field}: {value} is no code of its {len(encoder.categories[name])} categories"
