"""Table of rejected rows by reason."""

from __future__ import annotations

import polars as pl

from fraud3000.stages.shared.summary import Table


def quarantine_table(refused: pl.LazyFrame) -> tuple[Table, ...]:
    """Table of quarantine reasons with the number of rows and the first row of each; empty if no row was quarantined."""
    counts = (
        refused.group_by("reason", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("source_row").first(), pl.col("detail").first())
        .sort("rows", "reason", descending=[True, False])
        .collect()
    )
    rows = tuple(
        (reason, f"{count:,}", f"row {row:,}: {detail[:60]}") for reason, count, row, detail in counts.iter_rows()
    )
    return (Table("Quarantined", ("reason", "rows", "first"), rows),) if rows else ()
