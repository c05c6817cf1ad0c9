"""Base class of all sections: strict, frozen, unknown keys refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    model_validator,
)


class FromEnvironment(str):
    """Text that holds the value of an environment variable, in which numbers are text too."""

    __slots__ = ()


class Section(BaseModel):
    """A part of the file. Values are taken in their own types only: true is no number, and 7 is no text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_from_environment(cls, content: object) -> object:
        """Read a variable's text as a number where the key takes no text."""
        if not isinstance(content, dict):
            return content
        return {
            key: _as_number(value, cls.model_fields[key].annotation)
            if isinstance(value, FromEnvironment) and key in cls.model_fields
            else value
            for key, value in content.items()
        }


def _as_number(value: FromEnvironment, annotation: Any) -> object:
    kinds = {annotation, *get_args(annotation)}
    if str in kinds:
        return value
    for kind in (int, float):
        if kind in kinds:
            with suppress(ValueError):
                return kind(value)
    return value
