"""Optional dependencies: the extras of the package."""

from __future__ import annotations

import importlib
from types import ModuleType

from fraud3000.errors import ParamsError


def load(library: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a library that an extra of the package installs.

    Parameters
    ----------
    library
        Name of its module.
    extra
        As in ``pip install "fraud3000[extra]"``.
    purpose
        What needs it, for the error message.

    Raises
    ------
    ParamsError
        It is not installed, or cannot be loaded.

    Examples
    --------
    >>> load("no_such_library", extra="tune", purpose="train --tune")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: train --tune needs no_such_library, which cannot be loaded (No module named 'no_such_library')
    Hint: Install it with `pip install "fraud3000[tune]"`.
    """
    try:
        return importlib.import_module(library)
    except (ImportError, OSError) as error:
        raise ParamsError(
            f"{purpose} needs {library}, which cannot be loaded ({error})",
            hint=f'Install it with `pip install "fraud3000[{extra}]"`.',
        ) from error
