"""Decision engine: compute features, score, write to the journal, respond.

`FeatureStore.observe` reads a transaction's features and adds the transaction to the state of its keys in one step. A decision is
returned only after its entry is durable in the journal. If the journal cannot be written, requests fail and new transactions
are refused. Transactions that were already observed stay pending: the next attempt writes them, and their retries get their
decisions.
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
from fraud3000.features.online.labels import LabelState
from fraud3000.service.alerts import Alert, AlertFilter
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.decider import Decider, Reasons
from fraud3000.service.engine.label_input import LabelInput, deduplicate
from fraud3000.service.engine.readiness import Readiness
from fraud3000.service.engine.rwlock import RWLock
from fraud3000.service.engine.seed_history import SeedHistory, newest_ts
from fraud3000.service.entries import Entry, LabelEntry, LateDecisionEntry, Row, TransactionEntry, number_in
from fraud3000.service.journal.group_commit import GroupCommitWriter
from fraud3000.service.journal.interface import Journal

_MAX_BATCH = 64
"""Largest number of transactions decided in one batch: a part of a request, or several concurrent requests."""

_MIN_BATCH = 4
"""Smallest adaptive batch size, and the first guess for requests with all reasons, which are the slowest."""

_BATCH_SECONDS = 0.010
"""Target time of one batch: the event loop serves other requests between batches."""

_BACKLOG = 1024
"""Pending entries of a large request at which writing starts while the request goes on; it pauses at twice as many.

Entries of other requests are written behind them, so a short backlog keeps their latency low."""


MAX_IN_PROGRESS = 20_000
"""Transactions that may be in progress at a time; requests beyond that are refused instead of queued."""


@dataclass(frozen=True)
class Refusal:
    """A transaction that is not decided because its id is already known.

    Attributes
    ----------
    code
        ``conflicting_duplicate``: the id was used before with other content. ``in_history``: the transaction is in the seed
        history, so the service never decided it. ``undecidable``: the model failed on it, and the present model has another
        catalogue, for which it has no features. ``expired``: the decision was deleted after the retention period.
    """

    transaction_id: str
    code: Literal["conflicting_duplicate", "in_history", "undecidable", "expired"]


class _PendingRequest:
    """A queued part of a request, with a future for its results."""

    __slots__ = ("deadline", "reasons", "received_at", "results", "rows")

    def __init__(self, rows: Sequence[Row], received_at: int, reasons: Reasons, deadline: float) -> None:
        self.rows, self.received_at, self.reasons, self.deadline = rows, received_at, reasons, deadline
        self.results: asyncio.Future[list[TransactionEntry | Refusal]] = asyncio.get_running_loop().create_future()


class DecisionEngine:
    """Decides transactions in order of arrival.

    Not thread-safe: all methods must be called from one event loop.

    Parameters
    ----------
    decider
        Applies the model.
    store
        Feature state after the seed history and all entries of the journal; of the decider's catalogue.
    journal
        Where transactions, decisions and labels are stored.
    seed_history
        Transactions from before the journal.
    """

    def __init__(self, decider: Decider, store: FeatureStore, journal: Journal, seed_history: SeedHistory) -> None:
        self.decider = decider
        self.store, self.seed_history = store, seed_history
        self._journal, self._writer = journal, GroupCommitWriter(journal)
        self._last = journal.last  # number of the last entry, durable or pending
        self.readiness = Readiness()
        self._label_states: dict[str, LabelState | None] = {}  # by transaction of the current batch, to withhold labels
        self._undecided: dict[str, TransactionEntry] = {}  # observed, but without a decision because the model failed
        self._newest = newest_ts(seed_history, journal)
        self._observed = 0  # transactions since the start
        self._in_progress = 0  # transactions
        self._lock = RWLock()
        self._queue: deque[_PendingRequest] = deque()
        self._batch_size = _MAX_BATCH  # transactions that take about `_BATCH_SECONDS`
        self._listeners: list[Callable[[TransactionEntry], None]] = []

    def warm_up(self) -> None:
        """Run features and model once, so that the first request does not wait for just-in-time compilation."""
        row = {"transaction_id": "", "ts": self._newest or 0, "card_id": "", "terminal_id": "", "amount": 0}
        features = self.store.peek({**row, "status": "approved"})
        self.decider.scorer.decide_rows([features], [0])

    def listen(self, listener: Callable[[TransactionEntry], None]) -> None:
        """Call a function once with every decided transaction, before its entry is durable."""
        self._listeners.append(listener)

    @property
    def entries_written(self) -> int:
        """Number of entries in the journal."""
        return self._journal.last

    @property
    def entries_pending(self) -> int:
        """Number of entries that are not in the journal yet."""
        return self._last - self._journal.last

    def history(self) -> dict[str, Any]:
        """Return the number of known transactions, how many came since the start, and the time span of the seed history."""
        facts: dict[str, Any] = {"rows": len(self.store), "since_start": self._observed}
        if self.seed_history.first is not None and self.seed_history.last is not None:
            facts |= {
                "first": self.seed_history.first.isoformat(),
                "seeded_until": self.seed_history.last.isoformat(),
            }
        return facts

    async def decide(
        self, rows: Sequence[Row], received_at: int, *, reasons: Reasons = "alerts", deadline: float = math.inf
    ) -> list[TransactionEntry | Refusal]:
        """Decide transactions and return once they and their decisions are durable.

        A known transaction with the same content gets its first decision again.

        Parameters
        ----------
        rows
            Processed in the order of files: by ts, id, and the rest of their content.
        received_at
            Microseconds since the epoch.
        reasons
            Which transactions get reasons in the response; those of alerts are always stored.
        deadline
            On the clock of `time.monotonic`; the fallback decides transactions whose batch starts later.

        Returns
        -------
        list of TransactionEntry or Refusal
            One for each of the rows, in their order; each entry has its decision.

        Raises
        ------
        UnavailableError
            The journal cannot be read or written, or too many transactions are in progress.
        """
        self.readiness.require_store()
        if self._in_progress + len(rows) > MAX_IN_PROGRESS:
            raise UnavailableError(
                f"too many transactions in progress: {self._in_progress:,} of at most {MAX_IN_PROGRESS:,}",
                hint="Send the request again later.",
            )
        self._in_progress += len(rows)
        try:
            return await self._decide_locked(rows, received_at, reasons, deadline)
        finally:
            self._in_progress -= len(rows)

    async def _decide_locked(
        self, rows: Sequence[Row], received_at: int, reasons: Reasons, deadline: float
    ) -> list[TransactionEntry | Refusal]:
        async with self._lock.shared():
            return await self._decide_in_batches(rows, received_at, reasons, deadline)

    async def _decide_in_batches(
        self, rows: Sequence[Row], received_at: int, reasons: Reasons, deadline: float
    ) -> list[TransactionEntry | Refusal]:
        await self._writer.drain()
        order = [0] if len(rows) == 1 else sorted(range(len(rows)), key=lambda index: _arrival(rows[index]))
        results: dict[int, TransactionEntry | Refusal] = {}
        if reasons == "all":
            self._batch_size = min(self._batch_size, _MIN_BATCH)
        while len(results) < len(order):
            part = order[len(results) : len(results) + self._batch_size]
            request = _PendingRequest([rows[index] for index in part], received_at, reasons, deadline)
            results.update(zip(part, await self._enqueue(request), strict=True))
            if len(results) < len(order):
                await self._limit_backlog()
        await self._wait_durable(result.transaction_id for result in results.values())
        return [results[index] for index in range(len(rows))]

    async def record(self, labels: Sequence[LabelInput], received_at: int) -> list[LabelEntry]:
        """Store label records and return once they are durable.

        A record with the content of the last record of its source is not stored again; that record is returned instead.

        Parameters
        ----------
        labels
            In the order of the ledger; their transactions may come later.
        received_at
            Microseconds since the epoch; `recorded_at` of records that have none.

        Returns
        -------
        list of LabelEntry
            One for each of the labels.

        Raises
        ------
        UnavailableError
            The journal cannot be read or written.
        """
        self.readiness.require_store()
        async with self._lock.shared():
            await self._writer.drain()
            entries = []
            for index, label in enumerate(labels):
                entries.append(self._record_label(label, received_at))
                if index % _MAX_BATCH == 0:
                    await asyncio.sleep(0)
                    await self._limit_backlog()
            await self._wait_durable(entry.transaction_id for entry in entries)
            return entries

    async def swap(self, decider: Decider, store: FeatureStore | None = None, last_entry: int = 0) -> None:
        """Replace the model once all requests in progress are finished.

        Parameters
        ----------
        store
            Feature state of the new model's catalogue, if that differs from the present one's.
        last_entry
            Number of the last entry in that state.

        Raises
        ------
        UnavailableError
            The journal cannot be written or read; the present model stays.
        """
        async with self._lock.exclusive():
            await self._writer.drain()
            await self._writer.wait_durable(self._last)
            if store is not None:
                feature_state.apply_entries(store, self._journal, last_entry)
                self.store = store
            self.decider = decider

    async def retry_write(self) -> UnavailableError | None:
        """Try again to write entries after a failed write; returns the error if that fails too."""
        if not self._writer.failed:
            return None
        try:
            async with self._lock.shared():
                await self._writer.drain()
        except UnavailableError as error:
            return error
        return None

    def decision(self, decision_id: str) -> TransactionEntry | None:
        """Return the transaction with a decision id; None if there is none."""
        self.readiness.require_store()
        entry = self._journal.entry(number_in(decision_id))
        known = self._lookup(entry.transaction_id) if isinstance(entry, TransactionEntry) else None
        if known is None or known.answer is None or known.answer.decision_id != decision_id:
            return None
        return known

    def labels(self, transaction_id: str) -> list[LabelEntry]:
        """Return the label records of a transaction, in the order of the ledger."""
        return [entry for entry in self._writer.of_transaction(transaction_id) if isinstance(entry, LabelEntry)]

    def alerts(self, query: AlertFilter) -> Iterator[tuple[Alert, TransactionEntry]]:
        """Yield alerts with their transactions, the largest expected loss first."""
        self.readiness.require_store()
        pairs = ((alert, self._lookup(alert.transaction_id)) for alert in self._journal.alerts(query))
        return ((alert, entry) for alert, entry in pairs if entry is not None)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _enqueue(self, request: _PendingRequest) -> asyncio.Future[list[TransactionEntry | Refusal]]:
        """Queue a part of a request; parts that are queued together are decided in one batch."""
        if not self._queue:
            request.results.get_loop().call_soon(self._run_next_batch)
        self._queue.append(request)
        return request.results

    def _run_next_batch(self) -> None:
        """Decide the first queued part, and those behind it that fit into the same batch."""
        batch, size = [self._queue.popleft()], 0
        while self._queue and size + len(self._queue[0].rows) <= self._batch_size - len(batch[0].rows):
            batch.append(self._queue.popleft())
            size += len(batch[-1].rows)
        if self._queue:
            asyncio.get_running_loop().call_soon(self._run_next_batch)
        try:
            results = self._decide_timed(batch)
        except Exception as error:  # noqa: BLE001 - raised in each waiting request
            for request in batch:
                if not request.results.done():
                    request.results.set_exception(error)
            return
        for request, request_results in zip(batch, results, strict=True):
            if not request.results.done():
                request.results.set_result(request_results)

    def _decide_timed(self, batch: Sequence[_PendingRequest]) -> list[list[TransactionEntry | Refusal]]:
        """Decide a batch and adapt the batch size to the time it took.

        Small batches are not timed: they say little about the time per transaction, and reading the CPU clock is expensive.
        """
        rows = sum(len(request.rows) for request in batch)
        if 2 * rows < self._batch_size:
            return self._decide(batch)
        begin, cpu_begin = time.perf_counter(), time.process_time()
        results = self._decide(batch)
        # The smaller of both: wall time includes other processes, CPU time includes other threads of this one.
        seconds = min(time.perf_counter() - begin, time.process_time() - cpu_begin)
        affordable = int(_BATCH_SECONDS * rows / max(seconds, 1e-6))
        self._batch_size = min(max(affordable, _MIN_BATCH), _MAX_BATCH, 2 * self._batch_size)
        return results

    async def _limit_backlog(self) -> None:
        """Start writing the entries of a large request while it goes on; wait if the disk cannot keep up.

        Raises
        ------
        UnavailableError
            They cannot be written; the rest of the request is not processed.
        """
        await self._writer.drain()
        if self.entries_pending > _BACKLOG:
            self._writer.begin()
        if self.entries_pending > 2 * _BACKLOG:
            await self._writer.wait_durable(self._last - 2 * _BACKLOG)

    def _decide(self, batch: Sequence[_PendingRequest]) -> list[list[TransactionEntry | Refusal]]:
        """Look up or ingest the transactions of a batch and decide those without a decision.

        Never awaits, so nothing else changes the state meanwhile.
        """
        before, now = self._last, time.monotonic()
        self._label_states.clear()
        try:
            ids = [row["transaction_id"] for request in batch for row in request.rows]
            stored, seeded = self._writer.of_transactions(ids), self.seed_history.possible_ids(ids)
            known = [
                [self._lookup_or_ingest(row, request.received_at, stored, seeded) for row in request.rows]
                for request in batch
            ]
            late: dict[str, TransactionEntry] = {}
            in_time: dict[str, tuple[TransactionEntry, bool]] = {}
            for request, results in zip(batch, known, strict=True):
                for result in results:
                    if isinstance(result, TransactionEntry) and result.answer is None:
                        if now > request.deadline:
                            late[result.transaction_id] = result
                        else:
                            in_time[result.transaction_id] = result, request.reasons == "all"
            undecided = [*in_time.values()]
            decisions = self.decider.decide_batch(
                [entry for entry, _ in undecided], [explain for _, explain in undecided]
            )
            decisions += self.decider.fallback([entry for id_, entry in late.items() if id_ not in in_time])
            decided = {entry.transaction_id: entry for entry in decisions}
        except BaseException:
            # The features of later transactions include these: store them without a decision; their retries decide them.
            self._writer.add([entry for entry in self._undecided.values() if entry.number > before])
            raise
        self._enqueue_write(decided.values(), before)
        return [
            [
                decided.get(result.transaction_id, result) if isinstance(result, TransactionEntry) else result
                for result in results
            ]
            for results in known
        ]

    def _lookup_or_ingest(
        self, row: Row, received_at: int, stored: Mapping[str, list[Entry]], seeded: set[str]
    ) -> TransactionEntry | Refusal:
        """Return the known transaction of this id, or ingest a new one.

        Parameters
        ----------
        stored
            Entries by transaction id.
        seeded
            Ids that may be in the seed history.
        """
        id_ = row["transaction_id"]
        known = self._undecided.get(id_) or (_with_decision(stored[id_]) if id_ in stored else None)
        before = (self.seed_history.find(id_) if id_ in seeded else None) if known is None else known.transaction
        if before is None:
            return self._ingest(row, received_at)
        if not _same_content(before, row):
            return Refusal(id_, "conflicting_duplicate")
        if known is None:
            return Refusal(id_, "in_history")
        if known.expired:
            return Refusal(id_, "expired")
        if known.answer is None and known.catalogue != self.decider.catalogue:
            return Refusal(id_, "undecidable")
        return known

    def _lookup(self, transaction_id: str) -> TransactionEntry | None:
        return self._undecided.get(transaction_id) or _with_decision(self._writer.of_transaction(transaction_id))

    def _ingest(self, row: Row, received_at: int) -> TransactionEntry:
        """Observe a new transaction and return its entry, without a decision yet."""
        features = tuple(self.store.observe(row).values())
        self._last += 1
        self._observed += 1
        if "ts" in row:
            self._newest = row["ts"] if self._newest is None else max(self._newest, row["ts"])
        salt = os.urandom(16).hex()
        entry = TransactionEntry(
            self._last, received_at, self._newest, row, self.decider.catalogue, features, salt=salt
        )
        self._undecided[entry.transaction_id] = entry
        self._label_states[entry.transaction_id] = self.store.last_label_state
        return entry

    def _enqueue_write(self, decided: Iterable[TransactionEntry], before: int) -> None:
        """Queue decisions for the journal.

        Parameters
        ----------
        before
            Number of the last entry before this batch. A transaction up to it is in the journal without a decision, which
            is written as an entry of its own.
        """
        entries: list[Entry] = []
        for transaction in sorted(decided, key=lambda entry: entry.number):
            entry: Entry = transaction
            if transaction.number <= before and transaction.answer is not None:
                self._last += 1
                entry = LateDecisionEntry(self._last, transaction.transaction_id, transaction.answer)
            entries.append(entry)
            self._undecided.pop(transaction.transaction_id, None)
            if transaction.declined:
                label_state = self._label_states.get(transaction.transaction_id)
                self.store.withhold_label(transaction.transaction_id, label_state)
            for listener in self._listeners:
                listener(transaction)
        self._writer.add(sorted(entries, key=lambda entry: entry.number))

    def _record_label(self, label: LabelInput, received_at: int) -> LabelEntry:
        known = self._writer.of_transaction(label.transaction_id)
        entry = deduplicate(label, known, number=self._last + 1, now=received_at, newest=self._newest)
        if entry.number <= self._last:
            return entry
        self._last += 1
        feature_state.record_label(self.store, entry)
        self._writer.add([entry])
        return entry

    async def _wait_durable(self, transactions: Iterable[str]) -> None:
        """Wait until all pending entries are durable, if any of them is about these transactions."""
        if any(map(self._writer.is_queued, transactions)):
            await self._writer.wait_durable(self._last)


def _arrival(row: Row) -> tuple[Any, ...]:
    """Return the sort key of rows that arrive together, as the contract orders them."""
    columns = _order(tuple(row))
    return tuple((row[name] is not None, row[name]) for name in columns)


@lru_cache(maxsize=64)
def _order(columns: tuple[str, ...]) -> list[str]:
    return arrival_order(columns)


def _same_content(before: Row, row: Row) -> bool:
    """Return True if two transactions have the same content; a column that is missing in one counts as null there."""
    return all(before.get(name) == row.get(name) for name in before.keys() | row.keys())


def _with_decision(entries: Sequence[Entry]) -> TransactionEntry | None:
    """Combine the entries of a transaction: the transaction with its decision, which may be an entry of its own."""
    transaction = next((entry for entry in entries if isinstance(entry, TransactionEntry)), None)
    decisions = [entry.answer for entry in entries if isinstance(entry, LateDecisionEntry)]
    return transaction if transaction is None or not decisions else transaction.answered(decisions[0])
