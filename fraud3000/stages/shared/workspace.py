"""Paths of the files of one workspace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from fraud3000.data.cleaning import card_names
from fraud3000.data.cleaning.card_names import CardNames
from fraud3000.errors import DataError, ParamsError
from fraud3000.params import Params

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class _PathInWorkspace:
    """Path below the root of a workspace."""

    relative: str

    def __get__(self, workspace: Workspace, owner: type[Workspace]) -> Path:
        return workspace.root / self.relative


@dataclass(frozen=True)
class Workspace:
    """The folder that holds all outputs of one params file."""

    root: Path

    raw = _PathInWorkspace("raw/transactions.parquet")
    transactions = _PathInWorkspace("interim/transactions.parquet")
    quarantine = _PathInWorkspace("interim/quarantine.parquet")
    labels = _PathInWorkspace("interim/labels.parquet")
    refused_labels = _PathInWorkspace("interim/labels.rejected.parquet")  # rows that the last `labels import` rejected
    features = _PathInWorkspace("processed/features.parquet")
    boundaries = _PathInWorkspace("processed/split.json")
    catalogue = _PathInWorkspace("processed/catalogue.json")
    trained = _PathInWorkspace("processed/trained.json")  # pointer to the last training, an output for DVC
    scored = _PathInWorkspace("processed/scored.parquet")
    metrics = _PathInWorkspace("reports/metrics.json")
    figures = _PathInWorkspace("reports/figures.json")  # metric values without intervals, for DVC to compare
    report = _PathInWorkspace("reports/report.html")
    what_if = _PathInWorkspace("reports/what-if.html")
    delays = _PathInWorkspace("reports/label-delays.html")
    plots = _PathInWorkspace("reports/plots")
    card = _PathInWorkspace("reports/model-card.md")
    backtest = _PathInWorkspace("backtest")  # folder: scored.parquet, metrics.json and a plot
    trials = _PathInWorkspace("tune/trials.db")  # all trials of all searches
    tuned = _PathInWorkspace("tune/found")  # folder: the best params file of a search, and its trials
    models = _PathInWorkspace("models")
    promotions = _PathInWorkspace("models/history.jsonl")
    retraining = _PathInWorkspace("retraining")  # folder of `retrain`: the current run, and the log of finished runs
    card_names = _PathInWorkspace("card-names.db")  # card aliases after a key rotation

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))  # a str is accepted too

    @classmethod
    def from_params(cls, params: Params) -> Workspace:
        """Return the workspace of params.

        Raises
        ------
        ParamsError
            The argument is something else, such as the path of a params file.
        """
        if not isinstance(params, Params):
            raise ParamsError(
                f"params: a {type(params).__name__} is not Params",
                hint="Pass fraud3000.load_params(file) or fraud3000.parse_params(content).",
            )
        return cls(Path(params.workspace))

    def split(self, name: str) -> Path:
        return self.root / "processed" / f"{name}.parquet"

    def bundle(self, version: str) -> Path:
        return self.models / version

    def pointer(self, alias: str) -> Path:
        return self.models / f"{alias}.json"

    def bundle_card(self, version: str) -> Path:
        """Model card beside the bundle, which may hold only files of its manifest."""
        return self.models / f"{version}.card.md"


NOTHING_HERE = (
    "Begin with `fraud3000 init FILE` and your own export, or with `fraud3000 simulate`; then run `fraud3000 prepare`."
)
"""Hint in a folder without any data."""


def read(path: Path, *, made_by: str) -> pl.DataFrame:
    """Read a file that an earlier stage wrote.

    Raises
    ------
    DataError
        Names the command that writes the file.
    """
    with readable(path, made_by=made_by):
        return scan(path, made_by=made_by).collect()


def scan(path: Path, *, made_by: str) -> pl.LazyFrame:
    """Open a file that an earlier stage wrote without reading its rows; errors as for `read`."""
    if not path.exists():
        raise DataError(f"{path}: not found", hint=run_first(path, made_by=made_by))
    with readable(path, made_by=made_by):
        rows = pl.scan_parquet(path, glob=False)
        rows.collect_schema()
    return rows


def run_first(path: Path, *, made_by: str) -> str:
    """Return the hint for a missing file: the command that writes it, or how to begin in a folder without any data."""
    begun = path.parent.exists() or path.parents[1].exists()
    return f"Run `fraud3000 {made_by}` first, with the same params." if begun else NOTHING_HERE


@contextmanager
def readable(path: Path, *, made_by: str) -> Iterator[None]:
    """Raise read errors of the block, on a file that an earlier stage wrote, as DataError.

    Raises
    ------
    DataError
        Names the command that writes the file.
    """
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path}: cannot be read ({reason})", hint=f"Run `fraud3000 {made_by}` again to write it."
        ) from error


def card_names_loader(workspace: Workspace) -> Callable[[], CardNames]:
    """Return a function that loads the card names of the environment's key and the workspace, on its first call only."""
    return cache(partial(card_names.load, os.environ, workspace.card_names))
