"""Logistic regression as arrays: coefficients, and how each of its columns is made from the encoder's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fraud3000.models.inference.encoder import Floats
from fraud3000.strict_json import InvalidPartError, Strict, parse

Kind = Literal["number", "missing", "category"]


class Term(Strict):
    """One column of the regression and its coefficient; the column is scaled as (value - mean) / scale.

    Attributes
    ----------
    column
        Index of the encoder's column.
    kind
        ``number``: the value, or `fill` where it is missing. ``missing``: 1 where the value is missing, else 0.
        ``category``: 1 where the value is the code `fill` (null: where it is missing), else 0.
    """

    column: Annotated[int, Field(ge=0)]
    kind: Kind
    fill: float | None
    mean: float
    scale: Annotated[float, Field(gt=0)]
    coefficient: float


class LinearJson(Strict):
    """All of a member's file ``model-N.json``."""

    intercept: float
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Linear:
    """A fitted logistic regression.

    Attributes
    ----------
    intercept
        Log-odds where all scaled columns are 0.
    terms
        Its columns, in the order in which they are summed.
    """

    intercept: float
    terms: tuple[Term, ...]

    def log_odds(self, matrix: Floats) -> Floats:
        """Log-odds of fraud of encoded rows, shape (n_rows,), each independent of the rows beside it.

        Terms are summed one after the other: the order of a matrix product's sum depends on its shape.

        Parameters
        ----------
        matrix
            ndarray of shape (n_rows, n_columns), NaN where missing.
        """
        total = np.full(len(matrix), self.intercept)
        for term in self.terms:
            total += _scaled(term, matrix[:, term.column]) * term.coefficient
        return total

    def contributions(self, matrix: Floats) -> Floats:
        """What each of the encoder's columns adds to the intercept, shape (n_rows, n_columns)."""
        values = np.zeros(matrix.shape)
        for term in self.terms:
            values[:, term.column] += _scaled(term, matrix[:, term.column]) * term.coefficient
        return values

    def dumps(self) -> bytes:
        """JSON with exact numbers; equal regressions give equal bytes."""
        content = {"intercept": self.intercept, "terms": [term.model_dump() for term in self.terms]}
        return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def loads(cls, content: bytes, columns: int) -> Linear:
        """Read what `dumps` wrote.

        Parameters
        ----------
        columns
            Number of the encoder's columns.

        Raises
        ------
        InvalidPartError
            Naming the field that is wrong.
        """
        checked, _ = parse(LinearJson, content)
        for index, term in enumerate(checked.terms):
            if term.column >= columns:
                raise InvalidPartError(f"terms.{index}.column: {term.column} of {columns} columns")
            if not _fits(term.kind, term.fill):
                raise InvalidPartError(f"terms.{index}.fill: {term.fill} does not fit the kind '{term.kind}'")
        return cls(checked.intercept, checked.terms)


def _fits(kind: Kind, fill: float | None) -> bool:
    if kind == "category":
        return fill is None or (fill >= 0 and fill.is_integer())
    return (fill is None) == (kind == "missing")


def _scaled(term: Term, values: Floats) -> npt.NDArray[np.float64]:
    missing = np.isnan(values)
    if term.kind == "missing":
        column = missing.astype(np.float64)
    elif term.kind == "number":
        assert term.fill is not None
        column = np.where(missing, term.fill, values)
    else:
        column = (missing if term.fill is None else values == term.fill).astype(np.float64)
    return (column - term.mean) / term.scale
