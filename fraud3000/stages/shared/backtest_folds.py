"""Read, fit, score and measure the folds of a backtest on the files of a workspace."""

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
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels import splits, visibility
from fraud3000.metrics.scored_arrays import counted
from fraud3000.models.training.training_rows import TrainingRows, select_rows
from fraud3000.params import Params, Span
from fraud3000.stages.shared.evaluation_rows import ROW_COLUMNS, read_json
from fraud3000.stages.shared.evaluation_rows import label_date as default_label_date
from fraud3000.stages.shared.workspace import Workspace, read, readable, scan


@dataclass(frozen=True, eq=False)
class BacktestData:
    """Data that all folds use."""

    workspace: Workspace
    params: Params
    catalogue: Catalogue
    split: splits.Boundaries
    ledger: pl.DataFrame
    cards: pl.DataFrame  # transaction_id, ts, card_id of every transaction, with is_fraud as known at the label date
    label_date: datetime
    begin: datetime

    @classmethod
    def read(cls, workspace: Workspace, params: Params, *, label_date: datetime | None = None) -> BacktestData:
        """Read the files that featurize wrote.

        Parameters
        ----------
        label_date
            Time at which test labels are read; by default the evaluation's label date.

        Raises
        ------
        DataError
            A file is missing or cannot be read.
        ParamsError
            The data has no time.
        """
        split = read_json(workspace.boundaries, splits.Boundaries.from_dict)
        if split.test is None:
            raise ParamsError(
                "backtest: the data has no time, so it cannot be divided into folds",
                hint="Map a time under prepare.mapping.columns.ts, or use `fraud3000 evaluate` on the random split.",
            )
        catalogue = read_json(workspace.catalogue, Catalogue.from_dict)
        scan(workspace.features, made_by="featurize")
        transactions = read(workspace.transactions, made_by="prepare")
        ledger = read(workspace.labels, made_by="prepare")
        at = label_date or default_label_date(params.evaluate, transactions, ledger)
        assert at is not None  # the data has time
        known = visibility.known_at(
            transactions,
            ledger,
            at,
            label_delay=params.prepare.label_delay,
            precedence=params.prepare.source_precedence,
        )
        columns = [name for name in ("transaction_id", "ts", "card_id") if name in transactions.columns]
        begin = transactions["ts"].min()
        assert isinstance(begin, datetime)
        cards = transactions.select(columns).with_columns(is_fraud=known)
        return cls(workspace, params, catalogue, split, ledger, cards, at, begin + split.burn_in)

    def plan(self) -> tuple[Fold, ...]:
        """Plan the folds of the params; without a number of folds, all folds whose labels are known."""
        assert self.split.test is not None
        delay = self.params.prepare.label_delay
        first, last = self.split.test
        return rolling_backtest.plan_folds(
            self.params.backtest, (first, min(last, self.label_date - delay)), self.begin, delay
        )

    def featured(self, span: Span) -> pl.DataFrame:
        """Return the FEATURED rows of a span of time."""
        with readable(self.workspace.features, made_by="featurize"):
            within = pl.col("ts").is_between(*span, closed="left")
            return scan(self.workspace.features, made_by="featurize").filter(within).collect()


@dataclass(frozen=True, eq=False)
class FoldRows:
    """Rows of one fold; each part is read on first use."""

    data: BacktestData
    fold: Fold

    @cached_property
    def train(self) -> TrainingRows:
        """Training rows, with labels as known when the test begins."""
        return self._usable(self.fold.train)

    @cached_property
    def valid(self) -> TrainingRows | None:
        """Validation rows for calibration and threshold; None if the fold has none."""
        return None if self.fold.valid is None else self._usable(self.fold.valid)

    def _usable(self, span: Span) -> TrainingRows:
        data = self.data
        boundaries = self.fold.boundaries(data.split.burn_in)
        return select_rows(data.featured(span), data.ledger, data.catalogue, boundaries, burn_in=True)

    @cached_property
    def test(self) -> pl.DataFrame:
        """FEATURED test rows with their labels at the label date, and whether they are measured.

        Raises
        ------
        EmptyDataError
            There is no test row.
        """
        data, fold = self.data, self.fold
        test = data.featured(fold.test)
        if test.is_empty():
            raise EmptyDataError(
                f"fold {fold.name}: no transactions in [{fold.test[0]:%Y-%m-%d %H:%M}, {fold.test[1]:%Y-%m-%d %H:%M})",
                hint="Set fewer backtest.folds, or an earlier backtest.first.",
            )
        is_fraud = visibility.known_at(
            test,
            data.ledger,
            data.label_date,
            label_delay=data.params.prepare.label_delay,
            precedence=data.params.prepare.source_precedence,
        )
        return test.with_columns(is_fraud=is_fraud, evaluated=~self._compromised(test))

    def _compromised(self, test: pl.DataFrame) -> pl.Series:
        data, fold = self.data, self.fold
        section = data.params.backtest
        if section.compromised_cards == "keep" or "card_id" not in test.columns:
            return pl.repeat(value=False, n=test.height, eager=True)
        window = section.compromised_window
        since = fold.train[0] if window is None else fold.train[1] - window
        near = data.cards.filter(pl.col("ts").is_between(since, fold.test[1], closed="left"))
        boundaries = fold.boundaries(data.split.burn_in)
        known = splits.known_compromised(
            near, near["is_fraud"], boundaries, data.params.prepare.label_delay, since=since
        )
        return test["transaction_id"].is_in(near.filter(known)["transaction_id"].implode())


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Result of one fold with one seed."""

    fold: Fold
    seed: int
    scored: pl.DataFrame  # transaction_id, fold, score
    facts: dict[str, Any]
    seconds: float


class SeedRun:
    """All folds with one seed; without refitting, the first fold's model scores all of them."""

    def __init__(self, params: Params, seed: int) -> None:
        self._params, self._seed = params, seed
        self._train = params.train.model_copy(update={"seed": seed})
        self._first: tuple[Fold, FittedFold, dict[str, int]] | None = None

    def run(self, rows: FoldRows) -> FoldResult:
        """Fit, score and measure a fold."""
        fold, test = rows.fold, rows.test
        start = time.perf_counter()
        trained_for, fitted, training_rows = self._fitted(rows)
        seconds = time.perf_counter() - start
        scored = score_test(test, fitted)
        metrics = rolling_backtest.measure_fold(
            scored, self._params.policy, self._params.evaluate, decided=fitted.cross_fit_result is not None
        )
        measured = scored.filter(counted(scored))
        facts = {
            "fold": fold.name,
            "seed": self._seed,
            "train": as_text(trained_for.train),
            "valid": None if trained_for.valid is None else as_text(trained_for.valid),
            "test": as_text(fold.test),
            "labels_as_of": trained_for.test[0].isoformat(),
            "training_rows": training_rows,
            "rows": measured.height,
            "frauds": int(measured["is_fraud"].sum()),
            "compromised_rows": int((~scored["evaluated"]).sum()),
            "metrics": {name: metric.to_dict() for name, metric in metrics.items()},
        }
        written = scored.select("transaction_id", fold=pl.lit(fold.name), score="score")
        return FoldResult(fold, self._seed, written, facts, seconds)

    def _fitted(self, rows: FoldRows) -> tuple[Fold, FittedFold, dict[str, int]]:
        if self._first is None or self._params.backtest.refit:
            data = rows.data
            fitted = rolling_backtest.fit_fold(
                rows.fold,
                rows.train,
                rows.valid,
                data.catalogue,
                data.split.burn_in,
                self._train,
                self._params.policy,
            )
            self._first = rows.fold, fitted, rows.train.counts
        return self._first


def score_test(test: pl.DataFrame, fitted: FittedFold) -> pl.DataFrame:
    """Score the test rows of a fold; return SCORED rows with their labels."""
    columns = [name for name in (*ROW_COLUMNS, "is_fraud", "evaluated") if name in test.columns]
    return test.select(columns).with_columns(fitted.score(test).select("score", "alert", "decision"))


def as_text(span: Span) -> list[str]:
    """Return a span as ISO 8601 texts for JSON."""
    return [at.isoformat() for at in span]
