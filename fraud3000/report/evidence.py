"""Inputs of a report and a model card."""

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
    "custom": "custom data, read with its own column mapping",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """One evaluation of one model: metrics, scored rows, and the facts around them.

    Attributes
    ----------
    metrics
        The content of metrics.json.
    scored
        SCORED rows of the test split, with the categorical columns of the data.
    importance
        From `fraud3000.models.training.importance.permutation_importance`.
    scorer
        The evaluated model.
    params
        Params of the evaluation.
    boundaries
        Time spans of the splits.
    split_rows
        Number of rows of each split; empty if not recorded.
    refused
        Number of rows in quarantine, by reason.
    backtest
        Content of the last backtest's metrics.json, or why that backtest does not apply to this model; None
        without a backtest.
    reported_later
        Number of training rows labelled legitimate that were reported as fraud after the cut-off.
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
        """Description of the data, which states whether it is simulated."""
        return SOURCES[self.params.prepare.source]

    @property
    def decimals(self) -> int:
        return self.scorer.mapping.amount.decimals

    @property
    def currency(self) -> str | None:
        return self.scorer.mapping.amount.currency

    @property
    def categories(self) -> list[str]:
        """Categorical columns that are taken from the data unchanged."""
        features = self.scorer.catalogue.features
        return [f.column for f in features if isinstance(f, Column) and f.categorical and f.column in self.scored]

    @property
    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("fraud3000", "scikit-learn", "polars", "numpy")}

    def described_importance(self) -> pl.DataFrame:
        """Return the importance table with the family and a description of each feature (``family``, ``words``)."""
        descriptions = {feature.name: describe(feature) for feature in self.scorer.catalogue.features}
        names = self.importance["feature"].to_list()
        return self.importance.with_columns(
            words=pl.Series([descriptions[name].words for name in names], dtype=pl.String),
            family=pl.Series([descriptions[name].family for name in names], dtype=pl.String),
        )


def describe_alerts(metrics: Mapping[str, Any]) -> str:
    """Describe the number of alerts: cards or transactions a day; without time, a share of transactions.

    Examples
    --------
    >>> describe_alerts({"alerts_a_day": {"unit": "cards", "mean": 120.9}, "alerts": 9, "rows": 90})
    '121 cards alerted a day'
    >>> describe_alerts({"alerts_a_day": {"unit": "rows", "mean": None}, "alerts": 9, "rows": 90}).replace("\u00a0", " ")
    '10 % of transactions alerted'
    """
    daily = metrics["alerts_a_day"]
    if daily["mean"] is None:
        return f"{percent(metrics['alerts'] / metrics['rows'])} of transactions alerted"
    unit = "card" if daily["unit"] == "cards" else "transaction"
    count = per_day(daily["mean"])
    return f"{count} {unit}{'' if count == '1' else 's'} alerted a day"
