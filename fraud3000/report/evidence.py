"""All that a report and a model card are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import polars as pl

from fraud3000.features.spec.describe import describe
from fraud3000.features.spec.kinds import Column
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.report.formatting import per_day, percent

SOURCES = {
    "simulated": "data simulated by fraud3000 (no real transactions)",
    "handbook": "the Fraud Detection Handbook's data (simulated, no real transactions)",
    "sparkov": "data of the Sparkov generator (simulated, no real transactions)",
    "tabformer": "IBM's TabFormer data (synthetic, no real transactions)",
    "ulb": "ULB's credit card data (real transactions, anonymised)",
    "custom": "data read by a mapping of its own",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """One evaluation of one model.

    Attributes
    ----------
    metrics
        The content of metrics.json.
    scored
        SCORED rows of the test split, with the categorical columns of the data beside them.
    importance
        As `fraud3000.models.training.importance.permutation_importance` gives it.
    scorer
        The model.
    params
        What the evaluation was told.
    boundaries
        Spans of the splits.
    split_rows
        Rows of each split; empty where that is not on record.
    refused
        Rows that prepare refused, by reason.
    backtest
        The content of the last backtest's metrics.json, or why it says nothing of this model; None where
        there was none.
    reported_later
        Legitimate training rows that were reported as fraud after the day the model was made.
    """

    metrics: Mapping[str, Any]
    scored: pl.DataFrame
    importance: pl.DataFrame
    scorer: Scorer
    params: Params
    boundaries: Boundaries
    split_rows: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    backtest: Mapping[str, Any] | str | None = None
    reported_later: int = 0

    @property
    def source(self) -> str:
        """The data in words; simulated data is said to be simulated."""
        return SOURCES[self.params.prepare.source]

    @property
    def decimals(self) -> int:
        return self.scorer.mapping.amount.decimals

    @property
    def currency(self) -> str | None:
        return self.scorer.mapping.amount.currency

    @property
    def categories(self) -> list[str]:
        """The categorical columns that the data passes through."""
        features = self.scorer.catalogue.features
        return [f.column for f in features if isinstance(f, Column) and f.categorical and f.column in self.scored]

    @property
    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("fraud3000", "scikit-learn", "polars", "numpy")}

    def told_importance(self) -> pl.DataFrame:
        """Give the importance with the family and the words of each feature."""
        told = {feature.name: describe(feature) for feature in self.scorer.catalogue.features}
        names = self.importance["feature"].to_list()
        return self.importance.with_columns(
            words=pl.Series([told[name].words for name in names], dtype=pl.String),
            family=pl.Series([told[name].family for name in names], dtype=pl.String),
        )


def alerts_in_words(metrics: Mapping[str, Any]) -> str:
    """Say how much is alerted: cards or transactions a day, or a share of transactions without time.

    Examples
    --------
    >>> alerts_in_words({"alerts_a_day": {"unit": "cards", "mean": 120.9}, "alerts": 9, "rows": 90})
    '121 cards alerted a day'
    >>> alerts_in_words({"alerts_a_day": {"unit": "rows", "mean": None}, "alerts": 9, "rows": 90}).replace("\u00a0", " ")
    '10 % of transactions alerted'
    """
    daily = metrics["alerts_a_day"]
    if daily["mean"] is None:
        return f"{percent(metrics['alerts'] / metrics['rows'])} of transactions alerted"
    unit = "card" if daily["unit"] == "cards" else "transaction"
    said = per_day(daily["mean"])
    return f"{said} {unit}{'' if said == '1' else 's'} alerted a day"
