"""Summary tables and warnings about categories that a model dropped in training or does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fraud3000.models.inference import category_counts
from fraud3000.models.inference.category_counts import CategoryCounts, TrainedColumn
from fraud3000.models.inference.encoder import FEWEST_ROWS, MOST_CATEGORIES
from fraud3000.stages.shared.summary import Table

if TYPE_CHECKING:
    from fraud3000.models.inference.scorer import Scorer  # loads scikit-learn


def truncated(columns: Mapping[str, TrainedColumn]) -> tuple[Table, ...]:
    """Return a table of columns with values that are not categories of the model; empty if there are none."""
    rows = tuple(
        (
            name,
            f"{column.values:,}",
            f"{column.kept:,}",
            f"{column.train.unknown:,}",
            f"{column.train.share('unknown'):.1%}",
        )
        for name, column in columns.items()
        if column.kept < column.values
    )
    heads = ("column", "values", "kept", "rows not kept", "share")
    return (Table("Categories read as missing", heads, rows),) if rows else ()


def truncation_warnings(columns: Mapping[str, TrainedColumn]) -> Iterator[str]:
    """Yield a warning for each column with values that are not categories of the model."""
    for name, column in columns.items():
        if column.kept < column.values:
            yield (
                f"column {name}: {column.kept:,} of {column.values:,} values are kept; the other {column.values - column.kept:,},"
                f" in {column.train.unknown:,} training rows ({column.train.share('unknown'):.1%}), read as missing."
                f" A model keeps the {MOST_CATEGORIES} most frequent values that are in {FEWEST_ROWS} rows or more"
            )


def scored(scorer: Scorer, counts: Mapping[str, CategoryCounts]) -> tuple[Table, ...]:
    """Return a table of unknown values in the scored rows."""
    rows = tuple(
        (
            name,
            f"{column.rows:,}",
            f"{column.unknown:,}",
            f"{column.share('unknown'):.1%}",
            f"{column.missing:,}",
            *_training_cells(scorer, name),
        )
        for name, column in counts.items()
    )
    heads = ("column", "rows", "unknown", "share", "missing", "unknown in training", "values kept")
    return (Table("Categories unknown to the model", heads, rows),) if rows else ()


def _training_cells(scorer: Scorer, name: str) -> tuple[str, str]:
    column = scorer.trained_categories.get(name)
    if column is None:
        return "not on record", "not on record"
    return f"{column.expected.share('unknown'):.1%}", f"{column.kept:,} of {column.values:,}"


def jump_warnings(scorer: Scorer, counts_by_column: Mapping[str, CategoryCounts]) -> Iterator[str]:
    """Yield a warning for each column whose values are unknown or missing far more often than in training."""
    for name, counts in counts_by_column.items():
        column = scorer.trained_categories.get(name)
        for what in ("unknown", "missing"):
            if column is not None and category_counts.has_jumped(counts, column.expected, what):
                yield category_counts.jump_warning(name, counts, column.expected, what)
