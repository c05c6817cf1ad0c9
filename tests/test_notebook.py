"""The notebook of the docs shows what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]


def test_it_was_executed_from_top_to_bottom() -> None:
    cells = [
        cell for cell in nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4).cells if cell.cell_type == "code"
    ]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells[1:])


@pytest.mark.slow
def test_executed_again_it_prints_the_same() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "run_notebook.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
