"""Section `serve`: address, journal, fallback decisions, retention and clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Duration


class FallbackParams(Section):
    """Fallback decisions after a request's deadline, by the amount only, in minor units."""

    review_from: int | None = Field(50_000, ge=0)  # review amounts of at least this; null: never
    decline_from: int | None = Field(None, ge=0)  # decline amounts of at least this; null: never

    @model_validator(mode="after")
    def _check_order(self) -> FallbackParams:
        if self.decline_from is not None and (self.review_from or 0) > self.decline_from:
            raise ValueError("review_from must not be above decline_from")
        return self


class RetentionParams(Section):
    """How long the service keeps data."""

    journal: Duration = timedelta(days=30)  # then entries move from the journal to the archive, Parquet files by date
    decisions: Duration | None = None  # then features and decisions are removed from the archive; null: never


class ClockParams(Section):
    """Limits of the machine's clock that the service accepts."""

    jump: Duration = timedelta(
        hours=1
    )  # limit of a clock jump, or of going back behind the last entry; then requests fail
    gap: Duration = timedelta(days=90)  # time since the last journal entry after which the service does not start


class ServeParams(Section):
    """The HTTP service: address, storage and limits. API keys come from the environment."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    store: str | None = None  # folder of the journal; default: `service` in the workspace
    flush: Literal["full", "normal"] = "full"  # full: write to disk before responding; normal: shortly after
    fallback: FallbackParams = FallbackParams()
    requests_per_second: float | None = Field(None, gt=0)  # rate limit of each API key; null: unlimited
    reload: Duration = timedelta(seconds=5)  # how often the service checks for a newly promoted model
    snapshot_entries: int = Field(250_000, ge=1_000)  # journal entries between two snapshots of the feature state
    retention: RetentionParams = RetentionParams()
    clock: ClockParams = ClockParams()
    grace: Duration = timedelta(seconds=30)  # time for running requests to finish at shutdown
    anchors: str | None = None  # file of the journal's checkpoints, outside the store; default: next to the store
    shadow: str | None = (
        None  # a version, or challenger, that also scores every transaction without affecting decisions
    )
