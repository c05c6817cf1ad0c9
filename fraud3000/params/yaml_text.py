"""YAML read as it is written: no value becomes another one, and no key may come twice.

PyYAML follows YAML 1.1, in which `12:30` is 750, `010` is 8 and `no` is false. Here only plain numbers, `true`,
`false` and null get a type; every other value stays text, dates included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from fraud3000.errors import ParamsError

_INTEGER = r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)|0x[0-9a-fA-F]+|0b[01]+"
_FLOAT = r"[-+]?(?:[0-9]+(?:_[0-9]+)*\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_SCALARS = {
    "bool": r"true|True|TRUE|false|False|FALSE",
    "null": r"~|null|Null|NULL|",
    "merge": r"<<",
    "int": _INTEGER,
    "float": _FLOAT,
}


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain scalars of `_SCALARS` alone."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
        None: [(f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z")) for name, pattern in _SCALARS.items()]
    }


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes where YAML 1.1 or `_Loader` would read a number, a truth value or a date."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
        **yaml.SafeDumper.yaml_implicit_resolvers,
        **_Loader.yaml_implicit_resolvers,
    }


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def load(text: str, *, thing: str) -> Any:
    """Read one YAML document.

    Parameters
    ----------
    thing
        What messages call the document.

    Raises
    ------
    ParamsError
        It is not valid YAML, holds itself, or has a key twice in one place; all such keys are named.

    Examples
    --------
    >>> load("{a: 12:30, b: 010, c: no, d: 2024-01-01, e: 1e-3, f: 1_000}", thing="x.yaml")
    {'a': '12:30', 'b': '010', 'c': 'no', 'd': '2024-01-01', 'e': 0.001, 'f': 1000}
    >>> load("{a: {b: 1, b: 2}}", thing="x.yaml")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: x.yaml: a.b: the key comes twice, in lines 1 and 1
    Hint: Keep one of the two.
    """
    loader = _Loader(text)
    try:
        document = loader.get_single_node()
        repeated = [] if document is None else list(_repeated_keys(document, (), ()))
        if repeated:
            raise ParamsError(f"{thing}: {'; '.join(repeated)}", hint="Keep one of the two.")
        return None if document is None else loader.construct_document(document)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ParamsError(f"{thing}: not valid YAML ({reason})", hint="Mend the file.") from error
    except ValueError as error:  # of a value with a tag, such as !!int x
        raise ParamsError(f"{thing}: not valid YAML ({error})", hint="Remove the tag of the value.") from error
    except RecursionError as error:
        raise ParamsError(f"{thing}: nested too deep", hint="Mend the file.") from error
    finally:
        loader.dispose()


def dump(content: Any) -> str:
    """Write what `load` reads back as it is.

    Examples
    --------
    >>> print(dump({"a": "12:30", "b": "1e-3", "c": "no", "d": "food"}), end="")
    a: '12:30'
    b: '1e-3'
    c: 'no'
    d: food
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _repeated_keys(node: yaml.Node, path: tuple[str, ...], above: tuple[yaml.Node, ...]) -> Iterator[str]:
    """Describe each key that comes twice in one mapping, before any `<<` is merged into it."""
    if node in above:
        raise yaml.composer.ComposerError(problem=f"{'.'.join(path)} holds itself", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _repeated_keys(item, (*path, str(number)), (*above, node))
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name, line = str(key.value) if isinstance(key, yaml.ScalarNode) else "?", key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, name) in lines:
                    yield f"{'.'.join((*path, name))}: the key comes twice, in lines {lines[key.tag, name]} and {line}"
                lines[key.tag, name] = line
            yield from _repeated_keys(value, (*path, name), (*above, node))
