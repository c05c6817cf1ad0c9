"""Featured rows to a model for each fold, its scores, and what they are worth week by week."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from fraud3000 import durations, registry
from fraud3000.data.storage import atomic_write
from fraud3000.evaluation import rolling_backtest
from fraud3000.evaluation.rolling_backtest import Fold
from fraud3000.metrics.catalogue import display_name
from fraud3000.models.training import estimators
from fraud3000.models.training.training_rows import LATER
from fraud3000.params import Params
from fraud3000.report import weekly
from fraud3000.stages.shared.backtest_folds import BacktestData, FoldResult, FoldRows, SeedRun, as_text
from fraud3000.stages.shared.progress import steps
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_SHORT = {
    "average_precision": "AP",
    "auc_roc": "AUC",
    "value_detection_rate": "money",
    "savings": "savings",
}
"""The metrics shown by fold, as narrow columns; card precisions stand among them."""


def backtest(params: Params) -> Summary:
    """Fit, score and measure fold after fold; write scores, metrics and a picture, all or nothing.

    Raises
    ------
    DataError
        The features are missing or have no time, or a fold has nothing to learn from or to score.
    ParamsError
        Params that the estimator does not take, or folds that have no time to train.
    UnavailableError
        The registry or the workspace cannot be written.
    """
    estimators.check(params.train)
    workspace = Workspace.from_params(params)
    ground = BacktestData.read(workspace, params)
    registry.require_writable(params.registry)
    planned = ground.plan()
    seeds = params.backtest.seeds or (params.train.seed,)
    runs = [SeedRun(params, seed) for seed in seeds]
    done = [one for fold in steps(planned, "folds") for one in _each(runs, FoldRows(ground, fold))]
    content = _content(ground, params, planned, done)
    section = weekly.section(content)
    with atomic_write.whole(workspace.backtest) as (folder,):
        folder.mkdir()
        for seed in seeds:
            scored = pl.concat([one.scored for one in done if one.seed == seed])
            scored.write_parquet(folder / _scored_name(seed, seeds))
        (folder / "metrics.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if section.picture:
            (folder / "weeks.svg").write_text(section.picture.svg, encoding="utf-8")
            (folder / "weeks.png").write_bytes(section.picture.png)
    registry.log_run_tree(_logged(params, content), params.registry)
    return _summary(ground, planned, done, content)


def _each(runs: list[SeedRun], rows: FoldRows) -> list[FoldResult]:
    return [run.do(rows) for run in runs]


def _scored_name(seed: int, seeds: tuple[int, ...]) -> str:
    return "scored.parquet" if seed == seeds[0] else f"scored-{seed}.parquet"


def _content(ground: BacktestData, params: Params, planned: tuple[Fold, ...], done: list[FoldResult]) -> dict[str, Any]:
    """The content of metrics.json; equal runs give equal bytes."""
    facts = [one.facts for one in done]
    return {
        "recipe": rolling_backtest.recipe(params.train, ground.catalogue.hash),
        "label_date": ground.at.isoformat(),
        "training_labels": "as known when the test begins",
        "compromised_cards": params.backtest.compromised_cards,
        "refit": params.backtest.refit,
        "calibrated": params.backtest.valid is not None,
        "days": params.backtest.test / timedelta(days=1),
        "test_span": as_text((planned[0].test[0], planned[-1].test[1])),
        "metrics": rolling_backtest.summarize_folds(facts),
        "folds": facts,
    }


def _logged(params: Params, content: Mapping[str, Any]) -> registry.RunTree:
    means = {name: entry["mean"] for name, entry in content["metrics"].items() if entry["mean"] is not None}
    return registry.RunTree(
        name="backtest",
        params={name: part for name, part in params.model_dump(mode="json").items() if name in _PARTS},
        metrics=means,
        tags={"catalogue_hash": content["recipe"]["catalogue_hash"], "label_date": content["label_date"]},
        children={
            f"{one['fold']} seed {one['seed']}": (
                {"seed": one["seed"]},
                {name: entry["value"] for name, entry in one["metrics"].items() if entry["value"] is not None},
            )
            for one in content["folds"]
        },
        report=content,
    )


_PARTS = ("prepare", "featurize", "train", "evaluate", "backtest", "policy")


def _summary(
    ground: BacktestData, planned: tuple[Fold, ...], done: list[FoldResult], content: Mapping[str, Any]
) -> Summary:
    params, workspace = ground.params, ground.workspace
    told = params.backtest
    seeds = told.seeds or (params.train.seed,)
    first, last = content["test_span"]
    facts = {
        "folds": f"{len(planned)} of {_said(told.test)}, {first[:10]} to {last[:10]}",
        "estimator": estimators.describe(params.train),
        "features": len(ground.catalogue.names),
        "training": _training(params),
        "labels in training": content["training_labels"],
        "labels in the tests": f"as known at {content['label_date']}",
        "calibration and threshold": "none: the order of scores is judged"
        if told.valid is None
        else f"set on {_said(told.valid)} before training",
        "compromised cards": told.compromised_cards,
        "seeds": ", ".join(map(str, seeds)),
    }
    return Summary(
        command="backtest",
        facts=facts,
        tables=(_by_fold(planned, done), _over(content)),
        outputs={
            "scores": str(workspace.backtest / "scored.parquet"),
            "metrics": str(workspace.backtest / "metrics.json"),
        },
        warnings=tuple(_warnings(content)),
        next_step="fraud3000 train && fraud3000 evaluate",
    )


def _training(params: Params) -> str:
    told = params.backtest
    span = "all rows with history enough" if told.window is None else f"{_said(told.window)}"
    delay = params.prepare.label_delay if told.delay is None else told.delay
    again = "anew for each fold" if told.refit else "once, for the first fold"
    return f"{again}, on {span}, up to {_said(delay)} before the test"


def _said(span: timedelta) -> str:
    return durations.text(int(span.total_seconds()))


def _by_fold(planned: tuple[Fold, ...], done: list[FoldResult]) -> Table:
    shown = {name: short for name in done[0].facts["metrics"] if (short := _short(name))}
    lines = []
    for fold in planned:
        own = [one for one in done if one.fold is fold]
        facts, learnt = own[0].facts, own[0].facts["training_rows"]
        lines.append(
            (
                fold.name,
                f"{learnt['legitimate'] + learnt['fraud']:,}",
                f"{learnt['fraud']:,}",
                f"{facts['rows']:,}",
                f"{facts['frauds']:,}",
                *(_mean([one.facts["metrics"][name]["value"] for one in own]) for name in shown),
                f"{sum(one.seconds for one in own) / len(own):.1f}",
            )
        )
    title = "By fold, rows with known labels" + (", mean over seeds" if len({one.seed for one in done}) > 1 else "")
    columns = ("test from", "train", "frauds", "test", "frauds", *shown.values(), "made in s")
    return Table(title, columns, tuple(lines))


def _short(name: str) -> str | None:
    stem, _, k = name.rpartition("_")
    return f"CP@{k}" if stem == "card_precision_at" else _SHORT.get(name)


def _mean(found: list[float | None]) -> str:
    told = [value for value in found if value is not None]
    return f"{sum(told) / len(told):.4f}" if told else "–"


def _over(content: Mapping[str, Any]) -> Table:
    lines: list[tuple[str, ...]] = []
    for name, entry in content["metrics"].items():
        if entry["mean"] is None:
            lines.append((display_name(name), "–", "", "", entry["reason"]))
            continue
        notes = [f"ceiling {entry['ceiling']:.3f}"] if "ceiling" in entry else []
        notes += (
            [f"{entry['folds']} folds only"] if entry["folds"] < len({one["fold"] for one in content["folds"]}) else []
        )
        spread = ["" if entry[sd] is None else f"{entry[sd]:.4f}" for sd in ("sd_folds", "sd_seeds")]
        lines.append((display_name(name), f"{entry['mean']:.4f}", *spread, ", ".join(notes)))
    columns = ("metric", "mean", "± from fold to fold", "± from seed to seed", "note")
    return Table("Over all folds", columns, tuple(lines))


def _warnings(content: Mapping[str, Any]) -> Iterator[str]:
    silent = sorted({one["fold"] for one in content["folds"] if not one["frauds"]})
    if silent:
        yield f"no known fraud in the test of {', '.join(silent)}: most metrics leave these folds out"
    later = sum(one["training_rows"][LATER] for one in content["folds"])
    if later:
        yield f"{later:,} training rows, over all folds, count as legitimate although they were reported as fraud later"
    if (
        content["metrics"]["average_precision"]["mean"] is not None
        and content["metrics"]["average_precision"]["mean"] > 0.85
    ):
        yield "an average precision above .85 on delayed labels is more likely a leak than a success"
