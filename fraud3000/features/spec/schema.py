"""Checks the text of a catalogue before features are made of it: every key, type and size."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Annotated, Any, Literal, Union, get_type_hints
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, create_model

from fraud3000 import durations
from fraud3000.errors import LeakageError, ParamsError
from fraud3000.features.spec.base import Condition, Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import KINDS
from fraud3000.strict_json import InvalidPartError, Strict, parse

_LONGEST = 100 * 366 * 86_400
"""Seconds; times this far apart can still be subtracted from each other."""
_DURATIONS = {"length", "delay", "bucket", "over"}


def read(content: bytes) -> Catalogue:
    """Make a catalogue of the JSON text of `Catalogue.to_dict`.

    Raises
    ------
    InvalidPartError
        Naming each field that is wrong.
    """
    _, plain = parse(_model(), content)
    try:
        return Catalogue.from_dict(plain)
    except (LeakageError, ParamsError) as error:  # a feature that could not have been declared
        raise InvalidPartError(f"features: {error.message}") from error


@cache
def _model() -> type[BaseModel]:
    kinds: Any = Union[tuple(_feature(kind) for kind in KINDS.values())]  # noqa: UP007 - made of a tuple
    feature: Any = Annotated[kinds, Field(discriminator="kind")]
    return create_model(
        "CatalogueText",
        __base__=Strict,
        features=(tuple[feature, ...], ...),
        label_delay=(_Seconds, ...),
        late_horizon=(_Seconds, ...),
        zone=(Annotated[str, AfterValidator(_known_zone)], ...),
        precedence=(tuple[str, ...], ...),
    )


def _feature(kind: type[Feature]) -> type[BaseModel]:
    """The model of a kind's text: the fields of its declaration, and the kind's name."""
    name: Any = Literal[kind.__name__]
    return _of_fields(kind, {"kind": (name, ...)})


def _of_fields(declared: type[Any], more: dict[str, Any]) -> type[BaseModel]:
    hints = get_type_hints(declared)
    models: dict[str, Any] = {one.name: (_checked(one.name, hints[one.name]), ...) for one in fields(declared)}
    return create_model(f"{declared.__name__}Text", __base__=Strict, **models, **more)


def _checked(name: str, hint: Any) -> Any:
    if name in _DURATIONS:
        return Annotated[hint, AfterValidator(_known_duration)]
    if hint == Condition | None:
        return _of_fields(Condition, {}) | None
    return hint


def _known_duration(value: str | None) -> str | None:
    if value is not None and durations.seconds(value) > _LONGEST:
        raise ValueError(f"longer than {durations.text(_LONGEST)}")
    return value


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("no time zone") from error
    return value


_Seconds = Annotated[int, Field(ge=0, le=_LONGEST)]
