"""Plots of the report, each drawn from its table.

The model has the accent colour and its interval is a band; the baseline is a thin grey line. Lines are labelled directly.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from fraud3000.metrics.calibration import log_odds
from fraud3000.metrics.catalogue import display_name
from fraud3000.report import strokes
from fraud3000.report.canvas import ACCENT, BASELINE, INK, MUTED, Picture, Sheet
from fraud3000.report.formatting import GAP, day, number, per_day, percent

_ODDS = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def caught(table: pl.DataFrame, title: str) -> Picture:
    """Draw what the model catches, with its interval, and what the best baseline catches.

    Parameters
    ----------
    table
        what, by String; share, low, high, baseline Float64; one row for each share, `by` names its baseline.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes()
        strokes.bar_axes(axes, table["what"].to_list(), wrap=16 if sheet.narrow else 30)
        for index, row in enumerate(table.iter_rows(named=True)):
            axes.barh(index, row["share"], height=0.46, color=ACCENT)
            if row["low"] is not None:
                strokes.interval_bar(axes, row["low"], row["high"], index)
            if row["baseline"] is not None:
                axes.plot([row["baseline"]] * 2, [index - 0.36, index + 0.36], color=BASELINE, linewidth=3)
                axes.text(
                    row["baseline"],
                    index - 0.42,
                    row["by"],
                    color=MUTED,
                    ha=strokes.text_alignment(row["baseline"]),
                    va="bottom",
                )
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(strokes.SHARE)
        axes.xaxis.set_major_locator(FixedLocator(strokes.share_ticks(sheet)))
        axes.set_ylim(table.height - 0.45, -0.85)

    return Picture("caught", title, draw, 60 + 74 * table.height, 60 + 74 * table.height)


def precision_recall(table: pl.DataFrame, title: str, *, at: tuple[float, float] | None) -> Picture:
    """Draw precision against recall.

    Parameters
    ----------
    table
        From `fraud3000.report.tables.precision_recall`.
    at
        Recall and precision of the model's alerts, marked on the curve.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes()
        recall = table["recall"].to_numpy()
        strokes.interval_band(axes, table, recall, "low", "high")
        axes.plot(recall, table["largest_amount"], color=BASELINE, linewidth=1.2)
        axes.plot(recall, table["precision"], color=ACCENT)
        strokes.label_line(axes, recall, table["precision"].to_numpy(), "the model", ACCENT, at=0.3, bold=True)
        strokes.label_line(
            axes, recall, table["largest_amount"].to_numpy(), "largest amounts", MUTED, at=0.25 if sheet.narrow else 0.5
        )
        if at is not None:
            strokes.mark_point(axes, *at, "the model's alerts")
        strokes.share_axes(axes, "recall: share of frauds caught", "precision")
        axes.xaxis.set_major_locator(FixedLocator(strokes.share_ticks(sheet)))
        highest = float(table.select(pl.max_horizontal("precision", "high", "largest_amount").max()).item())
        if highest < 0.5:
            axes.set_ylim(0, highest * 1.2)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(strokes.TICK)

    return Picture("precision-recall", title, draw, 360, 300)


def workload(table: pl.DataFrame, title: str, *, unit: str, own: tuple[float, float | None, float | None]) -> Picture:
    """Draw frauds and money caught against the number of alerts.

    Parameters
    ----------
    table
        From `fraud3000.report.tables.workload`.
    own
        Number of the model's alerts, and the shares of frauds and of money that they catch.
    """

    def draw(sheet: Sheet) -> None:
        pair = sheet.pair()
        for axes, what, own_share in zip(pair, ("frauds", "money"), own[1:], strict=True):
            known = table.filter(pl.col(what).is_not_null())
            alerts = known["alerts"].to_numpy()
            strokes.interval_band(axes, known, alerts, f"{what}_low", f"{what}_high")
            strokes.line_from_zero(axes, alerts, known[f"{what}_largest_amount"].to_numpy(), BASELINE, 1.2)
            strokes.line_from_zero(axes, alerts, known[what].to_numpy(), ACCENT, 2.5)
            strokes.label_line(
                axes, alerts, known[f"{what}_largest_amount"].to_numpy(), "largest amounts", MUTED, at=0.99, end=True
            )
            if own_share is not None:
                strokes.mark_point(axes, own[0], own_share, percent(own_share))
            axes.set_title(f"share of {what} caught", fontsize="medium", color=INK, loc="left", fontweight="bold")
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(strokes.SHARE)
            axes.set_xlim(0, float(table["alerts"].to_numpy().max()))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda alerts, _index: per_day(alerts)))
            if not sheet.narrow or axes is pair[-1]:
                axes.set_xlabel(unit)

    return Picture("workload", title, draw, 340, 560)


def calibration(table: pl.DataFrame, title: str) -> Picture:
    """Draw the observed fraud rate against the score, both on log scales.

    Parameters
    ----------
    table
        From `fraud3000.report.tables.calibration`.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes()
        seen = table.filter(pl.col("observed") > 0)
        lowest = min(float(table["score"].min()), float(seen["observed"].min() or 1)) / 2  # type: ignore[arg-type]
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot([lowest, 1], [lowest, 1], color=BASELINE, linewidth=1.2)
        for row in table.iter_rows(named=True):
            axes.plot([row["score"]] * 2, [max(row["low"], lowest), row["high"]], color=ACCENT, linewidth=4, alpha=0.35)
        axes.scatter(seen["score"], seen["observed"], color=ACCENT, s=46, zorder=3)
        for scale in (axes.xaxis, axes.yaxis):
            scale.set_major_formatter(strokes.TICK)
            scale.set_minor_locator(NullLocator())
            scale.set_major_locator(FixedLocator([10.0**-power for power in range(6) if 10.0**-power >= lowest]))
        axes.set_xlim(lowest, 1.15)
        axes.set_ylim(lowest, 1.15)
        middle = math.sqrt(lowest)
        axes.annotate(
            "perfectly calibrated",
            (middle, middle),
            xytext=(8, -4),
            textcoords="offset points",
            color=MUTED,
            ha="left",
            va="top",
        )
        axes.set_xlabel("score (log scale)")
        axes.set_ylabel("observed fraud rate (log scale)")

    return Picture("calibration", title, draw, 380, 330)


def scores(table: pl.DataFrame, title: str, *, threshold: float | None) -> Picture:
    """Draw the distribution of the scores of frauds and of legitimate transactions.

    Parameters
    ----------
    table
        From `fraud3000.report.tables.distribution`.
    threshold
        One number, or None if it depends on the amount.
    """

    def draw(sheet: Sheet) -> None:
        both = sheet.figure.subplots(2, 1, sharex=True)
        edges = log_odds(np.append(table["score_from"].to_numpy(), table["score_to"].to_numpy()[-1:]))
        lines = (("legitimate", BASELINE, INK), ("frauds", ACCENT, ACCENT))
        for axes, (name, colour, dark) in zip(both, lines, strict=True):
            axes.grid(visible=True, axis="y")
            share = table[f"{name}_share"].to_numpy()
            axes.bar(edges[:-1], share, width=np.diff(edges) * 0.92, align="edge", color=colour)
            axes.set_ylim(0, max(float(share.max()), 1e-9) * 1.18)
            axes.yaxis.set_major_locator(MaxNLocator(2))
            axes.yaxis.set_major_formatter(strokes.SHARE)
            axes.set_title(
                f"{table[name].sum():,} {name}", loc="left", fontsize="medium", fontweight="bold", color=dark
            )
            if threshold is not None and edges[0] < log_odds(np.array([threshold]))[0] < edges[-1]:
                axes.axvline(log_odds(np.array([threshold]))[0], color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        marks = _ODDS[1::2] if sheet.narrow else _ODDS
        ticks = [share for share in marks if edges[0] <= log_odds(np.array([share]))[0] <= edges[-1]]
        both[-1].xaxis.set_major_locator(FixedLocator(log_odds(np.array(ticks)).tolist()))
        both[-1].xaxis.set_major_formatter(FuncFormatter(lambda _odds, index: strokes.TICK(ticks[index])))
        label = "" if threshold is None else f"; dashed: the threshold, {percent(threshold)}"
        both[-1].set_xlabel(f"score (log-odds scale{'' if sheet.narrow else label})")

    return Picture("scores", title, draw, 340, 340)


def weeks(table: pl.DataFrame, mean: float, sd: float | None, title: str) -> Picture:
    """Draw the recall of each week, with mean and standard deviation over weeks.

    Parameters
    ----------
    table
        From `fraud3000.report.groups.by_week`.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes()
        position = np.arange(table.height)
        known = table["recall"].is_not_null().to_numpy()
        if sd is not None:
            axes.axhspan(max(mean - sd, 0), min(mean + sd, 1), color=ACCENT, alpha=0.13, linewidth=0)
        axes.axhline(mean, color=BASELINE, linewidth=1.2)
        axes.bar(position[known], table["recall"].to_numpy()[known], width=0.5, color=ACCENT)
        for x, share in zip(position[known], table["recall"].to_numpy()[known], strict=True):
            if table.height <= (5 if sheet.narrow else 10):
                axes.text(x, share, percent(share), ha="center", va="bottom", color=INK)
        axes.set_xlim(-0.6, table.height - 0.4)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(strokes.SHARE)
        step = math.ceil(table.height / (3 if sheet.narrow else 6))
        axes.xaxis.set_major_locator(FixedLocator(position[::step].tolist()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _index: _short(table["first"][int(at)])))
        axes.set_xlabel("week starting")

    return Picture("weeks", title, draw, 260, 260)


def folds(table: pl.DataFrame, metrics: list[str], title: str) -> Picture:
    """Draw one or two metrics of each fold of a backtest, with mean and standard deviation over folds.

    Parameters
    ----------
    table
        From `fraud3000.report.backtest_section.table`.
    metrics
        Columns to draw.
    """

    def draw(sheet: Sheet) -> None:
        all_axes = sheet.pair() if len(metrics) > 1 else [sheet.axes()]
        position = np.arange(table.height)
        for axes, name in zip(all_axes, metrics, strict=True):
            values = table[name].to_numpy()
            known = np.isfinite(values)
            mean = float(values[known].mean())
            sd = float(values[known].std(ddof=1)) if known.sum() > 1 else 0.0
            axes.axhspan(max(mean - sd, 0), min(mean + sd, 1), color=ACCENT, alpha=0.13, linewidth=0)
            axes.axhline(mean, color=BASELINE, linewidth=1.2)
            axes.bar(position[known], values[known], width=0.4, color=ACCENT)
            for x, value in zip(position[known], values[known], strict=True):
                if table.height <= (4 if sheet.narrow else 5):
                    axes.text(x, value + 0.02, number(value), ha="center", va="bottom", color=INK)
            if f"{name}_ceiling" in table.columns:
                for x, most in zip(position, table[f"{name}_ceiling"].to_numpy(), strict=True):
                    axes.plot([x - 0.36, x + 0.36], [most, most], color=BASELINE, linewidth=3)
            axes.set_title(display_name(name), fontsize="medium", color=INK, loc="left", fontweight="bold")
            axes.set_xlim(-0.6, table.height - 0.4)
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _index: f"{value:g}"))
            step = math.ceil(table.height / 3)
            axes.xaxis.set_major_locator(FixedLocator(position[::step].tolist()))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _index: _short(table["first"][int(at)])))
            if not sheet.narrow or axes is all_axes[-1]:
                axes.set_xlabel("test starting")

    return Picture("backtest", title, draw, 300, 300 if len(metrics) == 1 else 520)


def _short(at: object) -> str:
    return day(at).rpartition(GAP)[0]  # type: ignore[arg-type]


def groups(table: pl.DataFrame, name: str, title: str, mean: float | None) -> Picture:
    """Draw the recall of each group with its interval, and the recall over all groups.

    Parameters
    ----------
    table
        From `fraud3000.report.groups.by_category`.
    mean
        Recall over all groups.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes()
        labels = [f"{group} ({frauds:,})" for group, frauds in table.select("group", "frauds").iter_rows()]
        strokes.bar_axes(axes, labels, wrap=18 if sheet.narrow else 34)
        for index, row in enumerate(table.iter_rows(named=True)):
            if row["recall"] is None:
                axes.text(0.01, index, "no fraud", color=MUTED, va="center")
                continue
            axes.barh(index, row["recall"], height=0.55, color=ACCENT)
            strokes.interval_bar(axes, row["recall_low"], row["recall_high"], index)
        if mean is not None:
            axes.axvline(mean, color=BASELINE, linewidth=1.2)
            right = mean < 0.8
            axes.annotate(
                f"all: {percent(mean)}", (mean, -1.2), xytext=(5 if right else -5, -2), textcoords="offset points", color=MUTED,
                ha="left" if right else "right", va="top",
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(strokes.SHARE)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axes.set_ylim(table.height - 0.4, -1.2 if mean is not None else -0.6)

    return Picture(name, title, draw, 74 + 34 * table.height, 74 + 44 * table.height)


def features(table: pl.DataFrame, title: str) -> Picture:
    """Draw by how much the average precision falls without each feature.

    Parameters
    ----------
    table
        words String; fall, low, high Float64; largest fall first.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes()
        strokes.bar_axes(axes, table["words"].to_list(), wrap=20 if sheet.narrow else 40)
        for index, row in enumerate(table.iter_rows(named=True)):
            axes.barh(index, row["fall"], height=0.55, color=ACCENT)
            strokes.interval_bar(axes, row["low"], row["high"], index)
        axes.set_ylim(table.height - 0.4, -0.6)
        axes.set_xlim(min(0, float(table["low"].min())), float(table["high"].max()) * 1.04)  # type: ignore[arg-type]
        axes.xaxis.set_major_locator(MaxNLocator(3 if sheet.narrow else 5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda fall, _index: f"{fall:g}"))
        axes.set_xlabel("fall in average precision")

    height = 66 + 36 * table.height
    return Picture("features", title, draw, height, 66 + 62 * table.height)
