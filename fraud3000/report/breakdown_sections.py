"""Sections of the report by week, by amount, by category and by feature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import polars as pl

from fraud3000.redact import mask
from fraud3000.report import groups, plots, tables
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import GAP, day, money, number, per_day, percent, points, share
from fraud3000.report.section import Section, TextTable, unavailable

FEWEST = 10
"""Frauds that a group needs to be compared with others."""
MOST_FEATURES = 12
_WILSON = "Black lines: Wilson's 95 % interval, assuming independent transactions."


def weeks(evidence: Evidence) -> Section:
    """Show how the metrics vary between weeks."""
    name, topic = "weeks", "By week"
    reason = tables.missing(evidence.scored, "rows", "time", "frauds")
    if reason:
        return unavailable(name, topic, reason)
    data = groups.by_week(evidence.scored)
    over = {row["measure"]: row for row in groups.spread(data).iter_rows(named=True)}
    recall, length = over["recall"], cast(int, data["days"].max())
    full = data.filter(pl.col("days") == length)["recall"].drop_nulls()
    table = _weeks_table(data, over)
    if recall["mean"] is None or recall["sd"] is None:
        why = "the test rows span one week or less" if data.height == 1 else "fewer than two full periods have frauds"
        return Section(name, topic, f"The variation between weeks is unknown: {why}", table=table, data=data)
    unit = "week" if length == 7 else f"{length}-day period"
    ends = f"{percent(float(full.min()))} to {percent(float(full.max()))}"  # type: ignore[arg-type]
    title = f"Recall varies by ±{GAP}{points(recall['sd'])} between {unit}s, from {ends}"
    short = data.height - data.filter(pl.col("days") == length).height
    full_periods = f"{recall['weeks']} full {'weeks' if length == 7 else 'periods'}"
    caption = f"Grey line and band: mean and standard deviation of {full_periods}."
    caption += " They exclude the shorter period at the end." if short else ""
    picture = plots.weeks(data, recall["mean"], recall["sd"], title)
    return Section(name, topic, title, caption, picture, table, data)


def _weeks_table(data: pl.DataFrame, over: dict[str, dict[str, float]]) -> TextTable:
    formats: dict[str, Callable[[float], str]] = {
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
            *("–" if row[name] is None else write(row[name]) for name, write in formats.items()),
        )
        for row in data.iter_rows(named=True)
    ]
    for statistic, label in (("mean", "mean"), ("sd", "standard deviation")) if data.height > 1 else ():
        values = ((over[name][statistic], write) for name, write in formats.items())
        rows.append((label, "", "", *("–" if value is None else write(value) for value, write in values)))
    begin = "week starting" if longest <= 7 else f"{longest} days starting"
    columns = (begin, "transactions", "frauds", "average precision", "recall", "money caught", "alerts a day")
    return TextTable(columns, tuple(rows))


def amounts(evidence: Evidence) -> Section:
    """Show what is caught in each range of amounts."""
    name, topic = "amounts", "By amount"
    reason = tables.missing(evidence.scored, "rows", "frauds")
    if reason:
        return unavailable(name, topic, reason)
    data = groups.by_amount(evidence.scored, decimals=evidence.decimals)
    unit = evidence.currency or "units of the data's currency"
    return _grouped(evidence, name, topic, data, f"Amounts in {unit}; number of frauds in brackets. {_WILSON}")


def categories(evidence: Evidence) -> Iterator[Section]:
    """Show what is caught in each category; a column with many values is only named."""
    if tables.missing(evidence.scored, "rows", "frauds"):
        return
    for column, values in groups.values_of(evidence.scored, evidence.categories).items():
        label = column.replace("_", " ")
        name, topic = f"by-{column.replace('_', '-')}", f"By {label}"
        if values > groups.MOST_VALUES:
            yield unavailable(name, topic, f"{label} has {values:,} values, more than {groups.MOST_VALUES}")
            continue
        data = groups.by_category(evidence.scored, column)
        data = data.with_columns(group=pl.Series([mask(value) for value in data["group"]], dtype=pl.String))
        yield _grouped(evidence, name, topic, data, f"Number of frauds in brackets. {_WILSON}")


def _grouped(evidence: Evidence, name: str, topic: str, data: pl.DataFrame, caption: str) -> Section:
    title, recall = _extremes(data), evidence.evaluation.metrics["recall"].value
    table = TextTable(
        (topic.lower().removeprefix("by "), "transactions", "frauds", "fraud rate", "precision", "recall", "fraud money", "money caught"),
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
        few = f"Too few frauds to compare groups: fewer than two groups have {FEWEST}"
        return Section(name, topic, few, table=table, data=data)
    return Section(name, topic, title, caption, plots.groups(data, name, title, recall), table, data)


def _extremes(data: pl.DataFrame) -> str | None:
    """Name the groups with the highest and the lowest recall; None if there are too few frauds."""
    compared = data.filter(pl.col("frauds") >= FEWEST).sort("recall", maintain_order=True)
    if compared.height < 2:
        return None
    lowest, highest = compared.row(0, named=True), compared.row(-1, named=True)
    if highest["recall_low"] <= lowest["recall_high"]:
        return f"Recall is between {percent(lowest['recall'])} and {percent(highest['recall'])}; the intervals of the groups overlap"
    return f"Recall is highest for {highest['group']} ({percent(highest['recall'])}) and lowest for {lowest['group']} ({percent(lowest['recall'])})"


def features(evidence: Evidence) -> Section:
    """Show the features without which average precision falls most: permutation importance."""
    name, topic, data = "features", "Most important features", evidence.described_importance()
    if data.is_empty():
        return unavailable(name, topic, "no known fraud")
    if not data.select(pl.any_horizontal(pl.col("fall", "low", "high") != 0).any()).item():
        return unavailable(name, topic, "no feature changes the order of the scores")
    top = pl.concat([data.head(1), data[1:].filter(pl.col("fall") > 0)]).head(MOST_FEATURES)
    first = top.row(0, named=True)
    title = (
        f"The most important feature is “{first['words']}”: "
        f"without it, average precision falls by {number(first['fall'])}"
    )
    if first["fall"] <= 0:
        title = "No single feature is important: average precision does not fall without any of them"
    caption = (
        f"Permutation importance: each feature in turn gets the values of randomly drawn rows. The {top.height} of"
        f" {data.height} features without which average precision falls most. Black lines: the two draws. Correlated"
        " features share their importance, so a small fall does not prove that a feature is useless."
    )
    table = TextTable(
        ("feature", "fall in average precision", "lowest", "highest"),
        tuple(
            (row["feature"], number(row["fall"]), number(row["low"]), number(row["high"]))
            for row in top.iter_rows(named=True)
        ),
    )
    return Section(name, topic, title, caption, plots.features(top, title), table, data)
