"""Predictors: what a bundle's member files hold, as arrays."""

from __future__ import annotations

import hashlib
from typing import Protocol

from fraud3000.models.inference.bounded_zip import BoundedZip
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.linear import Linear
from fraud3000.models.inference.trees import Trees


class Predictor(Protocol):
    """Log-odds of fraud from encoded rows; a row's result does not depend on the rows beside it."""

    def log_odds(self, matrix: Floats) -> Floats:
        """Return the log-odds, shape (n_rows,), of encoded rows, ndarray of shape (n_rows, n_columns)."""


def dumps(predictor: Predictor) -> tuple[str, bytes]:
    """Return the ending of a predictor's file, and its content."""
    if isinstance(predictor, Trees):
        return "npz", predictor.dumps()
    assert isinstance(predictor, Linear)
    return "json", predictor.dumps()


def loads(ending: str, content: bytes, columns: int) -> Predictor:
    """Read what `dumps` returned.

    Parameters
    ----------
    columns
        Number of the encoder's columns.

    Raises
    ------
    InvalidPartError
        A coefficient file is invalid.
    ScorerError
        Arrays that are no trees.
    """
    return Trees.loads(content, columns) if ending == "npz" else Linear.loads(content, columns)


def checksums(ending: str, content: bytes) -> dict[str, str]:
    """SHA-256 of each part of a predictor's file: of an archive each member, however it is compressed."""
    if ending != "npz":
        return {"content": hashlib.sha256(content).hexdigest()}
    unpacked = BoundedZip(content)
    return {name: hashlib.sha256(unpacked.read(name)).hexdigest() for name in unpacked.names}
