"""Select the training rows: rows whose label is known on the model's cut-off date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from fraud3000.errors import DataError, EmptyDataError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels import visibility
from fraud3000.labels.splits import Boundaries
from fraud3000.models.training.fit import Labels
from fraud3000.schema import REFUND

LATER = "reported as fraud later"
"""Name of the count of legitimate rows reported as fraud after the cut-off date; later records change only this count."""

_FAR = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TrainingRows:
    """Rows of one split with their labels, and counts of the rows left out.

    Attributes
    ----------
    featured
        FEATURED, without refunds and, if requested, without rows in burn-in.
    is_fraud
        Int8 as known on the cut-off date; null if unknown.
    counts
        Number of rows of the split, and of rows left out or included, by reason.
    """

    featured: pl.DataFrame
    is_fraud: pl.Series
    counts: dict[str, int]

    @property
    def known(self) -> tuple[pl.DataFrame, Labels]:
        """The rows whose label is known, and their labels."""
        mask = self.is_fraud.is_not_null()
        return self.featured.filter(mask), self.is_fraud.filter(mask).to_numpy().astype(np.int8)


def select_rows(
    split: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, boundaries: Boundaries, *, burn_in: bool
) -> TrainingRows:
    """Select the rows of a split without refunds, with their labels as known on the cut-off date.

    Parameters
    ----------
    split
        FEATURED, one split.
    ledger
        LEDGER.
    burn_in
        Whether rows whose history is shorter than the split's burn-in are left out.
    """
    history = pl.col("history_days") * 86_400
    enough = history >= boundaries.burn_in.total_seconds() if "history_days" in split.columns else pl.lit(value=True)
    long_enough = split.filter(enough) if burn_in else split
    selected = long_enough.filter(pl.col("status").ne_missing(REFUND))
    is_fraud = _known_at(selected, ledger, catalogue, boundaries.as_of)
    counts = {
        "rows": split.height,
        "history too short": split.height - long_enough.height,
        "refunds": long_enough.height - selected.height,
        "label unknown": is_fraud.null_count(),
        "legitimate": int((is_fraud == 0).sum()),
        "fraud": int((is_fraud == 1).sum()),
        **_presumed_counts(selected, is_fraud, ledger, catalogue, boundaries.as_of),
    }
    return TrainingRows(selected, is_fraud, counts)


def require_both_classes(rows: TrainingRows) -> None:
    """Refuse training rows from which no model can learn.

    Raises
    ------
    EmptyDataError
        No row is left, or no row has a known label.
    DataError
        All known labels are the same.
    """
    counts = rows.counts
    breakdown = ", ".join(
        f"{counts[name]:,} {name}" for name in ("rows", "history too short", "refunds", "label unknown")
    )
    if not rows.featured.height:
        raise EmptyDataError(
            f"training: no rows left to learn from ({breakdown})",
            hint="Set a shorter featurize.burn_in, or give the train split more time.",
        )
    if not counts["legitimate"] + counts["fraud"]:
        raise EmptyDataError(
            f"training: no row has a known label ({breakdown})",
            hint="Map the label column under prepare.mapping.columns, or set a shorter prepare.label_delay.",
        )
    if not counts["fraud"] and counts.get(LATER):
        raise DataError(
            f"training: none of {counts['legitimate']:,} known labels is fraud on the model's cut-off date: all"
            f" {counts[LATER]:,} frauds among these rows were reported only later ({breakdown})",
            hint="Check that report times are not in the future: prepare.mapping.columns.reported_at and its time format"
            " and zone. If they are right, train on earlier rows.",
        )
    for missing, there in (("fraud", "legitimate"), ("legitimate", "fraud")):
        if not counts[missing]:
            raise DataError(
                f"training: all {counts[there]:,} known labels are {there}, none is {missing} ({breakdown})",
                hint="A model needs both; check the label values under prepare.mapping.label, or train on more time.",
            )


def _known_at(rows: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, at: datetime | None) -> pl.Series:
    delay = timedelta(seconds=catalogue.label_delay)
    return visibility.known_at(rows, ledger, at, label_delay=delay, precedence=catalogue.precedence)


def _presumed_counts(
    rows: pl.DataFrame, is_fraud: pl.Series, ledger: pl.DataFrame, catalogue: Catalogue, at: datetime | None
) -> dict[str, int]:
    """Count legitimate rows without a label record by the cut-off date, and those that are later reported as fraud."""
    recorded = ledger if at is None else ledger.filter(pl.col("recorded_at") < at)
    silent = ~rows["transaction_id"].is_in(recorded["transaction_id"].implode())
    counted = {"presumed legitimate": int(((is_fraud == 0) & silent).sum())}
    later = _known_at(rows, ledger, catalogue, _FAR if at else None)
    return {**counted, LATER: int(((is_fraud == 0) & (later == 1)).sum())}
