"""Weeks before the test to a params file: the search, its trials, what it found."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraud3000 import params as params_files
from fraud3000 import registry
from fraud3000.data.storage import atomic_write
from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.evaluation import hyperparameter_search, rolling_backtest
from fraud3000.evaluation.hyperparameter_search import SearchResult, Trial
from fraud3000.evaluation.rolling_backtest import Fold
from fraud3000.labels.splits import Boundaries
from fraud3000.models.training import estimators
from fraud3000.models.training.search_space import resolve_space
from fraud3000.params import Params, TrainModelParams, yaml_text
from fraud3000.stages.shared.backtest_folds import BacktestData, FoldRows, as_scored, as_text
from fraud3000.stages.shared.evaluation_rows import read_json
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train

_SHAPE = ("step", "test", "delay", "window", "valid", "compromised_cards", "compromised_window")
"""What a search's folds have of a backtest's."""
_BEST = 5


def tune_and_train(params: Params, given: Path | None = None) -> Summary:
    """Search, then train by what was found: the summaries of both as one."""
    tuned, found = tune(params, given)
    return tuned.then(train(found))


def tune(params: Params, given: Path | None = None) -> tuple[Summary, Params]:
    """Search the learner's params on folds before the test weeks, and write the params file that was found.

    Parameters
    ----------
    given
        The params file, whose other sections the one that is written keeps.

    Returns
    -------
    The summary, and the params with what was found.

    Raises
    ------
    LeakageError
        A fold whose labels are known only once the test weeks have begun.
    DataError
        The features are missing, or a fold has nothing to learn from or no fraud to find.
    ParamsError
        A space that leads nowhere, or a learner that is not installed.
    UnavailableError
        The registry or the workspace cannot be used.
    """
    estimators.check(params.train)
    space = resolve_space(params.train, params.tune.space)
    workspace = Workspace.from_params(params)
    begin = _first_test(params, workspace)
    ground = BacktestData.read(workspace, params, at=begin)
    folds = _folds(params, ground, begin)
    registry.require_writable(params.registry)
    rows = [FoldRows(ground, fold) for fold in folds]
    with _progress() as ended:
        found = hyperparameter_search.search(
            lambda recipe: _judged(recipe, rows, params),
            params.train,
            space,
            params.tune,
            folds=len(folds),
            storage=workspace.trials,
            identity=_identity(params, ground, folds),
            ended=ended,
        )
    better = params.model_copy(update={"train": found.train})
    content = _content(params, found, folds, begin)
    with atomic_write.whole(workspace.tuned) as (folder,):
        folder.mkdir()
        (folder / "params.yaml").write_text(_params_file(given, found, content), encoding="utf-8")
        (folder / "trials.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    registry.log_run_tree(_logged(params, found, content), params.registry)
    return _summary(params, found, folds, workspace), better


def _first_test(params: Params, workspace: Workspace) -> datetime:
    split = read_json(workspace.boundaries, Boundaries.from_dict)
    if split.test is None:
        raise ParamsError(
            "train --tune: the data has no time, so no week lies before the test",
            hint="Map a time under prepare.mapping.columns.ts, or set the params by hand.",
        )
    stated = params.backtest.first
    if stated is None:
        return split.test[0]
    return min(split.test[0], stated.replace(tzinfo=UTC) if stated.tzinfo is None else stated.astimezone(UTC))


def _folds(params: Params, ground: BacktestData, begin: datetime) -> tuple[Fold, ...]:
    told, delay = params.tune, params.prepare.label_delay
    length = (told.folds - 1) * params.backtest.step + params.backtest.test
    first = told.first or _midnight_before(begin - delay - length)
    plan = params.backtest.model_copy(update={"first": first, "folds": told.folds})
    assert ground.split.test is not None
    folds = rolling_backtest.plan_folds(plan, ground.split.test, ground.begin, delay)
    hyperparameter_search.require_before(folds, begin, delay)
    return folds


def _midnight_before(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _judged(recipe: TrainModelParams, rows: list[FoldRows], params: Params) -> Iterator[float]:
    """The objective of each fold, one after the other."""
    objective = params.tune.objective
    for one in rows:
        ground = one.ground
        fitted = rolling_backtest.fit_fold(
            one.fold, one.train, one.valid, ground.catalogue, ground.split.burn_in, recipe, params.policy
        )
        decided = fitted.cross_fit_result is not None
        if objective == "savings" and not decided:
            raise ParamsError(
                "tune.objective: 'savings' needs calibrated scores and a threshold in every fold",
                hint="Set backtest.valid, such as 7d.",
            )
        scored = as_scored(one.test, fitted)
        entry = rolling_backtest.measure_fold(scored, params.policy, params.evaluate, decided=decided)[objective]
        if entry["value"] is None:
            raise EmptyDataError(
                f"fold {one.fold.name}: {entry['reason']}, so nothing can be searched for there",
                hint="Set another tune.first, longer tests in backtest.test, or fewer tune.folds.",
            )
        yield float(entry["value"])


def _identity(params: Params, ground: BacktestData, folds: tuple[Fold, ...]) -> str:
    """What a search is of: the features and labels, the folds, and the params that it does not change."""
    digests = []
    for path in (ground.workspace.features, ground.workspace.labels):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    told = {
        "data": digests,
        "folds": [[as_text(fold.train), fold.valid and as_text(fold.valid), as_text(fold.test)] for fold in folds],
        "backtest": {name: value for name, value in params.backtest.model_dump(mode="json").items() if name in _SHAPE},
        "policy": params.policy.model_dump(mode="json"),
        "train": params.train.model_dump(mode="json"),
    }
    return json.dumps(told, sort_keys=True)


def _content(params: Params, found: SearchResult, folds: tuple[Fold, ...], begin: datetime) -> dict[str, Any]:
    return {
        "objective": params.tune.objective,
        "best": {"trial": found.best.number, "mean": found.best.mean, "chosen": found.best.chosen},
        "folds": [{"fold": fold.name, "train": as_text(fold.train), "test": as_text(fold.test)} for fold in folds],
        "labels_as_known_at": begin.isoformat(),
        "seed": params.tune.seed,
        "trials": [
            {"trial": one.number, "mean": one.mean, "given_up": one.given_up, "folds": one.values, **one.chosen}
            for one in found.trials
        ],
    }


def _params_file(given: Path | None, found: SearchResult, content: dict[str, Any]) -> str:
    """The file that was given with another train section; where there was none, that section alone."""
    path = given or params_files.DEFAULT_FILE
    told = yaml_text.load(path.read_text(encoding="utf-8"), thing=str(path)) if path.exists() else {}
    told = {**(told or {}), "train": found.train.model_dump(mode="json", exclude_defaults=True)}
    first, last = content["folds"][0]["fold"], content["folds"][-1]["test"][1][:10]
    head = (
        f"# train: found by `fraud3000 train --tune`, {len(found.trials)} trials, seed {content['seed']}: mean"
        f" {content['objective']} {found.best.mean:.4f}\n# on {len(content['folds'])} folds, {first} to {last}.\n"
    )
    return head + yaml_text.dump(told)


def _logged(params: Params, found: SearchResult, content: dict[str, Any]) -> registry.RunTree:
    objective = params.tune.objective
    return registry.RunTree(
        name="tune",
        params={"tune": params.tune.model_dump(mode="json"), "train": estimators.effective_params(found.train)},
        metrics={objective: found.best.mean},
        tags={"labels_as_of": content["labels_as_known_at"]},
        children={f"trial {one.number}": (one.chosen, {objective: one.mean}) for one in found.trials},
        report=content,
    )


@contextmanager
def _progress() -> Iterator[Callable[[Trial, int], None]]:
    """Show trials as they end, and the best of them, where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda _trial, _of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    best = -float("inf")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("searching")

        def ended(trial: Trial, of: int) -> None:
            nonlocal best
            best = best if trial.given_up else max(best, trial.mean)
            progress.update(task, total=of, completed=trial.number + 1, description=f"searching, best {best:.4f}")

        yield ended


def _summary(params: Params, found: SearchResult, folds: tuple[Fold, ...], workspace: Workspace) -> Summary:
    given_up = sum(trial.given_up for trial in found.trials)
    facts = {
        "searched for": f"{params.tune.objective.replace('_', ' ')}, mean over {len(folds)} folds",
        "folds": f"{folds[0].name} to {folds[-1].test[1]:%Y-%m-%d}, all labels known before the test weeks",
        "trials": f"{len(found.trials)}, {given_up} given up early"
        + (f", {found.resumed} of an earlier run" if found.resumed else ""),
        "best": f"{found.best.mean:.4f}, trial {found.best.number}",
        "found": {key.removeprefix("estimator_params."): value for key, value in found.best.chosen.items()},
    }
    warnings = [f"{len(found.trials)} trials of {params.tune.trials}: the time was used up"]
    return Summary(
        command="train",
        facts=facts,
        tables=(_table(found),),
        outputs={"params found": str(workspace.tuned / "params.yaml"), "trials": str(workspace.tuned / "trials.json")},
        warnings=tuple(warnings if len(found.trials) < params.tune.trials else ()),
        next_step=f"fraud3000 backtest --params {workspace.tuned / 'params.yaml'}",
    )


def _table(found: SearchResult) -> Table:
    whole = sorted((one for one in found.trials if not one.given_up), key=lambda one: (-one.mean, one.number))
    keys = list(found.best.chosen)
    names = [key.rpartition(".")[2] for key in keys]
    rows = tuple(
        (str(one.number), f"{one.mean:.4f}", *(_said(one.chosen[key]) for key in keys)) for one in whole[:_BEST]
    )
    return Table("The best trials", ("trial", "mean", *names), rows)


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
