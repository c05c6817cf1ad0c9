"""Counts category values of decided transactions for Prometheus; warns when unknown or missing ones become frequent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from fraud3000.data.cleaning import category_text
from fraud3000.models.inference import category_counts
from fraud3000.models.inference.category_counts import CategoryCounts, TrainedColumn
from fraud3000.models.inference.scorer import Scorer

_BLOCK = 1_000
"""Transactions after which the counts that are compared with training are reset."""
_MIN_ROWS = 20
"""Transactions of a block before which there is no warning."""

KINDS = ("known", "missing", "unknown")


@dataclass
class _MonitoredColumn:
    """One categorical column of the model."""

    name: str
    index: int
    known: frozenset[str | None]
    trained: TrainedColumn | None
    missing: int = 0
    unknown: int = 0
    rows: int = 0
    warned: set[str] = field(default_factory=set)

    def observe(self, value: Any) -> str:
        """Count a value and return its kind; warns if the kind is far more frequent than in training."""
        text = value if isinstance(value, str) else category_text.canonical(value)
        kind = "missing" if text is None else "known" if text in self.known else "unknown"
        self.rows += 1
        if kind != "known":
            self._count_unusual(kind)
        if self.rows >= _BLOCK:
            self.warned = {warned for warned in self.warned if self._jumped(warned)}
            self.rows = self.missing = self.unknown = 0
        return kind

    def _count_unusual(self, kind: str) -> None:
        if kind == "missing":
            self.missing += 1
        else:
            self.unknown += 1
        if self.trained is not None and kind not in self.warned and self.rows >= _MIN_ROWS and self._jumped(kind):
            self.warned.add(kind)
            logger.warning(category_counts.jump_warning(self.name, self._counts, self.trained.expected, kind))

    @property
    def _counts(self) -> CategoryCounts:
        """Counts of the current block."""
        return CategoryCounts(self.rows, self.missing, self.unknown)

    def _jumped(self, kind: str) -> bool:
        return self.trained is not None and category_counts.has_jumped(self._counts, self.trained.expected, kind)


class CategoryMonitor:
    """Monitors the categorical columns of the deciding model; resets when the model changes.

    Parameters
    ----------
    count
        Called with column and kind (``known``, ``missing`` or ``unknown``) for each value.
    """

    def __init__(self, count: Callable[[str, str], None]) -> None:
        self._count = count
        self._scorer: Scorer | None = None
        self._columns: list[_MonitoredColumn] = []

    def observe(self, scorer: Scorer, features: Sequence[Any]) -> None:
        """Count the categories of a decided transaction.

        Parameters
        ----------
        features
            Values in the order of the scorer's catalogue.
        """
        if scorer is not self._scorer:
            self._scorer, self._columns = scorer, _columns(scorer)
        for column in self._columns:
            self._count(column.name, column.observe(features[column.index]))


def _columns(scorer: Scorer) -> list[_MonitoredColumn]:
    indices = {name: index for index, name in enumerate(scorer.catalogue.names)}
    encoder, trained = scorer.model.encoder, scorer.trained_categories
    return [
        _MonitoredColumn(name, indices[name], encoder.known(name), trained.get(name)) for name in encoder.categories
    ]
