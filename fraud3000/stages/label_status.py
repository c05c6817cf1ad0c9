"""What a label ledger holds, how long its frauds took to be known, and what follows for the label delay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fraud3000 import durations
from fraud3000.data.storage import atomic_write, locations
from fraud3000.labels import delay_estimate, visibility
from fraud3000.labels.delay_estimate import DelayCurve
from fraud3000.params import Params
from fraud3000.report import html_page, label_delays
from fraud3000.report.formatting import percent, plain
from fraud3000.report.section import TextTable
from fraud3000.schema import LEDGER
from fraud3000.service.journal import hash_chain, history_frames
from fraud3000.stages.labels import labels_in
from fraud3000.stages.shared.service_store import service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace, read, scan

SHOWN = (1, 3, 7, 14, 30, 60, 90)
"""Days at which the curve is told."""

SHARE = 0.95
"""Of the frauds, known when the proposed label delay has passed."""

_MOST_SOURCES = 4  # that have a curve of their own


def status(
    params: Params, location: str | None = None, *, share: float = SHARE, as_of: datetime | None = None
) -> Summary:
    """Tell the records of each source, the delay curve, the label delay it proposes, and the last weeks corrected by it.

    Parameters
    ----------
    location
        Raw transactions with labels, or label records of the workspace's transactions. By default the service's ledger where
        there is one, else the workspace's.
    share
        Of the frauds, to be known when the label delay has passed.
    as_of
        The day to look from; what came or was known later is left out. By default just after all that is on record.

    Raises
    ------
    DataError
        There is nothing to read, or it cannot be read.
    """
    told = _read(params, location)
    if not told.timed or told.ledger.is_empty():
        return Summary(command="labels status", facts=told.facts, tables=(_by_source(told.ledger),))
    found = _DelayFindings.of(told, params, as_of)
    proposed = delay_estimate.proposed(found.curve, share)
    shown = _Shown(params, found, share, proposed)
    return Summary(
        command="labels status",
        facts={**told.facts, **shown.facts},
        tables=(_by_source(told.ledger), *shown.tables),
        outputs=_write(Workspace.of(params), shown),
        warnings=tuple(shown.warnings()),
    )


@dataclass(frozen=True)
class _LedgerSource:
    """A ledger and the transactions it is about."""

    transactions: pl.DataFrame
    ledger: pl.DataFrame
    place: str

    @property
    def timed(self) -> bool:
        return "ts" in self.transactions.columns

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "ledger": self.place,
            "label records": self.ledger.height,
            "transactions": self.ledger["transaction_id"].n_unique(),
        }


def _read(params: Params, location: str | None) -> _LedgerSource:
    workspace, root = Workspace.of(params), service_folder(params)
    if location is not None:
        known = scan(workspace.transactions, made_by="prepare") if workspace.transactions.exists() else None
        with locations.fetched(location) as files:
            found = labels_in(params, files, known)
        if found.transactions is not None:
            return _LedgerSource(_slim(found.transactions.lazy()), found.ledger, location)
        return _LedgerSource(_slim(scan(workspace.transactions, made_by="prepare")), found.ledger, location)
    service = history_frames.known(root, key=hash_chain.audit_key(os.environ))
    if service is not None and (service.rows or not workspace.transactions.exists()):
        return _LedgerSource(_slim(service.transactions), service.ledger, str(root))
    told = _LedgerSource(
        _slim(scan(workspace.transactions, made_by="prepare")),
        read(workspace.labels, made_by="prepare"),
        str(workspace.labels),
    )
    if service is None:
        return told
    # records that wait for a service, which will begin with the workspace's transactions
    return replace(told, ledger=visibility.merge(told.ledger, service.ledger), place=f"{told.place} and {root}")


def _slim(transactions: pl.LazyFrame) -> pl.DataFrame:
    there = transactions.collect_schema()
    return transactions.select(name for name in ("transaction_id", "ts", "status") if name in there).collect()


@dataclass(frozen=True)
class _DelayFindings:
    """What the ledger's frauds tell as of a day."""

    as_of: datetime
    frauds: pl.DataFrame
    curve: DelayCurve
    by_source: dict[str, DelayCurve]
    weeks: pl.DataFrame

    @classmethod
    def of(cls, told: _LedgerSource, params: Params, as_of: datetime | None) -> _DelayFindings:
        records = delay_estimate.when_known(told.transactions, told.ledger, params.prepare.label_delay)
        at = _after_all(told.transactions, records) if as_of is None else _zoned(as_of)
        frauds = delay_estimate.known_frauds(records, at, params.prepare.source_precedence)
        curve = delay_estimate.curve_of(frauds)
        of_each = {
            source: delay_estimate.curve_of(delay_estimate.known_frauds(records.filter(pl.col("source") == source), at))
            for source in records["source"].unique().sort()
        }
        told_alone = sorted(
            (name for name in of_each if of_each[name].reports), key=lambda name: -of_each[name].reports
        )
        by_source = {name: of_each[name] for name in told_alone[:_MOST_SOURCES]} if len(told_alone) > 1 else {}
        return cls(at, frauds, curve, by_source, delay_estimate.nowcast(curve, told.transactions, frauds, at))

    @property
    def untold(self) -> int:
        return self.frauds["delay"].null_count()


@dataclass(frozen=True)
class _Shown:
    """The findings in words."""

    params: Params
    found: _DelayFindings
    share: float
    proposed: timedelta | None

    @property
    def facts(self) -> dict[str, Any]:
        found, curve = self.found, self.found.curve
        facts: dict[str, Any] = {
            "as of": f"{found.as_of:%Y-%m-%d %H:%M} UTC",
            "frauds known": found.frauds.height,
            "of them without a time": found.untold,
            "configured label delay": _text(self.params.prepare.label_delay),
        }
        if self.proposed is None:
            return facts
        ends = curve.quantile(self.share)
        assert ends is not None
        return {
            **facts,
            "delays seen up to": f"{curve.horizon:.0f} days; what takes longer is not in these shares",
            "proposed label delay": f"{_text(self.proposed)} ({_text(_up(ends[1]))} to {_text(_up(ends[2]))}): "
            f"{plain(percent(self.share))} of the frauds are known by then",
            "metrics can be trusted": f"up to {found.as_of - self.proposed:%Y-%m-%d %H:%M} UTC",
            "still to be reported": f"{self._to_come:,.0f} frauds of the last {found.weeks.height} weeks",
        }

    @property
    def _to_come(self) -> float:
        expected = self.found.weeks.drop_nulls("expected")
        return float((expected["expected"] - expected["known"]).sum())

    @property
    def tables(self) -> tuple[Table, ...]:
        found = self.found
        if self.proposed is None:
            return ()
        told = label_delays.rows(found.curve, found.by_source, SHOWN)
        return (
            Table("Frauds known, of those that will be", label_delays.columns(found.by_source), told),
            Table("The last weeks, as known and as expected", label_delays.WEEKS, label_delays.weeks(found.weeks)),
        )

    def warnings(self) -> Iterator[str]:
        curve, delay = self.found.curve, self.params.prepare.label_delay
        if self.proposed is None:
            yield "no fraud has a time at which it became known: there is nothing to estimate delays from"
            return
        if delay < self.proposed:
            known = curve.at(delay / timedelta(days=1))[0]
            said = "an unknown share" if np.isnan(known) else plain(percent(float(known)))
            yield (
                f"prepare.label_delay is {_text(delay)}, and {said} of the frauds are known by then: what is still to be "
                f"reported counts as legitimate; {_text(self.proposed)} would leave {plain(percent(1 - self.share))} of them"
            )
        if curve.begin:
            yield f"delays below {curve.begin:.0f} days are not told: only young transactions had them"
        if curve.beyond:
            yield f"{curve.beyond:,} frauds took longer than the {curve.horizon:.0f} days that can be judged, and are left out"
        if curve.reports < delay_estimate.OLDEST:
            yield f"only {curve.reports} delays are known: the curve could be far off"


def _write(workspace: Workspace, shown: _Shown) -> dict[str, str]:
    found, configured = shown.found, shown.params.prepare.label_delay
    if shown.proposed is None:
        return {}
    section = label_delays.section(
        found.curve,
        found.by_source,
        found.weeks,
        days=SHOWN,
        target_share=shown.share,
        proposed=shown.proposed,
        configured=configured,
    )
    basis = f"{found.curve.reports:,} frauds as known at {found.as_of:%Y-%m-%d %H:%M} UTC"
    page = html_page.delays(section, TextTable(label_delays.WEEKS, label_delays.weeks(found.weeks)), basis=basis)
    assert section.picture is not None
    endings = (".html", ".svg", ".png", ".csv")
    with atomic_write.whole(*(workspace.delays.with_suffix(ending) for ending in endings)) as (
        html_file,
        svg,
        png,
        csv,
    ):
        html_file.write_text(page, encoding="utf-8")
        svg.write_text(section.picture.svg, encoding="utf-8")
        png.write_bytes(section.picture.png)
        section.data.write_csv(csv)
    return {"page": str(workspace.delays), "curve": str(workspace.delays.with_suffix(".csv"))}


def _by_source(ledger: pl.DataFrame) -> Table:
    counted = (
        ledger.select(*LEDGER)
        .group_by("source")
        .agg(pl.len(), (pl.col("is_fraud") == 1).sum().alias("fraud"), pl.col("recorded_at").max())
        .sort("source")
    )
    rows = tuple(
        (source, f"{n:,}", f"{fraud:,}", f"{n - fraud:,}", "" if last is None else f"{last:%Y-%m-%d %H:%M}")
        for source, n, fraud, last in counted.iter_rows()
    )
    return Table("Records by source", ("source", "records", "fraud", "legitimate", "last recorded"), rows)


def _after_all(transactions: pl.DataFrame, records: pl.DataFrame) -> datetime:
    newest = pl.concat([transactions["ts"], records["recorded_at"].rename("ts")]).max()
    return (newest if isinstance(newest, datetime) else datetime(1970, 1, 1, tzinfo=UTC)) + timedelta(microseconds=1)


def _up(days: float) -> timedelta:
    return timedelta(days=int(np.ceil(days)))


def _text(span: timedelta) -> str:
    return durations.text(int(span.total_seconds()))


def _zoned(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
