"""Simulated histories of scored rows for the gate's property test: each with new data, two models fitted on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from lightgbm import LGBMClassifier
from scipy.optimize import brentq
from scipy.special import expit

START, DAYS = 1_704_067_200_000_000, 60  # microseconds: 2024-01-01
CARDS, TERMINALS, TRAINED, JUDGED = 1_500, 400, 40_000, 20_000
FEATURES = 4
OWN = 5.0
RATE = 0.02


@dataclass(frozen=True)
class World:
    """Cards and terminals with risks of their own, of which the features tell a part."""

    source: np.random.Generator
    strength: float

    def rows(self, n: int) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
        """Transactions, what models see of them, and the further feature that only a better model sees."""
        source = self.source
        cards, terminals = source.normal(0, 0.4, CARDS), source.normal(0, 0.4, TERMINALS)
        card, terminal = source.integers(0, CARDS, n), source.integers(0, TERMINALS, n)
        seen = source.normal(size=(n, FEATURES))
        seen[:, 0] = 0.8 * seen[:, 0] + cards[card]
        seen[:, 1] = 0.8 * seen[:, 1] + terminals[terminal]
        further = source.normal(size=n)
        amount = (source.gamma(4, 2_500, n)).astype(np.int64) + 100
        risk = OWN * (seen[:, 0] + seen[:, 1] + 0.7 * seen[:, 2]) / 1.5 + self.strength * further
        fraud = source.random(n) < expit(risk - level(risk, RATE))
        frame = pl.DataFrame(
            {
                "transaction_id": [f"{one:06}" for one in range(n)],
                "ts": pl.Series(START + np.sort(source.integers(0, DAYS * 86_400, n)) * 1_000_000).cast(
                    pl.Datetime("us", "UTC")
                ),
                "card_id": pl.Series(card).cast(pl.String),
                "terminal_id": pl.Series(terminal).cast(pl.String),
                "amount": amount,
                "is_fraud": fraud.astype(np.int8),
            }
        )
        return frame, np.column_stack([seen, np.log(amount)]), further[:, None]


def level(risk: np.ndarray, rate: float) -> float:
    """What to take off the risks so that this share of rows is fraud."""
    return float(brentq(lambda level: expit(risk - level).mean() - rate, risk.min() - 20, risk.max() + 20))


def model(seed: int) -> LGBMClassifier:
    return LGBMClassifier(
        n_estimators=200, num_leaves=4, learning_rate=0.1, min_child_samples=50, subsample=0.8, subsample_freq=1,
        colsample_bytree=1.0, random_state=seed, n_jobs=1, verbose=-1,
    )  # fmt: skip


def scored(rows, matrix, learner, threshold) -> pl.DataFrame:
    score = learner.predict_proba(matrix)[:, 1]
    return rows.with_columns(score=pl.Series(score), alert=pl.Series(score >= threshold))
