"""`train --tune`: search hyperparameters on folds before the test weeks and write the best params file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fraud3000 import params as params_files
from fraud3000 import registry
from fraud3000.data.storage import atomic_write
from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.evaluation import hyperparameter_search, rolling_backtest
from fraud3000.evaluation.hyperparameter_search import SearchResult
from fraud3000.evaluation.rolling_backtest import Fold
from fraud3000.labels.splits import Boundaries
from fraud3000.models.training import estimators
from fraud3000.models.training.search_space import resolve_space
from fraud3000.params import Params, TrainModelParams, yaml_text
from fraud3000.stages.shared.backtest_folds import BacktestData, FoldRows, as_text, score_test
from fraud3000.stages.shared.evaluation_rows import read_json
from fraud3000.stages.shared.progress import track_trials
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train
from fraud3000.utc import as_utc, midnight_before

_SHAPE = ("step", "test", "delay", "window", "valid", "compromised_cards", "compromised_window")
"""Backtest params that define the folds of a search."""
_BEST = 5


def tune_and_train(params: Params, params_file: Path | None = None) -> Summary:
    """Search, then train with the best params; return one summary of both."""
    summary, best = tune(params, params_file)
    return summary.then(train(best))


def tune(params: Params, params_file: Path | None = None) -> tuple[Summary, Params]:
    """Search the learner's params on folds before the test weeks, and write a params file with the best ones.

    Parameters
    ----------
    params_file
        The params file; its other sections are copied to the written file.

    Returns
    -------
    The summary, and the params with the best train section.

    Raises
    ------
    LeakageError
        The labels of a fold are not all known before the test weeks begin.
    DataError
        The features are missing, or a fold has no training rows or no test fraud.
    ParamsError
        The search space has an unknown param, or the learner is not installed.
    UnavailableError
        The registry or the workspace cannot be used.
    """
    estimators.check(params.train)
    space = resolve_space(params.train, params.tune.space)
    workspace = Workspace.from_params(params)
    begin = _first_test(params, workspace)
    data = BacktestData.read(workspace, params, label_date=begin)
    folds = _folds(params, data, begin)
    registry.require_writable(params.registry)
    rows = [FoldRows(data, fold) for fold in folds]
    with track_trials() as ended:
        result = hyperparameter_search.search(
            lambda recipe: _objectives(recipe, rows, params),
            params.train,
            space,
            params.tune,
            folds=len(folds),
            storage=workspace.trials,
            identity=_identity(params, data, folds),
            ended=ended,
        )
    best = params.model_copy(update={"train": result.train})
    content = _content(params, result, folds, begin)
    with atomic_write.atomic_outputs(workspace.tuned) as (folder,):
        folder.mkdir()
        (folder / "params.yaml").write_text(_params_file(params_file, result, content), encoding="utf-8")
        (folder / "trials.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    registry.log_run_tree(_run_tree(params, result, content), params.registry)
    return _summary(params, result, folds, workspace), best


def _first_test(params: Params, workspace: Workspace) -> datetime:
    split = read_json(workspace.boundaries, Boundaries.from_dict)
    if split.test is None:
        raise ParamsError(
            "train --tune: the data has no time, so there are no weeks before the test",
            hint="Map a time under prepare.mapping.columns.ts, or set the params by hand.",
        )
    stated = params.backtest.first
    if stated is None:
        return split.test[0]
    return min(split.test[0], as_utc(stated))


def _folds(params: Params, data: BacktestData, begin: datetime) -> tuple[Fold, ...]:
    section, delay = params.tune, params.prepare.label_delay
    length = (section.folds - 1) * params.backtest.step + params.backtest.test
    first = section.first or midnight_before(begin - delay - length)
    plan = params.backtest.model_copy(update={"first": first, "folds": section.folds})
    assert data.split.test is not None
    folds = rolling_backtest.plan_folds(plan, data.split.test, data.begin, delay)
    hyperparameter_search.require_before(folds, begin, delay)
    return folds


def _objectives(recipe: TrainModelParams, rows: list[FoldRows], params: Params) -> Iterator[float]:
    """Yield the objective of each fold."""
    objective = params.tune.objective
    for fold_rows in rows:
        data = fold_rows.data
        fitted = rolling_backtest.fit_fold(
            fold_rows.fold,
            fold_rows.train,
            fold_rows.valid,
            data.catalogue,
            data.split.burn_in,
            recipe,
            params.policy,
        )
        decided = fitted.cross_fit_result is not None
        if objective == "savings" and not decided:
            raise ParamsError(
                "tune.objective: 'savings' needs calibrated scores and a threshold in every fold",
                hint="Set backtest.valid, such as 7d.",
            )
        scored = score_test(fold_rows.test, fitted)
        entry = rolling_backtest.measure_fold(scored, params.policy, params.evaluate, decided=decided)[objective]
        if entry.value is None:
            raise EmptyDataError(
                f"fold {fold_rows.fold.name}: {entry.reason}, so {objective} cannot be computed",
                hint="Set another tune.first, longer tests in backtest.test, or fewer tune.folds.",
            )
        yield entry.value


def _identity(params: Params, data: BacktestData, folds: tuple[Fold, ...]) -> str:
    """Return the identity of a search: hashes of features and labels, the folds, and the params that it does not change."""
    digests = []
    for path in (data.workspace.features, data.workspace.labels):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    content = {
        "data": digests,
        "folds": [[as_text(fold.train), fold.valid and as_text(fold.valid), as_text(fold.test)] for fold in folds],
        "backtest": {name: value for name, value in params.backtest.model_dump(mode="json").items() if name in _SHAPE},
        "policy": params.policy.model_dump(mode="json"),
        "train": params.train.model_dump(mode="json"),
    }
    return json.dumps(content, sort_keys=True)


def _content(params: Params, result: SearchResult, folds: tuple[Fold, ...], begin: datetime) -> dict[str, Any]:
    return {
        "objective": params.tune.objective,
        "best": {"trial": result.best.number, "mean": result.best.mean, "chosen": result.best.chosen},
        "folds": [{"fold": fold.name, "train": as_text(fold.train), "test": as_text(fold.test)} for fold in folds],
        "labels_as_known_at": begin.isoformat(),
        "seed": params.tune.seed,
        "trials": [
            {
                "trial": trial.number,
                "mean": trial.mean,
                "given_up": trial.given_up,
                "folds": trial.values,
                **trial.chosen,
            }
            for trial in result.trials
        ],
    }


def _params_file(params_file: Path | None, result: SearchResult, content: dict[str, Any]) -> str:
    """Return the params file with the best train section; without a params file, that section only."""
    path = params_file or params_files.DEFAULT_FILE
    sections = yaml_text.load(path.read_text(encoding="utf-8"), thing=str(path)) if path.exists() else {}
    sections = {**(sections or {}), "train": result.train.model_dump(mode="json", exclude_defaults=True)}
    first, last = content["folds"][0]["fold"], content["folds"][-1]["test"][1][:10]
    head = (
        f"# train: found by `fraud3000 train --tune`, {len(result.trials)} trials, seed {content['seed']}: mean"
        f" {content['objective']} {result.best.mean:.4f}\n# on {len(content['folds'])} folds, {first} to {last}.\n"
    )
    return head + yaml_text.dump(sections)


def _run_tree(params: Params, result: SearchResult, content: dict[str, Any]) -> registry.RunTree:
    objective = params.tune.objective
    return registry.RunTree(
        name="tune",
        params={"tune": params.tune.model_dump(mode="json"), "train": estimators.effective_params(result.train)},
        metrics={objective: result.best.mean},
        tags={"labels_as_of": content["labels_as_known_at"]},
        children={f"trial {trial.number}": (trial.chosen, {objective: trial.mean}) for trial in result.trials},
        report=content,
    )


def _summary(params: Params, result: SearchResult, folds: tuple[Fold, ...], workspace: Workspace) -> Summary:
    given_up = sum(trial.given_up for trial in result.trials)
    facts = {
        "objective": f"{params.tune.objective.replace('_', ' ')}, mean over {len(folds)} folds",
        "folds": f"{folds[0].name} to {folds[-1].test[1]:%Y-%m-%d}, all labels known before the test weeks",
        "trials": f"{len(result.trials)}, {given_up} given up early"
        + (f", {result.resumed} of an earlier run" if result.resumed else ""),
        "best": f"{result.best.mean:.4f}, trial {result.best.number}",
        "best params": {key.removeprefix("estimator_params."): value for key, value in result.best.chosen.items()},
    }
    warnings = [f"{len(result.trials)} of {params.tune.trials} trials: tune.time_budget was used up"]
    return Summary(
        command="train",
        facts=facts,
        tables=(_table(result),),
        outputs={"params found": str(workspace.tuned / "params.yaml"), "trials": str(workspace.tuned / "trials.json")},
        warnings=tuple(warnings if len(result.trials) < params.tune.trials else ()),
        next_step=f"fraud3000 backtest --params {workspace.tuned / 'params.yaml'}",
    )


def _table(result: SearchResult) -> Table:
    finished = [trial for trial in result.trials if not trial.given_up]
    ranked = sorted(finished, key=lambda trial: (-trial.mean, trial.number))
    keys = list(result.best.chosen)
    names = [key.rpartition(".")[2] for key in keys]
    rows = tuple(
        (str(trial.number), f"{trial.mean:.4f}", *(_format(trial.chosen[key]) for key in keys))
        for trial in ranked[:_BEST]
    )
    return Table("The best trials", ("trial", "mean", *names), rows)


def _format(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
