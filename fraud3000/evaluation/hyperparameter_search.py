"""Hyperparameter search with Optuna: seeded, resumable, with pruning of weak trials.

A tree-structured Parzen estimator proposes trials. Each trial is measured fold by fold, and pruned if its mean so far is
below the median of the finished trials at that fold. Proposals depend only on the seed and on the finished trials, so a
resumed search gives the same result as an uninterrupted one. The search uses no test week: `require_before` refuses folds
whose labels are not known before the test begins.

References
----------
Bergstra, Bardenet, Bengio, Kégl (2011): Algorithms for Hyper-Parameter Optimization. Akiba, Sano, Yanase,
Ohta, Koyama (2019): Optuna: A Next-generation Hyperparameter Optimization Framework.
"""

from __future__ import annotations

import hashlib
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

from fraud3000 import extras
from fraud3000.errors import EmptyDataError, LeakageError, UnavailableError
from fraud3000.evaluation.rolling_backtest import Fold
from fraud3000.models.training.search_space import Space, apply_values
from fraud3000.params import RangeParams, TrainModelParams, TuneParams

Objective = Callable[[TrainModelParams], Iterable[float]]
"""Yields the objective of each fold; larger is better."""

_RANDOM_TRIALS = 10
"""Random trials before the first proposal; none of them is pruned."""


@dataclass(frozen=True)
class Trial:
    """One finished or pruned trial.

    Attributes
    ----------
    chosen
        Values of the searched params, by key below ``train``.
    values
        The objective of each measured fold.
    given_up
        Whether the trial was pruned.
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
    """Result of a search.

    Attributes
    ----------
    train
        The base params with the best trial's values.
    trials
        All finished and pruned trials, in order.
    resumed
        Number of trials of an earlier, interrupted run.
    """

    train: TrainModelParams
    best: Trial
    trials: tuple[Trial, ...]
    resumed: int


def require_before(folds: Sequence[Fold], test: datetime, label_delay: timedelta) -> None:
    """Refuse folds whose test labels are not all known before the test weeks begin.

    Parameters
    ----------
    test
        Start of the first test week of the split or of the backtest.

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
                hint="Set an earlier tune.first, or fewer tune.folds: params chosen on test weeks overstate their result there.",
            )


def search(
    objective: Objective,
    base: TrainModelParams,
    space: Space,
    params: TuneParams,
    *,
    folds: int,
    storage: Path,
    identity: str,
    ended: Callable[[Trial, int], None] = lambda _trial, _of: None,
) -> SearchResult:
    """Run trials until their number or the time budget is used up.

    Parameters
    ----------
    objective
        Fits and measures a recipe, fold by fold.
    base
        The params that the values of a trial are applied to.
    folds
        Number of folds that the objective yields.
    storage
        File of the finished trials; a search in it is resumed.
    identity
        Identity of data, folds and base; a search with another identity is not resumed.
    ended
        Called with each finished trial and the total number of trials.

    Raises
    ------
    EmptyDataError
        The time budget was used up before a trial finished.
    ParamsError
        Optuna is not installed.
    UnavailableError
        The storage cannot be used.
    """
    optuna = _optuna()
    begin = time.monotonic()
    budget = math.inf if params.time_budget is None else params.time_budget.total_seconds()
    with _storage_errors(optuna, storage):
        study = _Study(optuna, storage, _name(space, params, identity), params.seed)
        resumed = len(study.trials())
        while len(study.trials()) < params.trials and time.monotonic() - begin <= budget:
            ended(study.run(objective, base, space, folds), params.trials)
        trials = study.trials()
    finished = [trial for trial in trials if not trial.given_up]
    if not finished:
        raise EmptyDataError("tune: no trial ended within tune.time_budget", hint="Give the search more time.")
    best = max(finished, key=lambda trial: (trial.mean, -trial.number))
    return SearchResult(apply_values(base, best.chosen), best, tuple(trials), resumed)


def _optuna() -> Any:
    optuna: Any = extras.load("optuna", extra="tune", purpose="train --tune")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def _storage_errors(optuna: Any, storage: Path) -> Iterator[None]:
    """Raise errors of the storage as UnavailableError; errors of the objective pass through."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
        raise UnavailableError(
            f"{storage}: the search cannot be stored ({str(error).splitlines()[0]})",
            hint="Move the file away, or free space; then run the command again.",
        ) from error


def _name(space: Space, params: TuneParams, identity: str) -> str:
    """Return the name of a search: a hash of data, folds, base, objective, space and seed."""
    ranges = {key: values.model_dump(mode="json") for key, values in space.items()}
    content = {"space": ranges, "objective": params.objective, "seed": params.seed, "identity": identity}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class _Study:
    """Optuna study whose proposals depend only on the seed and the finished trials."""

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
            self._study.tell(
                trial.number, state=optuna.trial.TrialState.FAIL
            )  # interrupted when an earlier run was killed

    def trials(self) -> list[Trial]:
        states = self._optuna.trial.TrialState
        ended = self._study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
        return [
            Trial(number, _round_values(trial.params), tuple(trial.user_attrs["folds"]), trial.state == states.PRUNED)
            for number, trial in enumerate(ended)
        ]

    def run(self, objective: Objective, base: TrainModelParams, space: Space, folds: int) -> Trial:
        states = self._optuna.trial.TrialState
        trial = self._ask(space)
        values: list[float] = []
        try:
            for value in objective(apply_values(base, _round_values(trial.params))):
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
        """Propose a trial with a sampler that depends only on the seed and the finished trials."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns that multivariate proposals are experimental
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=self._seed + len(self.trials()), n_startup_trials=_RANDOM_TRIALS, multivariate=True
            )
            trial = self._study.ask()
            for key, values in space.items():
                _suggest(trial, key, values)
        return trial


def _suggest(trial: Any, key: str, values: RangeParams) -> None:
    if values.choices:
        trial.suggest_categorical(key, list(values.choices))
    elif isinstance(values.low, int) and isinstance(values.high, int):
        trial.suggest_int(key, values.low, values.high, log=values.log)
    else:
        trial.suggest_float(key, values.low, values.high, log=values.log)


def _round_values(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Round values to four significant digits, so that the params file is readable."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in chosen.items()}
