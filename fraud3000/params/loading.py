"""Read and validate a params file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError, field_validator

from fraud3000.errors import ParamsError
from fraud3000.params import yaml_text
from fraud3000.params.backtest import BacktestParams
from fraud3000.params.evaluate import EvaluateModelParams
from fraud3000.params.featurize import FeaturizeModelParams
from fraud3000.params.policy import PolicyParams
from fraud3000.params.prepare import PrepareModelParams
from fraud3000.params.promote import PromoteParams
from fraud3000.params.registry import RegistryParams
from fraud3000.params.retrain import RetrainParams
from fraud3000.params.section import FromEnvironment, Section
from fraud3000.params.serve import ServeParams
from fraud3000.params.simulate import SimulateParams
from fraud3000.params.train import TrainModelParams
from fraud3000.params.tune import TuneParams
from fraud3000.redact import find_in_id, is_card_number

DEFAULT_FILE = Path("params.yaml")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_Model = TypeVar("_Model", bound=BaseModel)


class Params(Section):
    """Parameters of all commands: the content of one params file.

    The representation lists the values that differ from the defaults.

    Examples
    --------
    >>> parse({"train": {"estimator": "random_forest"}, "policy": {"cards_per_day": 50}})
    Params(train.estimator='random_forest', policy.cards_per_day=50)
    """

    workspace: str = "data"  # the folder for all outputs
    simulate: SimulateParams = SimulateParams()
    prepare: PrepareModelParams = PrepareModelParams()
    featurize: FeaturizeModelParams = FeaturizeModelParams()
    train: TrainModelParams = TrainModelParams()
    evaluate: EvaluateModelParams = EvaluateModelParams()
    backtest: BacktestParams = BacktestParams()
    tune: TuneParams = TuneParams()
    policy: PolicyParams = PolicyParams()
    promote: PromoteParams = PromoteParams()
    serve: ServeParams = ServeParams()
    retrain: RetrainParams = RetrainParams()
    registry: RegistryParams = RegistryParams()

    @field_validator("workspace")
    @classmethod
    def _check_local(cls, value: str) -> str:
        if value.startswith("s3:"):
            raise ValueError("must be a folder on this machine; prepare.publish copies its files to S3")
        return value

    def __repr__(self) -> str:
        changed = [f"{path}={_abbreviated(value)}" for path, value in _changed(self, ())]
        more = [f"and {len(changed) - _MOST_SHOWN} more"] if len(changed) > _MOST_SHOWN else []
        return f"Params({', '.join([*changed[:_MOST_SHOWN], *more])})"


_MOST_SHOWN = 12
"""Values in the representation of params."""


def _changed(section: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield path and value of every key that differs from its default."""
    for name, field in type(section).model_fields.items():
        value, default = getattr(section, name), field.get_default(call_default_factory=True)
        if value == default:
            continue
        if isinstance(value, BaseModel):
            yield from _changed(value, (*path, name))
        else:
            yield ".".join((*path, name)), value


def _abbreviated(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def load(path: Path | str | None = None) -> Params:
    """Read a params file; without a path, read ``params.yaml``, or use the defaults if it does not exist.

    Raises
    ------
    ParamsError
        Names each unknown key and each invalid value, with what was found.
    """
    if path is None and not DEFAULT_FILE.exists():
        return Params()
    path = DEFAULT_FILE if path is None else path
    if not isinstance(path, Path | str):
        raise ParamsError(
            f"params: a {type(path).__name__} is not the path of a file",
            hint="For params in a dictionary, call fraud3000.parse_params(content).",
        )
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(
            f"{path}: cannot be read ({_reason(error)})", hint="Name a params file that exists."
        ) from error
    content = yaml_text.load(text, thing=str(path))
    if not isinstance(content or {}, dict):
        raise ParamsError(
            f"{path}: expected keys and values, found a {type(content).__name__}",
            hint="Write `section:` lines with indented `key: value` lines, as in params.yaml.",
        )
    return parse(_expand(content or {}, ()), thing=str(path))


def parse(content: dict[str, Any], *, thing: str = "params") -> Params:
    """Validate the content of a params file.

    Examples
    --------
    >>> parse({"train": {"estimater": "random_forest"}})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: params: train.estimater: unknown key
    Hint: Keys of train: estimator, estimator_params, imbalance, fraud_weight, undersample_to, bags, members, monotone, calibration, seed.
    """
    _refuse_card_numbers(content, (), thing)
    return validate(Params, content, thing=thing)


def _refuse_card_numbers(value: Any, path: tuple[str, ...], thing: str) -> None:
    """Refuse card numbers in keys and values, because models, reports and the registry repeat the params."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_card_numbers(str(key), path, thing)
            _refuse_card_numbers(item, (*path, str(key)), thing)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_card_numbers(item, path, thing)
    elif (
        find_in_id(value).passes if isinstance(value, str) else isinstance(value, int | float) and is_card_number(value)
    ):
        raise ParamsError(
            f"{thing}: {'.'.join(path) or 'a key'}: contains a card number",
            hint="Remove it; if it is the name of a file or column, rename that.",
        )


def validate(model: type[_Model], content: object, *, thing: str) -> _Model:
    """Build a params model; the error lists every problem by the keys in the file.

    Raises
    ------
    ParamsError
        Names each key path, what was found and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        text = "; ".join(_problem(problem) for problem in problems)
        raise ParamsError(f"{thing}: {text}", hint=_keys_hint(model, problems)) from None


def _problem(problem: Any) -> str:
    key = ".".join(_keys(problem["loc"])) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    found = problem["input"]
    shown = f", found {_as_yaml(found)}" if isinstance(found, str | int | float | bool | None) else ""
    text = problem["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{key}: {text}{shown}"


def _keys(location: tuple[str | int, ...]) -> list[str]:
    """The key path of an error, without the types that pydantic tried for the value."""
    keys = [str(part) for part in location if "[" not in str(part)]
    return keys[:-1] if len(keys) > 1 and keys[-1] in {"int", "float", "str", "bool"} else keys


def _as_yaml(found: object) -> str:
    return (
        {True: "true", False: "false", None: "null"}[found] if found is None or isinstance(found, bool) else repr(found)
    )


_HINTS = {
    "duration": "Write a whole number and one unit of s, m, h, d, w, such as '7d'.",
    "string_type": "Put the value in quotes, so that it is read as text.",
    "datetime_type": "Write a date as 2024-01-31 or 2024-01-31 13:05:00.",
    "int_type": "Write a whole number as it is, such as 10: without quotes, a point or leading zeros.",
    "float_type": "Write a number as it is, such as 0.5: without quotes.",
    "bool_type": "Write true or false.",
}
"""Hints for values of the wrong type, by pydantic's error type."""


def _keys_hint(model: type[BaseModel], problems: list[Any]) -> str:
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    if not unknown:
        hints = dict.fromkeys(_HINTS[problem["type"]] for problem in problems if problem["type"] in _HINTS)
        return " ".join(hints) or "Correct the value, or remove the key to use its default."
    section: Any = model
    for part in unknown[0][:-1]:
        section = section if isinstance(part, int) else _nested_model(section, part)
    fields = [field.alias or name for name, field in getattr(section, "model_fields", {}).items()]
    path = ".".join(str(part) for part in unknown[0][:-1])
    return f"Keys of {path or 'a params file'}: {', '.join(fields)}." if fields else "Remove the key."


def _nested_model(section: Any, key: str) -> Any:
    """The model of a key's value, also if it is optional or a list."""
    fields = getattr(section, "model_fields", {})
    annotation = fields[key].annotation if key in fields else None
    models = [kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")]
    return models[0] if models else None


def _expand(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*path, str(index))) for index, item in enumerate(value)]
    if not isinstance(value, str) or not _VARIABLE.search(value):
        return value
    return FromEnvironment(_VARIABLE.sub(lambda match: _variable(match[1], path), value))


def _variable(name: str, path: tuple[str, ...]) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ParamsError(
            f"{'.'.join(path)}: the environment variable {name} is {'empty' if name in os.environ else 'not set'}",
            hint=f"Set {name}, or write the value itself.",
        )
    return value


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
