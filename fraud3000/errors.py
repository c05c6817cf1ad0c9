"""The errors that fraud3000 raises on purpose.

FraudError
 ├─ DataError             exit 3   input data is missing, unreadable or invalid
 │   ├─ SchemaError                 columns are missing or have the wrong type; one error names all of them
 │   ├─ LeakageError                an input or a setting would leak the label into the features
 │   └─ EmptyDataError              no rows are left
 ├─ ParamsError           exit 4   the params are invalid; names the key and the allowed values
 ├─ ScorerError           exit 5   the model is missing or fails verification
 ├─ CheckFailed           exit 6   a check failed, such as promotion or parity; not a program error
 └─ UnavailableError      exit 7   a file, store or service cannot be reached or written now; safe to retry

A message states what is wrong with which thing and what was found; the hint states what to do. Card numbers in both
are masked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fraud3000.redact import mask


class FraudError(Exception):
    """Base class of errors whose text is written for the user.

    Parameters
    ----------
    message
        What is wrong with which thing, and what was found.
    hint
        What the user can do.
    code
        The error code of a service, if the error came from a response.

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
    """Input data is missing, unreadable or invalid."""

    exit_code = 3


class SchemaError(DataError):
    """Columns are missing or have the wrong type; one error names all of them.

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
        """Build for missing columns; the message names each with the most similar available columns.

        Examples
        --------
        >>> print(SchemaError.missing_columns("txns.csv", ["amount"], ["amt", "amounts", "day"]))
        txns.csv: column 'amount' is missing; nearest: 'amounts', 'amt'
        Hint: Rename the column, or map the role to another column under prepare.mapping.columns.
        """
        names, missing = list(available), list(missing)
        problems = [f"column '{name}' is missing; {nearest(name, names)}" for name in missing]
        error = cls(
            f"{thing}: " + "; ".join(problems),
            hint=hint or "Rename the column, or map the role to another column under prepare.mapping.columns.",
        )
        error.missing = tuple(missing)
        return error


class LeakageError(DataError):
    """An input or a setting would leak the label into the features."""


class EmptyDataError(DataError):
    """No rows are left."""


class ParamsError(FraudError):
    """The params are invalid; the message names the key and the allowed values."""

    exit_code = 4


class ScorerError(FraudError):
    """The model is missing or fails verification."""

    exit_code = 5


class CheckFailed(FraudError):
    """A check failed, such as promotion or parity; not a program error."""

    exit_code = 6


class UnavailableError(FraudError):
    """A file, store or service cannot be reached or written now; safe to retry."""

    exit_code = 7


def nearest(name: str, available: list[str]) -> str:
    """List the available names most similar to a missing one, or the first ones if none is similar.

    Examples
    --------
    >>> nearest("amont", ["amount", "ts"])
    "nearest: 'amount'"
    """
    close = difflib.get_close_matches(name, available, n=3, cutoff=0.4)
    shown = close or available[:8]
    listed = ", ".join(f"'{column}'" for column in shown) or "no columns"
    return f"nearest: {listed}" if close else f"found: {listed}"
