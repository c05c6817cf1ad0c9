"""Make the secrets that fraud3000 needs."""

from __future__ import annotations

from fraud3000.data import cards


def pan() -> str:
    """Make a new card key, as one line for `FRAUD3000_PAN_KEY`.

    Examples
    --------
    >>> key = cards.load_key({"FRAUD3000_PAN_KEY": pan()})
    >>> len(key.secret)
    32
    """
    return cards.new_key().text()
