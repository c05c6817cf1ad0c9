"""Strict JSON parsing for bundles: bounded size and depth, every value validated before it is used."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

MOST_JSON_BYTES = 8 * 2**20
"""The largest JSON file of a bundle; the parsed values take up to about twenty times as much memory."""

_MOST_PROBLEMS = 5
_LONGEST_SHOWN = 40

_Model = TypeVar("_Model", bound=BaseModel)


class InvalidPartError(ValueError):
    """A part of a bundle has content that training never writes; the message begins with the field's name."""


class Strict(BaseModel):
    """Base class for the models of a bundle's JSON: no unknown keys, no type conversion, finite numbers only."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def parse(model: type[_Model], content: bytes) -> tuple[_Model, Any]:
    """Parse and validate the JSON text of a model.

    Returns
    -------
    model
        The validated model.
    Any
        The same values as plain dictionaries and lists.

    Raises
    ------
    InvalidPartError
        Names each invalid field with its value.

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
    """Parse JSON text of bounded size and depth.

    Raises
    ------
    InvalidPartError
        The text is too large, is nested too deeply, contains a key twice, or is not JSON.

    Examples
    --------
    >>> decode(b"[" * 100_000)
    Traceback (most recent call last):
    fraud3000.strict_json.InvalidPartError: not valid JSON (nested too deeply)
    """
    if len(content) > MOST_JSON_BYTES:
        raise InvalidPartError(f"{len(content):,} bytes; the limit is {MOST_JSON_BYTES:,}")
    try:
        return json.loads(content, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise InvalidPartError("not valid JSON (nested too deeply)") from None
    except InvalidPartError:
        raise
    except ValueError as error:
        raise InvalidPartError(f"not valid JSON ({error})") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidPartError(f"the key {_shown(repeated)} appears twice")
    return content


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
    """Format a value as text of bounded length that is safe to print."""
    try:
        text = ascii(value)
    except ValueError:  # Python does not convert integers of more than 4,300 digits to text
        return "a very long number"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
