"""Data-quality findings: problems of a data set whose single rows are all valid.

Findings never stop a run. They are reported only if both the counts and the effect are large, so that small
samples do not cause false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal

import polars as pl

from fraud3000.data import target_leakage
from fraud3000.schema import TRANSACTIONS

_EXPECTED_FRAUDS = 10.0  # a month without frauds is reported if at least this many are expected in it
_BREAK_RATIO, _BREAK_Z = 2.0, 5.0  # the ratio and the standard errors by which a rate must change
_MANY_TIES, _SOME_TIES = 0.01, 0.0001
_MANY_UNLABELLED = 0.5
_LISTED = 6  # months listed in a finding
_RESOLUTIONS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
_COORDINATES = ("card_lat", "card_long", "terminal_lat", "terminal_long")


@dataclass(frozen=True)
class Finding:
    """One data-quality finding.

    Attributes
    ----------
    severity
        `warn` if results would be wrong or too optimistic, `info` if they are only limited.
    """

    code: str
    severity: Literal["warn", "info"]
    text: str


def examine(
    transactions: pl.DataFrame | pl.LazyFrame,
    ledger: pl.DataFrame | pl.LazyFrame,
    nulled: Mapping[str, int] | None = None,
) -> list[Finding]:
    """Look for problems that affect features, labels or evaluation; reads a lazy frame column by column.

    Parameters
    ----------
    transactions
        TRANSACTIONS.
    ledger
        LEDGER; the last record of a transaction decides.
    nulled
        As in `examine_columns`.

    Returns
    -------
    list of Finding
        Warnings first.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> transactions = pl.DataFrame({"transaction_id": ["a", "b"], "amount": [100, 250], "labelled": [True, True],
    ...     "is_fraud": pl.Series([0, 0], dtype=pl.Int8), "channel": ["web", "web"]})
    >>> ledger = pl.DataFrame(schema={"transaction_id": pl.String, "is_fraud": pl.Int8})
    >>> for finding in examine(transactions, ledger):
    ...     print(finding.severity, finding.code, "|", finding.text)
    warn no_frauds | None of 2 transactions is a fraud: a model cannot be trained.
    info constant_column | Column channel is 'web' in every row and carries no information.
    """
    rows = transactions.lazy()
    data = _LabelledRows(rows, _label(rows, ledger.lazy()))
    checks: list[Callable[[_LabelledRows], Iterator[Finding]]] = [_unlabelled, _leaking_columns]
    if "ts" in data.schema:
        checks += [_months, _ties, partial(_reports, ledger=ledger.lazy())]
    findings = [finding for check in checks for finding in check(data)]
    findings += examine_columns(rows, nulled or {})
    findings += _reported_early(rows, ledger.lazy())
    return sorted(findings, key=lambda finding: finding.severity != "warn")


def examine_columns(transactions: pl.LazyFrame, nulled: Mapping[str, int]) -> list[Finding]:
    """Report values that became null, and columns that are empty or constant; needs no labels.

    Parameters
    ----------
    transactions
        TRANSACTIONS.
    nulled
        For each column, the number of values that could not be read and became null.
    """
    return [*_nulled_values(transactions, nulled), *_empty_columns(transactions)]


def column_warnings(transactions: pl.LazyFrame, nulled: Mapping[str, int]) -> tuple[str, ...]:
    """Return the texts of those findings of `examine_columns` that are warnings."""
    return tuple(finding.text for finding in examine_columns(transactions, nulled) if finding.severity == "warn")


@dataclass(frozen=True)
class _LabelledRows:
    """Transactions, of which each check reads the columns it needs, and their labels."""

    rows: pl.LazyFrame
    label: pl.Series

    @cached_property
    def schema(self) -> pl.Schema:
        return self.rows.collect_schema()

    @property
    def height(self) -> int:
        return len(self.label)

    def columns(self, *names: str | pl.Expr) -> pl.DataFrame:
        return self.rows.select(*names).collect(engine="streaming")


def _reported_early(transactions: pl.LazyFrame, ledger: pl.LazyFrame) -> Iterator[Finding]:
    """Report labels with a report time before their transaction; like others, they count after the label delay."""
    if "ts" not in transactions.collect_schema() or "reported_at" not in ledger.collect_schema():
        return
    reported = ledger.filter(pl.col("reported_at").is_not_null())
    timed = transactions.select("transaction_id", "ts")
    early = reported.join(timed, on="transaction_id").filter(pl.col("reported_at") < pl.col("ts"))
    count, first = early.select(pl.len(), pl.col("transaction_id").min()).collect(engine="streaming").row(0)
    if count:
        yield Finding(
            "reported_early",
            "warn",
            f"{count:,} label record{'s were' if count > 1 else ' was'} reported before the transaction took place, for "
            f"example {first}: are both times in the zone that the params state?",
        )


def _label(transactions: pl.LazyFrame, ledger: pl.LazyFrame) -> pl.Series:
    """The final label: the last record, else legitimate, else null for a row without a label."""
    last = ledger.group_by("transaction_id").agg(pl.col("is_fraud").last().alias("recorded"))
    presumed = pl.when("labelled").then(pl.col("is_fraud").fill_null(0))
    rows = transactions.select("transaction_id", presumed=presumed)
    joined = rows.join(last, on="transaction_id", how="left", maintain_order="left")
    return joined.select(label=pl.coalesce("recorded", "presumed")).collect(engine="streaming").to_series()


def _unlabelled(data: _LabelledRows) -> Iterator[Finding]:
    frauds, without, rows = data.label.sum(), data.label.null_count(), data.height
    if not frauds:
        yield Finding("no_frauds", "warn", f"None of {rows:,} transactions is a fraud: a model cannot be trained.")
    if without:
        severity: Literal["warn", "info"] = "warn" if without >= _MANY_UNLABELLED * rows else "info"
        text = (
            f"{without:,} of {rows:,} transactions ({without / rows:.1%}) have no label and are not used in training."
        )
        yield Finding("unlabelled", severity, text)


def _months(data: _LabelledRows) -> Iterator[Finding]:
    """Compare the months' shares of labels and of frauds."""
    months = (
        data.columns("ts")
        .with_columns(label=data.label)
        .lazy()
        .group_by(month=pl.col("ts").dt.truncate("1mo"))
        .agg(rows=pl.len(), known=pl.col("label").count(), frauds=pl.col("label").sum().cast(pl.Int64))
        .sort("month")
        .collect()
    )
    months = months.with_columns(pl.col("month").dt.strftime("%Y-%m"))
    known, frauds = int(months["known"].sum()), int(months["frauds"].sum())
    if not frauds:
        return
    yield from _empty_months(months, known / data.height, frauds / known)
    yield from _breaks(months, _frauds_per_card(data, frauds))


def _empty_months(months: pl.DataFrame, known_share: float, fraud_share: float) -> Iterator[Finding]:
    unlabelled = months.filter((pl.col("known") == 0) & (pl.col("rows") * known_share >= _EXPECTED_FRAUDS))
    if unlabelled.height:
        text = f"{_list_months(unlabelled)}: {int(unlabelled['rows'].sum()):,} transactions, none with a label."
        yield Finding("months_without_labels", "warn", text)
    expected = pl.col("known") * fraud_share
    silent = months.filter((pl.col("frauds") == 0) & (expected >= _EXPECTED_FRAUDS))
    if silent.height:
        known = int(silent["known"].sum())
        text = f"{_list_months(silent)}: no fraud in {known:,} transactions; {known * fraud_share:,.0f} were expected."
        yield Finding("months_without_frauds", "warn", text)


def _breaks(months: pl.DataFrame, clustering: float) -> Iterator[Finding]:
    """Report months in which the share of fraud differs from the previous month significantly and by a factor of two."""
    with_frauds = months.filter(pl.col("frauds") > 0)
    rows = with_frauds.select("month", "known", "frauds").rows()
    for (_, known, frauds), (month, known_next, frauds_next) in pairwise(rows):
        before, after = frauds / known, frauds_next / known_next
        pooled = (frauds + frauds_next) / (known + known_next)
        deviation = math.sqrt(clustering * pooled * (1 - pooled) * (1 / known + 1 / known_next))
        if max(before, after) >= _BREAK_RATIO * min(before, after) and abs(after - before) > _BREAK_Z * deviation:
            text = (
                f"{month}: {after:.3%} of transactions are fraud, after {before:.3%} the month before"
                f" ({frauds_next:,} and {frauds:,} frauds); did the way of labelling change?"
            )
            yield Finding("label_rate_break", "warn", text)


def _reports(data: _LabelledRows, ledger: pl.LazyFrame) -> Iterator[Finding]:
    """Report if no fraud was known by the time of the last transaction although many have a report time."""
    if "reported_at" not in ledger.collect_schema():
        return
    reports = ledger.filter(is_fraud=1).select("reported_at").collect(engine="streaming").to_series().drop_nulls()
    first, last = reports.min(), data.columns(pl.col("ts").max()).item()
    if len(reports) >= _EXPECTED_FRAUDS and isinstance(first, datetime) and first > last:
        text = (
            f"All {len(reports):,} frauds with a report time were reported after the last transaction"
            f" ({last:%Y-%m-%d}), the first on {first:%Y-%m-%d}: no model can learn from them."
            " Check the column, format and zone of reported_at."
        )
        yield Finding("reports_in_future", "warn", text)


def _frauds_per_card(data: _LabelledRows, frauds: int) -> float:
    """Mean number of frauds per card with fraud: frauds cluster on cards, so fewer of them are independent."""
    if "card_id" not in data.schema:
        return 1.0
    of_fraud = pl.lit((data.label == 1).fill_null(value=False))
    return frauds / max(1, data.columns(pl.col("card_id").filter(of_fraud)).n_unique())


def _ties(data: _LabelledRows) -> Iterator[Finding]:
    """Report transactions of a card at equal times; by the time contract they do not see each other."""
    if "card_id" not in data.schema or data.height < 2:
        return
    ts = data.columns("ts").to_series()
    same = ts == ts.shift(1)
    near = pl.lit(same.fill_null(value=False) | same.shift(-1).fill_null(value=False))
    hashed = pl.struct("card_id", "ts").hash().filter(near & pl.col("card_id").is_not_null())
    crowded = data.columns(hashed.alias("hash")).to_series().sort()
    again = (crowded == crowded.shift(1)).fill_null(value=False)
    tied = int((again | again.shift(-1, fill_value=False)).sum())
    share, unit = tied / data.height, _resolution(ts)
    if tied == 0 or (share < _SOME_TIES and unit is None):
        return
    clock = f"one whole {unit}" if unit else "time"
    text = (
        f"{tied:,} transactions ({share:.2%}) share card and {clock} with another transaction; "
        "features of neither include the other."
    )
    yield Finding("ties", "warn" if share >= _MANY_TIES else "info", text)


def _resolution(ts: pl.Series) -> str | None:
    epoch = ts.dt.epoch("us")
    return next((unit for seconds, unit in _RESOLUTIONS if (epoch % (seconds * 1_000_000) == 0).all()), None)


def _leaking_columns(data: _LabelledRows) -> Iterator[Finding]:
    for name in ["amount", *_passthrough(data.schema)]:
        reason = target_leakage.leak_reason(data.columns(name).to_series(), data.label)
        if reason:
            text = f"Column {name} reveals the label: {reason}. If it is known only after the transaction, drop it."
            yield Finding("gives_label_away", "warn", text)


def _nulled_values(transactions: pl.LazyFrame, nulled: Mapping[str, int]) -> Iterator[Finding]:
    for name, count in nulled.items():
        if count:
            readable = transactions.select(pl.col(name).count()).collect(engine="streaming").item()
            which = f"{count:,} value{'s' * (count > 1)}" if readable else f"all {count:,} values"
            effect = " Their labels count from the end of the label delay." if name == "reported_at" else ""
            yield Finding("values_lost", "warn", f"Column {name}: {which} could not be read and became null.{effect}")


def _empty_columns(transactions: pl.LazyFrame) -> Iterator[Finding]:
    names = transactions.collect_schema().names()
    for name in ["amount", *(name for name in _COORDINATES if name in names), *_passthrough(names)]:
        column = pl.col(name)
        checks = {
            "rows": pl.len(),
            "nulls": column.null_count(),
            "first": column.first(),
            "same": (column == column.first()).all(),
        }
        named = [check.alias(name) for name, check in checks.items()]
        rows, nulls, first, same = transactions.select(named).collect(engine="streaming").row(0)
        if nulls == rows:
            yield Finding("all_null_column", "warn", f"Column {name} is empty in every row.")
        elif rows > 1 and nulls == 0 and same:
            text = f"Column {name} is {first!r} in every row and carries no information."
            yield Finding("constant_column", "info", text)


def _passthrough(names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in TRANSACTIONS]


def _list_months(months: pl.DataFrame) -> str:
    names = months["month"].to_list()
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more months" if len(names) > _LISTED else "")
