"""Index by id of the transactions whose labels some window may still read.

Transactions are grouped in generations by ts. A generation is dropped once all of it is further behind the newest
transaction than any label window looks back: a label record is recorded after the newest accepted transaction, so no
transaction that may know the record still sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online import hash_map
from fraud3000.features.online.plan import Ints

TS, FLAGS, HEAD = range(3)  # of an entry: a transaction's ts, its flags, the number of slots before its key records
_PACKED_FLAG_BITS = 3  # flags that share a slot with the ts, if no others are needed
_PACKED_FLAGS = (1 << _PACKED_FLAG_BITS) - 1
_GENERATIONS = 16
_FIRST_ROWS = 64
_ROW_BITS = 31
_LOW_31, _LOW_32, _LOW_63 = (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1


class Record(NamedTuple):
    """Label of a transaction by one source; times in microseconds, `position` is the record's position in the ledger.

    `is_fraud` None withholds the label: the transaction is no longer presumed legitimate.
    """

    is_fraud: int | None
    source: str
    reported_at: int | None
    recorded_at: int
    position: int


class RecentTransactions:
    """Recent transactions by id, with their key records and label records.

    Parameters
    ----------
    span
        How far back label windows look, in microseconds; 0 without label windows, and nothing is stored.
    keys
        Number of keys whose label windows count a transaction.
    flags
        Flags that label windows test.
    """

    def __init__(self, span: int, keys: int, flags: int) -> None:
        self.span = span
        self._packs_flags = flags >> _PACKED_FLAG_BITS == 0
        self._width = HEAD + keys - self._packs_flags
        self._length = span // _GENERATIONS + 1
        self.newest = -(1 << 62)
        self.generations: dict[int, Generation] = {}
        self._next_expiry = math.inf  # newest ts at which the oldest generation expires

    def extend(self, hashes: Ints, entries: Ints) -> None:
        """Add transactions that windows may still read: hashes of their ids, and ts, flags, and key records."""
        self._advance_to(max(int(entries[:, TS].max()), self.newest))
        ages = entries[:, TS] // self._length
        for age in np.unique(ages).tolist():
            if not self._is_expired(age):
                selected = ages == age
                self.get_or_create(age).extend(hashes[selected], self._pack(entries[selected]))

    def append(self, id_: str, ts: int, flags: int, keys: list[int]) -> None:
        """Add one transaction."""
        if ts > self.newest:
            self._advance_to(ts)
        age = ts // self._length
        if not self._is_expired(age):
            packed = (ts << _PACKED_FLAG_BITS | flags & _PACKED_FLAGS,) if self._packs_flags else (ts, flags)
            self.get_or_create(age).append(hash_ids([id_]), (*packed, *keys))

    def _pack(self, entries: Ints) -> Ints:
        if not self._packs_flags:
            return entries
        packed = entries[:, TS] << _PACKED_FLAG_BITS | entries[:, FLAGS] & _PACKED_FLAGS
        return np.column_stack([packed, entries[:, HEAD:]])

    def _unpack(self, entry: Ints) -> Ints:
        if not self._packs_flags:
            return entry
        return np.array([entry[TS] >> _PACKED_FLAG_BITS, entry[TS] & _PACKED_FLAGS, *entry[FLAGS:]])

    def find(self, id_: str) -> tuple[Ints, list[Record]] | None:
        """Find a transaction; returns its entry and the list of its label records, which may be appended to."""
        hashed = hash_ids([id_])[0]
        for generation in self.generations.values():
            entry = generation.find(hashed)
            if entry is not None:
                return self._unpack(entry), generation.records.setdefault(id_, [])
        return None

    @property
    def nbytes(self) -> int:
        return sum(generation.nbytes for generation in self.generations.values())

    def __len__(self) -> int:
        return sum(generation.count for generation in self.generations.values())

    def _advance_to(self, newest: int) -> None:
        self.newest = newest
        if newest < self._next_expiry:
            return
        for age in [age for age in self.generations if self._is_expired(age)]:
            del self.generations[age]
        self._next_expiry = min(map(self._expiry, self.generations), default=math.inf)

    def _expiry(self, age: int) -> int:
        return (age + 1) * self._length + self.span

    def _is_expired(self, age: int) -> bool:
        return self._expiry(age) <= self.newest

    def get_or_create(self, age: int) -> Generation:
        """Return the generation of an age; creates it if it does not exist."""
        if age not in self.generations:
            for full in self.generations.values():
                full.shrink()
            self.generations[age] = Generation(self._width)
            self._next_expiry = min(self._next_expiry, self._expiry(age))
        return self.generations[age]


class Generation:
    """Transactions of one period of time.

    Attributes
    ----------
    rows
        An entry for each transaction, the first `count` of them in use.
    rows_by_id
        Hash map from 63 bits of an id's hash to 32 more of them and the row. Where ids agree in the 63 bits only, the next
        key that is free is used.
    records
        Label records by transaction.
    """

    def __init__(self, width: int) -> None:
        self.rows: Ints = np.zeros((_FIRST_ROWS, width), np.int64)
        self.rows_by_id = hash_map.new_map()
        self.count = 0
        self.records: dict[str, list[Record]] = {}

    def extend(self, hashes: Ints, entries: Ints) -> None:
        first = self._reserve(hashes)
        self.rows[first : self.count] = entries

    def append(self, hashed: Ints, entry: tuple[int, ...]) -> None:
        self.rows[self._reserve(hashed)] = entry

    def _reserve(self, hashes: Ints) -> int:
        """Make room for more transactions with these ids; returns the number before."""
        first, self.count = self.count, self.count + len(hashes)
        if self.count > len(self.rows):
            rows = max(self.count, len(self.rows) + len(self.rows) // 4)
            self.rows.resize((rows, self.rows.shape[1]), refcheck=False)
        if not hash_map.has_room(self.rows_by_id, self.count):
            self.rows_by_id = hash_map.grow(self.rows_by_id, self.count)
        _insert_ids(self.rows_by_id, hashes, first)
        return first

    def shrink(self) -> None:
        """Free unused rows."""
        if len(self.rows) > self.count:
            self.rows.resize((max(self.count, 1), self.rows.shape[1]), refcheck=False)

    def find(self, hashed: Ints) -> Ints | None:
        row = _find_row(self.rows_by_id, hashed)
        return self.rows[row].copy() if row >= 0 else None

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.rows_by_id.nbytes


def hash_ids(ids: Iterable[str]) -> Ints:
    """Hash ids to 128 bits each, of which 95 are used; a collision is not expected below 10^13 ids."""
    digests = [blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=16).digest() for id_ in ids]
    return np.frombuffer(b"".join(digests), np.int64).reshape(-1, 2)


@kernel
def _find_id(table: Ints, hashed: Ints) -> tuple[int, int]:
    """Index of an id in the map, or of the free entry where it belongs, and its key there."""
    key = hashed[0] & _LOW_63
    while True:
        key = max(key, 1)
        index = hash_map.find(table, key)
        if table[index] == 0 or (table[index + 1] >> _ROW_BITS) & _LOW_32 == hashed[1] & _LOW_32:
            return index, key
        key = (key + 1) & _LOW_63


@kernel
def _insert_ids(table: Ints, hashes: Ints, first: int) -> None:
    for row in range(len(hashes)):
        index, key = _find_id(table, hashes[row])
        table[index], table[index + 1] = key, (hashes[row, 1] & _LOW_32) << _ROW_BITS | (first + row)


@kernel
def _find_row(table: Ints, hashed: Ints) -> int:
    """Row of an id; -1 if it is unknown."""
    index, _ = _find_id(table, hashed)
    return int(table[index + 1] & _LOW_31) if table[index] else -1
