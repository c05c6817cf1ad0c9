"""Every error that fraud3000 raises on purpose.

FraudError
 ├─ DataError             exit 3   data that is missing, unreadable or not what it should be
 │   ├─ SchemaError                 columns that are missing or of the wrong type, all of them at once
 │   ├─ LeakageError                an input or a setting that would let the answer into the features
 │   └─ EmptyDataError              nothing left to work on
 ├─ ParamsError           exit 4   a params file that is wrong: names the key and the values allowed
 ├─ ScorerError           exit 5   a bundle that cannot be trusted or found
 ├─ CheckFailed           exit 6   a verdict, not a fault
 └─ UnavailableError      exit 7   a place that cannot be reached or written now; safe to try again

A message says what is wrong with which thing and what was found; the hint says what to do. Card numbers in either are
masked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fraud3000.redact import mask


class FraudError(Exception):
    """An error whose text is written for the user.

    Parameters
    ----------
    message
        What is wrong with which thing, and what was found.
    hint
        What to do about it.
    code
        What a service calls it, where one answered so.

    Examples
    --------
    >>> print(DataError("a.csv: no rows, only a header", hint="Export the file again."))
    a.csv: no rows, only a header
    Hint: Export the file again.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(mask(message))
        self.message = mask(message)
        self.hint = None if hint is None else mask(hint)
        self.code = code

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class DataError(FraudError):
    """Data that is missing, unreadable or not what it should be."""

    exit_code = 3


class SchemaError(DataError):
    """Columns that are missing or of the wrong type, all of them at once.

    Attributes
    ----------
    missing
        The columns that are missing.
    """

    missing: tuple[str, ...] = ()

    @classmethod
    def missing_columns(
        cls, thing: str, missing: Iterable[str], available: Iterable[str], *, hint: str | None = None
    ) -> SchemaError:
        """Name each missing column with the nearest ones there are.

        Examples
        --------
        >>> print(SchemaError.missing_columns("txns.csv", ["amount"], ["amt", "amounts", "day"]))
        txns.csv: column 'amount' is missing; nearest: 'amounts', 'amt'
        Hint: Rename the column, or map the role to another one under prepare.mapping.columns.
        """
        names, missing = list(available), list(missing)
        found = [f"column '{name}' is missing; {nearest(name, names)}" for name in missing]
        error = cls(
            f"{thing}: " + "; ".join(found),
            hint=hint or "Rename the column, or map the role to another one under prepare.mapping.columns.",
        )
        error.missing = tuple(missing)
        return error


class LeakageError(DataError):
    """An input or a setting that would let the answer into the features."""


class EmptyDataError(DataError):
    """Nothing left to work on."""


class ParamsError(FraudError):
    """A params file that is wrong: names the key and the values allowed."""

    exit_code = 4


class ScorerError(FraudError):
    """A bundle that cannot be trusted or found."""

    exit_code = 5


class CheckFailed(FraudError):
    """A verdict, not a fault."""

    exit_code = 6


class UnavailableError(FraudError):
    """A place that cannot be reached or written now; safe to try again."""

    exit_code = 7


def nearest(name: str, available: list[str]) -> str:
    """Say which names come close to one that is not there, or else which there are.

    Examples
    --------
    >>> nearest("amont", ["amount", "ts"])
    "nearest: 'amount'"
    """
    close = difflib.get_close_matches(name, available, n=3, cutoff=0.4)
    shown = close or available[:8]
    listed = ", ".join(f"'{column}'" for column in shown) or "no columns at all"
    return f"nearest: {listed}" if close else f"found: {listed}"
