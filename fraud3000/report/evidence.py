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
from fraud3000.metrics.evaluation import Evaluation
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import EvaluateModelParams

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
    """One evaluation of one model, with its scored rows and the facts around them.

    Attributes
    ----------
    evaluation
        The content of metrics.json.
    scored
        SCORED rows of the test split, with the categorical columns of the data.
    importance
        From `fraud3000.models.training.importance.permutation_importance`.
    scorer
        The evaluated model.
    evaluate
        How the metrics were computed.
    source_name
        Source of the data, as in the params.
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

    evaluation: Evaluation
    scored: pl.DataFrame
    importance: pl.DataFrame
    scorer: Scorer
    evaluate: EvaluateModelParams
    source_name: str
    boundaries: Boundaries
    split_rows: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    backtest: Mapping[str, Any] | str | None = None
    reported_later: int = 0

    @property
    def source(self) -> str:
        """Description of the data, which states whether it is simulated."""
        return SOURCES[self.source_name]

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
