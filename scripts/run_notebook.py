"""Execute docs/notebook.ipynb and compare its outputs with the stored ones; with --write, store them.

stderr is ignored, because log records contain times.
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
    """Execute the notebook, and write or compare its outputs."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    fresh = execute(stored)
    if sys.argv[1:] == ["--write"]:
        nbformat.write(fresh, NOTEBOOK)
        return 0
    differing = [
        new["source"]
        for old, new in zip(stored.cells, fresh.cells, strict=True)
        if output_texts(old) != output_texts(new)
    ]
    for source in differing:
        print(f"{NOTEBOOK.name}: the output differs from the stored one in the cell:\n{source}\n", file=sys.stderr)
    return 1 if differing else 0


def execute(notebook: Any) -> Any:
    """Run every cell in a kernel of this environment; raises the error of a cell."""
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


def output_texts(cell: Any) -> list[str]:
    """Return the text outputs of a cell; long numbers with nine digits, because processors differ in the last digits."""
    outputs = cell.get("outputs", [])
    texts = [one["text"] if one["output_type"] == "stream" else one["data"].get("text/plain", "") for one in outputs]
    return [_LONG.sub(lambda number: f"{float(number[0]):.9g}", text) for text in texts]


if __name__ == "__main__":
    sys.exit(main())
