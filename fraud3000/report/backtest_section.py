"""Section of the report on a backtest: metrics of each fold, and how they vary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from fraud3000.metrics.catalogue import display_name
from fraud3000.report import plots
from fraud3000.report.formatting import day, listed, number, span
from fraud3000.report.section import Section, TextTable, unavailable

NAME, TOPIC = "backtest", "Backtest"


def section(content: Mapping[str, Any]) -> Section:
    """Return the section on a backtest.

    Parameters
    ----------
    content
        Content of `backtest/metrics.json`.
    """
    average = content["metrics"]["average_precision"]
    if average["mean"] is None:
        return unavailable(NAME, TOPIC, average["reason"])
    names = [name for name in content["metrics"] if name == "average_precision" or name.startswith("card_precision")]
    names = [name for name in names if content["metrics"][name]["mean"] is not None][:2]
    data = table(content)
    spread = "" if average["sd_folds"] is None else f" ± {number(average['sd_folds'])} between folds"
    title = f"Retrained before each test period, the model reaches an average precision of {number(average['mean'])}{spread}"
    if not content["refit"]:
        title = f"Trained once, the model reaches an average precision of {number(average['mean'])}{spread}"
    return Section(NAME, TOPIC, title, _caption(content), plots.folds(data, names, title), _table(content, data), data)


def recipe_difference(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
    """Describe how a backtest's recipe differs from another; None if it is the same."""
    differ = sorted(name for name in {*content["recipe"], *recipe} if content["recipe"].get(name) != recipe.get(name))
    return f"the last backtest used another recipe, which differs in {listed(differ)}" if differ else None


def table(content: Mapping[str, Any]) -> pl.DataFrame:
    """Return the metrics of each fold, averaged over seeds.

    Returns
    -------
    polars.DataFrame
        first Date, rows, frauds Int64, then each metric Float64, null if the fold does not determine it, and
        ``<metric>_ceiling`` if it has a ceiling.
    """
    folds = pl.DataFrame(
        [
            {
                "first": date.fromisoformat(fold["fold"]),
                "rows": fold["rows"],
                "frauds": fold["frauds"],
                **{name: entry["value"] for name, entry in fold["metrics"].items()},
                **{
                    f"{name}_ceiling": entry.get("ceiling")
                    for name, entry in fold["metrics"].items()
                    if _capped(content, name)
                },
            }
            for fold in content["folds"]
        ],
        infer_schema_length=None,
    )
    measured = pl.exclude("first", "rows", "frauds").cast(pl.Float64).mean()
    return folds.group_by("first", maintain_order=True).agg(pl.col("rows", "frauds").first(), measured)


def _capped(content: Mapping[str, Any], name: str) -> bool:
    return "ceiling" in content["metrics"][name]


def _caption(content: Mapping[str, Any]) -> str:
    seeds = len({fold["seed"] for fold in content["folds"]})
    count = len({fold["fold"] for fold in content["folds"]})
    length = f"{content['days']:g} day{'' if content['days'] == 1 else 's'}"
    caption = f"{count} tests of {length}, {span(*content['test_span'])}; training labels {content['training_labels']}."
    caption += f" Each bar is the mean over {seeds} seeds." if seeds > 1 else ""
    caption += " Grey line and band: mean and standard deviation over folds."
    capped = any(_capped(content, name) for name in content["metrics"])
    return caption + (" Grey marks: the highest possible value." if capped else "")


def _table(content: Mapping[str, Any], data: pl.DataFrame) -> TextTable:
    names = [name for name, entry in content["metrics"].items() if entry["mean"] is not None][:8]
    rows = [
        (
            day(fold["first"]),
            f"{fold['rows']:,}",
            f"{fold['frauds']:,}",
            *("–" if fold[name] is None else number(fold[name]) for name in names),
        )
        for fold in data.iter_rows(named=True)
    ]
    for what, label in (("mean", "mean"), ("sd_folds", "± between folds"), ("sd_seeds", "± between seeds")):
        values = [content["metrics"][name][what] for name in names]
        if any(value is not None for value in values):
            rows.append((label, "", "", *("–" if value is None else number(value) for value in values)))
    return TextTable(("test starting", "transactions", "frauds", *map(display_name, names)), tuple(rows))
