"""A promoted model and its history to a running service."""

from __future__ import annotations

import errno
import gc
import math
import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial

import polars as pl
from loguru import logger
from starlette.types import ASGIApp

from fraud3000 import durations, registry
from fraud3000.data import quality
from fraud3000.data.cleaning import clean
from fraud3000.data.cleaning.card_names import CardNames
from fraud3000.data.storage import locations
from fraud3000.errors import DataError, UnavailableError
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params, ServeParams, Span
from fraud3000.service.data_dir import DataDir, DataDirContents, Timespan
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.clock import CheckedClock, require_plausible, wall
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.http import api_keys
from fraud3000.service.http.app import create_app
from fraud3000.service.http.validation import RequestValidator
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.checkpoints import CheckpointFile
from fraud3000.service.journal.repair import last_received
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.maintenance.maintenance import Maintenance, MaintenanceSchedule
from fraud3000.signals import uninterrupted
from fraud3000.stages.keys import access_file, key_of
from fraud3000.stages.shared.alias_follower import AliasFollower
from fraud3000.stages.shared.service_store import anchors_of, service_folder
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace, scan

_SWITCH = 0.0005
"""Seconds that the event loop may keep the interpreter while the journal's thread waits for it; 5 ms is the default."""

_SHOWN = 10
"""Ranges of lost entries that are listed."""

_WAITING = 2048
"""Connections that may wait to be taken."""


@dataclass(frozen=True)
class Service:
    """A service that has loaded all it needs and holds its port; it answers once it runs."""

    app: ASGIApp
    listening: socket.socket
    summary: Summary
    folder: DataDir
    kept: DataDirContents
    desk: DecisionEngine
    upkeep: Maintenance
    anchors: CheckpointFile
    grace: timedelta

    @classmethod
    def open(
        cls,
        params: Params,
        *,
        host: str | None = None,
        port: int | None = None,
        history: str | None = None,
        cold_start: bool = False,
        model: str = registry.CHAMPION,
    ) -> Service:
        """Load model and history, and take the port.

        Parameters
        ----------
        host, port
            Instead of those of the params; port 0 takes any that is free.
        history
            Transactions before the first request; without, those of the workspace.
        cold_start
            Serve although the history is shorter than the longest window.
        model
            ``champion``, ``challenger`` or a version. A promoted one needs no registry.

        Raises
        ------
        DataError
            The history cannot be read, or is too short.
        ParamsError
            Others could reach the service and there is no key.
        ScorerError
            There is no such model, or its bundle cannot be trusted.
        UnavailableError
            The port cannot be taken.
        """
        host, port = host or params.serve.host, params.serve.port if port is None else port
        keys = api_keys.ApiKeys(access_file(params), api_keys.master_key(os.environ))
        api_keys.require(keys, host)
        workspace = Workspace.from_params(params)
        with ExitStack() as opened:
            listening = opened.enter_context(closing(_bound(host, port)))
            followed = AliasFollower(params, model)
            version, bundled = followed()
            scorer = Scorer.load(bundled, version=version)
            scorer.self_test()
            anchors = anchors_of(params)
            folder = opened.enter_context(closing(DataDir(service_folder(params), anchors)))
            unreadable: tuple[str, ...] = ()
            if folder.seed is None:
                folder.require_journal_or_new()
                past = _Past.of(workspace) if history is None else _Past.given(history, scorer, params)
                if not cold_start:
                    _require_span(past.span, scorer.catalogue)
                unreadable = past.warnings
                folder.journal(key=hash_chain.audit_key(os.environ)).close()  # before anything else is left there
                folder.sow(past.transactions, past.ledger, {"history": history, "told": past.told})
            _require_same(folder, history)
            kept = folder.open(scorer.catalogue, key=hash_chain.audit_key(os.environ), flush=params.serve.flush)
            opened.callback(kept.journal.close)
            last, trusted = last_received(kept.journal), params.serve.clock
            require_plausible(wall(), last, jump=trusted.jump, gap=trusted.gap)
            clock = CheckedClock(trusted.jump)
            anchors.drop(kept.journal.store, kept.journal.end)
            if not cold_start:
                _require_span(kept.span, scorer.catalogue)
            fallback = Fallback(**params.serve.fallback.model_dump())
            desk = DecisionEngine(
                Decider(scorer, bundle.fingerprint(bundled), fallback), kept.store, kept.journal, kept.past
            )
            desk.readiness.checks |= {"store": partial(_require_in_place, folder, kept.journal), "clock": clock}
            desk.readiness.clock = clock
            desk.warm_up()
            card_key = key_of(params)
            counter = RequestValidator(scorer.mapping, _span(params), card_key, clock)
            upkeep = Maintenance(
                desk,
                kept.journal,
                folder.root,
                anchors,
                followed,
                _schedule(params.serve),
                saved=_saved(kept, folder, params.serve),
                find_shadow=(lambda: None)
                if params.serve.shadow is None
                else AliasFollower(params, params.serve.shadow),
            )
            app = create_app(desk, counter, keys, upkeep, requests_per_second=params.serve.requests_per_second)
            listening.listen(_WAITING)  # requests may come as soon as the summary is told
            warnings = (
                *unreadable,
                *_recovered(kept),
                *_not_asked(scorer, followed.registry_error),
                *_strangers(folder, scorer, card_key),
            )
            told = _summary(scorer, folder, kept, listening, keyed=keys.needed, warnings=warnings)
            opened.pop_all()
        return cls(app, listening, told, folder, kept, desk, upkeep, anchors, params.serve.grace)

    def run(self) -> None:
        """Answer requests until the process is asked to end; those under way are answered still."""
        import uvicorn

        from fraud3000.service.http.connection import Connection

        config = uvicorn.Config(
            self.app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            http=Connection,
            ws="none",
            proxy_headers=False,  # nobody asks where a request comes from
            timeout_graceful_shutdown=math.ceil(self.grace.total_seconds()),
        )
        sys.setswitchinterval(_SWITCH)
        gc.collect()
        gc.freeze()  # what was loaded stays: looking through it again and again would hold up requests
        try:
            uvicorn.Server(config).run(sockets=[self.listening])
        finally:
            self.close()

    def close(self) -> None:
        """Write a snapshot, and let go of port, journal and folder."""
        with uninterrupted():
            self.listening.close()
            self._save()
            self.anchors.drop(self.kept.journal.store, self.kept.journal.end)
            self.kept.journal.close()
            self.folder.close()

    def _save(self) -> None:
        """Write a snapshot, unless the store is not in place: nothing must be written where it was."""
        try:
            _require_in_place(self.folder, self.kept.journal)
        except UnavailableError as error:
            logger.error("no snapshot: {}", error.message)
            return
        feature_state.save(self.folder.root, self.desk.store, self.kept.journal.end)


@dataclass(frozen=True)
class _Past:
    """What is known before the first request: TRANSACTIONS and LEDGER, and where they come from."""

    transactions: pl.LazyFrame | None
    ledger: pl.LazyFrame | None
    told: str
    warnings: tuple[str, ...] = ()

    @property
    def span(self) -> Timespan | None:
        """The ends of their times."""
        if self.transactions is None or "ts" not in self.transactions.collect_schema():
            return None
        ends = self.transactions.select(pl.col("ts").min(), last=pl.col("ts").max()).collect(engine="streaming").row(0)
        return None if ends[0] is None else ends

    @classmethod
    def given(cls, location: str, scorer: Scorer, params: Params) -> _Past:
        """The history that the user names."""
        with locations.fetched(location) as files:
            ingested = clean.ingest(
                files,
                scorer.mapping,
                label_delay=timedelta(seconds=scorer.catalogue.label_delay),
                earliest=params.prepare.earliest,
                latest=params.prepare.latest,
                optional=("is_fraud", "reported_at"),
            )
        told = f"{location}, {ingested.transactions.height:,} rows"
        found = quality.column_warnings(ingested.transactions.lazy(), ingested.lost)
        warnings = tuple(f"history: {text}" for text in found)
        return cls(ingested.transactions.lazy(), ingested.ledger.lazy(), told, warnings)

    @classmethod
    def of(cls, workspace: Workspace) -> _Past:
        """The workspace's own, where prepare has run."""
        if not workspace.transactions.exists():
            return cls(None, None, "none")
        transactions = scan(workspace.transactions, made_by="prepare")
        told = f"{workspace.transactions}, {transactions.select(pl.len()).collect().item():,} rows"
        return cls(transactions, scan(workspace.labels, made_by="prepare"), told)


def _saved(kept: DataDirContents, folder: DataDir, serve: ServeParams) -> int:
    """Number of the entry after which the newest snapshot was taken: now, where the start had much to read again."""
    if kept.replayed < serve.snapshot_entries:
        return kept.snapshot or 0
    feature_state.save(folder.root, kept.store, kept.journal.end)
    return kept.journal.last


def _require_in_place(folder: DataDir, journal: SqliteJournal) -> None:
    folder.require_in_place()
    journal.require_in_place()


def _schedule(serve: ServeParams) -> MaintenanceSchedule:
    retention = serve.retention
    return MaintenanceSchedule(serve.reload, serve.snapshot_entries, retention.journal, retention.decisions)


def _require_span(span: Timespan | None, catalogue: Catalogue) -> None:
    """Refuse to serve where the newest transaction has less before it than the longest window.

    Raises
    ------
    DataError
        Saying how much history there is and how much is needed.
    """
    if not catalogue.longest:
        return
    reach = span[1] - span[0] if span else timedelta(0)
    if reach < timedelta(seconds=catalogue.longest):
        raise DataError(
            f"history: spans {reach.total_seconds() / 86_400:.1f} days, and the longest window needs "
            f"{durations.text(catalogue.longest)}",
            hint="Give earlier transactions with --history, or accept incomplete features with --cold-start.",
        )


def _require_same(folder: DataDir, history: str | None) -> None:
    """Refuse another history than the one that the service began with.

    Raises
    ------
    DataError
        Naming both.
    """
    began = (folder.seed or {}).get("history")
    if history is not None and history != began:
        raise DataError(
            f"{folder.root}: began with the history {began or 'of the workspace'}, not with {history}",
            hint="Leave out --history to go on from there; to begin anew, set another serve.store, or move this one and its anchors away.",
        )


def _span(params: Params) -> Span:
    first, last = (
        at.replace(tzinfo=UTC) if at.tzinfo is None else at for at in (params.prepare.earliest, params.prepare.latest)
    )
    return first, last


def _bound(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded; nothing listens there until all is.

    Raises
    ------
    UnavailableError
        Another program has it, or the host is none of this machine.
    """
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if bound is not None:
            bound.close()
        busy = error.errno == errno.EADDRINUSE
        reason = "another program listens there" if busy else (error.strerror or str(error))
        raise UnavailableError(
            f"{host} port {port}: cannot be listened on ({reason})", hint="Choose another with --port, or 0 for any."
        ) from error
    return bound


def _summary(
    scorer: Scorer,
    folder: DataDir,
    kept: DataDirContents,
    listening: socket.socket,
    *,
    keyed: bool,
    warnings: tuple[str, ...],
) -> Summary:
    host, port = listening.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return Summary(
        command="serve",
        facts={
            "model version": scorer.version,
            "labels as of": scorer.facts.get("as_of"),
            "history": (folder.seed or {}).get("told"),
            "journal": f"{folder.root}, {kept.journal.last:,} entries",
            "listening at": place,
            "key needed": keyed,
        },
        warnings=warnings,
        next_step=f"curl {place}/model (Ctrl-C ends the service)",
    )


def _not_asked(scorer: Scorer, registry_error: UnavailableError | None) -> tuple[str, ...]:
    if registry_error is None:
        return ()
    return (f"{registry_error.message}: version {scorer.version} serves, as it was exported last",)


def _strangers(folder: DataDir, scorer: Scorer, card_key: Callable[[], CardNames]) -> tuple[str, ...]:
    """Warn where cards that come can be none of the history, since another key names them."""
    before = folder.card_keys if scorer.mapping.card_numbers == "yes" else set()
    if not before or before & card_key().key_ids or len(card_key().book):
        return ()
    keys = f"the key {', '.join(sorted(before))}, and those that come under {', '.join(sorted(card_key().key_ids))}"
    return (f"cards of the history are named under {keys}: none of them has a history (docs/runbook.md)",)


def _recovered(kept: DataDirContents) -> tuple[str, ...]:
    recovered = kept.recovered
    if recovered is None:
        return ()
    lost = ", ".join(hole.span for hole in recovered.holes[:_SHOWN]) or "none"
    whole = f"the journal was damaged: {recovered.kept:,} entries are whole and stay; lost entries: {lost}"
    return (f"{whole}; the damaged file is {recovered.aside}, and `fraud3000 audit verify` reports the loss",)
