"""Base class of all sections: strict types, frozen, unknown keys refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class FromEnvironment(str):
    """Text with the value of an environment variable, which may also stand for a number."""

    __slots__ = ()


class Section(BaseModel):
    """Base class of sections. Types are not converted: true is not a number, and 7 is not text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_from_environment(cls, content: object) -> object:
        """Convert an environment variable's text to a number if the key takes a number and no text."""
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
