"""Fallback decisions from the amount alone, for transactions that miss their deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["approve", "review", "decline"]
"""The policy's decisions; written out here so that the client does not import polars to use a fallback."""


@dataclass(frozen=True)
class Fallback:
    """Amount bands, in minor units.

    Attributes
    ----------
    review_from, decline_from
        The lowest amount that is reviewed, and declined; None for never.

    Examples
    --------
    >>> bands = Fallback(review_from=50_000, decline_from=500_000)
    >>> [bands.decision(amount) for amount in (-60_000, 49_999, 50_000, 500_000)]
    ['approve', 'approve', 'review', 'decline']
    """

    review_from: int | None = 50_000
    decline_from: int | None = None

    def decision(self, amount: int) -> Verdict:
        """Return the decision for an amount: approve, review or decline."""
        if self.decline_from is not None and amount >= self.decline_from:
            return "decline"
        return "review" if self.review_from is not None and amount >= self.review_from else "approve"
