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
from fraud3000.errors import DataError
from fraud3000.params import Params

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class Workspace:
    """The folder that holds all outputs of one params file."""

    root: Path

    @classmethod
    def from_params(cls, params: Params) -> Workspace:
        return cls(Path(params.workspace))

    @property
    def raw(self) -> Path:
        return self.root / "raw" / "transactions.parquet"

    @property
    def transactions(self) -> Path:
        return self.root / "interim" / "transactions.parquet"

    @property
    def quarantine(self) -> Path:
        return self.root / "interim" / "quarantine.parquet"

    @property
    def labels(self) -> Path:
        return self.root / "interim" / "labels.parquet"

    @property
    def refused_labels(self) -> Path:
        """Rows that the last `labels import` rejected."""
        return self.root / "interim" / "labels.rejected.parquet"

    @property
    def features(self) -> Path:
        return self.root / "processed" / "features.parquet"

    @property
    def boundaries(self) -> Path:
        return self.root / "processed" / "split.json"

    @property
    def catalogue(self) -> Path:
        return self.root / "processed" / "catalogue.json"

    def split(self, name: str) -> Path:
        return self.root / "processed" / f"{name}.parquet"

    @property
    def trained(self) -> Path:
        """Pointer file of the last training, as an output for DVC, which tracks the models folder as a whole."""
        return self.root / "processed" / "trained.json"

    @property
    def card_names(self) -> Path:
        """Database of card aliases after a key rotation."""
        return self.root / "card-names.db"

    @property
    def retraining(self) -> Path:
        """Folder of `retrain`: progress of the current run, and the log of finished runs."""
        return self.root / "retraining"

    @property
    def scored(self) -> Path:
        return self.root / "processed" / "scored.parquet"

    @property
    def metrics(self) -> Path:
        return self.root / "reports" / "metrics.json"

    @property
    def figures(self) -> Path:
        """Metric values without intervals, for DVC to compare."""
        return self.root / "reports" / "figures.json"

    @property
    def backtest(self) -> Path:
        """Folder of a backtest: scored.parquet, metrics.json and a plot."""
        return self.root / "backtest"

    @property
    def trials(self) -> Path:
        """Database of all trials of all searches."""
        return self.root / "tune" / "trials.db"

    @property
    def tuned(self) -> Path:
        """Folder with the best params file of a search and its trials."""
        return self.root / "tune" / "found"

    @property
    def report(self) -> Path:
        return self.root / "reports" / "report.html"

    @property
    def what_if(self) -> Path:
        return self.root / "reports" / "what-if.html"

    @property
    def delays(self) -> Path:
        return self.root / "reports" / "label-delays.html"

    @property
    def plots(self) -> Path:
        return self.root / "reports" / "plots"

    @property
    def card(self) -> Path:
        return self.root / "reports" / "model-card.md"

    @property
    def models(self) -> Path:
        return self.root / "models"

    def bundle(self, version: str) -> Path:
        return self.models / version

    def pointer(self, alias: str) -> Path:
        return self.models / f"{alias}.json"

    @property
    def promotions(self) -> Path:
        return self.models / "history.jsonl"

    def bundle_card(self, version: str) -> Path:
        """Model card beside the bundle, which may hold only files of its manifest."""
        return self.models / f"{version}.card.md"


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
        raise DataError(f"{path}: not found", hint=f"Run `fraud3000 {made_by}` first, with the same params.")
    with readable(path, made_by=made_by):
        rows = pl.scan_parquet(path, glob=False)
        rows.collect_schema()
    return rows


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
