"""Background tasks of the service: reload the model, run the shadow model, write snapshots and checkpoints, archive entries."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from loguru import logger

from fraud3000.errors import FraudError, ScorerError, UnavailableError
from fraud3000.features.online import FeatureStore
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.service.engine import feature_state, shadow
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.journal.checkpoints import CheckpointFile
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.maintenance.snapshot_worker import BuiltSnapshot, build_in_process

CHECKPOINT_SECONDS = 60.0
_READINESS_SECONDS = 0.4
_CHECK_TIMEOUT = 5.0  # seconds
_SNAPSHOT_CHECK_SECONDS = 2.0  # whether a snapshot is due
_ARCHIVE_SECONDS = 3_600.0
_WARM_UP = 100  # recent transactions that a new model decides before it serves, without effect
_SHADOW_CHECK_SECONDS = 30.0  # whether the shadow model has changed: this may query the registry
_SHADOW_STOP_SECONDS = 20.0  # time that a shadow process has to write its state before it is killed
_MAX_LAG = 2_000  # entries that a feature state may lack at a swap: it observes them while requests wait

Find = Callable[[], tuple[str, Path]]
"""Returns the version that should serve now, and the folder of its bundle."""


@dataclass(frozen=True)
class MaintenanceSchedule:
    """Intervals of the background tasks.

    Attributes
    ----------
    reload
        Time between checks for another model.
    snapshot_entries
        Journal entries from one snapshot to the next.
    journal, decisions
        Age at which entries move to the archive, and at which decisions expire there; None for never.
    """

    reload: timedelta = timedelta(seconds=5)
    snapshot_entries: int = 250_000
    journal: timedelta = timedelta(days=30)
    decisions: timedelta | None = None


@dataclass(frozen=True)
class Reloaded:
    """Result of a reload, and the version that serves now."""

    result: Literal["swapped", "same"]
    version: str


class Maintenance:
    """Background tasks of one decision engine and its files.

    Parameters
    ----------
    engine
        The decision engine.
    journal
        Its journal.
    root
        The service's folder.
    checkpoints
        File of the journal's checkpoints.
    find
        Returns the model that should serve now; may be slow.
    schedule
        Intervals of the tasks.
    saved
        Number of the last entry in the newest snapshot; 0 if there is none.
    find_shadow
        Returns the shadow model, which scores every transaction without affecting decisions; None for none.

    Attributes
    ----------
    reloads
        Called after every reload of another model: with swapped, or refused.
    snapshots
        Called after every snapshot.
    snapshot_at, checkpoint_at
        Time of the last snapshot and checkpoint, by `time.monotonic`; nan before the first.
    ending
        True once the service is shutting down.
    """

    def __init__(
        self,
        engine: DecisionEngine,
        journal: SqliteJournal,
        root: Path,
        checkpoints: CheckpointFile,
        find: Find,
        schedule: MaintenanceSchedule,
        *,
        saved: int,
        find_shadow: Callable[[], tuple[str, Path] | None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.reloads: Callable[[str], None] = lambda _: None
        self.snapshots: Callable[[], None] = lambda: None
        self.snapshot_at = self.checkpoint_at = math.nan
        self.ending = False
        self._journal, self._root, self._checkpoints = journal, root, checkpoints
        self._find, self._schedule = find, schedule
        self._find_shadow = find_shadow
        self._reload_lock, self._snapshot_lock = asyncio.Lock(), asyncio.Lock()
        self._refused: str | None = None  # fingerprint of the model whose last reload failed
        self._unshadowed: str | None = None  # the shadow version that serves itself, once logged
        self._saved = saved
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all tasks at their intervals in the block."""
        loop = asyncio.get_running_loop()
        handles_signals = threading.current_thread() is threading.main_thread()
        if handles_signals:
            loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self._reload_if_changed(force=True)))
        self._start(_every(self._schedule.reload.total_seconds(), self._reload_if_changed))
        self._start(_every(_READINESS_SECONDS, self.check))
        self._start(_every(CHECKPOINT_SECONDS, self.write_checkpoint))
        self._start(_every(_SNAPSHOT_CHECK_SECONDS, self._snapshot_if_due))
        self._start(_every(_ARCHIVE_SECONDS, self.archive_old_entries, immediately=True))
        self._start(_every(self._schedule.reload.total_seconds(), self._run_shadow, immediately=True))
        try:
            yield
        finally:
            self.ending = True
            if handles_signals:
                loop.remove_signal_handler(signal.SIGHUP)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def check(self) -> None:
        """Check that transactions can be processed: the store is in place, the journal can be written, the clock is right."""
        readiness = self.engine.readiness
        for cause, check in readiness.checks.items():
            readiness.note(cause, await _problem_in_thread(check))
        readiness.note("disk", None if readiness.problem("store") else await self.engine.retry_write())

    @property
    def problem(self) -> UnavailableError | None:
        """The reason why the service is not ready; None if it is ready."""
        if self.ending:
            return UnavailableError("the service is shutting down", hint="Send the request to another instance.")
        return self.engine.readiness.problem()

    @property
    def journal_bytes(self) -> int:
        """Size of the journal in bytes, without its archive."""
        return self._journal.size

    async def reload(self) -> Reloaded:
        """Load the latest promoted model. If it fails to load, keep the current one and raise the reason.

        Returns
        -------
        Reloaded
            ``same`` if that model serves already.

        Raises
        ------
        ScorerError
            It cannot be loaded, fails verification, or reads other fields of a transaction.
        UnavailableError
            It cannot be fetched, or its feature state could not be computed.
        """
        async with self._reload_lock:
            version, folder = await asyncio.to_thread(self._find)
            current = self.engine.decider
            fingerprint = bundle.fingerprint(folder)
            if (fingerprint, version) == (current.fingerprint, current.scorer.version):
                return Reloaded("same", version)
            try:
                decider = await asyncio.to_thread(self._load, version, folder, fingerprint)
                if decider.catalogue == current.catalogue:
                    await self.engine.swap(decider)
                else:
                    store, last = await self._feature_state(decider)
                    await self.engine.swap(decider, store, last)
            except BaseException:
                self._refused = fingerprint
                self.reloads("refused")
                raise
            self._refused = None
            self.reloads("swapped")
            logger.info("model swapped from={} to={}", current.scorer.version, version)
            return Reloaded("swapped", version)

    async def snapshot(self) -> BuiltSnapshot:
        """Write a snapshot of the present feature state, in a separate process.

        Raises
        ------
        UnavailableError
            The snapshot could not be written.
        """
        self.engine.readiness.require_store()
        async with self._snapshot_lock:
            begin = time.monotonic()
            snapshot = await build_in_process(self._root, self.engine.decider.scorer.catalogue)
            self._saved, self.snapshot_at = max(self._saved, snapshot.number), time.monotonic()
            self.snapshots()
            logger.info("snapshot entry={} seconds={:.1f}", snapshot.number, time.monotonic() - begin)
            return snapshot

    async def write_checkpoint(self) -> None:
        """Record the journal's end in the checkpoint file and in the log.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        last = await asyncio.to_thread(self._checkpoints.append, self._journal.store, self._journal.end)
        self.checkpoint_at = time.monotonic()
        if last is not None:
            logger.info("anchor store={} entry={} seal={}", last.store, last.number, last.seal)

    async def archive_old_entries(self) -> None:
        """Move entries to the archive, and expire decisions there, at the ages that the schedule sets.

        Raises
        ------
        UnavailableError
            The archive or the journal cannot be written.
        """
        self.engine.readiness.require_store()
        now = self.engine.readiness.clock()  # checked: a wrong clock would expire decisions
        moved = await asyncio.to_thread(self._journal.move, _midnight(now - self._schedule.journal))
        if moved:
            logger.info("archived entries={}", moved)
        if self._schedule.decisions is not None:
            day = (now - self._schedule.decisions).date()
            expired = await asyncio.to_thread(self._journal.archive.expire, day)
            if expired:
                logger.info("expired decisions={}", expired)

    def _load(self, version: str, folder: Path, fingerprint: str) -> Decider:
        """Load a model, verify it, and let it decide recent transactions, so that its first request is not slow."""
        current = self.engine.decider
        scorer = Scorer.load(folder, version=version)
        if scorer.mapping != current.scorer.mapping:
            raise ScorerError(
                f"version {version}: reads other fields of a transaction than version {current.scorer.version}",
                hint="Restart the service with this version; clients then have to send its fields.",
            )
        scorer.self_test()
        decider = Decider(scorer, fingerprint, current.amount_bands)
        recent = [entry for entry in self._journal.recent(_WARM_UP) if entry.catalogue == decider.catalogue]
        decider.decide_batch(recent, [True] * len(recent))
        return decider

    async def _feature_state(self, decider: Decider) -> tuple[FeatureStore, int]:
        """Compute the feature state of another catalogue up to `_MAX_LAG` entries from the end; return it with its last entry."""
        snapshot = await build_in_process(self._root, decider.scorer.catalogue)
        store = await asyncio.to_thread(_restore, Path(snapshot.path))
        if store.checksum() != snapshot.checksum:
            raise ScorerError(
                f"{snapshot.path}: its checksum does not match the state that was written",
                hint="Check the disk for errors, then retry.",
            )
        last = snapshot.number
        while self._journal.last - last > _MAX_LAG:
            last = await asyncio.to_thread(feature_state.apply_entries, store, self._journal, last)
        return store, last

    async def _reload_if_changed(self, *, force: bool = False) -> None:
        """Reload the model if it has changed; skip one whose reload failed, unless `force`."""
        version, folder = await asyncio.to_thread(self._find)
        if not force and bundle.fingerprint(folder) == self._refused:
            return
        try:
            await self.reload()
        except FraudError:
            logger.error(
                "version {} was refused; version {} keeps serving", version, self.engine.decider.scorer.version
            )
            raise

    async def _run_shadow(self) -> None:
        """Run the shadow model in a separate process, until another model is to be the shadow."""
        since = self._journal.last
        model = await asyncio.to_thread(self._find_shadow)
        if model is None:
            return
        version, folder = model
        if bundle.fingerprint(folder) == self.engine.decider.fingerprint:
            if self._unshadowed != version:
                logger.warning("no shadow: version {} serves already", version)
            self._unshadowed = version
            return
        self._unshadowed = None
        process = await asyncio.create_subprocess_exec(
            *shadow.command(self._root, folder, version, since),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while process.returncode is None and await asyncio.to_thread(self._find_shadow) == model:
                if self.engine.decider.fingerprint == bundle.fingerprint(folder):
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SHADOW_CHECK_SECONDS):
                        await process.wait()
        finally:
            await _stop(process)
        if process.returncode:
            raise UnavailableError(
                f"the shadow of version {version} ended with exit code {process.returncode}",
                hint="See the log lines before this one; it is restarted.",
            )

    async def _snapshot_if_due(self) -> None:
        if self._journal.last - self._saved >= self._schedule.snapshot_entries:
            self._saved = self._journal.last  # so that a failed snapshot is not retried immediately
            await self.snapshot()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(_run_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _problem_in_thread(check: Callable[[], object]) -> UnavailableError | None:
    """Run a check on a thread, since a hanging disk may block it; return its error, or one for a timeout."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):  # wait_for of Python 3.11 may lose the cancellation at shutdown
            await asyncio.to_thread(check)
    except UnavailableError as error:
        return error
    except TimeoutError:
        return UnavailableError(
            f"the store did not respond within {_CHECK_TIMEOUT:g} s", hint="Check its disk or its network."
        )
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Terminate a process; kill it if that takes too long."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_SHADOW_STOP_SECONDS):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            raise


async def _every(seconds: float, work: Callable[[], Awaitable[None]], *, immediately: bool = False) -> None:
    """Run a task at an interval; log its errors, a repeated one only once, and continue."""
    if not immediately:
        await asyncio.sleep(seconds)
    message = None
    while True:
        message = await _run_logged(work(), message)
        await asyncio.sleep(seconds)


async def _run_logged(work: Awaitable[None], previous: str | None = None) -> str | None:
    """Run a task; log its error, at level DEBUG if it is the previous one, and return its message."""
    try:
        await work
    except FraudError as error:
        logger.log("DEBUG" if error.message == previous else "ERROR", "{} ({})", error.message, error.hint)
        return error.message
    except Exception as error:  # noqa: BLE001 - the service keeps running
        logger.opt(exception=error).error("maintenance failed: internal error")
    return None


def _restore(path: Path) -> FeatureStore:
    with path.open("rb") as file:
        return FeatureStore.restore(file)


def _midnight(at: datetime) -> datetime:
    """Round down to midnight: only whole days are archived, so that an archive file holds one day."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
