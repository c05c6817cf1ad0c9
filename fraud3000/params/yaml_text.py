"""Strict YAML: no surprising type conversions, and no repeated keys.

PyYAML follows YAML 1.1, in which `12:30` is 750, `010` is 8 and `no` is false. Here only plain numbers, `true`,
`false` and null are converted; every other value, dates included, stays text.
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
    """Safe loader that converts only the plain scalars of `_SCALARS`."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
        None: [(f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z")) for name, pattern in _SCALARS.items()]
    }


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text which YAML 1.1 or `_Loader` would read as a number, a boolean or a date."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
        **yaml.SafeDumper.yaml_implicit_resolvers,
        **_Loader.yaml_implicit_resolvers,
    }


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def load(text: str, *, thing: str) -> Any:
    """Parse one YAML document.

    Parameters
    ----------
    thing
        The document's name in messages.

    Raises
    ------
    ParamsError
        It is not valid YAML, contains itself, or repeats keys in a mapping; the message names all repeated keys.

    Examples
    --------
    >>> load("{a: 12:30, b: 010, c: no, d: 2024-01-01, e: 1e-3, f: 1_000}", thing="x.yaml")
    {'a': '12:30', 'b': '010', 'c': 'no', 'd': '2024-01-01', 'e': 0.001, 'f': 1000}
    >>> load("{a: {b: 1, b: 2}}", thing="x.yaml")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: x.yaml: a.b: the key appears twice, in lines 1 and 1
    Hint: Remove one of the two keys.
    """
    loader = _Loader(text)
    try:
        document = loader.get_single_node()
        repeated = [] if document is None else list(_repeated_keys(document, (), ()))
        if repeated:
            raise ParamsError(f"{thing}: {'; '.join(repeated)}", hint="Remove one of the two keys.")
        return None if document is None else loader.construct_document(document)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ParamsError(f"{thing}: not valid YAML ({reason})", hint=_syntax_hint(error)) from error
    except ValueError as error:  # of a value with a tag, such as !!int x
        raise ParamsError(f"{thing}: not valid YAML ({error})", hint="Remove the tag of the value.") from error
    except RecursionError as error:
        raise ParamsError(
            f"{thing}: nested too deeply", hint="Use at most two or three levels of keys, as in params.yaml."
        ) from error
    finally:
        loader.dispose()


def _syntax_hint(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f" on line {mark.line + 1}" if mark is not None else ""
    return f"Fix the YAML{where}: check the indentation and quotes, and put values with : or # in quotes."


def dump(content: Any) -> str:
    """Format content so that `load` returns it unchanged.

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
    """Describe each key that appears twice in a mapping, before `<<` merges are applied."""
    if node in above:
        raise yaml.composer.ComposerError(problem=f"{'.'.join(path)} contains itself", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _repeated_keys(item, (*path, str(number)), (*above, node))
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name, line = str(key.value) if isinstance(key, yaml.ScalarNode) else "?", key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, name) in lines:
                    yield f"{'.'.join((*path, name))}: the key appears twice, in lines {lines[key.tag, name]} and {line}"
                lines[key.tag, name] = line
            yield from _repeated_keys(value, (*path, name), (*above, node))
