"""Decorator that turns a function from params to a `Summary` into a command with --params, --json and -v."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from fraud3000.stages.shared.summary import Summary

ParamsFile = Annotated[
    Path | None, typer.Option("--params", metavar="FILE", help="Params file [default: params.yaml where it exists].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Log more; -vv logs everything.")
]
_COMMON = {"params": (ParamsFile, None), "json": (AsJson, False), "verbose": (Verbose, 0)}
_FROM_COMMON = ("params_file", "as_json")

Function = Callable[..., "Summary | None"]


def example(command: str) -> str:
    """Epilog of a help text: an example that no terminal width breaks."""
    return f"\b\nExample:\n  {command}"


def command(group: typer.Typer, runnable: str, *, name: str | None = None) -> Callable[[Function], Function]:
    """Register a function as a command of a group.

    Parameters
    ----------
    runnable
        The example that ends its help text.
    name
        Of the command; that of the function, with hyphens, if not given.

    The function's first parameter receives the loaded `Params`. A parameter ``params_file`` receives the path that was named
    by --params, and ``as_json`` whether --json was set; all others become options. The `Summary` that it returns is logged
    and printed; a function that prints by itself returns None.
    """

    def register(function: Function) -> Function:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        own = [parameter for parameter in parameters if parameter.name not in _FROM_COMMON]
        from_common = [parameter.name for parameter in parameters if parameter.name in _FROM_COMMON]

        def run(**arguments: Any) -> None:
            file, as_json, verbose = (arguments.pop(common) for common in _COMMON)
            common = {"params_file": file, "as_json": as_json}
            params = _load(file, verbose)
            start = time.perf_counter()
            summary = function(params, **arguments, **{key: common[key] for key in from_common})
            if summary is not None:
                finish(summary, as_json=as_json, seconds=time.perf_counter() - start)

        options = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _COMMON.items()
        ]
        hints = _hints(function, [parameter.name for parameter in own])
        signature = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own
        ]
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__signature__ = inspect.Signature([*signature, *options])  # type: ignore[attr-defined]
        run.__annotations__ = hints | {key: annotation for key, (annotation, _) in _COMMON.items()}
        group.command(name=name, epilog=example(runnable))(run)
        return function

    return register


def finish(summary: Summary, *, as_json: bool, seconds: float) -> None:
    """Log and print what a stage did.

    Raises
    ------
    CheckFailed
        The stage's check failed; its summary is printed first.
    """
    from fraud3000 import errors, logs
    from fraud3000.cli import output

    logs.log_done(summary.command, summary.facts, seconds=seconds)
    output.summary(summary, as_json=as_json)
    if summary.refused:
        raise errors.CheckFailed(summary.refused)


def _hints(function: Function, names: list[str]) -> dict[str, Any]:
    """Types of a function's options; those of its other parameters would import the library before --help is printed."""
    only = {name: function.__annotations__[name] for name in names}
    return get_type_hints(_Annotated(only), globalns=function.__globals__, include_extras=True)


class _Annotated:
    """Holds annotations for `get_type_hints`."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations


def _load(path: Path | None, verbosity: int) -> Any:
    """Configure logging and load the params, before slow imports."""
    from fraud3000 import logs, params

    logs.set_up(verbosity)
    return params.load(path)
