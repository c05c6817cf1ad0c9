"""The desk at which transactions come in: each is taken, decided, kept, and then answered.

One step over all of a transaction's keys reads its features and lets later ones see it; what was decided is in the journal
before it is told. Where the journal cannot be written, nothing is answered and nothing new is taken: what was taken
already stays, is written with the next attempt, and answers its own retry.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from fraud3000.data.cleaning.duplicates import arrival_order
from fraud3000.errors import UnavailableError
from fraud3000.features.online import FeatureStore
from fraud3000.features.online.labels import Met
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.decider import Decider, Reasons
from fraud3000.service.engine.label_input import LabelInput, deduplicate
from fraud3000.service.engine.readiness import Readiness
from fraud3000.service.engine.rwlock import RWLock
from fraud3000.service.engine.seed_history import Past, newest
from fraud3000.service.journal.entries import Entry, LabelEntry, LateDecisionEntry, Row, TransactionEntry, number_in
from fraud3000.service.journal.group_commit import GroupCommitWriter
from fraud3000.service.journal.interface import Alert, Journal, Queue

_AT_ONCE = 64
"""Transactions that are decided in one go at most: a part of a request, or several requests that came together."""

_FEW_AT_ONCE = 4
"""Transactions that are decided in one go at least, and as a first guess where each has reasons, which cost the most."""

_SECONDS_AT_ONCE = 0.010
"""Time that deciding in one go may take: other requests are answered in between."""

_BACKLOG = 1024
"""Entries of a large request that wait for each other: more are written while it goes on, and it stops at twice as many.

The entries of other requests are written behind them."""


MOST_INSIDE = 20_000
"""Transactions that are decided at a time; more are sent away rather than let wait."""


@dataclass(frozen=True)
class Refusal:
    """A transaction that is not decided, since its id is known.

    Attributes
    ----------
    code
        ``conflicting_duplicate``: the id came before with other content. ``in_history``: the transaction came before the
        service, which has no answer to it. ``undecidable``: it came to a model that failed, and whose features the
        present one does not have. ``expired``: its answer is kept no longer.
    """

    transaction_id: str
    code: Literal["conflicting_duplicate", "in_history", "undecidable", "expired"]


class _PendingRequest:
    """A part of a request that waits for its turn, and what will be answered."""

    __slots__ = ("answer", "deadline", "reasons", "received_at", "rows")

    def __init__(self, rows: Sequence[Row], received_at: int, reasons: Reasons, deadline: float) -> None:
        self.rows, self.received_at, self.reasons, self.deadline = rows, received_at, reasons, deadline
        self.answer: asyncio.Future[list[TransactionEntry | Refusal]] = asyncio.get_running_loop().create_future()


class DecisionEngine:
    """Decides about transactions in the order in which they come.

    Its methods are called by one event loop.

    Parameters
    ----------
    judge
        Decides.
    store
        Has observed the past and all that the journal holds; of the judge's catalogue.
    journal
        Where decisions are kept.
    past
        What came before the journal.
    """

    def __init__(self, judge: Decider, store: FeatureStore, journal: Journal, past: Past) -> None:
        self.judge = judge
        self.store, self.past = store, past
        self._journal, self._writer = journal, GroupCommitWriter(journal)
        self._last = journal.last  # number of the last entry, kept or not
        self.readiness = Readiness()
        self._met: dict[str, Met | None] = {}  # where those stand that are being decided
        self._open: dict[str, TransactionEntry] = {}  # taken, and not decided since that failed
        self._newest = newest(past, journal)
        self._since = 0
        self._inside = 0  # transactions that are being decided
        self._turns = RWLock()
        self._line: deque[_PendingRequest] = deque()
        self._at_once = _AT_ONCE  # transactions that take about `_SECONDS_AT_ONCE`
        self._listeners: list[Callable[[TransactionEntry], None]] = []

    def warm_up(self) -> None:
        """Do once what a first transaction would have to wait for: code is compiled where it is first run."""
        nobody = {"transaction_id": "", "ts": self._newest or 0, "card_id": "", "terminal_id": "", "amount": 0}
        features = self.store.features_for({**nobody, "status": "approved"})
        self.judge.scorer.decide_rows([features], [0])

    def listen(self, to: Callable[[TransactionEntry], None]) -> None:
        """Call with every transaction that is decided, once, and before that is kept."""
        self._listeners.append(to)

    @property
    def kept(self) -> int:
        """Entries of the journal."""
        return self._journal.last

    @property
    def waiting(self) -> int:
        """Entries that are not in the journal yet."""
        return self._last - self._journal.last

    def history(self) -> dict[str, Any]:
        """Say what is known: transactions, how many came in since the start, and the span of those before the service."""
        facts: dict[str, Any] = {"rows": len(self.store), "since_start": self._since}
        if self.past.first is not None and self.past.last is not None:
            facts |= {"first": self.past.first.isoformat(), "seeded_until": self.past.last.isoformat()}
        return facts

    async def decide(
        self, rows: Sequence[Row], received_at: int, *, reasons: Reasons = "alerts", deadline: float = math.inf
    ) -> list[TransactionEntry | Refusal]:
        """Decide about transactions, and keep them and what was decided.

        A transaction that is known, with the same content, is answered as it was then.

        Parameters
        ----------
        rows
            Taken in the order of files: by ts, id, and the rest of their content.
        received_at
            Microseconds since the epoch.
        reasons
            Whom they are told for; those of alerts are always kept.
        deadline
            Of `time.monotonic`: what has not had its turn by then is decided by the fallback.

        Returns
        -------
        list of Taken or Refusal
            One for each of the rows, in their order; each Taken has its answer.

        Raises
        ------
        UnavailableError
            The journal cannot be read or written, or too many are being decided.
        """
        self.readiness.require_store()
        if self._inside + len(rows) > MOST_INSIDE:
            raise UnavailableError(
                f"{self._inside:,} transactions are being decided, and there is room for {MOST_INSIDE:,}",
                hint="Send it again later.",
            )
        self._inside += len(rows)
        try:
            return await self._decided(rows, received_at, reasons, deadline)
        finally:
            self._inside -= len(rows)

    async def _decided(
        self, rows: Sequence[Row], received_at: int, reasons: Reasons, deadline: float
    ) -> list[TransactionEntry | Refusal]:
        async with self._turns.one():
            return await self._in_turn(rows, received_at, reasons, deadline)

    async def _in_turn(
        self, rows: Sequence[Row], received_at: int, reasons: Reasons, deadline: float
    ) -> list[TransactionEntry | Refusal]:
        await self._writer.catch_up()
        places = [0] if len(rows) == 1 else sorted(range(len(rows)), key=lambda place: _arrival(rows[place]))
        found: dict[int, TransactionEntry | Refusal] = {}
        if reasons == "all":
            self._at_once = min(self._at_once, _FEW_AT_ONCE)
        while len(found) < len(places):
            part = places[len(found) : len(found) + self._at_once]
            asked = _PendingRequest([rows[place] for place in part], received_at, reasons, deadline)
            found.update(zip(part, await self._in_line(asked), strict=True))
            if len(found) < len(places):
                await self._limit_backlog()
        await self._kept(one.transaction_id for one in found.values())
        return [found[place] for place in range(len(rows))]

    async def record(self, said: Sequence[LabelInput], received_at: int) -> list[LabelEntry]:
        """Keep label records; what repeats the last one of its source is that one.

        Parameters
        ----------
        said
            In the order of the ledger; of transactions that may not have come yet.
        received_at
            Microseconds since the epoch: when they are known, unless they say so.

        Returns
        -------
        list of Label
            One for each of them.

        Raises
        ------
        UnavailableError
            The journal cannot be read or written.
        """
        self.readiness.require_store()
        async with self._turns.one():
            await self._writer.catch_up()
            labels = []
            for place, one in enumerate(said):
                labels.append(self._label(one, received_at))
                if place % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                    await self._limit_backlog()
            await self._kept(label.transaction_id for label in labels)
            return labels

    async def swap(self, judge: Decider, store: FeatureStore | None = None, seen: int = 0) -> None:
        """Let another model decide from now on; whoever is being answered is answered by the present one.

        Parameters
        ----------
        store
            The state of the other model's catalogue, where that is not the present one's.
        seen
            Number of the last entry that it has seen.

        Raises
        ------
        UnavailableError
            The journal cannot be written or read, and the present model stays.
        """
        async with self._turns.alone():
            await self._writer.catch_up()
            await self._writer.until(self._last)
            if store is not None:
                feature_state.advanced(store, self._journal, seen)
                self.store = store
            self.judge = judge

    async def retry_write(self) -> UnavailableError | None:
        """Try again to write what could not be written; the error if that still fails."""
        if not self._writer.failed:
            return None
        try:
            async with self._turns.one():
                await self._writer.catch_up()
        except UnavailableError as error:
            return error
        return None

    def decision(self, decision: str) -> TransactionEntry | None:
        """The transaction with the decision of that id; None where there is none."""
        self.readiness.require_store()
        entry = self._journal.entry(number_in(decision))
        taken = self._known(entry.transaction_id) if isinstance(entry, TransactionEntry) else None
        return (
            taken if taken is not None and taken.answer is not None and taken.answer.decision_id == decision else None
        )

    def labels(self, transaction_id: str) -> list[LabelEntry]:
        """What was said of a transaction, in the order of the ledger."""
        return [entry for entry in self._writer.of_transaction(transaction_id) if isinstance(entry, LabelEntry)]

    def alerts(self, asked: Queue) -> Iterator[tuple[Alert, TransactionEntry]]:
        """The queue of alerts, by expected loss, with what is known of each."""
        self.readiness.require_store()
        found = ((alert, self._known(alert.transaction_id)) for alert in self._journal.alerts(asked))
        return ((alert, taken) for alert, taken in found if taken is not None)

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _in_line(self, asked: _PendingRequest) -> asyncio.Future[list[TransactionEntry | Refusal]]:
        """Let a part of a request wait for its turn; those that wait together are decided together."""
        if not self._line:
            asked.answer.get_loop().call_soon(self._next)
        self._line.append(asked)
        return asked.answer

    def _next(self) -> None:
        """Decide about the first in line, and those behind it that fit in one go."""
        group, size = [self._line.popleft()], 0
        while self._line and size + len(self._line[0].rows) <= self._at_once - len(group[0].rows):
            group.append(self._line.popleft())
            size += len(group[-1].rows)
        if self._line:
            asyncio.get_running_loop().call_soon(self._next)
        try:
            found = self._decided_in_time(group)
        except Exception as error:  # noqa: BLE001 - told to those who asked
            for one in group:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        for one, answer in zip(group, found, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)

    def _decided_in_time(self, group: Sequence[_PendingRequest]) -> list[list[TransactionEntry | Refusal]]:
        """Decide, and choose how many transactions are decided in one go from what these took.

        Small groups say little of the time per transaction, and the processor's clock would cost them much.
        """
        rows = sum(len(asked.rows) for asked in group)
        if 2 * rows < self._at_once:
            return self._decide(group)
        begin, used = time.perf_counter(), time.process_time()
        found = self._decide(group)
        # the less of both: other processes take time, other threads of this one take the processor
        took = min(time.perf_counter() - begin, time.process_time() - used)
        affordable = int(_SECONDS_AT_ONCE * rows / max(took, 1e-6))
        self._at_once = min(max(affordable, _FEW_AT_ONCE), _AT_ONCE, 2 * self._at_once)
        return found

    async def _limit_backlog(self) -> None:
        """Write a large request's entries while it goes on; wait where the disk cannot keep up.

        Raises
        ------
        UnavailableError
            They cannot be written; the rest of the request is not taken.
        """
        await self._writer.catch_up()
        if self.waiting > _BACKLOG:
            self._writer.begin()
        if self.waiting > 2 * _BACKLOG:
            await self._writer.until(self._last - 2 * _BACKLOG)

    def _decide(self, group: Sequence[_PendingRequest]) -> list[list[TransactionEntry | Refusal]]:
        """Meet transactions and decide those that are not yet; nothing else comes between."""
        before, now = self._last, time.monotonic()
        self._met.clear()
        try:
            known, past = self._known_of([row["transaction_id"] for asked in group for row in asked.rows])
            met = [[self._meet(row, asked.received_at, known, past) for row in asked.rows] for asked in group]
            open_: dict[bool, dict[str, tuple[TransactionEntry, bool]]] = {True: {}, False: {}}
            for asked, ones in zip(group, met, strict=True):
                for one in ones:
                    if isinstance(one, TransactionEntry) and one.answer is None:
                        open_[now > asked.deadline][one.transaction_id] = one, asked.reasons == "all"
            late, waiting = open_[True], [*open_[False].values()]
            found = self.judge.decided([one for one, _ in waiting], [told for _, told in waiting])
            found += self.judge.fallen_back([one for id_, (one, _) in late.items() if id_ not in open_[False]])
            decided = {one.transaction_id: one for one in found}
        except BaseException:
            # Later transactions will have seen them: they are kept as they are, and their retries decide them.
            self._writer.add([one for one in self._open.values() if one.number > before])
            raise
        self._keep(decided.values(), before)
        return [
            [decided.get(one.transaction_id, one) if isinstance(one, TransactionEntry) else one for one in ones]
            for ones in met
        ]

    def _known_of(self, ids: list[str]) -> tuple[dict[str, list[Entry]], set[str]]:
        """What is kept of transactions, and which of them may have come before the journal."""
        return self._writer.of_transactions(ids), self.past.among(ids)

    def _meet(
        self, row: Row, received_at: int, kept: Mapping[str, list[Entry]], past: set[str]
    ) -> TransactionEntry | Refusal:
        """The transaction as it came first, which may be now."""
        id_ = row["transaction_id"]
        known = self._open.get(id_) or (_as_it_stands(kept[id_]) if id_ in kept else None)
        before = (self.past.find(id_) if id_ in past else None) if known is None else known.transaction
        if before is None:
            return self._take(row, received_at)
        if not _same(before, row):
            return Refusal(id_, "conflicting_duplicate")
        if known is None:
            return Refusal(id_, "in_history")
        if known.expired:
            return Refusal(id_, "expired")
        if known.answer is None and known.catalogue != self.judge.catalogue:
            return Refusal(id_, "undecidable")
        return known

    def _known(self, transaction_id: str) -> TransactionEntry | None:
        return self._open.get(transaction_id) or _as_it_stands(self._writer.of_transaction(transaction_id))

    def _take(self, row: Row, received_at: int) -> TransactionEntry:
        features = tuple(self.store.observe(row).values())
        self._last += 1
        self._since += 1
        if "ts" in row:
            self._newest = row["ts"] if self._newest is None else max(self._newest, row["ts"])
        salt = os.urandom(16).hex()
        taken = TransactionEntry(self._last, received_at, self._newest, row, self.judge.catalogue, features, salt=salt)
        self._open[taken.transaction_id] = taken
        self._met[taken.transaction_id] = self.store.met
        return taken

    def _keep(self, decided: Iterable[TransactionEntry], before: int) -> None:
        """Let what was decided wait for the disk: with its transaction, or behind it where that was kept before."""
        entries: list[Entry] = []
        for one in sorted(decided, key=lambda one: one.number):
            entry: Entry = one
            if one.number <= before and one.answer is not None:
                self._last += 1
                entry = LateDecisionEntry(self._last, one.transaction_id, one.answer)
            entries.append(entry)
            self._open.pop(one.transaction_id, None)
            if one.declined:
                self.store.unpresume(one.transaction_id, self._met.get(one.transaction_id))
            for listener in self._listeners:
                listener(one)
        self._writer.add(sorted(entries, key=lambda entry: entry.number))

    def _label(self, said: LabelInput, received_at: int) -> LabelEntry:
        known = self._writer.of_transaction(said.transaction_id)
        label = deduplicate(said, known, number=self._last + 1, now=received_at, newest=self._newest)
        if label.number <= self._last:
            return label
        self._last += 1
        feature_state.tell(self.store, label)
        self._writer.add([label])
        return label

    async def _kept(self, transactions: Iterable[str]) -> None:
        """Wait until all is kept that is known of transactions."""
        if any(map(self._writer.waits, transactions)):
            await self._writer.until(self._last)


def _arrival(row: Row) -> tuple[Any, ...]:
    """The contract's order of rows that came together."""
    columns = _order(tuple(row))
    return tuple((row[name] is not None, row[name]) for name in columns)


@lru_cache(maxsize=64)
def _order(columns: tuple[str, ...]) -> list[str]:
    return arrival_order(columns)


def _same(before: Row, row: Row) -> bool:
    """Whether two transactions say the same; what one of them has no column for is null there."""
    return all(before.get(name) == row.get(name) for name in before.keys() | row.keys())


def _as_it_stands(kept: Sequence[Entry]) -> TransactionEntry | None:
    """A transaction with the answer it has by now; None where nothing is kept of it."""
    taken = next((entry for entry in kept if isinstance(entry, TransactionEntry)), None)
    answers = [entry.answer for entry in kept if isinstance(entry, LateDecisionEntry)]
    return taken if taken is None or not answers else taken.answered(answers[0])
