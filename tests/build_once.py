"""Folders that are expensive to build: built once in a run of the tests, whatever the number of workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fraud3000.data.storage.file_lock import exclusive_lock


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Return this worker's copy of a folder that the first worker to need it builds.

    Parameters
    ----------
    name
        Unique in the run.
    build
        Fills an empty folder. Files that it names by their absolute paths are shared by all copies.
    """
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    original, complete = base / f"built-{name}", base / f"built-{name}.complete"
    with exclusive_lock(base / f"lock-{name}", operation=name, wait=True):
        if not complete.exists():
            shutil.rmtree(original, ignore_errors=True)  # of a worker that failed midway
            original.mkdir()
            build(original)  # in its final place: a registry records the paths of its artifacts
            complete.touch()
    return shutil.copytree(original, factory.mktemp(name), dirs_exist_ok=True)
