"""Request and response bodies as pydantic models, from which the OpenAPI description is generated."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic_core import PydanticCustomError

from fraud3000.data.cleaning import ids
from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.data.cleaning.category_text import canonical
from fraud3000.data.reading.columns import snake_case
from fraud3000.params import ColumnMapping
from fraud3000.schema import APPROVED, DECLINED, REFUND

MAX_ROWS = 10_000
"""Transactions or label records in one request."""

MAX_ID_LENGTH = 200
MAX_TEXT_LENGTH = 1_000


def _check_id(id_: str) -> str:
    """Reject ids that are also rejected in files."""
    problem = ids.problem(id_)
    if problem is not None:
        raise PydanticCustomError("id", "Input should be an id as text, and {wrong}", {"wrong": problem})
    return id_


Id = Annotated[
    str,
    Strict(),
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_ID_LENGTH),
    AfterValidator(_check_id),
]
Minor = Annotated[int, Strict(), Field(ge=-LARGEST, le=LARGEST)]
Number = Annotated[float, Field(allow_inf_nan=False), Strict()]


_LARGEST = 2**63
"""Numbers from here on are rejected as categories: their text would depend on the type that stores them."""


_canonical = lru_cache(maxsize=4096, typed=True)(canonical)
"""Cached, since categories repeat."""


def _category(value: Any) -> Any:
    """Convert text, a number below 2^63 or a boolean to the canonical text of a category; empty text if it is missing."""
    if isinstance(value, str) or (isinstance(value, int | float) and abs(value) < _LARGEST):
        return _canonical(value) or ""
    return value


_CategoryText = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]
Category = Annotated[
    str,
    Strict(),
    StringConstraints(max_length=MAX_TEXT_LENGTH),
    BeforeValidator(_category, json_schema_input_type=_CategoryText | int | float | bool),
]


def _to_utc(value: Any, parse: ValidatorFunctionWrapHandler) -> datetime:
    """Parse an ISO 8601 time with offset to UTC; a plain number is rejected, as it could be seconds or milliseconds."""
    # only ASCII, as pydantic accepts a Unicode minus in the offset
    if not isinstance(value, str) or value[4:5] != "-" or not value.isascii():
        raise PydanticCustomError("moment", "Input should be a time in ISO 8601 with an offset")
    at: datetime = parse(value)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "Input should be in the years 1 to 9999 of UTC") from None


Timestamp = Annotated[AwareDatetime, WrapValidator(_to_utc)]

_COORDINATES = ("card_lat", "card_long", "terminal_lat", "terminal_long")
_EXAMPLE = {
    "transaction_id": "1236698",
    "ts": "2018-08-08T00:01:14Z",
    "card_id": "596",
    "terminal_id": "3156",
    "amount": 5716,
}


class StrictModel(BaseModel):
    """Base of request and response bodies; rejects unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreQuery(BaseModel):
    """Query parameters of POST /score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasons: Literal["alerts", "all", "none"] = Field(
        "alerts", description="Which transactions get reasons. Reasons for one take about as long as fifty predictions."
    )
    deadline_ms: float | None = Field(
        None,
        ge=0,
        le=600_000,
        description="Milliseconds after which the fallback decides transactions that are not scored yet.",
    )


class ReasonText(StrictModel):
    """A reason for a score, with the feature group as code."""

    code: str = Field(examples=["CARD_AMOUNTS"])
    text: str = Field(examples=["amount as a multiple of the mean of this card in 7d: 8.1 times (typically 1.0 times)"])


class ErrorDetail(StrictModel):
    """An error in a request or in one of its items."""

    code: str = Field(examples=["invalid_transaction"])
    message: str = Field(examples=["amount: Input should be a valid integer, found 'abc'"])
    hint: str = Field(examples=["Send the amount as an integer in minor units: 57.16 is 5716."])


class ErrorResponse(StrictModel):
    """Response to a request that failed."""

    error: ErrorDetail


class DecisionFields(StrictModel):
    """Decision about one transaction."""

    transaction_id: str | None
    decision_id: str | None = Field(
        None, description="Id of this decision; a replay of the transaction with the same model has the same id."
    )
    score: float | None = Field(None, description="Calibrated probability of fraud; null if the fallback decided.")
    threshold: float | None = Field(None, description="Lowest score of an alert; null if the fallback decided.")
    alert: bool | None = Field(None, description="True if the transaction is not approved.")
    decision: Literal["approve", "review", "decline"] | None = Field(
        None, description="What the decision policy does with the transaction."
    )
    decision_source: Literal["model", "fallback"] | None = Field(
        None, description="The fallback decides by the amount alone if the deadline has passed."
    )
    reasons: list[ReasonText] = []
    model_version: str | None = Field(
        None, description="Version of the model that decided, if it is not the present one."
    )


class DecisionResult(DecisionFields):
    """Decision about one transaction, or the error in it."""

    error: ErrorDetail | None = None


class ScoreResponse(StrictModel):
    """Response with one result for each transaction, in the order of the request."""

    model_version: str = Field(examples=["3"])
    results: list[DecisionResult]


class NoDecisionsResponse(ErrorResponse, ScoreResponse):
    """Response if no transaction of a list was decided: the first error, and one result with its own error for each."""


class StoredLabel(StrictModel):
    """A label record in the journal."""

    is_fraud: bool
    source: str
    reported_at: datetime | None
    recorded_at: datetime


class DecisionRecord(DecisionFields):
    """A decision with its transaction, features and label records."""

    bundle_sha256: str | None = Field(description="SHA-256 of the bundle of the model that decided.")
    received_at: datetime
    transaction: dict[str, Any]
    features: dict[str, Any] | list[Any] = Field(
        description="Feature values at the time of the decision; a list in the order of the catalogue of that time if the present model has another one."
    )
    labels: list[StoredLabel]


class AlertItem(DecisionFields):
    """An alert with the transaction's main fields, for an analyst's queue."""

    ts: datetime | None = None
    card_id: str | None = None
    terminal_id: str | None = None
    amount: int
    expected_loss: float = Field(description="Expected loss if the transaction is approved, in minor units.")
    open: bool = Field(description="True while the transaction has no label record.")


class AlertsResponse(StrictModel):
    """A page of alerts, in descending order of expected loss."""

    alerts: list[AlertItem]
    next: str | None = Field(description="Cursor for `after` of the next page; null on the last page.")


class LabelRecord(StrictModel):
    """A label of a transaction from one source, and since when it is known."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "transaction_id": "1236698",
                    "is_fraud": True,
                    "source": "chargeback",
                    "reported_at": "2018-08-20T00:00:00Z",
                }
            ]
        }
    )

    transaction_id: Id
    is_fraud: Annotated[bool, Strict()]
    source: Annotated[str, Strict(), StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")] = Field(
        description="For example chargeback or analyst. If sources differ, the model's `source_precedence` decides."
    )
    reported_at: Timestamp | None = Field(None, description="When the source reported the label; stored unchanged.")
    recorded_at: Timestamp | None = Field(
        None, description="Since when the label is known to the service; default: now."
    )


class LabelResult(StrictModel):
    """A stored label record, or the error in it."""

    transaction_id: str | None
    number: int | None = Field(None, description="Number of its journal entry.")
    recorded_at: datetime | None = Field(None, description="Features of later transactions use the label.")
    error: ErrorDetail | None = None


class LabelsResponse(StrictModel):
    """Response with one result for each label record, in the order of the request."""

    results: list[LabelResult]


class NoLabelsResponse(ErrorResponse, LabelsResponse):
    """Response if no label record of a list was stored: the first error, and one result with its own error for each."""


class ModelResponse(StrictModel):
    """The deciding model: version, training, features, policy and history."""

    model_version: str
    model_as_of: str | None = Field(
        description="Label cut-off: the model was trained with the labels known at this time."
    )
    trained: dict[str, Any]
    catalogue_hash: str
    contract_version: int
    features: list[str]
    policy: dict[str, Any]
    transaction: list[str] = Field(description="Fields of a transaction.")
    history: dict[str, Any]


class ReloadResponse(StrictModel):
    """Result of a model reload."""

    result: Literal["swapped", "same"]
    model_version: str


class SnapshotResponse(StrictModel):
    """The snapshot that was written."""

    entry: int = Field(description="Number of the last journal entry in the snapshot.")
    checksum: str = Field(description="Checksum of the feature state.")


def transaction_model(mapping: ColumnMapping) -> type[BaseModel]:
    """Create the pydantic model of a transaction from a column mapping.

    Parameters
    ----------
    mapping
        Its ids, time and amount become required fields; coordinates, status and passthrough columns become optional ones.

    Examples
    --------
    >>> from fraud3000.data.cleaning.sources import HANDBOOK
    >>> list(transaction_model(HANDBOOK).model_fields)
    ['transaction_id', 'ts', 'card_id', 'terminal_id', 'amount', 'status']
    """
    kinds: dict[str, Any] = {"transaction_id": (Id, ...)}
    kinds |= {"ts": (Timestamp, ...)} if mapping.columns.ts else {}
    kinds |= {role: (Id, ...) for role in ("card_id", "terminal_id") if getattr(mapping.columns, role)}
    kinds["amount"] = (Minor, Field(description=f"Minor units: 1 is 10^-{mapping.amount.decimals} of the currency."))
    kinds["status"] = (Literal[APPROVED, DECLINED, REFUND], APPROVED)
    kinds |= {role: (Number | None, None) for role in _COORDINATES if getattr(mapping.columns, role)}
    kinds |= {snake_case(name, 0): (Number | None, None) for name in mapping.numeric}
    kinds |= {snake_case(name, 0): (Category | None, None) for name in mapping.categorical}
    example: dict[str, Any] = {name: value for name, value in _EXAMPLE.items() if name in kinds}
    config = ConfigDict(extra="forbid", frozen=True, title="Transaction", json_schema_extra={"examples": [example]})
    return create_model("Transaction", __config__=config, **kinds)
