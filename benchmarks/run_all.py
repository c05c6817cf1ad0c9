"""Run every benchmark of this folder, or those given as arguments; write results.json and docs/benchmarks.md.

`python benchmarks/run_all.py online growth` runs two of them and keeps the rows of the others. Each script prints one
JSON object as its last line: the name of a row to its figures. If a script fails, its old rows stay, and
the exit code is 1.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"
PACKAGES = ("polars", "numba", "numpy", "pandas", "duckdb", "scikit-learn")

Rows = dict[str, dict[str, Any]]
Results = dict[str, dict[str, Any]]
"""Machine and rows of each script."""

HEAD = """# Benchmarks

<!-- Made by `make bench`; do not edit. -->

Peers were measured in the same run, so the ratios compare where the seconds may not. A row is run alone by
`python benchmarks/NAME.py --row ROW`, a script by `python benchmarks/run_all.py NAME`.
"""


def main(names: list[str]) -> int:
    """Run them one after another, so that they do not disturb each other."""
    scripts = [path for path in sorted(HERE.glob("*.py")) if path != Path(__file__)]
    kept: Results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    failed = []
    for script in scripts:
        if script.stem in (names or [script.stem]):
            done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=False)
            print(script.name, done.stdout, sep="\n", flush=True)
            failed += [script.name] if done.returncode else []
            if not done.returncode:
                kept[script.stem] = {"machine": _machine(), "rows": json.loads(done.stdout.splitlines()[-1])}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    told = [_told(script, **kept[script.stem]) for script in scripts if script.stem in kept]
    PAGE.write_text("\n".join([HEAD, *told]), encoding="utf-8")
    return 1 if failed else 0


def _machine() -> str:
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}; {versions}"


def _told(script: Path, machine: str, rows: Rows) -> str:
    """Format a script's method, row by row, and its figures."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    methods = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ROWS"
    )
    listed = "".join(f"- `{row}`: {method}\n" for row, method in methods.items())
    figures = "".join(f"| {name} | {_figures(found)} |\n" for name, found in rows.items())
    return f"## {script.stem}\n\n{ast.get_docstring(tree)}\n\n{machine}.\n\n{listed}\n| row | figures |\n|---|---|\n{figures}"


def _figures(figures: dict[str, Any]) -> str:
    return ", ".join(f"{figure.replace('_', ' ')} {value}" for figure, value in figures.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
