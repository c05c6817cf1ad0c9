"""Times in UTC, and midnights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def as_utc(at: datetime) -> datetime:
    """Convert a time to UTC; a time without an offset is in UTC.

    Examples
    --------
    >>> as_utc(datetime(2024, 1, 31)).isoformat()
    '2024-01-31T00:00:00+00:00'
    """
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def midnight_before(at: datetime) -> datetime:
    """Return the last midnight at or before a time.

    Examples
    --------
    >>> midnight_before(datetime(2024, 1, 31, 13, 5)).isoformat()
    '2024-01-31T00:00:00'
    """
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def midnight_after(at: datetime) -> datetime:
    """Return the first midnight at or after a time.

    Examples
    --------
    >>> midnight_after(datetime(2024, 1, 31, 13, 5)).isoformat(), midnight_after(datetime(2024, 2, 1)).isoformat()
    ('2024-02-01T00:00:00', '2024-02-01T00:00:00')
    """
    midnight = midnight_before(at)
    return midnight if midnight == at else midnight + timedelta(days=1)
