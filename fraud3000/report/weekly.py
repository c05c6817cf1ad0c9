"""A backtest in the report: how the recipe does from fold to fold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from fraud3000.metrics.catalogue import display_name
from fraud3000.report import plots
from fraud3000.report.formatting import day, number, span
from fraud3000.report.section import Section, Shown, without

NAME, TOPIC = "backtest", "The recipe, week after week"


def section(content: Mapping[str, Any]) -> Section:
    """Tell a backtest.

    Parameters
    ----------
    content
        Of `backtest/metrics.json`.
    """
    average = content["metrics"]["average_precision"]
    if average["mean"] is None:
        return without(NAME, TOPIC, average["reason"])
    shown = [name for name in content["metrics"] if name == "average_precision" or name.startswith("card_precision")]
    shown = [name for name in shown if content["metrics"][name]["mean"] is not None][:2]
    data = table(content)
    spread = "" if average["sd_folds"] is None else f" ± {number(average['sd_folds'])} from fold to fold"
    title = f"Made anew before each test, the recipe reaches an average precision of {number(average['mean'])}{spread}"
    if not content["refit"]:
        title = f"Made once, the model keeps an average precision of {number(average['mean'])}{spread}"
    return Section(NAME, TOPIC, title, _said(content), plots.folds(data, shown, title), _shown(content, data), data)


def other(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
    """Say in what a backtest's recipe differs from another; None where it does not."""
    differ = sorted(name for name in {*content["recipe"], *recipe} if content["recipe"].get(name) != recipe.get(name))
    return f"the last backtest was of another recipe: {', '.join(differ)} differ" if differ else None


def table(content: Mapping[str, Any]) -> pl.DataFrame:
    """Lay out each fold's metrics, the mean over seeds.

    Returns
    -------
    polars.DataFrame
        first Date, rows, frauds Int64, then each metric Float64, null where the fold does not determine it, and
        ``<metric>_ceiling`` where there is one.
    """
    folds = pl.DataFrame(
        [
            {
                "first": date.fromisoformat(one["fold"]),
                "rows": one["rows"],
                "frauds": one["frauds"],
                **{name: entry["value"] for name, entry in one["metrics"].items()},
                **{
                    f"{name}_ceiling": entry.get("ceiling")
                    for name, entry in one["metrics"].items()
                    if _capped(content, name)
                },
            }
            for one in content["folds"]
        ],
        infer_schema_length=None,
    )
    measured = pl.exclude("first", "rows", "frauds").cast(pl.Float64).mean()
    return folds.group_by("first", maintain_order=True).agg(pl.col("rows", "frauds").first(), measured)


def _capped(content: Mapping[str, Any], name: str) -> bool:
    return "ceiling" in content["metrics"][name]


def _said(content: Mapping[str, Any]) -> str:
    seeds = len({one["seed"] for one in content["folds"]})
    count = len({one["fold"] for one in content["folds"]})
    length = f"{content['days']:g} day{'' if content['days'] == 1 else 's'}"
    said = f"{count} tests of {length}, {span(*content['test_span'])}; training labels {content['training_labels']}."
    said += f" Each bar is the mean over {seeds} seeds." if seeds > 1 else ""
    said += " Grey line and band: mean and standard deviation over folds."
    capped = any(_capped(content, name) for name in content["metrics"])
    return said + (" Grey marks: the most that anyone could reach." if capped else "")


def _shown(content: Mapping[str, Any], data: pl.DataFrame) -> Shown:
    names = [name for name, entry in content["metrics"].items() if entry["mean"] is not None][:8]
    rows = [
        (
            day(one["first"]),
            f"{one['rows']:,}",
            f"{one['frauds']:,}",
            *("–" if one[name] is None else number(one[name]) for name in names),
        )
        for one in data.iter_rows(named=True)
    ]
    for what, label in (("mean", "mean"), ("sd_folds", "± from fold to fold"), ("sd_seeds", "± from seed to seed")):
        found = [content["metrics"][name][what] for name in names]
        if any(value is not None for value in found):
            rows.append((label, "", "", *("–" if value is None else number(value) for value in found)))
    return Shown(("test from", "transactions", "frauds", *map(display_name, names)), tuple(rows))
