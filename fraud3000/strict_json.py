"""Reads the JSON files of a bundle: bounded in size and depth, and every value checked before anything is built from it."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

MOST_JSON_BYTES = 8 * 2**20
"""The largest JSON file of a bundle; parsed, its values take up to some twenty times as much memory."""

_MOST_PROBLEMS = 5
_LONGEST_SHOWN = 40

_Model = TypeVar("_Model", bound=BaseModel)


class InvalidPartError(ValueError):
    """A part of a bundle that no training writes; the message begins with the field's name."""


class Strict(BaseModel):
    """Base of the models of a bundle's JSON: no unknown key, no conversion between types, finite numbers only."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def parse(model: type[_Model], content: bytes) -> tuple[_Model, Any]:
    """Check the JSON text of a model.

    Returns
    -------
    model
        With the values checked.
    Any
        The same values as plain dictionaries and lists.

    Raises
    ------
    InvalidPartError
        Naming each field that is wrong, with its value.

    Examples
    --------
    >>> class Price(Strict):
    ...     amount: float
    >>> parse(Price, b'{"amount": NaN}')
    Traceback (most recent call last):
    fraud3000.strict_json.InvalidPartError: amount: Input should be a finite number, found nan
    """
    plain = decode(content)
    try:
        return model.model_validate_json(content), plain
    except ValidationError as error:
        problems = error.errors(include_url=False)
        shown = [_problem(problem) for problem in problems[:_MOST_PROBLEMS]]
        more = len(problems) - len(shown)
        raise InvalidPartError("; ".join(shown) + (f"; and {more:,} more" if more else "")) from None


def decode(content: bytes) -> Any:
    """Parse JSON text of a bounded size.

    Raises
    ------
    InvalidPartError
        It is too large, nested too deep, holds a key twice, or is not JSON.

    Examples
    --------
    >>> decode(b"[" * 100_000)
    Traceback (most recent call last):
    fraud3000.strict_json.InvalidPartError: not valid JSON (nested too deep)
    """
    if len(content) > MOST_JSON_BYTES:
        raise InvalidPartError(f"{len(content):,} bytes; at most {MOST_JSON_BYTES:,} are read")
    try:
        return json.loads(content, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise InvalidPartError("not valid JSON (nested too deep)") from None
    except InvalidPartError:
        raise
    except ValueError as error:
        raise InvalidPartError(f"not valid JSON ({error})") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidPartError(f"the key {_shown(repeated)} is given twice")
    return found


def _problem(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "missing":
        return f"{field}: missing"
    if problem["type"] == "extra_forbidden":
        return f"{field}: unknown key"
    value = problem["input"]
    found = _shown(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}, found {found}"


def _shown(value: object) -> str:
    """Show a value as text of a bounded length, safe to print."""
    try:
        text = ascii(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a very long number"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
