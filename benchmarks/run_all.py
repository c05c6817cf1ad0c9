"""Run every benchmark of this folder; write results.json here and docs/benchmarks.md.

Each script prints one JSON object as its last line: the name of a row to its figures. A script that exits with
another code than 0 keeps its old rows, and so does this one's exit code tell.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"

Rows = dict[str, dict[str, Any]]


def main() -> int:
    """Run them all, one after the other, so that none disturbs another."""
    rows: Rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else {}
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script != Path(__file__):
            done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=False)
            print(script.name, done.stdout, sep="\n", flush=True)
            failed += [script.name] if done.returncode else []
            rows |= {} if done.returncode else json.loads(done.stdout.splitlines()[-1])
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(page(machine, rows), encoding="utf-8")
    return 1 if failed else 0


def page(machine: dict[str, Any], rows: Rows) -> str:
    """Lay the rows out as a page of the docs."""
    told = "\n".join(f"| {name} | {_figures(figures)} |" for name, figures in sorted(rows.items()))
    return (
        "# Benchmarks\n\n<!-- Made by `make bench`; do not edit. -->\n\n"
        f"Python {machine['python']}, {machine['cores']} cores, {machine['system']}. Peers were measured in the same run, "
        f"so the ratios compare where the seconds may not.\n\n| row | figures |\n|---|---|\n{told}\n"
    )


def _figures(figures: dict[str, Any]) -> str:
    return ", ".join(f"{figure.replace('_', ' ')} {value}" for figure, value in figures.items())


if __name__ == "__main__":
    sys.exit(main())
