"""Section `retrain`: scheduled retraining."""

from __future__ import annotations

from datetime import timedelta

from pydantic import (
    field_validator,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Duration


class RetrainParams(Section):
    """All steps in one go, for a schedule."""

    webhook: str | None = None  # a URL that is told how each run ended; nobody is if not given
    resume_within: Duration = timedelta(
        days=1
    )  # within this time of its start, an interrupted run is resumed; later, it starts again

    @field_validator("webhook")
    @classmethod
    def _of_the_web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value
