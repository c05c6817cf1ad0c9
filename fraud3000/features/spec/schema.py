"""Validates the JSON text of a catalogue before it is loaded: every key, type and size."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Annotated, Any, Literal, Union, get_type_hints

from pydantic import AfterValidator, BaseModel, Field, create_model

from fraud3000 import durations
from fraud3000.errors import LeakageError, ParamsError
from fraud3000.features.spec.base import Condition, Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import KINDS
from fraud3000.params.values import Zone
from fraud3000.strict_json import InvalidPartError, Strict, parse

_MAX_SECONDS = 100 * 366 * 86_400
"""Seconds; timestamps this far apart can still be subtracted without overflow."""
_DURATION_FIELDS = {"length", "delay", "bucket", "over"}


def read(content: bytes) -> Catalogue:
    """Load a catalogue from the JSON text of `Catalogue.to_dict`.

    Raises
    ------
    InvalidPartError
        Names each invalid field.
    """
    _, content_dict = parse(_catalogue_model(), content)
    try:
        return Catalogue.from_dict(content_dict)
    except (LeakageError, ParamsError) as error:  # a declaration that the rules do not allow
        raise InvalidPartError(f"features: {error.message}") from error


@cache
def _catalogue_model() -> type[BaseModel]:
    kinds: Any = Union[tuple(_feature_model(kind) for kind in KINDS.values())]  # noqa: UP007 - built from a tuple
    feature: Any = Annotated[kinds, Field(discriminator="kind")]
    return create_model(
        "CatalogueText",
        __base__=Strict,
        features=(tuple[feature, ...], ...),
        label_delay=(_Seconds, ...),
        late_horizon=(_Seconds, ...),
        zone=(Zone, ...),
        precedence=(tuple[str, ...], ...),
    )


def _feature_model(kind: type[Feature]) -> type[BaseModel]:
    """Pydantic model of a kind of feature: the fields of its declaration, and the name of the kind."""
    name: Any = Literal[kind.__name__]
    return _model_of_fields(kind, {"kind": (name, ...)})


def _model_of_fields(declaration: type[Any], extra: dict[str, Any]) -> type[BaseModel]:
    hints = get_type_hints(declaration)
    models: dict[str, Any] = {
        field.name: (_validated_type(field.name, hints[field.name]), ...) for field in fields(declaration)
    }
    return create_model(f"{declaration.__name__}Text", __base__=Strict, **models, **extra)


def _validated_type(name: str, hint: Any) -> Any:
    if name in _DURATION_FIELDS:
        return Annotated[hint, AfterValidator(_check_duration)]
    if hint == Condition | None:
        return _model_of_fields(Condition, {}) | None
    return hint


def _check_duration(value: str | None) -> str | None:
    if value is not None and durations.seconds(value) > _MAX_SECONDS:
        raise ValueError(f"longer than {durations.text(_MAX_SECONDS)}")
    return value


_Seconds = Annotated[int, Field(ge=0, le=_MAX_SECONDS)]
