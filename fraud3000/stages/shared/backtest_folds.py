"""The folds of a backtest on the files of a workspace: read, fit, score, measure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.evaluation import rolling_backtest
from fraud3000.evaluation.rolling_backtest import FittedFold, Fold
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.labels import splits, visibility
from fraud3000.metrics.scored_arrays import counted
from fraud3000.models.training.training_rows import TrainingRows, select_rows
from fraud3000.params import Params, Span
from fraud3000.stages.shared.evaluation_rows import KEPT, label_date, read_json
from fraud3000.stages.shared.workspace import Workspace, read, readable, scan


@dataclass(frozen=True, eq=False)
class BacktestData:
    """What all folds stand on."""

    workspace: Workspace
    params: Params
    catalogue: Catalogue
    split: splits.Boundaries
    ledger: pl.DataFrame
    cards: pl.DataFrame  # transaction_id, ts, card_id of every transaction, with is_fraud as known at the label date
    at: datetime
    begin: datetime

    @classmethod
    def read(cls, workspace: Workspace, params: Params, *, at: datetime | None = None) -> BacktestData:
        """Open what featurize wrote.

        Parameters
        ----------
        at
            When the labels of the tests are read; by default on the evaluation's label date.

        Raises
        ------
        DataError
            It is missing or cannot be read.
        ParamsError
            The data has no time.
        """
        split = read_json(workspace.boundaries, splits.Boundaries.from_dict)
        if split.test is None:
            raise ParamsError(
                "backtest: the data has no time, so nothing comes before anything else",
                hint="Map a time under prepare.mapping.columns.ts, or judge the random split by `fraud3000 evaluate`.",
            )
        catalogue = read_json(workspace.catalogue, Catalogue.from_dict)
        scan(workspace.features, made_by="featurize")
        transactions = read(workspace.transactions, made_by="prepare")
        ledger = read(workspace.labels, made_by="prepare")
        at = at or label_date(params, transactions, ledger)
        assert at is not None  # since there is time
        known = visibility.known_at(
            transactions,
            ledger,
            at,
            label_delay=params.prepare.label_delay,
            precedence=params.prepare.source_precedence,
        )
        here = [name for name in ("transaction_id", "ts", "card_id") if name in transactions.columns]
        begin = transactions["ts"].min()
        assert isinstance(begin, datetime)
        cards = transactions.select(here).with_columns(is_fraud=known)
        return cls(workspace, params, catalogue, split, ledger, cards, at, begin + split.burn_in)

    def plan(self) -> tuple[Fold, ...]:
        """Lay out the folds that the params ask for; where they do not say how many, those whose labels are known."""
        assert self.split.test is not None
        delay = self.params.prepare.label_delay
        first, last = self.split.test
        return rolling_backtest.plan_folds(self.params.backtest, (first, min(last, self.at - delay)), self.begin, delay)

    def featured(self, span: Span) -> pl.DataFrame:
        """FEATURED rows of a span of time."""
        with readable(self.workspace.features, made_by="featurize"):
            within = pl.col("ts").is_between(*span, closed="left")
            return scan(self.workspace.features, made_by="featurize").filter(within).collect()


@dataclass(frozen=True, eq=False)
class FoldRows:
    """The rows of one fold, each part read when it is first asked for."""

    ground: BacktestData
    fold: Fold

    @cached_property
    def train(self) -> TrainingRows:
        """What the model learns from, labels as known when the test begins."""
        return self._usable(self.fold.train)

    @cached_property
    def valid(self) -> TrainingRows | None:
        """What sets calibration and threshold."""
        return None if self.fold.valid is None else self._usable(self.fold.valid)

    def _usable(self, span: Span) -> TrainingRows:
        ground = self.ground
        boundaries = self.fold.boundaries(ground.split.burn_in)
        return select_rows(ground.featured(span), ground.ledger, ground.catalogue, boundaries, burn_in=True)

    @cached_property
    def test(self) -> pl.DataFrame:
        """FEATURED rows with their labels at the label date, and whether they are measured.

        Raises
        ------
        EmptyDataError
            There are none.
        """
        ground, fold = self.ground, self.fold
        test = ground.featured(fold.test)
        if test.is_empty():
            raise EmptyDataError(
                f"fold {fold.name}: no transactions in [{fold.test[0]:%Y-%m-%d %H:%M}, {fold.test[1]:%Y-%m-%d %H:%M})",
                hint="Set fewer backtest.folds, or an earlier backtest.first.",
            )
        is_fraud = visibility.known_at(
            test,
            ground.ledger,
            ground.at,
            label_delay=ground.params.prepare.label_delay,
            precedence=ground.params.prepare.source_precedence,
        )
        return test.with_columns(is_fraud=is_fraud, evaluated=~self._compromised(test))

    def _compromised(self, test: pl.DataFrame) -> pl.Series:
        ground, fold = self.ground, self.fold
        told = ground.params.backtest
        if told.compromised_cards == "keep" or "card_id" not in test.columns:
            return pl.repeat(value=False, n=test.height, eager=True)
        window = told.compromised_window
        since = fold.train[0] if window is None else fold.train[1] - window
        near = ground.cards.filter(pl.col("ts").is_between(since, fold.test[1], closed="left"))
        boundaries = fold.boundaries(ground.split.burn_in)
        known = splits.known_compromised(
            near, near["is_fraud"], boundaries, ground.params.prepare.label_delay, since=since
        )
        return test["transaction_id"].is_in(near.filter(known)["transaction_id"].implode())


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold by one seed."""

    fold: Fold
    seed: int
    scored: pl.DataFrame  # transaction_id, fold, score
    facts: dict[str, Any]
    seconds: float


class SeedRun:
    """All folds by one seed; without refitting, the first fold's model scores them all."""

    def __init__(self, params: Params, seed: int) -> None:
        self._params, self._seed = params, seed
        self._train = params.train.model_copy(update={"seed": seed})
        self._kept: tuple[Fold, FittedFold, dict[str, int]] | None = None

    def do(self, rows: FoldRows) -> FoldResult:
        """Fit, score and measure a fold."""
        fold, test = rows.fold, rows.test
        start = time.perf_counter()
        made_for, fitted, learnt_from = self._fitted(rows)
        seconds = time.perf_counter() - start
        scored = as_scored(test, fitted)
        measured = rolling_backtest.measure_fold(
            scored, self._params.policy, self._params.evaluate, decided=fitted.cross_fit_result is not None
        )
        judged = scored.filter(counted(scored))
        facts = {
            "fold": fold.name,
            "seed": self._seed,
            "train": as_text(made_for.train),
            "valid": None if made_for.valid is None else as_text(made_for.valid),
            "test": as_text(fold.test),
            "labels_as_of": made_for.test[0].isoformat(),
            "training_rows": learnt_from,
            "rows": judged.height,
            "frauds": int(judged["is_fraud"].sum()),
            "compromised_rows": int((~scored["evaluated"]).sum()),
            "metrics": measured,
        }
        written = scored.select("transaction_id", fold=pl.lit(fold.name), score="score")
        return FoldResult(fold, self._seed, written, facts, seconds)

    def _fitted(self, rows: FoldRows) -> tuple[Fold, FittedFold, dict[str, int]]:
        if self._kept is None or self._params.backtest.refit:
            ground = rows.ground
            fitted = rolling_backtest.fit_fold(
                rows.fold,
                rows.train,
                rows.valid,
                ground.catalogue,
                ground.split.burn_in,
                self._train,
                self._params.policy,
            )
            self._kept = rows.fold, fitted, rows.train.counts
        return self._kept


def as_scored(test: pl.DataFrame, fitted: FittedFold) -> pl.DataFrame:
    """SCORED rows of a fold's test."""
    kept = [name for name in (*KEPT, "is_fraud", "evaluated") if name in test.columns]
    return test.select(kept).with_columns(fitted.score(test).select("score", "alert", "decision"))


def as_text(span: Span) -> list[str]:
    """Write a span for JSON."""
    return [at.isoformat() for at in span]
