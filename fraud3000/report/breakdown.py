"""The evidence by week, by amount, by category and by feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import polars as pl

from fraud3000.redact import mask
from fraud3000.report import groups, plots, tables
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import GAP, day, money, number, per_day, percent, points, share
from fraud3000.report.section import Section, Shown, without

FEWEST = 10
"""Frauds that a group or a week needs before the finding speaks of it."""
MOST_FEATURES = 12
_WILSON = "Black lines: Wilson's 95 % interval, as if transactions were independent."


def weeks(evidence: Evidence) -> Section:
    """Show how the measures vary from week to week."""
    name, topic = "weeks", "Week by week"
    reason = tables.missing(evidence.scored, "rows", "time", "frauds")
    if reason:
        return without(name, topic, reason)
    data = groups.by_week(evidence.scored)
    over = {row["measure"]: row for row in groups.spread(data).iter_rows(named=True)}
    recall, length = over["recall"], cast(int, data["days"].max())
    whole = data.filter(pl.col("days") == length)["recall"].drop_nulls()
    shown = _weeks_shown(data, over)
    if recall["mean"] is None or recall["sd"] is None:
        why = "the test rows span one week or less" if data.height == 1 else "fewer than two whole periods have frauds"
        return Section(name, topic, f"No deviation from week to week is known: {why}", shown=shown, data=data)
    unit = "week" if length == 7 else f"period of {length} days"
    ends = f"{percent(float(whole.min()))} and {percent(float(whole.max()))}"  # type: ignore[arg-type]
    title = f"Recall varies by ±{GAP}{points(recall['sd'])} from {unit} to {unit}, between {ends}"
    short = data.height - data.filter(pl.col("days") == length).height
    said = f"Grey line and band: mean and standard deviation of {recall['weeks']} whole {'weeks' if length == 7 else 'periods'}."
    said += " A shorter one at the end does not count there." if short else ""
    drawn = plots.weeks(data, recall["mean"], recall["sd"], title)
    return Section(name, topic, title, said, drawn, shown, data)


def _weeks_shown(data: pl.DataFrame, over: dict[str, dict[str, float]]) -> Shown:
    writers = {
        "average_precision": number,
        "recall": percent,
        "value_detection_rate": percent,
        "alerts_a_day": per_day,
    }
    longest = cast(int, data["days"].max())
    rows = [
        (
            day(row["first"]) + ("" if row["days"] == longest else f" ({row['days']} days)"),
            f"{row['rows']:,}",
            f"{row['frauds']:,}",
            *("–" if row[name] is None else write(row[name]) for name, write in writers.items()),
        )
        for row in data.iter_rows(named=True)
    ]
    for statistic, label in (("mean", "mean"), ("sd", "standard deviation")) if data.height > 1 else ():
        values = ((over[name][statistic], write) for name, write in writers.items())
        rows.append((label, "", "", *("–" if value is None else write(value) for value, write in values)))
    begin = "week from" if longest <= 7 else f"{longest} days from"
    columns = (begin, "transactions", "frauds", "average precision", "recall", "money", "alerts a day")
    return Shown(columns, tuple(rows))


def amounts(evidence: Evidence) -> Section:
    """Show what is caught by amount."""
    name, topic = "amounts", "By amount"
    reason = tables.missing(evidence.scored, "rows", "frauds")
    if reason:
        return without(name, topic, reason)
    data = groups.by_amount(evidence.scored, decimals=evidence.decimals)
    unit = evidence.currency or "units of the data's currency"
    return _grouped(evidence, name, topic, data, f"Amounts in {unit}; number of frauds in brackets. {_WILSON}")


def categories(evidence: Evidence) -> Iterator[Section]:
    """Show what is caught by each category of few values."""
    if tables.missing(evidence.scored, "rows", "frauds"):
        return
    for column, values in groups.values_of(evidence.scored, evidence.categories).items():
        label = column.replace("_", " ")
        name, topic = f"by-{column.replace('_', '-')}", f"By {label}"
        if values > groups.MOST_VALUES:
            yield without(name, topic, f"{label} has {values:,} values, more than {groups.MOST_VALUES}")
            continue
        data = groups.by_category(evidence.scored, column)
        data = data.with_columns(group=pl.Series([mask(value) for value in data["group"]], dtype=pl.String))
        yield _grouped(evidence, name, topic, data, f"Number of frauds in brackets. {_WILSON}")


def _grouped(evidence: Evidence, name: str, topic: str, data: pl.DataFrame, said: str) -> Section:
    title, recall = _extremes(data), evidence.metrics["metrics"]["recall"]["value"]
    shown = Shown(
        (topic.lower().removeprefix("by "), "transactions", "frauds", "fraud rate", "precision", "recall", "fraud money", "of it caught"),
        tuple(
            (
                row["group"],
                f"{row['rows']:,}",
                f"{row['frauds']:,}",
                share(row["fraud_rate"]),
                share(row["precision"]),
                share(row["recall"], row["recall_low"], row["recall_high"]),
                money(row["money"], evidence.decimals),
                share(row["value_detection_rate"]),
            )
            for row in data.iter_rows(named=True)
        ),
    )  # fmt: skip
    if title is None:
        few = f"Too few frauds to tell the groups apart: fewer than two have {FEWEST}"
        return Section(name, topic, few, shown=shown, data=data)
    return Section(name, topic, title, said, plots.groups(data, name, title, recall), shown, data)


def _extremes(data: pl.DataFrame) -> str | None:
    """Name the groups with the highest and the lowest recall; None where frauds are too few to say so."""
    told = data.filter(pl.col("frauds") >= FEWEST).sort("recall", maintain_order=True)
    if told.height < 2:
        return None
    least, best = told.row(0, named=True), told.row(-1, named=True)
    if best["recall_low"] <= least["recall_high"]:
        return f"Recall lies between {percent(least['recall'])} and {percent(best['recall'])}; the intervals do not tell the groups apart"
    return f"Recall is highest for {best['group']} ({percent(best['recall'])}) and lowest for {least['group']} ({percent(least['recall'])})"


def features(evidence: Evidence) -> Section:
    """Show the features without which average precision falls most."""
    name, topic, data = "features", "What the model leans on", evidence.told_importance()
    if data.is_empty():
        return without(name, topic, "no known fraud")
    if not data.select(pl.any_horizontal(pl.col("fall", "low", "high") != 0).any()).item():
        return without(name, topic, "no feature changes the order of the scores")
    top = pl.concat([data.head(1), data[1:].filter(pl.col("fall") > 0)]).head(MOST_FEATURES)
    first = top.row(0, named=True)
    title = (
        f"The model leans most on “{first['words']}”: without it, average precision falls by {number(first['fall'])}"
    )
    if first["fall"] <= 0:
        title = "No single feature carries the model: average precision does not fall without any one of them"
    said = (
        f"Each feature in turn gets the values of other rows, drawn at random; the {top.height} of {data.height} features"
        " whose loss lowers average precision most. Black lines: the two draws. Features that say the same"
        " share their weight, so a small fall does not prove a feature useless."
    )
    shown = Shown(
        ("feature", "fall", "least", "most"),
        tuple(
            (row["feature"], number(row["fall"]), number(row["low"]), number(row["high"]))
            for row in top.iter_rows(named=True)
        ),
    )
    return Section(name, topic, title, said, plots.features(top, title), shown, data)
