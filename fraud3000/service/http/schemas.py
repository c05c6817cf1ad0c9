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
from fraud3000.wire import AlertItem, DecisionResult, ErrorDetail, LabelResult, WireMessage

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


class ErrorResponse(WireMessage):
    """Response to a request that failed."""

    error: ErrorDetail


class ScoreResponse(WireMessage):
    """Response with one result for each transaction, in the order of the request."""

    model_version: str = Field(examples=["3"])
    results: list[DecisionResult]


class NoDecisionsResponse(ErrorResponse, ScoreResponse):
    """Response if no transaction of a list was decided: the first error, and one result with its own error for each."""


class AlertsResponse(WireMessage):
    """A page of alerts, in descending order of expected loss."""

    alerts: list[AlertItem]
    next: str | None = Field(description="Cursor for `after` of the next page; null on the last page.")


class LabelRecord(WireMessage):
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


class LabelsResponse(WireMessage):
    """Response with one result for each label record, in the order of the request."""

    results: list[LabelResult]


class NoLabelsResponse(ErrorResponse, LabelsResponse):
    """Response if no label record of a list was stored: the first error, and one result with its own error for each."""


class ModelResponse(WireMessage):
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


class ReloadResponse(WireMessage):
    """Result of a model reload."""

    result: Literal["swapped", "same"]
    model_version: str


class SnapshotResponse(WireMessage):
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
