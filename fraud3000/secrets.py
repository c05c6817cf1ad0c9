"""Read secrets from environment variables, or from files that they name, as container platforms provide them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fraud3000.errors import ParamsError

_FILE = "_FILE"


def read_secret(environ: Mapping[str, str], variable: str) -> str | None:
    """Read a secret from a variable, or from the first line of the file named by the variable ``<name>_FILE``.

    Returns
    -------
    str or None
        None if neither is set.

    Raises
    ------
    ParamsError
        Both are set, or the file cannot be read or is empty. The message does not contain the secret.

    Examples
    --------
    >>> read_secret({"FRAUD3000_API_KEY": "text"}, "FRAUD3000_API_KEY")
    'text'
    >>> read_secret({}, "FRAUD3000_API_KEY") is None
    True
    >>> read_secret({"FRAUD3000_API_KEY_FILE": "nowhere"}, "FRAUD3000_API_KEY")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: FRAUD3000_API_KEY_FILE: nowhere cannot be read (No such file or directory)
    Hint: Set it to a file that contains only the secret, or set FRAUD3000_API_KEY to the secret itself.
    """
    path = environ.get(variable + _FILE, "")
    if not path:
        return environ.get(variable)
    if environ.get(variable):
        raise ParamsError(f"{variable}: both {variable} and {variable}{_FILE} are set", hint="Unset one of them.")
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
        hint=f"Set it to a file that contains only the secret, or set {variable} to the secret itself.",
    )
