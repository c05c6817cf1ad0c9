"""Section `serve`: address, journal, fallback decisions, retention, clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import (
    Field,
    model_validator,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Duration


class FallbackParams(Section):
    """How the service decides when a request's deadline has passed: by the amount alone, in minor units."""

    review_from: int | None = Field(50_000, ge=0)  # reviewed from this amount on; null: never
    decline_from: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _review_before_decline(self) -> FallbackParams:
        if self.decline_from is not None and (self.review_from or 0) > self.decline_from:
            raise ValueError("review_from lies above decline_from: what is declined needs no review")
        return self


class RetentionParams(Section):
    """How long the service keeps things where they are at hand."""

    journal: Duration = timedelta(days=30)  # then entries move to Parquet files by date, where they stay at hand
    decisions: Duration | None = None  # then features and answers are taken out of those; never if not given


class ClockParams(Section):
    """How far the service trusts the clock of its machine."""

    jump: Duration = timedelta(hours=1)  # off the monotonic clock, or before the last entry: then nothing is taken
    gap: Duration = timedelta(days=90)  # after the last entry of the journal: then the service does not start


class ServeParams(Section):
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
