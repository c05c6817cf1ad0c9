"""Read the inputs of a training: rows with labels as known on the cut-off date, catalogue and split boundaries.

Later label records and transactions change neither the rows nor their fingerprint, so repeating a training gives the same
bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from fraud3000.errors import ParamsError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels import splits
from fraud3000.labels.splits import Boundaries
from fraud3000.models.training.training_rows import TrainingRows, select_rows
from fraud3000.params import EvaluateModelParams, PrepareModelParams, Span
from fraud3000.stages.shared.evaluation_rows import label_date, read_json
from fraud3000.stages.shared.workspace import Workspace, read, readable, scan

_NOT_LEARNED = {"seq", "split", "history_days", "labelled"}
"""Columns that are not model inputs; later rows may change them."""


@dataclass(frozen=True)
class TrainingInputs:
    """Rows, catalogue and boundaries of a training.

    Attributes
    ----------
    fingerprint
        SHA-256 over the rows with their labels as known on the cut-off date, the catalogue and the spans; other
        content of the files does not matter.
    """

    train: TrainingRows
    valid: TrainingRows
    catalogue: Catalogue
    boundaries: Boundaries
    fingerprint: str


def from_split(workspace: Workspace) -> TrainingInputs:
    """Read the train and validation splits.

    Raises
    ------
    DataError
        A file of prepare or featurize is missing or cannot be read.
    """
    boundaries = read_json(workspace.boundaries, Boundaries.from_dict)
    split = {name: read(workspace.split(name), made_by="featurize") for name in ("train", "valid")}
    return _inputs(workspace, boundaries, split)


def from_known_labels(
    workspace: Workspace, prepare: PrepareModelParams, evaluate: EvaluateModelParams
) -> TrainingInputs:
    """Read all rows whose label is known today, split by `splits.final`.

    Raises
    ------
    DataError
        A file of prepare or featurize is missing or cannot be read.
    ParamsError
        The data has no time, or no row is newer than the split's training rows.
    """
    split = read_json(workspace.boundaries, Boundaries.from_dict)
    ledger = read(workspace.labels, made_by="prepare")
    at = label_date(evaluate, read(workspace.transactions, made_by="prepare"), ledger)
    if at is None:
        raise ParamsError(
            "train --final: the data has no time, so there are no newer rows to train on",
            hint="Promote the version that was evaluated; map a time under prepare.mapping.columns.ts to refit it later.",
        )
    boundaries = splits.final_boundaries(split, at, prepare.label_delay)
    spans = {"train": boundaries.train, "valid": boundaries.valid}
    rows = {name: _within(workspace, span) for name, span in spans.items() if span is not None}
    return _inputs(workspace, boundaries, rows)


def _inputs(workspace: Workspace, boundaries: Boundaries, split: dict[str, pl.DataFrame]) -> TrainingInputs:
    ledger = read(workspace.labels, made_by="prepare")
    catalogue = read_json(workspace.catalogue, Catalogue.from_dict)
    train = select_rows(split["train"], ledger, catalogue, boundaries, burn_in=True)
    valid = select_rows(split["valid"], ledger, catalogue, boundaries, burn_in=False)
    return TrainingInputs(train, valid, catalogue, boundaries, _fingerprint(train, valid, catalogue, boundaries))


def _within(workspace: Workspace, span: Span) -> pl.DataFrame:
    with readable(workspace.features, made_by="featurize"):
        rows = scan(workspace.features, made_by="featurize")
        return rows.filter(pl.col("ts").is_between(*span, closed="left")).collect()


def _fingerprint(train: TrainingRows, valid: TrainingRows, catalogue: Catalogue, boundaries: Boundaries) -> str:
    spans = {name: span for name, span in boundaries.to_dict().items() if name != "test"}
    digest = hashlib.sha256(json.dumps({"catalogue": catalogue.hash, **spans}, sort_keys=True).encode())
    for rows in (train, valid):
        learned = [name for name in rows.featured.columns if name not in _NOT_LEARNED]
        for column in (*rows.featured.select(learned), rows.is_fraud.alias("is_fraud")):
            for part in _content(column):
                digest.update(part)
    return digest.hexdigest()


def _content(column: pl.Series) -> Iterator[bytes]:
    """Yield a column's name, type, nulls and values as bytes, independent of its memory layout."""
    yield f"{column.name} {column.dtype} {len(column)}\n".encode()
    yield column.is_null().to_numpy().tobytes()
    if column.dtype == pl.String:
        text = column.fill_null("")
        yield text.str.len_bytes().to_numpy().tobytes()
        yield "".join(text.to_list()).encode()
    else:
        yield column.to_physical().fill_null(strategy="zero").to_numpy().tobytes()
