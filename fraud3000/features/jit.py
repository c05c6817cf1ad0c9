"""Compiles loops with numba; with NUMBA_DISABLE_JIT=1 they run as plain Python with the same results, bit by bit."""

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
    """Compile a function for numbers and arrays; the result is cached on disk if the package folder is writable.

    Arithmetic is not fused or reordered. The function releases the interpreter's lock while it runs.
    """
    with _cache_by_version():
        try:
            return numba.njit(function, cache=True, nogil=True)  # type: ignore[no-any-return]
        except RuntimeError:  # no writable cache folder
            return numba.njit(function, nogil=True)  # type: ignore[no-any-return]


@contextmanager
def _cache_by_version() -> Iterator[None]:
    """Use one cache folder per version of the package, because a cached kernel contains the kernels that it calls."""
    config: Any = numba_config
    original = config.CACHE_DIR
    cache_dir = _cache_dir()
    if not original and cache_dir is not None:
        config.CACHE_DIR = str(cache_dir)
    try:
        yield
    finally:
        config.CACHE_DIR = original


@cache
def _cache_dir() -> Path | None:
    package = Path(__file__).parent
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()
    pycache = package / "__pycache__"
    return pycache / f"kernels-{digest[:12]}" if os.access(pycache if pycache.exists() else package, os.W_OK) else None
