"""What an import costs, and what it offers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fraud3000

HEAVY = {
    "alembic", "boto3", "botocore", "dvc", "fastapi", "jinja2", "loguru", "matplotlib", "mlflow", "numpy", "pandas", "polars", "pyarrow",
    "pydantic_settings", "scipy", "skops", "sklearn", "sqlalchemy", "uvicorn", "yaml",
}  # fmt: skip
"""pydantic is not among them: typer itself may load it."""


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import fraud3000, fraud3000.errors",
        "from fraud3000 import cli\ntry: cli.app(['--help'])\nexcept SystemExit: pass",
        "from fraud3000 import cli\ntry: cli.app(['score-file', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_help_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_public_names_are_sorted_and_resolve() -> None:
    assert fraud3000.__all__ == sorted(fraud3000.__all__)
    assert all(getattr(fraud3000, name) is not None for name in fraud3000.__all__)
    assert dir(fraud3000) == fraud3000.__all__


def test_type_checkers_see_the_public_names() -> None:
    module = ast.parse(Path(fraud3000.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in module.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported | {"__version__"} == set(fraud3000.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        _ = fraud3000.predict
