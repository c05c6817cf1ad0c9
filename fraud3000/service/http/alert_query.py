"""Query parameters and page cursors of GET /alerts."""

from __future__ import annotations

import base64
import json
import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fraud3000.service.alerts import Alert, AlertFilter

_MAX_NUMBER = 1 << 62
_OPEN = {"open": True, "closed": False, "all": None}


def cursor(last: Alert) -> str:
    """Return the cursor of the page after an alert."""
    return base64.urlsafe_b64encode(json.dumps([last.expected_loss, last.number]).encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> tuple[float, int]:
    """Return expected loss and number of the alert of a cursor.

    Examples
    --------
    >>> _parse_cursor(cursor(Alert(7, "a", 12.5, open=True)))
    (12.5, 7)
    """
    loss, number = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return float(loss), int(number)


def _check_cursor(cursor: str) -> str:
    try:
        loss, number = _parse_cursor(cursor)
    except (ValueError, TypeError, OverflowError):
        loss, number = math.nan, 0
    if not math.isfinite(loss) or not 0 < number < _MAX_NUMBER:
        raise ValueError("is not a cursor issued by this service")
    return cursor


class AlertQuery(BaseModel):
    """Query parameters of GET /alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["open", "closed", "all"] = Field("open", description="Closed alerts have a label record.")
    decision: Literal["review", "decline"] | None = None
    least: float = Field(0.0, ge=0, allow_inf_nan=False, description="Minimum expected loss, in minor units.")
    limit: int = Field(50, ge=1, le=500)
    after: Annotated[str, Field(max_length=200), AfterValidator(_check_cursor)] | None = Field(
        None, description="Cursor: `next` of the previous page."
    )

    def to_filter(self) -> AlertFilter:
        """Return the query for the journal."""
        after = None if self.after is None else _parse_cursor(self.after)
        return AlertFilter(_OPEN[self.status], self.decision, self.least, after, self.limit)
