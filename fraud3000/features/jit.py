"""Loops over rows and events, compiled by numba; with NUMBA_DISABLE_JIT=1 they run as plain Python, the same to the bit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config as numba_config

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile a function for numbers and arrays, once for each machine where a folder can keep the result.

    Arithmetic stays as written: nothing is fused or put in another order. The interpreter's lock is not held
    while it runs.
    """
    with _kept_by_version():
        try:
            return numba.njit(function, cache=True, nogil=True)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder that can be written
            return numba.njit(function, nogil=True)  # type: ignore[no-any-return]


@contextmanager
def _kept_by_version() -> Iterator[None]:
    """Keep what is compiled apart for each version of this package: a kernel holds the ones it calls."""
    config: Any = numba_config
    given = config.CACHE_DIR
    folder = _folder()
    if not given and folder is not None:
        config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = given


@cache
def _folder() -> Path | None:
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(here.rglob("*.py")))).hexdigest()
    compiled = here / "__pycache__"
    return compiled / f"kernels-{digest[:12]}" if os.access(compiled if compiled.exists() else here, os.W_OK) else None
