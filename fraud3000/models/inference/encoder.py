"""Encode FEATURED rows as the numeric matrix that an estimator takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000.data.cleaning import category_text, passthrough
from fraud3000.errors import SchemaError
from fraud3000.features.spec.base import Feature

Floats = npt.NDArray[np.float64]

MOST_CATEGORIES = 250
FEWEST_ROWS = 10
"""A category in fewer rows of the fit is treated as missing."""
SCARCEST = 10_000
"""A column needs a value in one of this many rows; otherwise the sample that boosting bins by may hold none."""


@dataclass(frozen=True)
class Encoder:
    """Columns of one model and codes of their categories, learned from the rows of the fit only.

    Attributes
    ----------
    columns
        The columns of the matrix, in order.
    categories
        The categories of each categorical column, the most frequent first; the index is the code.
    dropped
        Features left out because they carry no information in the rows of the fit, with the reason.
    """

    columns: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    dropped: dict[str, str]

    @classmethod
    def learn(cls, featured: pl.DataFrame, features: Iterable[Feature]) -> Encoder:
        """Learn categories, and which features carry information.

        Parameters
        ----------
        featured
            FEATURED, the rows of the fit only.
        features
            The catalogue's features.

        Raises
        ------
        SchemaError
            A feature's column is missing.
        """
        listed = tuple(features)
        _require([feature.name for feature in listed], featured.columns)
        categories = {f.name: _categories(featured[f.name]) for f in listed if f.kind == "categorical"}
        names = tuple(feature.name for feature in listed)
        everything = cls(columns=names, categories=categories, dropped={}).frame(featured)
        dropped = {name: reason for name in names if (reason := _drop_reason(everything[name]))}
        rare = [name for name in dropped if not categories.get(name, True) and featured[name].count()]
        dropped |= dict.fromkeys(rare, f"no value in {FEWEST_ROWS} rows")
        remaining = tuple(name for name in names if name not in dropped)
        return cls(remaining, {name: codes for name, codes in categories.items() if name in remaining}, dropped)

    def without(self, names: Iterable[str], reason: str) -> Encoder:
        """Return the encoder without some columns, which are listed as dropped for the reason."""
        removed = set(names)
        remaining = tuple(name for name in self.columns if name not in removed)
        categories = {name: codes for name, codes in self.categories.items() if name not in removed}
        return Encoder(remaining, categories, {**self.dropped, **{n: reason for n in self.columns if n in removed}})

    def frame(self, featured: pl.DataFrame) -> pl.DataFrame:
        """Return the model's columns as Float64; missing, infinite, unknown and rare values are null."""
        _require(self.columns, featured.columns)
        return featured.select(self._number_expr(name, featured.schema[name]) for name in self.columns)

    def matrix(self, featured: pl.DataFrame) -> Floats:
        """Return the model's input, ndarray of shape (n_rows, n_columns), NaN where missing.

        Raises
        ------
        SchemaError
            A column is missing, or holds text instead of numbers.
        """
        columns = self.frame(featured)
        return np.ascontiguousarray(columns.to_numpy(order="c"), dtype=np.float64).reshape(
            len(featured), len(self.columns)
        )

    def rows(self, values: Sequence[Mapping[str, Any]]) -> Floats:
        """Return the model's input for rows given as feature values by name, as from a feature store.

        Raises
        ------
        SchemaError
            A column is missing, or holds text instead of numbers.

        Examples
        --------
        >>> encoder = Encoder(("amount", "category"), {"category": ("online", "food")}, {})
        >>> encoder.rows([{"amount": 250.0, "category": "food", "night": True}, {"amount": None, "category": "fuel"}])
        array([[250.,   1.],
               [ nan,  nan]])
        """
        try:
            numbers = [[row[name] for name in self.columns] for row in values]
            for index, codes in self._codes:
                for row in numbers:
                    value = row[index]
                    row[index] = codes.get(value if isinstance(value, str) else category_text.canonical(value))
            matrix = np.array(numbers, dtype=np.float64).reshape(len(values), len(self.columns))
        except KeyError:
            _require(self.columns, min(values, key=len))
            raise
        except ValueError as error:
            raise SchemaError(
                f"features: a value is not a number ({error})", hint="Featurize with the catalogue of the model."
            ) from error
        matrix[~np.isfinite(matrix)] = np.nan
        return matrix

    def known(self, name: str) -> frozenset[str | None]:
        """Return the texts of a categorical column that have a code."""
        return frozenset(_codes_by_text(self.categories[name]))

    @cached_property
    def _codes(self) -> list[tuple[int, dict[str | None, float]]]:
        """Index and category codes of each categorical column."""
        return [
            (index, _codes_by_text(self.categories[name]))
            for index, name in enumerate(self.columns)
            if name in self.categories
        ]

    def _number_expr(self, name: str, kind: pl.DataType) -> pl.Expr:
        if name in self.categories:
            codes = _codes_by_text(self.categories[name])
            text = pl.col(name)
            if kind != pl.String:
                text = text.map_batches(passthrough.canonical, return_dtype=pl.String)
            return text.replace_strict(codes, default=None, return_dtype=pl.Float64) if codes else _null_column(name)
        if not (kind.is_numeric() or kind in (pl.Boolean(), pl.Null())):
            raise SchemaError(
                f"features: column '{name}' is {kind}, not a number", hint="Run `fraud3000 featurize` again."
            )
        number = pl.col(name).cast(pl.Float64)
        return pl.when(number.is_finite()).then(number).alias(name)

    def to_dict(self) -> dict[str, Any]:
        categories = {name: list(values) for name, values in self.categories.items()}
        return {"columns": list(self.columns), "categories": categories, "dropped": dict(self.dropped)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Encoder:
        categories = {name: tuple(values) for name, values in content["categories"].items()}
        return cls(tuple(content["columns"]), categories, dict(content["dropped"]))


def _codes_by_text(known: Sequence[str]) -> dict[str | None, float]:
    """Return the code of each category, also by its canonical text: models of earlier releases have "7995.0" for 7995."""
    codes: dict[str | None, float] = {category: float(code) for code, category in enumerate(known)}
    for category, code in list(codes.items()):
        codes.setdefault(category_text.canonical(category), code)
    codes.pop(None, None)
    return codes


def _require(names: Iterable[str], columns: Collection[str]) -> None:
    missing = [name for name in names if name not in columns]
    if missing:
        hint = "Featurize with the catalogue of the model."
        raise SchemaError.missing_columns("features", missing, columns, hint=hint)


def _null_column(name: str) -> pl.Expr:
    return pl.lit(None, pl.Float64).alias(name)


def _categories(values: pl.Series) -> tuple[str, ...]:
    counted = passthrough.canonical(values).drop_nulls().alias("category").value_counts(name="rows")
    frequent = counted.filter(pl.col("rows") >= FEWEST_ROWS).sort(["rows", "category"], descending=[True, False])
    return tuple(frequent["category"].head(MOST_CATEGORIES).to_list())


def _drop_reason(values: pl.Series) -> str | None:
    if values.null_count() == len(values):
        return "no values"
    if (len(values) - values.null_count()) * SCARCEST < len(values):
        return f"values in fewer than one of {SCARCEST:,} rows"
    return "one value only" if values.n_unique() == 1 else None
