"""Write the pages of docs/ that are made from the code; with --check only tell whether they are fresh."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from fraud3000 import schema
from fraud3000.cli import app

ROOT = Path(__file__).parents[1]
_TYPES = {schema.TIME: "Datetime, µs, UTC"}
_MADE = "<!-- Made by `make docs` from {source}; do not edit. -->\n"


def cli_page() -> str:
    """Every command's help, as it is printed."""
    helps = "\n".join(f"## {' '.join(path)}\n\n```\n{_help(path)}\n```\n" for path in _commands(get_command(app)))
    return f"# The command line\n\n{_MADE.format(source='`--help`')}\n{helps}"


def schema_page() -> str:
    """Every frame's columns, with the comments of the module as their meaning."""
    tables = "\n".join(_frame(name) for name in ("TRANSACTIONS", "LEDGER", "QUARANTINE", "SCORED"))
    return f"# Frames\n\n{_MADE.format(source='`fraud3000/schema.py`')}\n{schema.__doc__}\n{tables}"


PAGES = {ROOT / "docs" / "cli.md": cli_page, ROOT / "docs" / "schema.md": schema_page}


def main() -> int:
    """Write the pages, or say which are stale."""
    if sys.argv[1:] != ["--check"]:
        for path, page in PAGES.items():
            path.write_text(page(), encoding="utf-8")
        return 0
    stale = [path for path, page in PAGES.items() if not path.exists() or path.read_text(encoding="utf-8") != page()]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is stale: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


def _commands(command: object, path: tuple[str, ...] = ("fraud3000",)) -> Iterator[tuple[str, ...]]:
    yield path
    children: dict[str, object] = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def _help(path: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(app, [*path[1:], "--help"], prog_name="fraud3000", terminal_width=100)
    return shown.output.rstrip()


def _frame(name: str) -> str:
    source = Path(schema.__file__).read_text(encoding="utf-8")
    statements = ast.parse(source).body
    place = next(at for at, node in enumerate(statements) if isinstance(node, ast.AnnAssign) and _target(node) == name)
    columns = statements[place].value  # type: ignore[attr-defined]
    assert isinstance(columns, ast.Dict)
    lines = source.splitlines()
    rows = "\n".join(
        f"| `{column}` | {_TYPES.get(kind, kind)} | {lines[key.lineno - 1].partition('#')[2].strip()} |"
        for (column, kind), key in zip(getattr(schema, name).items(), columns.keys, strict=True)
        if key is not None
    )
    after = statements[place + 1]
    said = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
    return f"## {name}\n\n{said}\n\n| column | type | meaning |\n|---|---|---|\n{rows}\n"


def _target(node: ast.AnnAssign) -> str:
    return node.target.id if isinstance(node.target, ast.Name) else ""


if __name__ == "__main__":
    sys.exit(main())
