"""The exception tree and its exit codes."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from fraud3000 import errors

CODES = {
    "DataError": 3,
    "SchemaError": 3,
    "LeakageError": 3,
    "EmptyDataError": 3,
    "ParamsError": 4,
    "ScorerError": 5,
    "CheckFailed": 6,
    "UnavailableError": 7,
}


def kinds() -> dict[str, type[errors.FraudError]]:
    found = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    return {name: kind for name, kind in found.items() if issubclass(kind, errors.FraudError)}


def test_every_kind_has_its_exit_code() -> None:
    assert {name: kind.exit_code for name, kind in kinds().items() if name != "FraudError"} == CODES


def test_the_docstring_draws_every_kind() -> None:
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in kinds())


def test_no_hint_no_second_line() -> None:
    assert str(errors.DataError("a.csv: empty")) == "a.csv: empty"


def test_missing_columns_are_told_all_at_once() -> None:
    told = str(errors.SchemaError.missing_columns("t.csv", ["amount", "ts"], ["Amount", "when"]))
    assert told.startswith("t.csv: column 'amount' is missing; nearest: 'Amount'; column 'ts' is missing; found: ")


def test_user_errors_carry_a_hint() -> None:
    """A message without what to do about it leaves its reader alone."""
    package = Path(errors.__file__).parent
    files = sorted(package.rglob("*.py"))
    assert len(files) > 100
    assert [f"{path.relative_to(package)}:{line}" for path in files for line in raised_without_a_hint(path)] == []


def raised_without_a_hint(path: Path) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    raised = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in CODES]
    return [call.lineno for call in raised if not any(word.arg == "hint" for word in call.keywords)]
