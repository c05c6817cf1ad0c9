"""Section `retrain`: scheduled retraining."""

from __future__ import annotations

from datetime import timedelta

from pydantic import field_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Duration


class RetrainParams(Section):
    """Scheduled retraining: all steps from prepare to promote."""

    webhook: str | None = None  # a URL to which the result of each run is posted; null: none
    resume_within: Duration = timedelta(
        days=1
    )  # an interrupted run that started within this time is resumed; an older run is restarted

    @field_validator("webhook")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value
