"""What a training reads: rows with the labels known on the day, and where the data was cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fraud3000 import splits
from fraud3000.errors import ParamsError
from fraud3000.features.spec import Catalogue
from fraud3000.models.rows import Rows, usable
from fraud3000.params import Params, Span
from fraud3000.splits import Boundaries
from fraud3000.stages.judged import declared, label_date
from fraud3000.stages.workspace import Workspace, read, readable, scan


@dataclass(frozen=True)
class Inputs:
    """The rows of a training.

    Attributes
    ----------
    fingerprint
        SHA-256 over the hashes of all that was read.
    """

    train: Rows
    valid: Rows
    catalogue: Catalogue
    boundaries: Boundaries
    fingerprint: str


def of_split(workspace: Workspace) -> Inputs:
    """Read the train and validation splits.

    Raises
    ------
    DataError
        A file of prepare or featurize is missing or cannot be read.
    """
    boundaries = declared(workspace.boundaries, Boundaries.from_dict)
    split = {name: read(workspace.split(name), made_by="featurize") for name in ("train", "valid")}
    files = [workspace.split("train"), workspace.split("valid"), workspace.labels, workspace.boundaries]
    return _inputs(workspace, boundaries, split, _sha256(files))


def up_to_now(workspace: Workspace, params: Params) -> Inputs:
    """Read all rows whose label is known today, cut as `splits.final` says.

    Raises
    ------
    DataError
        A file of prepare or featurize is missing or cannot be read.
    ParamsError
        The data has no time, or nothing in it is newer than the split's training.
    """
    split = declared(workspace.boundaries, Boundaries.from_dict)
    ledger = read(workspace.labels, made_by="prepare")
    at = label_date(params, read(workspace.transactions, made_by="prepare"), ledger)
    if at is None:
        raise ParamsError(
            "train --final: the data has no time, so none of its rows is newer than others",
            hint="Promote the version that was judged; map a time under prepare.mapping.columns.ts to refit it later.",
        )
    boundaries = splits.final(split, at, params.prepare.label_delay)
    spans = {"train": boundaries.train, "valid": boundaries.valid}
    rows = {name: _within(workspace, span) for name, span in spans.items() if span is not None}
    told = f"{_sha256([workspace.features, workspace.labels, workspace.boundaries])} {at.isoformat()}"
    return _inputs(workspace, boundaries, rows, hashlib.sha256(told.encode()).hexdigest())


def _inputs(workspace: Workspace, boundaries: Boundaries, split: dict[str, pl.DataFrame], fingerprint: str) -> Inputs:
    ledger = read(workspace.labels, made_by="prepare")
    catalogue = declared(workspace.catalogue, Catalogue.from_dict)
    return Inputs(
        train=usable(split["train"], ledger, catalogue, boundaries, burn_in=True),
        valid=usable(split["valid"], ledger, catalogue, boundaries, burn_in=False),
        catalogue=catalogue,
        boundaries=boundaries,
        fingerprint=fingerprint,
    )


def _within(workspace: Workspace, span: Span) -> pl.DataFrame:
    with readable(workspace.features, made_by="featurize"):
        rows = scan(workspace.features, made_by="featurize")
        return rows.filter(pl.col("ts").is_between(*span, closed="left")).collect()


def _sha256(paths: Iterable[Path]) -> str:
    """SHA-256 over the hashes of files."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
