"""The decision about one transaction, from the model to the response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fraud3000.models.inference.explain import Reason
from fraud3000.schema import APPROVE

Source = Literal["model", "fallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision about one transaction, with the model or fallback that made it.

    Attributes
    ----------
    decision_id
        24 hexadecimal digits, from the service; empty outside it.
    score
        Calibrated probability of fraud; None for a fallback decision.
    threshold
        Smallest score that raises an alert; None for a fallback decision.
    decision
        approve, review or decline.
    expected_loss
        If it is approved, in minor units; of a fallback decision, the loss if it is fraud.
    reasons
        Of an alert; of other decisions if the request asked for them.
    model_version, fingerprint
        Version of the loaded model, and the SHA-256 of its bundle, which the service adds.
    source
        model, or fallback if the deadline had passed.
    bands
        Of the fallback: the amounts from which it reviews and declines.
    """

    decision_id: str = ""
    score: float | None
    threshold: float | None
    decision: str
    expected_loss: float
    reasons: tuple[Reason, ...] = ()
    model_version: str
    fingerprint: str = ""
    source: Source = "model"
    bands: tuple[int | None, int | None] | None = None

    @property
    def alert(self) -> bool:
        return self.decision != APPROVE

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, in the order in which the journal stores them."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "reasons": [{"code": reason.code, "text": reason.text} for reason in self.reasons]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Decision:
        """Build the decision from the fields of `to_dict`, as parsed from JSON."""
        reasons = tuple(Reason(**reason) for reason in fields["reasons"])
        bands = None if fields["bands"] is None else tuple(fields["bands"])
        return cls(**{**fields, "reasons": reasons, "bands": bands})
