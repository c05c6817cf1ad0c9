"""What is sent and what is answered, as pydantic models; the service's OpenAPI page is made of them."""

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

MOST_ROWS = 10_000
"""Transactions of one request."""

LONGEST_ID = 200
LONGEST_TEXT = 1_000


def _exact(given: str) -> str:
    """Refuse an id that files do not take either."""
    wrong = ids.problem(given)
    if wrong is not None:
        raise PydanticCustomError("id", "Input should be an id as text, and {wrong}", {"wrong": wrong})
    return given


Id = Annotated[
    str,
    Strict(),
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_ID),
    AfterValidator(_exact),
]
Minor = Annotated[int, Strict(), Field(ge=-LARGEST, le=LARGEST)]
Number = Annotated[float, Field(allow_inf_nan=False), Strict()]


_LARGEST = 2**63
"""From here on a number is not a category: its text would depend on the type that stores it."""


_canonical = lru_cache(maxsize=4096, typed=True)(canonical)
"""Categories come again and again."""


def _category(sent: Any) -> Any:
    """Turn text, a number below 2^63 or a boolean into the canonical text of a category; empty text if it is missing."""
    if isinstance(sent, str) or (isinstance(sent, int | float) and abs(sent) < _LARGEST):
        return _canonical(sent) or ""
    return sent


_Written = Annotated[str, Field(max_length=LONGEST_TEXT)]
Category = Annotated[
    str,
    Strict(),
    StringConstraints(max_length=LONGEST_TEXT),
    BeforeValidator(_category, json_schema_input_type=_Written | int | float | bool),
]


def _in_utc(given: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    """Read a time that is written as ISO 8601 has it; a mere number could be seconds or milliseconds."""
    if (
        not isinstance(given, str) or given[4:5] != "-" or not given.isascii()
    ):  # a Unicode minus would pass in the offset
        raise PydanticCustomError("moment", "Input should be a time in ISO 8601 with an offset")
    at: datetime = read(given)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "Input should be in the years 1 to 9999 of UTC") from None


Moment = Annotated[AwareDatetime, WrapValidator(_in_utc)]

_PLACES = ("card_lat", "card_long", "terminal_lat", "terminal_long")
_EXAMPLE = {
    "transaction_id": "1236698",
    "ts": "2018-08-08T00:01:14Z",
    "card_id": "596",
    "terminal_id": "3156",
    "amount": 5716,
}


class Message(BaseModel):
    """The base of all that is sent: no field that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreQuery(BaseModel):
    """The parameters of POST /score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasons: Literal["alerts", "all", "none"] = Field(
        "alerts", description="Transactions to give reasons for: each costs some fifty predictions."
    )
    deadline_ms: float | None = Field(
        None,
        ge=0,
        le=600_000,
        description="Milliseconds: what has not had its turn by then is decided by the fallback.",
    )


class ReasonText(Message):
    """A reason for a score."""

    code: str = Field(examples=["CARD_AMOUNTS"])
    text: str = Field(examples=["amount as a multiple of the mean of this card in 7d: 8.1 times (typically 1.0 times)"])


class ErrorDetail(Message):
    """What is wrong with a request or with one of its transactions."""

    code: str = Field(examples=["invalid_transaction"])
    message: str = Field(examples=["amount: Input should be a valid integer, found 'abc'"])
    hint: str = Field(examples=["Send the amount as an integer in minor units: 57.16 is 5716."])


class ErrorResponse(Message):
    """The answer where nothing could be decided."""

    error: ErrorDetail


class DecisionFields(Message):
    """What was decided about one transaction."""

    transaction_id: str | None
    decision_id: str | None = Field(None, description="Names this decision: the same transaction, model and id again.")
    score: float | None = Field(None, description="Calibrated probability of fraud; null where no model was asked.")
    threshold: float | None = Field(None, description="The score from which on there is an alert; null likewise.")
    alert: bool | None = None
    decision: Literal["approve", "review", "decline"] | None = Field(
        None, description="An alert is what is not approved."
    )
    decision_source: Literal["model", "fallback"] | None = Field(
        None, description="The fallback decides by the amount alone, when the deadline had passed."
    )
    reasons: list[ReasonText] = []
    model_version: str | None = Field(None, description="Of the model that decided, where it is not the present one.")


class DecisionResult(DecisionFields):
    """What was decided about one transaction, or what is wrong with it."""

    error: ErrorDetail | None = None


class ScoreResponse(Message):
    """The answer to a request, one result for each transaction in the order of the request."""

    model_version: str = Field(examples=["3"])
    results: list[DecisionResult]


class NoDecisions(ErrorResponse, ScoreResponse):
    """The answer where none of several transactions could be decided: the first error, then each one's own."""


class StoredLabel(Message):
    """A label record as it is kept."""

    is_fraud: bool
    source: str
    reported_at: datetime | None
    recorded_at: datetime


class DecisionRecord(DecisionFields):
    """A decision with all that it was made of."""

    bundle_sha256: str | None = Field(description="Of the bundle of the model that decided.")
    received_at: datetime
    transaction: dict[str, Any]
    features: dict[str, Any] | list[Any] = Field(
        description="As they were; a list in the order of their catalogue, where the present one is another."
    )
    labels: list[StoredLabel]


class Queued(DecisionFields):
    """An alert as those see it who work on it."""

    ts: datetime | None = None
    card_id: str | None = None
    terminal_id: str | None = None
    amount: int
    expected_loss: float = Field(description="If it is approved, in minor units.")
    open: bool = Field(description="No label record speaks of it yet.")


class AlertsResponse(Message):
    """A page of alerts, the largest expected loss first."""

    alerts: list[Queued]
    next: str | None = Field(description="`after` of the next page; null where there is none.")


class LabelRecord(Message):
    """What a source says of a transaction's label, and since when that is known."""

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
        description="Such as chargeback or analyst; which one is believed is the model's `source_precedence`."
    )
    reported_at: Moment | None = Field(None, description="When the source said so: a fact, kept as it is.")
    recorded_at: Moment | None = Field(None, description="Since when it is known here; now, if not given.")


class LabelResult(Message):
    """A label record that is kept, or what is wrong with it."""

    transaction_id: str | None
    number: int | None = Field(None, description="Its place in the journal.")
    recorded_at: datetime | None = Field(None, description="Transactions after it know it.")
    error: ErrorDetail | None = None


class LabelsResponse(Message):
    """The answer to label records, one result for each in the order of the request."""

    results: list[LabelResult]


class NoneRecorded(ErrorResponse, LabelsResponse):
    """The answer where none of several label records could be kept: the first error, then each one's own."""


class ModelFacts(Message):
    """Which model answers, and what it was made of."""

    model_version: str
    model_as_of: str | None = Field(description="The labels known at this time made the model.")
    trained: dict[str, Any]
    catalogue_hash: str
    contract_version: int
    features: list[str]
    policy: dict[str, Any]
    transaction: list[str] = Field(description="The fields of a transaction.")
    history: dict[str, Any]


class ReloadResponse(Message):
    """What came of looking for another model."""

    result: Literal["swapped", "same"]
    model_version: str


class SnapshotResponse(Message):
    """A snapshot that was written."""

    entry: int = Field(description="The last entry of the journal that it has seen.")
    checksum: str = Field(description="Of the features' state.")


def transaction_model(mapping: ColumnMapping) -> type[BaseModel]:
    """Make the model of a transaction as a data set has it.

    Parameters
    ----------
    mapping
        Roles that the data set has are fields that must be sent; coordinates, status and passthrough columns may be.

    Examples
    --------
    >>> from fraud3000.data.cleaning.sources import HANDBOOK
    >>> list(transaction_model(HANDBOOK).model_fields)
    ['transaction_id', 'ts', 'card_id', 'terminal_id', 'amount', 'status']
    """
    kinds: dict[str, Any] = {"transaction_id": (Id, ...)}
    kinds |= {"ts": (Moment, ...)} if mapping.columns.ts else {}
    kinds |= {role: (Id, ...) for role in ("card_id", "terminal_id") if getattr(mapping.columns, role)}
    kinds["amount"] = (Minor, Field(description=f"Minor units: 1 is 10^-{mapping.amount.decimals} of the currency."))
    kinds["status"] = (Literal[APPROVED, DECLINED, REFUND], APPROVED)
    kinds |= {place: (Number | None, None) for place in _PLACES if getattr(mapping.columns, place)}
    kinds |= {snake_case(name, 0): (Number | None, None) for name in mapping.numeric}
    kinds |= {snake_case(name, 0): (Category | None, None) for name in mapping.categorical}
    example: dict[str, Any] = {name: value for name, value in _EXAMPLE.items() if name in kinds}
    config = ConfigDict(extra="forbid", frozen=True, title="Transaction", json_schema_extra={"examples": [example]})
    return create_model("Transaction", __config__=config, **kinds)
