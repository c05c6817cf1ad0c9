"""A search for a recipe's params: seeded, resumable, each trial given up once it is plainly worse.

Trials are proposed by a tree-structured Parzen estimator. Each is judged fold after fold, and given up where
its mean so far lies below the median of the finished trials at that fold. The proposals follow from the seed and
from the trials that have ended, so a search that was killed and taken up again finds what it would have
found. It never sees a test week: `require_before` refuses folds whose labels are known only once the test has begun.

References
----------
Bergstra, Bardenet, Bengio, Kégl (2011): Algorithms for Hyper-Parameter Optimization. Akiba, Sano, Yanase,
Ohta, Koyama (2019): Optuna: A Next-generation Hyperparameter Optimization Framework.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from fraud3000.errors import EmptyDataError, LeakageError, ParamsError, UnavailableError
from fraud3000.evaluation.rolling_backtest import Fold
from fraud3000.models.training.search_space import Space, apply_values
from fraud3000.params import RangeParams, TrainModelParams, TuneParams

Judge = Callable[[TrainModelParams], Iterable[float]]
"""Gives the objective fold after fold; the larger the better."""

_RANDOM_TRIALS = 10
"""Trials at random before any is proposed from those before; none of them is given up."""


@dataclass(frozen=True)
class Trial:
    """One trial that has ended.

    Attributes
    ----------
    chosen
        By key below ``train``.
    values
        The objective of each fold that was judged.
    """

    number: int
    chosen: dict[str, Any]
    values: tuple[float, ...]
    given_up: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))


@dataclass(frozen=True)
class SearchResult:
    """What a search came to.

    Attributes
    ----------
    train
        The base with the best trial's values.
    trials
        Every trial that has ended, in order.
    resumed
        How many of them an earlier run had made.
    """

    train: TrainModelParams
    best: Trial
    trials: tuple[Trial, ...]
    resumed: int


def require_before(folds: Sequence[Fold], test: datetime, label_delay: timedelta) -> None:
    """Refuse folds whose test rows have labels that become known only when the test weeks have begun.

    Parameters
    ----------
    test
        When the first test week begins: the split's own, or the backtest's.

    Raises
    ------
    LeakageError
        Naming the fold.
    """
    for fold in folds:
        if fold.test[1] + label_delay > test:
            raise LeakageError(
                f"tune: the fold of {fold.name} ends {fold.test[1]:%Y-%m-%d %H:%M}, so its labels are not known before "
                f"the test weeks begin, {test:%Y-%m-%d %H:%M}",
                hint="Set an earlier tune.first, or fewer tune.folds: params chosen on test weeks flatter themselves there.",
            )


def search(
    judge: Judge,
    base: TrainModelParams,
    space: Space,
    params: TuneParams,
    *,
    folds: int,
    storage: Path,
    identity: str,
    ended: Callable[[Trial, int], None] = lambda _trial, _of: None,
) -> SearchResult:
    """Try params until the trials, or the time, are used up.

    Parameters
    ----------
    judge
        Fits and measures a recipe, fold after fold.
    base
        What a trial's values are put into.
    folds
        How many the judge gives.
    storage
        Where trials are kept as they end; a search that is found there is taken up.
    identity
        Of data, folds and base: a search kept under another one is not taken up.
    ended
        Told each trial, and how many there are to be.

    Raises
    ------
    EmptyDataError
        The time was used up before a trial ended.
    ParamsError
        Optuna is not installed.
    UnavailableError
        The storage cannot be used.
    """
    optuna = _optuna()
    begin = time.monotonic()
    budget = math.inf if params.time_budget is None else params.time_budget.total_seconds()
    with _kept(optuna, storage):
        study = _Study(optuna, storage, _name(space, params, identity), params.seed)
        resumed = len(study.trials())
        while len(study.trials()) < params.trials and time.monotonic() - begin <= budget:
            ended(study.run(judge, base, space, folds), params.trials)
        trials = study.trials()
    whole = [trial for trial in trials if not trial.given_up]
    if not whole:
        raise EmptyDataError("tune: no trial ended within tune.time_budget", hint="Give the search more time.")
    best = max(whole, key=lambda trial: (trial.mean, -trial.number))
    return SearchResult(apply_values(base, best.chosen), best, tuple(trials), resumed)


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise ParamsError(
            f"train --tune: Optuna cannot be used here ({error})",
            hint='Install it with `pip install "fraud3000[tune]"`.',
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def _kept(optuna: Any, storage: Path) -> Iterator[None]:
    """Tell of a storage that cannot be made, read or written; what the judge raises passes through."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
        raise UnavailableError(
            f"{storage}: the search cannot be kept there ({str(error).splitlines()[0]})",
            hint="Move the file away, or free space; then run the command again.",
        ) from error


def _name(space: Space, params: TuneParams, identity: str) -> str:
    """A search is another one where data, folds, base, objective, space or seed are others."""
    ranges = {key: one.model_dump(mode="json") for key, one in space.items()}
    told = {"space": ranges, "objective": params.objective, "seed": params.seed, "identity": identity}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class _Study:
    """Optuna's study, made so that what it proposes follows from the trials that have ended."""

    def __init__(self, optuna: Any, storage: Path, name: str, seed: int) -> None:
        self._optuna, self._seed = optuna, seed
        storage.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study = optuna.create_study(
                study_name=name,
                storage=optuna.storages.RDBStorage(f"sqlite:///{storage.resolve()}"),
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_RANDOM_TRIALS),
            )
        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # cut off when it was killed

    def trials(self) -> list[Trial]:
        states = self._optuna.trial.TrialState
        ended = self._study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
        return [
            Trial(place, _rounded(trial.params), tuple(trial.user_attrs["folds"]), trial.state == states.PRUNED)
            for place, trial in enumerate(ended)
        ]

    def run(self, judge: Judge, base: TrainModelParams, space: Space, folds: int) -> Trial:
        states = self._optuna.trial.TrialState
        trial = self._ask(space)
        values: list[float] = []
        try:
            for value in judge(apply_values(base, _rounded(trial.params))):
                values.append(value)
                trial.report(float(np.mean(values)), step=len(values))
                if len(values) < folds and trial.should_prune():
                    break
            trial.set_user_attr("folds", values)
        except BaseException:
            self._study.tell(trial, state=states.FAIL)
            raise
        if len(values) < folds:
            self._study.tell(trial, state=states.PRUNED)
        else:
            self._study.tell(trial, float(np.mean(values)))
        return self.trials()[-1]

    def _ask(self, space: Space) -> Any:
        """A trial with its proposal, by a sampler that knows nothing but the seed and the trials that have ended."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a multivariate proposal is said to be experimental
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=self._seed + len(self.trials()), n_startup_trials=_RANDOM_TRIALS, multivariate=True
            )
            trial = self._study.ask()
            for key, one in space.items():
                _suggest(trial, key, one)
        return trial


def _suggest(trial: Any, key: str, one: RangeParams) -> None:
    if one.choices:
        trial.suggest_categorical(key, list(one.choices))
    elif isinstance(one.low, int) and isinstance(one.high, int):
        trial.suggest_int(key, one.low, one.high, log=one.log)
    else:
        trial.suggest_float(key, one.low, one.high, log=one.log)


def _rounded(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The values as a reader would write them: four digits are enough."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in chosen.items()}
