"""Where the files of one data set lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from fraud3000.errors import DataError
from fraud3000.params import Params

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class Workspace:
    """The folder that holds all outputs of one params file."""

    root: Path

    @classmethod
    def of(cls, params: Params) -> Workspace:
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
    def scored(self) -> Path:
        return self.root / "processed" / "scored.parquet"

    @property
    def metrics(self) -> Path:
        return self.root / "reports" / "metrics.json"

    def bundle(self, version: str) -> Path:
        return self.root / "models" / version


def read(path: Path, *, made_by: str) -> pl.DataFrame:
    """Read a file that an earlier stage wrote.

    Raises
    ------
    DataError
        Naming the command that makes the file.
    """
    return _reading(path, made_by, lambda: scan(path, made_by=made_by).collect())


def scan(path: Path, *, made_by: str) -> pl.LazyFrame:
    """Open a file that an earlier stage wrote, as `read` does, without reading its rows."""
    if not path.exists():
        raise DataError(f"{path}: not found", hint=f"Run `fraud3000 {made_by}` first, with the same params.")

    def opened() -> pl.LazyFrame:
        rows = pl.scan_parquet(path, glob=False)
        rows.collect_schema()
        return rows

    return _reading(path, made_by, opened)


def _reading(path: Path, made_by: str, how: Callable[[], Frame]) -> Frame:
    try:
        return how()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path}: cannot be read ({reason})", hint=f"Run `fraud3000 {made_by}` again to write it anew."
        ) from error
