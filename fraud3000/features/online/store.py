"""Online feature store: computes the features of one transaction at a time, then inserts it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from fraud3000.errors import ScorerError
from fraud3000.features.online import checksum, label_deltas, memory_pool, observe, snapshot
from fraud3000.features.online.event_encoder import EventEncoder, Transaction, microseconds
from fraud3000.features.online.labels import Labels, LabelState
from fraud3000.features.online.memory_pool import KEY_COUNT, LATE, REFUSED, SEEN
from fraud3000.features.online.plan import DELTA_CLASS, FLAGS, TS, Ints, pack
from fraud3000.features.online.plan_compiler import compile_plan
from fraud3000.features.online.recent_transactions import hash_ids
from fraud3000.features.online.row_features import RowFeatures, Value
from fraud3000.features.spec.catalogue import Catalogue

_SLICE = 100_000  # rows that `absorb` encodes at a time


class FeatureStore:
    """Computes the features of each transaction from the transactions and label records that arrived before it.

    The caller must not observe a transaction twice. Methods are thread-safe: one lock serializes them.

    Parameters
    ----------
    catalogue
        The features to compute.

    Examples
    --------
    >>> from fraud3000.features.spec.kinds import Window
    >>> store = FeatureStore(Catalogue((Window("card_id", "1h", "sum"),), label_delay=0))
    >>> store.observe({"transaction_id": "1", "ts": 0, "card_id": "a", "amount": 250})
    {'card_amount_sum_1h': 0.0}
    >>> store.observe({"transaction_id": "2", "ts": 1, "card_id": "a", "amount": 100})
    {'card_amount_sum_1h': 250.0}
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._timed = any("ts" in feature.needs for feature in catalogue.features)
        self._plan, self._layout = compile_plan(catalogue)
        self._packed_plan = pack(self._plan)
        self._state = memory_pool.empty_state(self._plan, self._layout)
        self._encoder = EventEncoder(self._layout)
        self._row_features = RowFeatures(catalogue)
        layout = self._layout
        keys = len(layout.label_steps)
        self._labels = Labels(layout.label_span, keys, layout.label_flags, catalogue.precedence, self._add_delta)
        self._rows = 0
        self._null_features: dict[str, Value] = dict.fromkeys(catalogue.names)
        kinds = {feature.name: feature.kind for feature in catalogue.features}
        names = self._layout.names
        self._boolean_positions = [position for position, name in enumerate(names) if kinds.get(name) == "boolean"]
        self._hidden = sum(name not in kinds for name in names)  # windows that only shifts read come first
        self._names = names[self._hidden :]
        self._lock = Lock()

    def __len__(self) -> int:
        """Number of transactions that were inserted."""
        return self._rows

    def observe(self, transaction: Transaction) -> dict[str, Value]:
        """Compute a transaction's features, then insert it.

        Parameters
        ----------
        transaction
            Columns of TRANSACTIONS and passthrough columns; `ts` is a datetime with a zone, or integer microseconds
            since the epoch. Missing columns are null, except `status` (approved) and `labelled` (true).

        Returns
        -------
        dict
            Every feature by name, in the catalogue's order; None if it is null.
        """
        with self._lock:
            ts = self._encode(transaction, learn=True)
            while slots := observe.observe(self._packed_plan, *self._state, self._encoder.event, 1):
                self._grow(slots)
            self._rows += 1
            values = self._feature_values(transaction, ts)
            if self._labels.span:
                live = self._state.live.tolist()
                keys = [live[step] for step in self._layout.label_steps]
                self._labels.add_transaction(transaction["transaction_id"], ts, int(self._encoder.event[FLAGS]), keys)
            return values

    def peek(self, transaction: Transaction) -> dict[str, Value]:
        """Compute the features that `observe` would return now; inserts nothing."""
        with self._lock:
            ts = self._encode(transaction, learn=False)
            observe.observe(self._packed_plan, *self._state, self._encoder.event, 0)
            return self._feature_values(transaction, ts)

    def record_label(
        self,
        transaction_id: str,
        is_fraud: int,
        *,
        source: str = "file",
        reported_at: datetime | int | None = None,
        recorded_at: datetime | int,
    ) -> None:
        """Add a label record of the ledger; every transaction at t > `recorded_at` knows it.

        A record waits for a transaction that has not arrived yet. If all label windows have passed the transaction at
        `recorded_at`, the record is stored but never read.
        """
        reported_us = None if reported_at is None else microseconds(reported_at)
        with self._lock:
            self._labels.add_record(transaction_id, int(is_fraud), source, reported_us, microseconds(recorded_at))

    @property
    def last_label_state(self) -> LabelState | None:
        """Label state of the transaction that was observed last, for `withhold_label`; None without label windows."""
        return self._labels.last

    def withhold_label(self, transaction_id: str, label_state: LabelState | None = None) -> None:
        """Stop presuming a transaction legitimate: we declined it, so its outcome will never be observed.

        Only records of the ledger label it from then on.

        Parameters
        ----------
        label_state
            Value of `last_label_state` after the transaction was observed. Without it, nothing happens if all label
            windows have passed the transaction.
        """
        with self._lock:
            self._labels.withhold_label(transaction_id, label_state)

    def absorb(
        self, transactions: pl.DataFrame, ledger: pl.DataFrame | None = None, *, withheld: Iterable[str] = ()
    ) -> None:
        """Insert many transactions in the order of `seq` without computing features, and add many label records.

        Parameters
        ----------
        transactions
            TRANSACTIONS that arrived after all that the store has inserted.
        ledger
            LEDGER, in its order; its records may belong to these, to earlier or to later transactions.
        withheld
            Ids of the transactions that only records of the ledger may label; see `withhold_label`.
        """
        with self._lock:
            self._labels.expect_withheld(withheld)
            for id_, is_fraud, source, reported_at, recorded_at in _records(ledger):
                self._labels.add_record(id_, is_fraud, source, reported_at, recorded_at)
            self._absorb(transactions)

    @classmethod
    def rebuild(
        cls, transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, *, as_of: datetime | None = None
    ) -> FeatureStore:
        """Build the store that has observed these transactions and label records.

        Parameters
        ----------
        transactions, ledger
            TRANSACTIONS and LEDGER.
        as_of
            Ignore transactions at this time or later, and label records that were recorded then or later.
        """
        if as_of is not None:
            transactions = transactions.filter(pl.col("ts") < as_of)
            ledger = ledger.filter(pl.col("recorded_at") < as_of)
        store = cls(catalogue)
        store.absorb(transactions, ledger)
        return store

    # inspection and snapshots

    def counts(self) -> dict[str, dict[str, int]]:
        """By kind of key: keys; inserted rows; those of them that arrived late; rows refused because they arrived too late."""
        with self._lock:
            steps = zip(self._layout.keys, self._plan.steps, self._state.tallies.tolist(), strict=False)
            return {
                "+".join(columns): {
                    "keys": tally[KEY_COUNT],
                    "rows": tally[SEEN],
                    "late": tally[LATE],
                    "refused": tally[REFUSED],
                }
                for columns, step, tally in steps
                if step["is_key"]
            }

    def memory(self) -> dict[str, int]:
        """Bytes in use by part of the memory."""
        with self._lock:
            texts = sum(map(_dict_bytes, self._encoder.codes.values()))
            parts = {"texts": texts, "transactions by id": self._labels.recent.nbytes}
            return {**memory_pool.memory_by_part(self._state, self._layout), **parts}

    def checksum(self) -> str:
        """SHA-256 of the content; equal for stores that compute the same features from now on."""
        with self._lock:
            texts = {column: list(codes) for column, codes in self._encoder.codes.items()}
            content = {"catalogue": self.catalogue.hash, "texts": texts, "waiting": self._labels.waiting_records()}
            return checksum.compute(self._plan, self._state, content)

    def snapshot(self, file: BinaryIO) -> None:
        """Write the store to a file."""
        with self._lock:
            content = {
                "catalogue": self.catalogue.to_dict(),
                "hash": self.catalogue.hash,
                "rows": self._rows,
                "texts": {column: list(codes) for column, codes in self._encoder.codes.items()},
                "labels": self._labels.content(),
            }
            snapshot.write(file, content, {**memory_pool.snapshot_arrays(self._state), **self._labels.arrays()})

    @classmethod
    def restore(cls, file: BinaryIO) -> FeatureStore:
        """Load a store from a snapshot.

        Raises
        ------
        ScorerError
            The file is not a snapshot, is damaged, or was written under other rules of time.
        """
        content, arrays = snapshot.read(file)
        store = cls(Catalogue.from_dict(content["catalogue"]))
        if store.catalogue.hash != content["hash"]:
            raise ScorerError(
                "snapshot of a feature store was written under other rules of time or another schema",
                hint="Rebuild the store from the transactions and the ledger.",
            )
        store._rows = content["rows"]
        for column, texts in content["texts"].items():
            store._encoder.codes[column].update({text: code for code, text in enumerate(texts)})
        store._state = memory_pool.from_arrays(store._state, arrays)
        store._labels.restore(content["labels"], arrays)
        return store

    def _encode(self, transaction: Transaction, *, learn: bool) -> int:
        ts = microseconds(transaction["ts"]) if self._timed else 0
        self._encoder.encode(transaction, ts, learn=learn)
        return ts

    def _feature_values(self, transaction: Transaction, ts: int) -> dict[str, Value]:
        values: list[Value] = self._state.out.tolist()
        for position in self._boolean_positions:
            values[position] = bool(values[position])
        for position in self._state.undefined[1 : 1 + self._state.undefined[0]].tolist():
            values[position] = None
        features = self._null_features.copy()
        features.update(zip(self._names, values[self._hidden :], strict=True))
        features.update(self._row_features.compute(transaction, ts))
        return features

    def _absorb(self, transactions: pl.DataFrame) -> None:
        """Encode each slice while the one before is inserted: kernels release the interpreter's lock."""
        slices = transactions.sort("seq").iter_slices(_SLICE)
        with ThreadPoolExecutor(1) as encoder:
            encoding = encoder.submit(self._encode_slice, next(slices, None))
            while (rows := encoding.result()) is not None:
                encoding = encoder.submit(self._encode_slice, next(slices, None))
                self._insert_slice(*rows)

    def _encode_slice(self, rows: pl.DataFrame | None) -> tuple[Ints, list[str], Ints] | None:
        if rows is None:
            return None
        ids = rows["transaction_id"].to_list() if self._labels.span else []
        return self._encoder.encode_frame(rows), ids, hash_ids(ids)

    def _insert_slice(self, encoded: Ints, ids: list[str], hashed: Ints) -> None:
        live, (row, needed) = np.empty((len(encoded), len(self._plan.steps)), np.int64), (0, 1)
        while needed:
            row, needed = observe.absorb(self._plan, self._state, encoded, row, live)
            self._grow(needed)
        self._rows += len(encoded)
        keys = live[:, self._layout.label_steps]
        if self._labels.span and ids:
            self._labels.add_transactions(ids, hashed, np.column_stack([encoded[:, [TS, FLAGS]], keys]))

    def _add_delta(self, keys: Ints, values: Ints) -> None:
        slots = len(self._plan.sections) * memory_pool.size_of(DELTA_CLASS)
        if not memory_pool.has_room(self._state.pool, self._state.key_map, slots, 0):
            self._grow(slots)
        key_by_step = np.zeros(len(self._plan.steps), np.int64)
        key_by_step[self._layout.label_steps] = keys
        label_deltas.add_delta(self._state.pool, self._plan.sections, key_by_step, values)

    def _grow(self, slots: int) -> None:
        self._state = memory_pool.grow(self._state, slots, len(self._plan.steps))


def _records(ledger: pl.DataFrame | None) -> list[tuple[Any, ...]]:
    if ledger is None:
        return []
    times = pl.col("reported_at", "recorded_at").dt.epoch("us")
    return ledger.select("transaction_id", "is_fraud", "source", times).rows()


def _dict_bytes(codes: dict[str, int]) -> int:
    return sys.getsizeof(codes) + sum(map(sys.getsizeof, codes)) + sum(map(sys.getsizeof, codes.values()))
