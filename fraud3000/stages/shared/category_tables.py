"""What summaries report about categories: values that a model does not keep, and values that it does not know."""

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
    """Return a table of the columns of which training did not keep every value; none if it kept all."""
    rows = tuple(
        (name, f"{one.values:,}", f"{one.kept:,}", f"{one.train.unknown:,}", f"{one.train.share('unknown'):.1%}")
        for name, one in columns.items()
        if one.kept < one.values
    )
    heads = ("column", "values", "kept", "rows not kept", "share")
    return (Table("Categories read as missing", heads, rows),) if rows else ()


def truncation_warnings(columns: Mapping[str, TrainedColumn]) -> Iterator[str]:
    """Say for each such column how much is lost."""
    for name, one in columns.items():
        if one.kept < one.values:
            yield (
                f"column {name}: {one.kept:,} of {one.values:,} values are kept; the other {one.values - one.kept:,},"
                f" in {one.train.unknown:,} training rows ({one.train.share('unknown'):.1%}), read as missing."
                f" A model keeps the {MOST_CATEGORIES} most frequent values that are in {FEWEST_ROWS} rows or more"
            )


def scored(scorer: Scorer, found: Mapping[str, CategoryCounts]) -> tuple[Table, ...]:
    """Return a table of the values that the model does not know in the rows it scored."""
    rows = tuple(
        (
            name,
            f"{one.rows:,}",
            f"{one.unknown:,}",
            f"{one.share('unknown'):.1%}",
            f"{one.missing:,}",
            *_before(scorer, name),
        )
        for name, one in found.items()
    )
    heads = ("column", "rows", "unknown", "share", "missing", "unknown in training", "values kept")
    return (Table("Categories unknown to the model", heads, rows),) if rows else ()


def _before(scorer: Scorer, name: str) -> tuple[str, str]:
    column = scorer.trained_categories.get(name)
    if column is None:
        return "not on record", "not on record"
    return f"{column.expected.share('unknown'):.1%}", f"{column.kept:,} of {column.values:,}"


def jump_warnings(scorer: Scorer, found: Mapping[str, CategoryCounts]) -> Iterator[str]:
    """Say where values are unknown or missing far more often than in training."""
    for name, counts in found.items():
        column = scorer.trained_categories.get(name)
        for what in ("unknown", "missing"):
            if column is not None and category_counts.has_jumped(counts, column.expected, what):
                yield category_counts.jump_warning(name, counts, column.expected, what)
