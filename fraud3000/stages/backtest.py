"""`backtest`: train and score a model for each fold, and report metrics by fold."""

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
from fraud3000.report import backtest_section
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
"""Short names of the metrics in the table by fold; card precisions are shown too."""


def backtest(params: Params) -> Summary:
    """Fit, score and measure each fold; write scores, metrics and a plot atomically.

    Raises
    ------
    DataError
        The features are missing or have no time, or a fold has no rows to train on or to score.
    ParamsError
        The estimator does not take the params, or a fold has no training span.
    UnavailableError
        The registry or the workspace cannot be written.
    """
    workspace = Workspace.from_params(params)
    estimators.check(params.train)
    data = BacktestData.read(workspace, params)
    registry.require_writable(params.registry)
    planned = data.plan()
    seeds = params.backtest.seeds or (params.train.seed,)
    runs = [SeedRun(params, seed) for seed in seeds]
    results: list[FoldResult] = []
    for fold in steps(planned, "folds"):
        rows = FoldRows(data, fold)
        results += [run.run(rows) for run in runs]
    content = _content(data, params, planned, results)
    section = backtest_section.section(content)
    with atomic_write.atomic_outputs(workspace.backtest) as (folder,):
        folder.mkdir()
        for seed in seeds:
            scored = pl.concat([result.scored for result in results if result.seed == seed])
            scored.write_parquet(folder / ("scored.parquet" if seed == seeds[0] else f"scored-{seed}.parquet"))
        (folder / "metrics.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if section.picture:
            (folder / "weeks.svg").write_text(section.picture.svg, encoding="utf-8")
            (folder / "weeks.png").write_bytes(section.picture.png)
    registry.log_run_tree(_run_tree(params, content), params.registry)
    return _summary(data, planned, results, content)


def _content(
    data: BacktestData, params: Params, planned: tuple[Fold, ...], results: list[FoldResult]
) -> dict[str, Any]:
    """Return the content of metrics.json; equal runs give equal bytes."""
    facts = [result.facts for result in results]
    return {
        "recipe": rolling_backtest.recipe(params.train, data.catalogue.hash),
        "label_date": data.label_date.isoformat(),
        "training_labels": "as known when the test begins",
        "compromised_cards": params.backtest.compromised_cards,
        "refit": params.backtest.refit,
        "calibrated": params.backtest.valid is not None,
        "days": params.backtest.test / timedelta(days=1),
        "test_span": as_text((planned[0].test[0], planned[-1].test[1])),
        "metrics": rolling_backtest.summarize_folds(facts),
        "folds": facts,
    }


def _run_tree(params: Params, content: Mapping[str, Any]) -> registry.RunTree:
    means = {name: entry["mean"] for name, entry in content["metrics"].items() if entry["mean"] is not None}
    return registry.RunTree(
        name="backtest",
        params={name: part for name, part in params.model_dump(mode="json").items() if name in _PARTS},
        metrics=means,
        tags={"catalogue_hash": content["recipe"]["catalogue_hash"], "label_date": content["label_date"]},
        children={
            f"{fold['fold']} seed {fold['seed']}": (
                {"seed": fold["seed"]},
                {name: entry["value"] for name, entry in fold["metrics"].items() if entry["value"] is not None},
            )
            for fold in content["folds"]
        },
        report=content,
    )


_PARTS = ("prepare", "featurize", "train", "evaluate", "backtest", "policy")


def _summary(
    data: BacktestData, planned: tuple[Fold, ...], results: list[FoldResult], content: Mapping[str, Any]
) -> Summary:
    params, workspace = data.params, data.workspace
    section = params.backtest
    seeds = section.seeds or (params.train.seed,)
    first, last = content["test_span"]
    facts = {
        "folds": f"{len(planned)} of {durations.text(section.test)}, {first[:10]} to {last[:10]}",
        "estimator": estimators.describe(params.train),
        "features": len(data.catalogue.names),
        "training": _training(params),
        "labels in training": content["training_labels"],
        "labels in the tests": f"as known at {content['label_date']}",
        "calibration and threshold": "none: only rankings are measured"
        if section.valid is None
        else f"set on {durations.text(section.valid)} before training",
        "compromised cards": section.compromised_cards,
        "seeds": ", ".join(map(str, seeds)),
    }
    return Summary(
        command="backtest",
        facts=facts,
        tables=(_fold_table(planned, results), _metric_table(content)),
        outputs={
            "scores": str(workspace.backtest / "scored.parquet"),
            "metrics": str(workspace.backtest / "metrics.json"),
        },
        warnings=tuple(_warnings(content)),
        next_step="fraud3000 train && fraud3000 evaluate",
    )


def _training(params: Params) -> str:
    section = params.backtest
    span = "all rows with enough history" if section.window is None else f"{durations.text(section.window)}"
    delay = params.prepare.label_delay if section.delay is None else section.delay
    refit = "for each fold" if section.refit else "once, for the first fold"
    return f"{refit}, on {span}, up to {durations.text(delay)} before the test"


def _fold_table(planned: tuple[Fold, ...], results: list[FoldResult]) -> Table:
    shown = {name: short for name in results[0].facts["metrics"] if (short := _short(name))}
    lines = []
    for fold in planned:
        own = [result for result in results if result.fold is fold]
        facts, trained_on = own[0].facts, own[0].facts["training_rows"]
        lines.append(
            (
                fold.name,
                f"{trained_on['legitimate'] + trained_on['fraud']:,}",
                f"{trained_on['fraud']:,}",
                f"{facts['rows']:,}",
                f"{facts['frauds']:,}",
                *(_mean([result.facts["metrics"][name]["value"] for result in own]) for name in shown),
                f"{sum(result.seconds for result in own) / len(own):.1f}",
            )
        )
    title = "By fold, rows with known labels" + (
        ", mean over seeds" if len({result.seed for result in results}) > 1 else ""
    )
    columns = ("test from", "train", "frauds", "test", "frauds", *shown.values(), "seconds")
    return Table(title, columns, tuple(lines))


def _short(name: str) -> str | None:
    stem, _, k = name.rpartition("_")
    return f"CP@{k}" if stem == "card_precision_at" else _SHORT.get(name)


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.4f}" if known else "–"


def _metric_table(content: Mapping[str, Any]) -> Table:
    lines: list[tuple[str, ...]] = []
    for name, entry in content["metrics"].items():
        if entry["mean"] is None:
            lines.append((display_name(name), "–", "", "", entry["reason"]))
            continue
        notes = [f"ceiling {entry['ceiling']:.3f}"] if "ceiling" in entry else []
        notes += (
            [f"{entry['folds']} folds only"]
            if entry["folds"] < len({fold["fold"] for fold in content["folds"]})
            else []
        )
        spread = ["" if entry[sd] is None else f"{entry[sd]:.4f}" for sd in ("sd_folds", "sd_seeds")]
        lines.append((display_name(name), f"{entry['mean']:.4f}", *spread, ", ".join(notes)))
    columns = ("metric", "mean", "± between folds", "± between seeds", "note")
    return Table("Over all folds", columns, tuple(lines))


def _warnings(content: Mapping[str, Any]) -> Iterator[str]:
    empty = sorted({fold["fold"] for fold in content["folds"] if not fold["frauds"]})
    if empty:
        yield f"no known fraud in the test of {', '.join(empty)}: most metrics leave these folds out"
    later = sum(fold["training_rows"][LATER] for fold in content["folds"])
    if later:
        yield f"{later:,} training rows, over all folds, count as legitimate although they were reported as fraud later"
    if (
        content["metrics"]["average_precision"]["mean"] is not None
        and content["metrics"]["average_precision"]["mean"] > 0.85
    ):
        yield "an average precision above .85 on delayed labels is more likely caused by leakage than by a good model"
