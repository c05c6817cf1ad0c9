"""What tests of several modules share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Console = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def console_command() -> str:
    """Path of the installed console command."""
    return str(Path(sys.executable).with_name("fraud3000"))


@pytest.fixture
def console(console_command: str, tmp_path: Path) -> Console:
    """Run the installed console command in a folder of its own."""

    def run(*arguments: object, **how: object) -> subprocess.CompletedProcess[str]:
        command = [console_command, *map(str, arguments)]
        options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120, **how}
        return subprocess.run(command, check=False, **options)  # type: ignore[call-overload,no-any-return]

    return run
