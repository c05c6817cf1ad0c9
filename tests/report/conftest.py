"""A small evaluation with everything in it, and ways to take parts away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000.labels.splits import Boundaries
from fraud3000.metrics.report import measure
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.models.training import calibration
from fraud3000.models.training.fit import fit
from fraud3000.models.training.importance import permutation_importance
from fraud3000.params import ColumnMapping, Params, TrainModelParams, parse
from fraud3000.report.evidence import Evidence
from fraud3000.schema import TIME
from tests.evaluations import evaluation

START = datetime(2024, 3, 1, tzinfo=UTC)
PARAMS = parse({"evaluate": {"replicates": 20, "top_k": [5]}, "policy": {"cards_per_day": 5}})
Make = Callable[..., Evidence]


@pytest.fixture(scope="session")
def scorer(small_featured: pl.DataFrame, small_catalogue: Any) -> Scorer:
    labels = small_featured["is_fraud"].to_numpy()
    model = fit(small_featured, labels, small_catalogue.features, TrainModelParams(estimator="logistic_regression"))
    return Scorer(
        catalogue=small_catalogue,
        mapping=ColumnMapping(categorical=("category",)),
        model=model,
        calibrator=calibration.fit("beta", model.log_odds(small_featured), labels),
        policy=Policy("capacity", 0.5, review_cost=500),
        typical=UsualValues.learn(
            model.encoder, small_featured.filter(pl.col("is_fraud") == 0), small_catalogue.features
        ),
        facts={
            "estimator": "logistic_regression",
            "as_of": "2024-02-20T00:00:00+00:00",
            "rows": {"rows": 900, "fraud": 30},
        },
        version="7",
    )


@pytest.fixture(scope="session")
def scored(small_featured: pl.DataFrame, scorer: Scorer) -> pl.DataFrame:
    """SCORED rows of four weeks: cards, terminals, a category, a few refunds and unknown labels."""
    source, n = np.random.default_rng(9), small_featured.height
    scores = scorer.probabilities(small_featured)
    place = np.arange(n)
    return small_featured.select(
        "transaction_id",
        pl.Series("ts", [START + timedelta(minutes=13 * int(one)) for one in place], dtype=TIME),
        pl.Series("card_id", [f"card{one:03}" for one in source.integers(0, 90, n)]),
        pl.Series("terminal_id", [f"place{one:02}" for one in source.integers(0, 50, n)]),
        "amount",
        pl.Series("status", np.where(place % 200 == 0, "refund", "approved")),
        pl.Series("score", scores),
        pl.Series("threshold", np.full(n, 0.5)),
        pl.Series("alert", scores >= 0.5),
        pl.when(pl.Series(place % 90 != 0)).then("is_fraud").alias("is_fraud"),
        pl.Series("evaluated", (place % 90 != 0) & (place % 200 != 0)),
        "category",
    )


@pytest.fixture(scope="session")
def make(scorer: Scorer, scored: pl.DataFrame, small_featured: pl.DataFrame) -> Make:
    """Evidence of some scored rows, the small evaluation's own where none are given."""
    importance = permutation_importance(
        scorer.model, small_featured, small_featured["is_fraud"].to_numpy(), scored["score"].to_numpy(), seed=1
    )

    def made(rows: pl.DataFrame = scored, params: Params = PARAMS, **changes: Any) -> Evidence:
        timed = "ts" in rows.columns
        spans = (START, START + timedelta(days=28))
        without_time = {} if timed else {"test_span": None, "label_date": None, "split_by": "random"}
        content = evaluation(
            measure(rows, policy=params.policy, evaluate=params.evaluate),
            policy={**params.policy.model_dump(), "model": {}},
            **without_time,
        )
        boundaries = Boundaries(test=spans, train=spans, valid=spans, as_of=START) if timed else Boundaries()
        given = Evidence(
            content,
            rows,
            importance,
            scorer,
            params.evaluate,
            params.prepare.source,
            boundaries,
            {"train": 900, "test": rows.height},
            {"no_amount": 3},
        )
        return replace(given, **changes)

    return made
