"""Command `serve`: serve decisions over HTTP with a promoted model and its history."""

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
from datetime import timedelta
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
from fraud3000.features.spec.catalogue import Catalogue
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
from fraud3000.stages.shared.alias_follower import AliasFollower
from fraud3000.stages.shared.service_store import api_keys_file, checkpoint_file, service_folder
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace, card_names_loader, scan
from fraud3000.utc import as_utc

_SWITCH_INTERVAL = 0.0005
"""Seconds that the event loop may hold the interpreter's lock while the journal's thread waits for it; Python's default is 5 ms."""

_MAX_RANGES = 10
"""Ranges of lost entries in a warning."""

_BACKLOG = 2048
"""Connections that may wait to be accepted."""


@dataclass(frozen=True)
class Service:
    """A service with its port bound and its state loaded, ready to run."""

    app: ASGIApp
    listener: socket.socket
    summary: Summary
    data_dir: DataDir
    contents: DataDirContents
    engine: DecisionEngine
    maintenance: Maintenance
    checkpoints: CheckpointFile
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
        """Bind the port, then load model and history.

        Parameters
        ----------
        host, port
            Override those of the params; port 0 binds any free port.
        history
            Transactions before the first request; default: those of the workspace.
        cold_start
            Serve even if the history is shorter than the longest window.
        model
            ``champion``, ``challenger`` or a version. An exported model needs no registry.

        Raises
        ------
        DataError
            The history cannot be read, or is too short.
        ParamsError
            Other machines could reach the service and it has no API key.
        ScorerError
            There is no such model, or its bundle fails verification.
        UnavailableError
            The port cannot be bound.
        """
        host, port = host or params.serve.host, params.serve.port if port is None else port
        keys = api_keys.ApiKeys(api_keys_file(params), api_keys.master_key(os.environ))
        api_keys.require(keys, host)
        workspace = Workspace.from_params(params)
        with ExitStack() as resources:
            bound = resources.enter_context(closing(_bind(host, port)))
            follower = AliasFollower(params, model)
            version, bundled = follower()
            scorer = Scorer.load(bundled, version=version)
            scorer.self_test()
            checkpoints = checkpoint_file(params)
            data_dir = resources.enter_context(closing(DataDir(service_folder(params), checkpoints)))
            history_warnings: tuple[str, ...] = ()
            if data_dir.seed_info is None:
                data_dir.require_journal_or_new()
                seed = _Seed.from_workspace(workspace) if history is None else _Seed.from_file(history, scorer, params)
                if not cold_start:
                    _require_span(seed.span, scorer.catalogue)
                history_warnings = seed.warnings
                # The journal first: if it cannot be created, no seed is left behind.
                data_dir.journal(key=hash_chain.audit_key(os.environ)).close()
                data_dir.seed(seed.transactions, seed.ledger, {"history": history, "told": seed.description})
            _require_same_history(data_dir, history)
            contents = data_dir.open(scorer.catalogue, key=hash_chain.audit_key(os.environ), flush=params.serve.flush)
            resources.callback(contents.journal.close)
            last, limits = last_received(contents.journal), params.serve.clock
            require_plausible(wall(), last, jump=limits.jump, gap=limits.gap)
            clock = CheckedClock(limits.jump)
            checkpoints.append(contents.journal.store, contents.journal.end)
            if not cold_start:
                _require_span(contents.span, scorer.catalogue)
            fallback = Fallback(**params.serve.fallback.model_dump())
            decider = Decider(scorer, bundle.fingerprint(bundled), fallback)
            engine = DecisionEngine(decider, contents.store, contents.journal, contents.past)
            engine.readiness.checks |= {
                "store": partial(_require_in_place, data_dir, contents.journal),
                "clock": clock,
            }
            engine.readiness.clock = clock
            engine.warm_up()
            card_key = card_names_loader(Workspace.from_params(params))
            validator = RequestValidator(scorer.mapping, _span(params), card_key, clock)
            shadow = params.serve.shadow
            maintenance = Maintenance(
                engine,
                contents.journal,
                data_dir.root,
                checkpoints,
                follower,
                _schedule(params.serve),
                saved=_snapshot_entry(contents, data_dir, params.serve),
                find_shadow=(lambda: None) if shadow is None else AliasFollower(params, shadow),
            )
            app = create_app(engine, validator, keys, maintenance, requests_per_second=params.serve.requests_per_second)
            bound.listen(_BACKLOG)  # before the summary, as requests may come as soon as it is printed
            warnings = (
                *history_warnings,
                *_recovery_warning(contents),
                *_registry_warning(scorer, follower.registry_error),
                *_card_key_warning(data_dir, scorer, card_key),
            )
            summary = _summary(scorer, data_dir, contents, bound, keyed=keys.required, warnings=warnings)
            resources.pop_all()
        return cls(app, bound, summary, data_dir, contents, engine, maintenance, checkpoints, params.serve.grace)

    def run(self) -> None:
        """Serve requests until the process is asked to stop; requests in progress are finished."""
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
            proxy_headers=False,  # a client could forge its address with them
            timeout_graceful_shutdown=math.ceil(self.grace.total_seconds()),
        )
        sys.setswitchinterval(_SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()  # so that later collections skip what is loaded now and pause requests only briefly
        try:
            uvicorn.Server(config).run(sockets=[self.listener])
        finally:
            self.close()

    def close(self) -> None:
        """Write a snapshot, and close port, journal and data folder."""
        with uninterrupted():
            self.listener.close()
            self._save()
            self.checkpoints.append(self.contents.journal.store, self.contents.journal.end)
            self.contents.journal.close()
            self.data_dir.close()

    def _save(self) -> None:
        """Write a snapshot, unless the store's files are no longer in place: another folder may be at its path now."""
        try:
            _require_in_place(self.data_dir, self.contents.journal)
        except UnavailableError as error:
            logger.error("no snapshot: {}", error.message)
            return
        feature_state.save(self.data_dir.root, self.engine.store, self.contents.journal.end)


@dataclass(frozen=True)
class _Seed:
    """TRANSACTIONS and LEDGER from before the first request, and where they come from."""

    transactions: pl.LazyFrame | None
    ledger: pl.LazyFrame | None
    description: str
    warnings: tuple[str, ...] = ()

    @property
    def span(self) -> Timespan | None:
        """Time of the first and the last transaction; None if there are none, or without time."""
        if self.transactions is None or "ts" not in self.transactions.collect_schema():
            return None
        ends = self.transactions.select(pl.col("ts").min(), last=pl.col("ts").max()).collect(engine="streaming").row(0)
        return None if ends[0] is None else ends

    @classmethod
    def from_file(cls, location: str, scorer: Scorer, params: Params) -> _Seed:
        """Read a history file with the model's column mapping."""
        with locations.fetch(location) as files:
            ingested = clean.ingest(
                files,
                scorer.mapping,
                label_delay=timedelta(seconds=scorer.catalogue.label_delay),
                earliest=params.prepare.earliest,
                latest=params.prepare.latest,
                optional=("is_fraud", "reported_at"),
            )
        description = f"{location}, {ingested.transactions.height:,} rows"
        column_warnings = quality.column_warnings(ingested.transactions.lazy(), ingested.nulled)
        warnings = tuple(f"history: {text}" for text in column_warnings)
        return cls(ingested.transactions.lazy(), ingested.ledger.lazy(), description, warnings)

    @classmethod
    def from_workspace(cls, workspace: Workspace) -> _Seed:
        """Read the workspace's prepared transactions; an empty seed if `prepare` has not run."""
        if not workspace.transactions.exists():
            return cls(None, None, "none")
        transactions = scan(workspace.transactions, made_by="prepare")
        description = f"{workspace.transactions}, {transactions.select(pl.len()).collect().item():,} rows"
        return cls(transactions, scan(workspace.labels, made_by="prepare"), description)


def _snapshot_entry(contents: DataDirContents, data_dir: DataDir, serve: ServeParams) -> int:
    """Return the number of the last entry in the newest snapshot; writes one first if the start replayed many entries."""
    if contents.replayed < serve.snapshot_entries:
        return contents.snapshot or 0
    feature_state.save(data_dir.root, contents.store, contents.journal.end)
    return contents.journal.last


def _require_in_place(data_dir: DataDir, journal: SqliteJournal) -> None:
    data_dir.require_in_place()
    journal.require_in_place()


def _schedule(serve: ServeParams) -> MaintenanceSchedule:
    retention = serve.retention
    return MaintenanceSchedule(serve.reload, serve.snapshot_entries, retention.journal, retention.decisions)


def _require_span(span: Timespan | None, catalogue: Catalogue) -> None:
    """Refuse to serve if the history is shorter than the longest window.

    Raises
    ------
    DataError
        With the length of the history and of the longest window.
    """
    if not catalogue.lookback:
        return
    length = span[1] - span[0] if span else timedelta(0)
    if length < timedelta(seconds=catalogue.lookback):
        raise DataError(
            f"history: spans {length.total_seconds() / 86_400:.1f} days, but the longest window needs "
            f"{durations.text(catalogue.lookback)}",
            hint="Pass earlier transactions with --history, or accept incomplete features with --cold-start.",
        )


def _require_same_history(data_dir: DataDir, history: str | None) -> None:
    """Refuse a history other than the one that the service was seeded with.

    Raises
    ------
    DataError
        With both histories.
    """
    seeded = (data_dir.seed_info or {}).get("history")
    if history is not None and history != seeded:
        raise DataError(
            f"{data_dir.root}: was seeded with {seeded or 'the history of the workspace'}, not with {history}",
            hint="Leave out --history to continue; to start over, set another serve.store, or move this one and its anchors away.",
        )


def _span(params: Params) -> Span:
    first, last = (as_utc(at) for at in (params.prepare.earliest, params.prepare.latest))
    return first, last


def _bind(host: str, port: int) -> socket.socket:
    """Bind the port before anything is loaded; connections are refused until the caller listens.

    Raises
    ------
    UnavailableError
        Another program uses the port, or the host is not an address of this machine.
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
        reason = "another program uses it" if busy else (error.strerror or str(error))
        raise UnavailableError(
            f"{host} port {port}: cannot be bound ({reason})",
            hint="Choose another port with --port, or 0 for any free one.",
        ) from error
    return bound


def _summary(
    scorer: Scorer,
    data_dir: DataDir,
    contents: DataDirContents,
    bound: socket.socket,
    *,
    keyed: bool,
    warnings: tuple[str, ...],
) -> Summary:
    host, port = bound.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return Summary(
        command="serve",
        facts={
            "model version": scorer.version,
            "labels as of": scorer.facts.get("as_of"),
            "history": (data_dir.seed_info or {}).get("told"),
            "journal": f"{data_dir.root}, {contents.journal.last:,} entries",
            "listening at": url,
            "key needed": keyed,
        },
        warnings=warnings,
        next_step=f"curl {url}/model (stop the service with Ctrl-C)",
    )


def _registry_warning(scorer: Scorer, error: UnavailableError | None) -> tuple[str, ...]:
    if error is None:
        return ()
    return (f"{error.message}: serving version {scorer.version}, the last one that was exported",)


def _card_key_warning(data_dir: DataDir, scorer: Scorer, card_key: Callable[[], CardNames]) -> tuple[str, ...]:
    """Warn if the history's cards are hashed with another key, so that no card in a request has a history."""
    before = data_dir.card_keys if scorer.mapping.card_numbers == "yes" else set()
    if not before or before & card_key().key_ids or len(card_key().store):
        return ()
    keys = f"the key {', '.join(sorted(before))}, those of requests with {', '.join(sorted(card_key().key_ids))}"
    return (f"cards of the history are hashed with {keys}: no card of a request has a history (docs/operations.md)",)


def _recovery_warning(contents: DataDirContents) -> tuple[str, ...]:
    recovered = contents.recovered
    if recovered is None:
        return ()
    lost = ", ".join(hole.span for hole in recovered.holes[:_MAX_RANGES]) or "none"
    rebuilt = (
        f"the journal was damaged and has been rebuilt from {recovered.intact:,} valid entries; lost entries: {lost}"
    )
    return (f"{rebuilt}; the damaged file is {recovered.aside}, and `fraud3000 audit verify` reports the loss",)
