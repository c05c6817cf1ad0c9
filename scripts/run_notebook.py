"""Execute docs/notebook.ipynb: with --write keep what it prints, else say where that differs from what stands there.

What goes to stderr is left out: records with times in them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

_LONG = re.compile(r"\d+\.\d{10,}")
NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def main() -> int:
    """Execute it, and write or compare."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    fresh = executed(stored)
    if sys.argv[1:] == ["--write"]:
        nbformat.write(fresh, NOTEBOOK)
        return 0
    differing = [new["source"] for old, new in zip(stored.cells, fresh.cells, strict=True) if shown(old) != shown(new)]
    for source in differing:
        print(f"{NOTEBOOK.name} prints something else than it shows, in the cell:\n{source}\n", file=sys.stderr)
    return 1 if differing else 0


def executed(notebook: Any) -> Any:
    """Run every cell in a kernel of this environment; an error in one is ours."""
    fresh = nbformat.from_dict(notebook)
    NotebookClient(
        fresh, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    for cell in fresh.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    fresh.metadata["language_info"] = {"name": "python"}
    return fresh


def shown(cell: Any) -> list[str]:
    """What a cell shows as text; long numbers to nine digits, since processors differ in the last."""
    outputs = cell.get("outputs", [])
    texts = [one["text"] if one["output_type"] == "stream" else one["data"].get("text/plain", "") for one in outputs]
    return [_LONG.sub(lambda number: f"{float(number[0]):.9g}", text) for text in texts]


if __name__ == "__main__":
    sys.exit(main())
