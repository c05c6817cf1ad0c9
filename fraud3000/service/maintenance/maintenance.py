"""What a service does beside answering: look for another model, write snapshots and anchors, let old entries leave."""

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
from fraud3000.service.maintenance.snapshot_worker import BuiltSnapshot, built

ANCHORED_EVERY = 60.0
_CHECKED_EVERY = 0.4  # whether transactions can be taken
_CHECK_TIMEOUT = 5.0
_LOOKED_EVERY = 2.0  # whether a snapshot is due
_MOVED_EVERY = 3_600.0
_RECENT = 100  # transactions that a model decides before it decides any in earnest
_SHADOW_LOOKED_EVERY = 30.0  # whether another model is to be the shadow: the registry may have to be asked
_PATIENCE = 20.0  # seconds that a shadow has to write where it stands
_NEAR = 2_000  # entries that a state may lack and still be caught up while requests wait

Find = Callable[[], tuple[str, Path]]
"""Which version decides by now, and the folder of its bundle."""


@dataclass(frozen=True)
class MaintenanceSchedule:
    """How often things are done.

    Attributes
    ----------
    reload
        Looking for another model.
    snapshot_entries
        Entries of the journal from one snapshot to the next.
    journal, decisions
        After which time entries move to the archive, and decisions expire there; None for never.
    """

    reload: timedelta = timedelta(seconds=5)
    snapshot_entries: int = 250_000
    journal: timedelta = timedelta(days=30)
    decisions: timedelta | None = None


@dataclass(frozen=True)
class Reloaded:
    """What came of looking for another model, and which version decides now."""

    result: Literal["swapped", "same"]
    version: str


class Maintenance:
    """Looks after one desk and its files.

    Parameters
    ----------
    desk
        Decides.
    journal
        The desk's.
    root
        The service's folder.
    anchors
        Where the journal's head is told.
    find
        Tells which model decides by now; may be slow.
    schedule
        How often.
    saved
        Number of the entry after which the newest snapshot was taken; 0 where there is none.
    find_shadow
        Tells which model is to decide everything too, without being heeded; None for none.

    Attributes
    ----------
    reloads
        Called with what came of every look that was not in vain: swapped, or refused.
    snapshot_at, anchor_at
        When the last of each was written, by `time.monotonic`; nan for never.
    ending
        True once the service is asked to end.
    """

    def __init__(
        self,
        desk: DecisionEngine,
        journal: SqliteJournal,
        root: Path,
        anchors: CheckpointFile,
        find: Find,
        schedule: MaintenanceSchedule,
        *,
        saved: int,
        find_shadow: Callable[[], tuple[str, Path] | None] = lambda: None,
    ) -> None:
        self.desk = desk
        self.reloads: Callable[[str], None] = lambda _: None
        self.snapshots: Callable[[], None] = lambda: None
        self.snapshot_at = self.anchor_at = math.nan
        self.ending = False
        self._journal, self._root, self._anchors = journal, root, anchors
        self._find, self._schedule = find, schedule
        self._find_shadow = find_shadow
        self._changing, self._building = asyncio.Lock(), asyncio.Lock()
        self._refused: str | None = None
        self._heeded: str | None = None  # the version that was to be a shadow and decides itself, once told
        self._saved = saved
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do it all, again and again, in the block."""
        loop = asyncio.get_running_loop()
        heeds = threading.current_thread() is threading.main_thread()
        if heeds:
            loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._reload_quietly(again=True)))
        self._begin(_every(self._schedule.reload.total_seconds(), self._reload_quietly))
        self._begin(_every(_CHECKED_EVERY, self.check))
        self._begin(_every(ANCHORED_EVERY, self.anchor))
        self._begin(_every(_LOOKED_EVERY, self._snapshot_if_due))
        self._begin(_every(_MOVED_EVERY, self.let_leave, at_once=True))
        self._begin(_every(self._schedule.reload.total_seconds(), self._follow, at_once=True))
        try:
            yield
        finally:
            self.ending = True
            if heeds:
                loop.remove_signal_handler(signal.SIGHUP)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def check(self) -> None:
        """See whether transactions can be taken: the store is in place, the journal can be written, the clock is right."""
        readiness = self.desk.readiness
        for cause, check in readiness.checks.items():
            readiness.note(cause, await _problem_in_thread(check))
        readiness.note("disk", None if readiness.problem("store") else await self.desk.retry_write())

    @property
    def problem(self) -> UnavailableError | None:
        """What keeps the service from taking transactions; None if nothing does."""
        if self.ending:
            return UnavailableError("the service is asked to end", hint="Send it to another one.")
        return self.desk.readiness.problem()

    @property
    def journal_bytes(self) -> int:
        """What the journal takes on the disk, without its archive."""
        return self._journal.size

    async def reload(self) -> Reloaded:
        """Let the model decide that should by now.

        Returns
        -------
        Reloaded
            ``same`` where it does already.

        Raises
        ------
        ScorerError
            It cannot be loaded, is not what it was, or takes other transactions; the present one stays.
        UnavailableError
            It cannot be reached, or no state of its features could be made; the present one stays.
        """
        async with self._changing:
            version, folder = await asyncio.to_thread(self._find)
            present = self.desk.judge
            fingerprint = bundle.fingerprint(folder)
            if (fingerprint, version) == (present.fingerprint, present.scorer.version):
                return Reloaded("same", version)
            try:
                judge = await asyncio.to_thread(self._ready, version, folder, fingerprint)
                if judge.catalogue == present.catalogue:
                    await self.desk.swap(judge)
                else:
                    store, seen = await self._state_for(judge)
                    await self.desk.swap(judge, store, seen)
            except BaseException:
                self._refused = fingerprint
                self.reloads("refused")
                raise
            self._refused = None
            self.reloads("swapped")
            logger.info("model swapped from={} to={}", present.scorer.version, version)
            return Reloaded("swapped", version)

    async def snapshot(self) -> BuiltSnapshot:
        """Write a snapshot of the features' state as of now, by a process of its own.

        Raises
        ------
        UnavailableError
            It could not be written.
        """
        self.desk.readiness.require_store()
        async with self._building:
            begin = time.monotonic()
            found = await built(self._root, self.desk.judge.scorer.catalogue)
            self._saved, self.snapshot_at = max(self._saved, found.number), time.monotonic()
            self.snapshots()
            logger.info("snapshot entry={} seconds={:.1f}", found.number, time.monotonic() - begin)
            return found

    async def anchor(self) -> None:
        """Tell outside where the journal ends, in the file of anchors and in the log.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        told = await asyncio.to_thread(self._anchors.drop, self._journal.store, self._journal.end)
        self.anchor_at = time.monotonic()
        if told is not None:
            logger.info("anchor store={} entry={} seal={}", told.store, told.number, told.seal)

    async def let_leave(self) -> None:
        """Let entries move to the archive whose time has come, and decisions expire there.

        Raises
        ------
        UnavailableError
            The archive or the journal cannot be written.
        """
        self.desk.readiness.require_store()
        now = self.desk.readiness.clock()  # a wrong one would let decisions expire
        moved = await asyncio.to_thread(self._journal.move, _midnight(now - self._schedule.journal))
        if moved:
            logger.info("archived entries={}", moved)
        if self._schedule.decisions is not None:
            day = (now - self._schedule.decisions).date()
            expired = await asyncio.to_thread(self._journal.archive.expire, day)
            if expired:
                logger.info("expired decisions={}", expired)

    def _ready(self, version: str, folder: Path, fingerprint: str) -> Decider:
        """The model, once it has shown that it is what it was, and has decided what came of late."""
        present = self.desk.judge
        scorer = Scorer.load(folder, version=version)
        if scorer.mapping != present.scorer.mapping:
            raise ScorerError(
                f"version {version}: takes other transactions than version {present.scorer.version}",
                hint="Start the service anew: clients will have to send other fields.",
            )
        scorer.self_test()
        judge = Decider(scorer, fingerprint, present.fallback)
        recent = [one for one in self._journal.recent(_RECENT) if one.catalogue == judge.catalogue]
        judge.decided(recent, [True] * len(recent))
        return judge

    async def _state_for(self, judge: Decider) -> tuple[FeatureStore, int]:
        """A state of another catalogue that lacks a few entries at most, and the number of the last that it has seen."""
        found = await built(self._root, judge.scorer.catalogue)
        store = await asyncio.to_thread(_restored, Path(found.path))
        if store.checksum() != found.checksum:
            raise ScorerError(
                f"{found.path}: is not the state that it was made of", hint="Look for a fault of the disk; try again."
            )
        seen = found.number
        while self._journal.last - seen > _NEAR:
            seen = await asyncio.to_thread(feature_state.advanced, store, self._journal, seen)
        return store, seen

    async def _reload_quietly(self, *, again: bool = False) -> None:
        """Look for another model; one that was refused is not tried again before it is asked for, or another comes."""
        version, folder = await asyncio.to_thread(self._find)
        if not again and bundle.fingerprint(folder) == self._refused:
            return
        try:
            await self.reload()
        except FraudError:
            logger.error("version {} is refused; version {} goes on", version, self.desk.judge.scorer.version)
            raise

    async def _follow(self) -> None:
        """Keep a process running that lets another model decide too, until another one is to."""
        since = self._journal.last
        found = await asyncio.to_thread(self._find_shadow)
        if found is None:
            return
        version, folder = found
        if bundle.fingerprint(folder) == self.desk.judge.fingerprint:
            if self._heeded != version:
                logger.warning("no shadow: version {} is the one that decides", version)
            self._heeded = version
            return
        self._heeded = None
        process = await asyncio.create_subprocess_exec(
            *shadow.command(self._root, folder, version, since),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while process.returncode is None and await asyncio.to_thread(self._find_shadow) == found:
                if self.desk.judge.fingerprint == bundle.fingerprint(folder):
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _SHADOW_LOOKED_EVERY)
        finally:
            await _ended(process)
        if process.returncode:
            raise UnavailableError(
                f"the shadow of version {version} ended with exit code {process.returncode}",
                hint="The lines before say why; it is started again.",
            )

    async def _snapshot_if_due(self) -> None:
        if self._journal.last - self._saved >= self._schedule.snapshot_entries:
            self._saved = self._journal.last  # one that fails is not tried again at once
            await self.snapshot()

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(_told(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _problem_in_thread(check: Callable[[], object]) -> UnavailableError | None:
    """Run a check that a hanging disk may hold up; the error that it raises, or that it takes too long."""
    try:
        await asyncio.wait_for(asyncio.to_thread(check), _CHECK_TIMEOUT)
    except UnavailableError as error:
        return error
    except TimeoutError:
        return UnavailableError(
            f"the store does not answer within {_CHECK_TIMEOUT:g} s", hint="Look at its disk or its network."
        )
    return None


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and make it where it takes too long."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE)
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            raise


async def _every(seconds: float, work: Callable[[], Awaitable[None]], *, at_once: bool = False) -> None:
    """Do it again and again; what goes wrong is told, once while it stays the same, and does not end it."""
    if not at_once:
        await asyncio.sleep(seconds)
    told = None
    while True:
        told = await _told(work(), told)
        await asyncio.sleep(seconds)


async def _told(work: Awaitable[None], before: str | None = None) -> str | None:
    """Do it; what went wrong, which is an error of the log where it is not what went wrong before."""
    try:
        await work
    except FraudError as error:
        logger.log("DEBUG" if error.message == before else "ERROR", "{} ({})", error.message, error.hint)
        return error.message
    except Exception as error:  # noqa: BLE001 - the service goes on
        logger.opt(exception=error).error("upkeep failed by a bug of ours")
    return None


def _restored(path: Path) -> FeatureStore:
    with path.open("rb") as file:
        return FeatureStore.restore(file)


def _midnight(at: datetime) -> datetime:
    """Whole days leave, so that an archive file is of one day."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
