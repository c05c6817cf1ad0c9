"""Secrets from the environment, or from files that it names, as container platforms hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fraud3000.errors import ParamsError

_FILE = "_FILE"


def secret(environ: Mapping[str, str], variable: str) -> str | None:
    """Read a secret: what a variable holds, or the first line of the file that the same name with ``_FILE`` holds.

    Returns
    -------
    str or None
        None where neither is set.

    Raises
    ------
    ParamsError
        Both are set, or the file cannot be read or has no text. What it holds is no part of the message.

    Examples
    --------
    >>> secret({"FRAUD3000_API_KEY": "text"}, "FRAUD3000_API_KEY")
    'text'
    >>> secret({}, "FRAUD3000_API_KEY") is None
    True
    >>> secret({"FRAUD3000_API_KEY_FILE": "nowhere"}, "FRAUD3000_API_KEY")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: FRAUD3000_API_KEY_FILE: nowhere cannot be read (No such file or directory)
    Hint: Set it to a file that holds the secret and nothing else, or set FRAUD3000_API_KEY to the secret itself.
    """
    path = environ.get(variable + _FILE, "")
    if not path:
        return environ.get(variable)
    if environ.get(variable):
        raise ParamsError(f"{variable}: set, and {variable}{_FILE} too", hint="Unset one of them.")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise _bad_file(variable, path, f"cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from error
    if not lines or not lines[0].strip():
        raise _bad_file(variable, path, "has no secret in its first line")
    return lines[0].strip()


def _bad_file(variable: str, path: str, problem: str) -> ParamsError:
    return ParamsError(
        f"{variable}{_FILE}: {path} {problem}",
        hint=f"Set it to a file that holds the secret and nothing else, or set {variable} to the secret itself.",
    )
