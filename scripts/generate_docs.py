"""Generate the pages of docs/ that come from the code; with --check only report whether they are up to date."""

from __future__ import annotations

import ast
import inspect
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command
from typer.testing import CliRunner

from fraud3000 import durations, params, schema
from fraud3000.cli import app
from fraud3000.features.default_features import default_features
from fraud3000.features.spec.base import Feature, Stateful
from fraud3000.features.spec.describe import describe
from fraud3000.features.spec.kinds import KINDS

ROOT = Path(__file__).parents[1]
_TYPES = {schema.TIME: "Datetime, µs, UTC"}
_CHECKED_AS = {"prepare.mapping": params.ColumnMapping}
"""Keys whose content is validated later."""
_FEATURES = """What the model sees of a transaction x at time t. A feature whose columns the data does not have is left out; columns that
`prepare.mapping` passes on as `numeric` or `categorical` are features too, under their own names.

A window with a length and a delay contains the earlier transactions of the same key in [t − delay − length, t − delay) that
arrived before x: see the [rules of time](concepts.md). Delays are those of the default `prepare.label_delay`. A value is null
if it is undefined: the mean of an empty window, a ratio to nothing, a missing key, a row that arrived too late.

A window with a bucket contains whole closed buckets of that length, counted from midnight UTC on 1970-01-01: it begins and
ends at t − delay − length and t − delay, each rounded down to a bucket. So it ignores up to one bucket of the newest events,
and stores one sum for each bucket instead of each event. A condition selects the transactions of a window; no default
feature has one.

Counts, shares, distinct counts and features of the last transaction use approved and declined transactions. Features computed
from values use approved ones only. None uses refunds, unless a condition on `status` selects them.
[A feature of your own](mapping.md#a-feature-of-your-own) is one entry of the params file, with any of these aggregates, and
`featurize.without` removes features of this page.
"""
_PARAMS = """A file states only what differs from the defaults. `${NAME}` in a value is expanded from the environment. An unknown key
or an invalid value stops a command before any work.

Durations are whole numbers with a unit: `90s`, `30m`, `12h`, `7d`, `2w`; `0d` means none. A number without a unit is rejected.
Money is in minor units: 500 is 5.00. Values are not converted: `12:30`, `010`, `no` and `2024-01-31` are text,
and keys that need a number reject them. A key may occur only once in its section. Text that looks like a number, `true` or
null needs quotes.

`params.yaml` of the project states the defaults, `params/` has files for published data sets, and
[Your own data](mapping.md) shows one from scratch.
"""
_MADE = "<!-- Made by `make docs` from {source}; do not edit. -->\n"


def cli_page() -> str:
    """Return the page with the help of every command."""
    helps = "\n".join(f"## {' '.join(path)}\n\n```\n{_help(path)}\n```\n" for path in _commands(get_command(app)))
    return f"# Command line\n\n{_MADE.format(source='`--help`')}\n{helps}"


def schema_page() -> str:
    """Return the page with the columns of every frame; their meanings are the comments of the module."""
    tables = "\n".join(_frame(name) for name in ("TRANSACTIONS", "LEDGER", "QUARANTINE", "SCORED"))
    return f"# Frames\n\n{_MADE.format(source='`fraud3000/schema.py`')}\n{schema.__doc__}\n{tables}"


def features_page() -> str:
    """Return the page with every feature of the default catalogue by key, then the kinds of features."""
    label_delay = params.Params().prepare.label_delay
    groups: dict[str, list[Feature]] = {}
    for feature in default_features(_plain(label_delay)):
        groups.setdefault(_key(feature), []).append(feature)
    head = ("feature", "what it says", "unit", "kind", "aggregate", "length", "delay", "bucket", "condition", "needs")
    tables = "\n".join(f"## {key}\n\n{_table(head, map(_feature, of_key))}" for key, of_key in groups.items())
    kinds = _table(("kind", "what it is"), ((f"`{kind.__name__}`", _first_sentence(kind)) for kind in KINDS.values()))
    return f"# Features\n\n{_MADE.format(source='`fraud3000/features/`')}\n{_FEATURES}\n{tables}\n## Kinds\n\n{kinds}"


def params_page() -> str:
    """Return the page with every key of a params file."""
    sections = "\n".join(_section("", params.Params))
    return f"# Params file\n\n{_MADE.format(source='`fraud3000/params/`')}\n{_PARAMS}\n{sections}"


PAGES = {
    ROOT / "docs" / f"{name}.md": page
    for name, page in {"cli": cli_page, "schema": schema_page, "features": features_page, "params": params_page}.items()
}


def main() -> int:
    """Write the pages, or report which are stale."""
    if sys.argv[1:] != ["--check"]:
        for path, page in PAGES.items():
            path.write_text(page(), encoding="utf-8")
        return 0
    stale = [path for path, page in PAGES.items() if not path.exists() or path.read_text(encoding="utf-8") != page()]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is stale: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


def _commands(command: object, path: tuple[str, ...] = ("fraud3000",)) -> Iterator[tuple[str, ...]]:
    yield path
    children: dict[str, object] = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def _help(path: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(app, [*path[1:], "--help"], prog_name="fraud3000", terminal_width=100)
    return shown.output.rstrip()


def _frame(name: str) -> str:
    source = Path(schema.__file__).read_text(encoding="utf-8")
    statements = ast.parse(source).body
    place = next(at for at, node in enumerate(statements) if isinstance(node, ast.AnnAssign) and _target(node) == name)
    columns = statements[place].value  # type: ignore[attr-defined]
    assert isinstance(columns, ast.Dict)
    lines = source.splitlines()
    rows = [
        (f"`{column}`", str(_TYPES.get(kind, kind)), lines[key.lineno - 1].partition("#")[2].strip())
        for (column, kind), key in zip(getattr(schema, name).items(), columns.keys, strict=True)
        if key is not None
    ]
    after = statements[place + 1]
    said = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
    return f"## {name}\n\n{said}\n\n{_table(('column', 'type', 'meaning'), rows)}"


def _target(node: ast.AnnAssign) -> str:
    return node.target.id if isinstance(node.target, ast.Name) else ""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *(tuple(row) for row in rows)]
    head_, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
    return "".join([head_, "|" + "---|" * len(lines[0]) + "\n", *body])


def _key(feature: Feature) -> str:
    return " and ".join(feature.keys) if isinstance(feature, Stateful) else "The transaction itself"


def _feature(feature: Feature) -> tuple[str, ...]:
    told = describe(feature)
    aggregate = getattr(feature, "agg", getattr(feature, "how", ""))
    length, delay, bucket, where = (getattr(feature, name, None) for name in ("length", "delay", "bucket", "where"))
    delay = delay if delay and durations.seconds(delay) else ""
    needs = ", ".join(f"`{column}`" for column in sorted(feature.needs))
    seen = (length or "", delay, bucket or "", where.name if where else "")
    return f"`{feature.name}`", told.words, told.unit, type(feature).__name__, aggregate, *seen, needs


def _first_sentence(kind: type) -> str:
    return _said(kind).partition("\n\n")[0].replace("\n", " ")


def _said(kind: type) -> str:
    return (inspect.getdoc(kind) or "").replace("``", "`")


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield a section's own keys, then the sections below it."""
    said = _comments(model)
    keys = {f"{path}.{field.alias or name}".lstrip("."): (name, field) for name, field in model.model_fields.items()}
    below = {key: _CHECKED_AS.get(key) or _model(field.annotation) for key, (_, field) in keys.items()}
    own = [
        (
            f"`{key}`",
            _type(field.annotation, field.metadata) if below[key] is None else _SECTION[_is_list(field)],
            _default(field),
            field.description or said.get(name, ""),
        )
        for key, (name, field) in keys.items()
        if below[key] is None or field.default is None or _is_list(field)
    ]
    rows = _table(("key", "value", "default", "meaning"), own) if own else ""
    yield f"## {path}\n\n{_said(model)}\n\n{rows}" if path else f"## The whole file\n\n{rows}"
    for key, part in below.items():
        if part is not None:
            yield from _section(key, part)


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """Return the comments behind the fields of a model."""
    source = inspect.getsource(model)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    [described] = ast.parse(source).body
    assert isinstance(described, ast.ClassDef)
    fields = [node for node in described.body if isinstance(node, ast.AnnAssign)]
    return {_target(node): comments.get(node.end_lineno or 0, "") for node in fields}


_SECTION = {False: "a section", True: "list of sections"}


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, also if it is optional or a list."""
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind not in {NoneType, Ellipsis}]
    kind = kinds[0] if len(kinds) == 1 else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


_PLAIN_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    datetime: "time",
    timedelta: "duration",
    Any: "anything",
}
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}", "pattern": "as `{}`"}


_LENGTH = get_args(params.Length)[1]


def _type(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """Describe the allowed values in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if _LENGTH in limits:
        found = "duration"
    elif annotation == params.Span:
        found = "`[first, last)`"
    elif origin is Annotated:
        found = _type(parts[0], parts[1:])
    elif origin is Literal:
        found = ", ".join(f"`{value}`" for value in parts)
    elif origin in {tuple, list}:
        found = f"list: {_type(parts[0])}"
    elif origin is dict:
        found = f"by name: {_type(parts[1])}"
    elif parts:
        found = " or ".join(_type(part) for part in parts if part is not NoneType)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        found = "; ".join(f"`{name}` {_type(field.annotation, field.metadata)}" for name, field in fields)
    else:
        found = _PLAIN_TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return ", ".join([found, *_bounds(limits)])


def _bounds(limits: Iterable[Any]) -> Iterator[str]:
    for limit in limits:
        if isinstance(limit, FieldInfo):
            yield from _bounds(limit.metadata)
        for name, words in _BOUNDS.items():
            if getattr(limit, name, None) is not None:
                yield words.format(getattr(limit, name))


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    return "required" if field.is_required() else f"`{_plain(default)}`" if default is not None else ""


def _plain(value: object) -> str:
    match value:
        case timedelta():
            return durations.text(int(value.total_seconds()))
        case tuple():
            return f"[{', '.join(_plain(one) for one in value)}]"
        case "":
            return '""'
        case _:
            return str(value)


if __name__ == "__main__":
    sys.exit(main())
