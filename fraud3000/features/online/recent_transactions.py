"""Index by id of the transactions whose labels some window may still read.

Transactions are grouped in generations by ts. A generation is dropped once all of it is further behind the newest
transaction than any label window looks back: a label record is recorded after the newest accepted transaction, so no
transaction that may know the record still sees it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel
from fraud3000.features.online.label_records import Record
from fraud3000.features.online.plan import Ints

RowTable = npt.NDArray[np.int32]

HEAD = 4  # slots before a transaction's keys: the hash of its id in two, its ts, its flags
TS, FLAGS = 2, 3
_PACKED_FLAG_BITS = 3  # flags that share a slot with the ts, if no others are needed
_PACKED_FLAGS = (1 << _PACKED_FLAG_BITS) - 1
_GENERATIONS = 16
_FIRST_ROWS = 64
_LOW_31 = (1 << 31) - 1
_PAIR = struct.Struct("=2q")


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

    def extend(self, entries: Ints) -> None:
        """Add transactions that windows may still read; an entry is the id's hash, ts, flags, and key records."""
        self._advance_to(max(int(entries[:, TS].max()), self.newest))
        ages = entries[:, TS] // self._length
        for age in np.unique(ages).tolist():
            if not self._is_expired(age):
                self.get_or_create(age).extend(self._pack(entries[ages == age]))

    def append(self, id_: str, ts: int, flags: int, keys: list[int]) -> None:
        """Add one transaction."""
        if ts > self.newest:
            self._advance_to(ts)
        age = ts // self._length
        if not self._is_expired(age):
            packed = (ts << _PACKED_FLAG_BITS | flags & _PACKED_FLAGS,) if self._packs_flags else (ts, flags)
            self.get_or_create(age).append((*_PAIR.unpack(_digest(id_)), *packed, *keys))

    def _pack(self, entries: Ints) -> Ints:
        if not self._packs_flags:
            return entries
        packed = entries[:, TS] << _PACKED_FLAG_BITS | entries[:, FLAGS] & _PACKED_FLAGS
        return np.column_stack([entries[:, :TS], packed, entries[:, HEAD:]])

    def _unpack(self, entry: Ints) -> Ints:
        if not self._packs_flags:
            return entry
        return np.array([*entry[:TS], entry[TS] >> _PACKED_FLAG_BITS, entry[TS] & _PACKED_FLAGS, *entry[FLAGS:]])

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
    """Transactions of one period of time, with a hash index by id."""

    def __init__(self, width: int) -> None:
        self.rows: Ints = np.zeros((_FIRST_ROWS, width), np.int64)
        self.count = 0
        self.records: dict[str, list[Record]] = {}
        self._table = np.zeros(2 * _FIRST_ROWS, np.int32)

    def extend(self, entries: Ints) -> None:
        first = self._reserve(len(entries))
        self.rows[first : self.count] = entries
        _insert_rows(self.rows, self._table, first, self.count)

    def append(self, entry: tuple[int, ...]) -> None:
        row = self._reserve(1)
        self.rows[row] = entry
        _insert_rows(self.rows, self._table, row, row + 1)

    def _reserve(self, count: int) -> int:
        """Make room for `count` more transactions; returns the number before."""
        first, self.count = self.count, self.count + count
        if self.count > len(self.rows):
            rows = max(self.count, len(self.rows) + len(self.rows) // 4)
            self.rows.resize((rows, self.rows.shape[1]), refcheck=False)
        if 3 * self.count > 2 * len(self._table):
            self._rebuild_table(2 * self.count, first)
        return first

    def shrink(self) -> None:
        """Free unused rows."""
        if len(self.rows) <= self.count:
            return
        self.rows.resize((max(self.count, 1), self.rows.shape[1]), refcheck=False)
        self._rebuild_table(3 * self.count // 2 + 1, self.count)

    def _rebuild_table(self, size: int, rows: int) -> None:
        """Rebuild the hash index with `size` entries, for the first `rows` rows."""
        self._table = np.zeros(size, np.int32)
        _insert_rows(self.rows, self._table, 0, rows)

    def find(self, hashed: Ints) -> Ints | None:
        row = self._table[_find_index(self.rows, self._table, hashed)]
        return self.rows[row - 1].copy() if row else None

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self._table.nbytes


def hash_ids(ids: Iterable[str]) -> Ints:
    """Hash ids to 128 bits each; a collision is not expected below 10^18 ids."""
    return np.frombuffer(b"".join([_digest(id_) for id_ in ids]), np.int64).reshape(-1, 2)


def _digest(id_: str) -> bytes:
    return blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@kernel
def _find_index(rows: Ints, table: RowTable, hashed: Ints) -> int:
    """Index of an id in the table, or of the free entry where it belongs."""
    index = (hashed[0] & _LOW_31) * len(table) >> 31
    while table[index]:
        row = table[index] - 1
        if rows[row, 0] == hashed[0] and rows[row, 1] == hashed[1]:
            break
        index = index + 1 if index + 1 < len(table) else 0
    return int(index)


@kernel
def _insert_rows(rows: Ints, table: RowTable, first: int, end: int) -> None:
    for row in range(first, end):
        table[_find_index(rows, table, rows[row])] = row + 1
