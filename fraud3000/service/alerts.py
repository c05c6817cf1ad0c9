"""Alerts of the service: decisions for an analyst to review, and the filter of a query for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts to return.

    Attributes
    ----------
    open
        True for alerts without a label record, False for those with one; None for both.
    decision
        review or decline; None for both.
    least
        Minimum expected loss in minor units.
    behind
        Expected loss and number of the last alert of the previous page; None for the first page.
    limit
        Maximum number of alerts.
    """

    open: bool | None = True
    decision: str | None = None
    least: float = 0.0
    behind: tuple[float, int] | None = None
    limit: int = 50


@dataclass(frozen=True)
class Alert:
    """A decision that an analyst should review.

    Attributes
    ----------
    number
        Of the transaction's entry.
    expected_loss
        If it were approved, in minor units.
    open
        True if the transaction has no label record yet.
    """

    number: int
    transaction_id: str
    expected_loss: float
    open: bool
