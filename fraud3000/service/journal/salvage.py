"""Salvage of rows from a damaged journal database."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fraud3000.service.journal import holes
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.holes import Hole
from fraud3000.service.journal.sqlite_schema import DAMAGE_ERRORS, SELECT_ENTRIES, read_holes

_MIN_ENTRY_BYTES = 100  # minimum size of an entry, its index included


class DamagedDatabase:
    """Reads every row of a damaged database that is still readable.

    Parameters
    ----------
    connection
        To a copy of the database; None if there is none.
    claimed
        The highest number that is known to have existed.

    Attributes
    ----------
    broken
        True if reading failed after the last row that was found.
    """

    def __init__(self, connection: sqlite3.Connection | None, claimed: int) -> None:
        self._connection, self._claimed = connection, claimed
        self.broken = False

    def holes(self) -> list[Hole]:
        """Return the holes that were recorded before; empty if they cannot be read."""
        if self._connection is not None:
            with suppress(*DAMAGE_ERRORS):
                return read_holes(self._connection)
        return []

    def rows(self, number: int) -> Iterator[SealedRow]:
        """Yield rows after a number in ascending order; if a scan fails, look up each number until it can continue."""
        highest = self._highest_possible(number)
        while self._connection is not None:
            for row in holes.ascending(self._scan(self._connection, number), after=number, until=highest):
                number = row.number
                yield row
            next_row = self._next_readable(number, highest) if self.broken else None
            if next_row is None:
                return
            number = next_row.number
            yield next_row

    def _query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; empty if they cannot be read."""
        if self._connection is not None:
            with suppress(*DAMAGE_ERRORS):
                return self._connection.execute(query, values).fetchall()
        return []

    def _scan(self, connection: sqlite3.Connection, number: int) -> Iterator[SealedRow]:
        self.broken = False
        try:
            for raw in connection.execute(f"{SELECT_ENTRIES} WHERE number > ? ORDER BY number", (number,)):
                yield SealedRow(*raw)
        except DAMAGE_ERRORS:
            self.broken = True

    def _next_readable(self, number: int, highest: int) -> SealedRow | None:
        for candidate in range(number + 1, highest + 1):
            for raw in self._query(f"{SELECT_ENTRIES} WHERE number = ?", candidate):
                return SealedRow(*raw)
        return None

    def _highest_possible(self, number: int) -> int:
        """Return a bound of the entries' numbers by the size of the file, since a damaged row may have any number."""
        queries = ("SELECT max(number) FROM entries", "SELECT max(number) FROM alerts")
        numbers = [row[0] or 0 for query in queries for row in self._query(query)]
        bound = number + self._capacity
        return max(self._claimed, min(max(numbers, default=bound), bound))

    @property
    def _capacity(self) -> int:
        """Maximum number of entries in a file of this size."""
        sizes = [row[0] for query in ("PRAGMA page_count", "PRAGMA page_size") for row in self._query(query)]
        return int(math.prod(sizes)) // _MIN_ENTRY_BYTES
