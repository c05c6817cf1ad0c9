"""Which alerts a request asks for, and where the next page begins."""

from __future__ import annotations

import base64
import json
import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fraud3000.service.journal.interface import Alert, AlertFilter

_MOST = 1 << 62
_OPEN = {"open": True, "closed": False, "all": None}


def cursor(last: Alert) -> str:
    """Where to go on behind an alert."""
    return base64.urlsafe_b64encode(json.dumps([last.expected_loss, last.number]).encode()).decode().rstrip("=")


def _behind(given: str) -> tuple[float, int]:
    """The place that `cursor` told.

    Examples
    --------
    >>> _behind(cursor(Alert(7, "a", 12.5, open=True)))
    (12.5, 7)
    """
    loss, number = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    return float(loss), int(number)


def _told_by_us(given: str) -> str:
    try:
        loss, number = _behind(given)
    except (ValueError, TypeError, OverflowError):
        loss, number = math.nan, 0
    if not math.isfinite(loss) or not 0 < number < _MOST:
        raise ValueError("is none that this service has told")
    return given


class AlertQuery(BaseModel):
    """The parameters of GET /alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["open", "closed", "all"] = Field("open", description="Closed is what a label record speaks of.")
    decision: Literal["review", "decline"] | None = None
    least: float = Field(0.0, ge=0, allow_inf_nan=False, description="Expected loss in minor units, at least.")
    limit: int = Field(50, ge=1, le=500)
    after: Annotated[str, Field(max_length=200), AfterValidator(_told_by_us)] | None = Field(
        None, description="`next` of the page before."
    )

    def queue(self) -> AlertFilter:
        """What the journal is asked for."""
        behind = None if self.after is None else _behind(self.after)
        return AlertFilter(_OPEN[self.status], self.decision, self.least, behind, self.limit)
