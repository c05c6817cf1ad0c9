"""`labels status`: the records of a label ledger, the reporting delay of its frauds, and the label delay it suggests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fraud3000 import durations
from fraud3000.data.storage import locations
from fraud3000.labels import delay_estimate, visibility
from fraud3000.labels.delay_estimate import DelayCurve
from fraud3000.params import Params
from fraud3000.report import html_page, label_delays
from fraud3000.report.formatting import percent, plain
from fraud3000.report.section import TextTable
from fraud3000.schema import LEDGER
from fraud3000.service.journal import hash_chain, history_frames
from fraud3000.stages.shared import report_files
from fraud3000.stages.shared.input_files import read_labels
from fraud3000.stages.shared.service_store import service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace, read, scan
from fraud3000.utc import as_utc

SHOWN = (1, 3, 7, 14, 30, 60, 90)
"""Days at which the table shows the curve."""

SHARE = 0.95
"""Default share of frauds that are known after the proposed label delay."""

_MOST_SOURCES = 4  # sources with a separate curve


def status(
    params: Params, location: str | None = None, *, share: float = SHARE, as_of: datetime | None = None
) -> Summary:
    """Report the records of each source, the delay curve, the proposed label delay, and corrected counts of recent weeks.

    Parameters
    ----------
    location
        Raw transactions with labels, or label records of the workspace's transactions. The default is the service's ledger
        if there is one, else the workspace's.
    share
        Share of the frauds that should be known after the proposed label delay.
    as_of
        The cut-off; later transactions and records are left out. The default is just after the newest of them.

    Raises
    ------
    DataError
        There are no labels, or they cannot be read.
    """
    source = _read(params, location)
    if not source.timed or source.ledger.is_empty():
        return Summary(command="labels status", facts=source.facts, tables=(_by_source(source.ledger),))
    findings = _DelayFindings.from_source(source, params, as_of)
    proposed = delay_estimate.propose_label_delay(findings.curve, share)
    texts = _StatusTexts(params, findings, share, proposed)
    return Summary(
        command="labels status",
        facts={**source.facts, **texts.facts},
        tables=(_by_source(source.ledger), *texts.tables),
        outputs=_write(Workspace.from_params(params), texts),
        warnings=tuple(texts.warnings()),
    )


@dataclass(frozen=True)
class _LedgerSource:
    """A label ledger with its transactions and its location."""

    transactions: pl.DataFrame
    ledger: pl.DataFrame
    location: str

    @property
    def timed(self) -> bool:
        return "ts" in self.transactions.columns

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "ledger": self.location,
            "label records": self.ledger.height,
            "transactions": self.ledger["transaction_id"].n_unique(),
        }


def _read(params: Params, location: str | None) -> _LedgerSource:
    workspace, root = Workspace.from_params(params), service_folder(params)
    if location is not None:
        known = scan(workspace.transactions, made_by="prepare") if workspace.transactions.exists() else None
        with locations.fetch(location) as files:
            labels = read_labels(params, files, known)
        if labels.transactions is not None:
            return _LedgerSource(_slim(labels.transactions.lazy()), labels.ledger, location)
        return _LedgerSource(_slim(scan(workspace.transactions, made_by="prepare")), labels.ledger, location)
    service = history_frames.read_history(root, key=hash_chain.audit_key(os.environ))
    if service is not None and (service.rows or not workspace.transactions.exists()):
        return _LedgerSource(_slim(service.transactions), service.ledger, str(root))
    source = _LedgerSource(
        _slim(scan(workspace.transactions, made_by="prepare")),
        read(workspace.labels, made_by="prepare"),
        str(workspace.labels),
    )
    if service is None:
        return source
    # records imported before the service's first start; it will start with the workspace's transactions
    ledger = visibility.merge(source.ledger, service.ledger)
    return replace(source, ledger=ledger, location=f"{source.location} and {root}")


def _slim(transactions: pl.LazyFrame) -> pl.DataFrame:
    schema = transactions.collect_schema()
    return transactions.select(name for name in ("transaction_id", "ts", "status") if name in schema).collect()


@dataclass(frozen=True)
class _DelayFindings:
    """The known frauds of a ledger and the delay estimates, as of a day."""

    as_of: datetime
    frauds: pl.DataFrame
    curve: DelayCurve
    by_source: dict[str, DelayCurve]
    weeks: pl.DataFrame

    @classmethod
    def from_source(cls, source: _LedgerSource, params: Params, as_of: datetime | None) -> _DelayFindings:
        """Estimate the delays of the known frauds, in total and for the largest sources."""
        records = delay_estimate.when_known(source.transactions, source.ledger, params.prepare.label_delay)
        at = _after_all(source.transactions, records) if as_of is None else as_utc(as_of)
        frauds = delay_estimate.known_frauds(records, at, params.prepare.source_precedence)
        curve = delay_estimate.curve_from_frauds(frauds)
        curves = {
            name: delay_estimate.curve_from_frauds(
                delay_estimate.known_frauds(records.filter(pl.col("source") == name), at)
            )
            for name in records["source"].unique().sort()
        }
        by_size = sorted((name for name in curves if curves[name].reports), key=lambda name: -curves[name].reports)
        by_source = {name: curves[name] for name in by_size[:_MOST_SOURCES]} if len(by_size) > 1 else {}
        return cls(at, frauds, curve, by_source, delay_estimate.nowcast(curve, source.transactions, frauds, at))

    @property
    def delay_unknown(self) -> int:
        return self.frauds["delay"].null_count()


@dataclass(frozen=True)
class _StatusTexts:
    """The findings as facts, tables and warnings."""

    params: Params
    findings: _DelayFindings
    share: float
    proposed: timedelta | None

    @property
    def facts(self) -> dict[str, Any]:
        findings, curve = self.findings, self.findings.curve
        facts: dict[str, Any] = {
            "as of": f"{findings.as_of:%Y-%m-%d %H:%M} UTC",
            "frauds known": findings.frauds.height,
            "of them without a time": findings.delay_unknown,
            "configured label delay": durations.text(self.params.prepare.label_delay),
        }
        if self.proposed is None:
            return facts
        interval = curve.quantile(self.share)
        assert interval is not None
        return {
            **facts,
            "delays seen up to": f"{curve.horizon:.0f} days; frauds with longer delays are not included in the shares",
            "proposed label delay": f"{durations.text(self.proposed)} ({durations.text(_up(interval[1]))} to {durations.text(_up(interval[2]))}): "
            f"{plain(percent(self.share))} of the frauds are known by then",
            "metrics can be trusted": f"up to {findings.as_of - self.proposed:%Y-%m-%d %H:%M} UTC",
            "still to be reported": f"{self._to_come:,.0f} frauds of the last {findings.weeks.height} weeks",
        }

    @property
    def _to_come(self) -> float:
        expected = self.findings.weeks.drop_nulls("expected")
        return float((expected["expected"] - expected["known"]).sum())

    @property
    def tables(self) -> tuple[Table, ...]:
        findings = self.findings
        if self.proposed is None:
            return ()
        rows = label_delays.rows(findings.curve, findings.by_source, SHOWN)
        return (
            Table(
                "Share of frauds known, by days since the transaction", label_delays.columns(findings.by_source), rows
            ),
            Table("The last weeks, known and expected", label_delays.WEEKS, label_delays.weeks(findings.weeks)),
        )

    def warnings(self) -> Iterator[str]:
        curve, delay = self.findings.curve, self.params.prepare.label_delay
        if self.proposed is None:
            yield "no fraud has a time at which it became known: delays cannot be estimated"
            return
        if delay < self.proposed:
            known = curve.at(delay / timedelta(days=1))[0]
            share = "an unknown share" if np.isnan(known) else plain(percent(float(known)))
            yield (
                f"prepare.label_delay is {durations.text(delay)}, and {share} of the frauds are known by then; frauds reported later "
                f"count as legitimate. With {durations.text(self.proposed)} these would be {plain(percent(1 - self.share))}"
            )
        if curve.begin:
            yield f"shares below {curve.begin:.0f} days are unknown: only recent transactions have such delays"
        if curve.beyond:
            yield f"{curve.beyond:,} frauds took longer than the {curve.horizon:.0f} days that can be estimated; they are left out"
        if curve.reports < delay_estimate.OLDEST:
            yield f"only {curve.reports} delays are known: the estimate is very uncertain"


def _write(workspace: Workspace, texts: _StatusTexts) -> dict[str, str]:
    findings, configured = texts.findings, texts.params.prepare.label_delay
    if texts.proposed is None:
        return {}
    section = label_delays.section(
        findings.curve,
        findings.by_source,
        findings.weeks,
        days=SHOWN,
        target_share=texts.share,
        proposed=texts.proposed,
        configured=configured,
    )
    basis = f"{findings.curve.reports:,} frauds as known at {findings.as_of:%Y-%m-%d %H:%M} UTC"
    page = html_page.delays(section, TextTable(label_delays.WEEKS, label_delays.weeks(findings.weeks)), basis=basis)
    report_files.write_page(workspace.delays, page, section)
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
