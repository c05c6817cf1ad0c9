"""Archive of old entries: Parquet files by date, outside the database and still readable.

Each file holds consecutive entries with their original seals. When decisions expire, features and decisions are removed
from a file. The transactions stay, since the feature state is computed from them, and so do the seals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from fraud3000.data.storage import atomic_write
from fraud3000.errors import DataError
from fraud3000.service import entries
from fraud3000.service.entries import Entry, TransactionEntry
from fraud3000.service.journal.hash_chain import SealedRow, digest_of
from fraud3000.service.journal.holes import ascending

_SCHEMA: dict[str, pl.DataType] = {
    "number": pl.Int64(),
    "kind": pl.String(),
    "transaction_id": pl.String(),
    "body": pl.Binary(),
    "personal": pl.Binary(),
    "seal": pl.Binary(),
    "digest": pl.Binary(),
}
_ROW_GROUP = 10_000
_EXPIRED = "-expired"


@dataclass(frozen=True, order=True)
class ArchiveFile:
    """One archive file: the range of its entries, and the day on which the last of them was received."""

    first: int
    last: int
    day: date
    path: Path

    @property
    def expired(self) -> bool:
        return self.path.stem.endswith(_EXPIRED)

    @classmethod
    def from_path(cls, path: Path) -> ArchiveFile:
        """Parse the day and the range of numbers from a file name."""
        day, first, last, *_ = path.stem.split("_")
        return cls(int(first), int(last.removesuffix(_EXPIRED)), date.fromisoformat(day), path)


class Archive:
    """Folder of archive files.

    Parameters
    ----------
    root
        May be missing, which is an empty archive.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def files(self) -> list[ArchiveFile]:
        """The files in the order of their entries."""
        return sorted(ArchiveFile.from_path(path) for path in self.root.glob("*.parquet"))

    @property
    def last(self) -> int:
        """Number of the last entry; 0 if the archive is empty."""
        return max((file.last for file in self.files), default=0)

    def add(self, rows: Sequence[SealedRow], day: date) -> None:
        """Write entries that follow the archive's last one to a new file, all or none.

        Raises
        ------
        UnavailableError
            The folder cannot be written.
        """
        name = f"{day.isoformat()}_{rows[0].number:015d}_{rows[-1].number:015d}"
        _write(rows, self.root / f"{name}.parquet")

    def after(self, number: int, until: int) -> Iterator[SealedRow]:
        """Yield every entry after a number, up to another one included.

        Raises
        ------
        DataError
            A file is damaged.
        """
        for file in self.files:
            if file.last > number and file.first <= until:
                yield from (row for row in ascending(_read(file)) if number < row.number <= until)

    def entry(self, number: int) -> SealedRow | None:
        """Return the entry with a number; None if the archive does not have it.

        Raises
        ------
        DataError
            A file is damaged.
        """
        for file in self.files:
            if file.first <= number <= file.last:
                with _report_unreadable(file.path):
                    frame = pl.scan_parquet(file.path, glob=False).filter(pl.col("number") == number).collect()
                return next(_rows(frame), None)
        return None

    def ends(self) -> list[Entry]:
        """Return the first and the last transaction entry; empty if there is none.

        Raises
        ------
        DataError
            A file is damaged.
        """
        ends = []
        for files, index in ((self.files, 0), (self.files[::-1], -1)):
            for file in files:
                rows = [row for row in _read(file) if row.kind == "transaction"]
                if rows:
                    ends.append(decode(rows[index]))
                    break
        return [entry for entry in ends if entry is not None]

    def expire(self, before: date) -> int:
        """Remove features and decisions from files whose last entry was received before a day; return how many.

        Raises
        ------
        UnavailableError
            The folder cannot be written.
        """
        count = 0
        for file in self.files:
            if file.day < before and not file.expired:
                rows = list(_read(file))
                _write([_expired(row) for row in rows], file.path.with_stem(f"{file.path.stem}{_EXPIRED}"))
                file.path.unlink()
                count += sum(row.kind == "transaction" for row in rows)
        return count

    def replace(self, rows: Mapping[int, SealedRow]) -> None:
        """Rewrite files with other rows for some numbers.

        Raises
        ------
        UnavailableError
            The folder cannot be written.
        """
        for file in self.files:
            if any(file.first <= number <= file.last for number in rows):
                _write([rows.get(row.number, row) for row in _read(file)], file.path)

    def erase(self, cards: dict[str, str]) -> int:
        """Pseudonymize cards in every file and delete their other personal data; return how many entries were changed.

        Parameters
        ----------
        cards
            Card to pseudonym.
        """
        count = 0
        for file in self.files:
            rows = list(_read(file))
            erased = [pseudonymized(row, cards) for row in rows]
            changed = sum(new is not old for new, old in zip(erased, rows, strict=True))
            if changed:
                _write(erased, file.path)
            count += changed
        return count


def decode(row: SealedRow) -> Entry | None:
    """Return the entry of a stored row; None for a late decision that has expired.

    Raises
    ------
    ValueError
        The row's parts contradict each other.
    """
    if row.digest is not None and row.kind == "answer":
        return None
    return entries.decode(row.number, row.kind, row.transaction_id, row.body, row.personal)


def pseudonymized(row: SealedRow, cards: dict[str, str]) -> SealedRow:
    """Return the row with the pseudonym of its card and without other personal data; the same object for other cards."""
    if row.personal is None:
        return row
    entry = decode(row)
    pseudonym = cards.get(entry.transaction["card_id"]) if isinstance(entry, TransactionEntry) else None
    if not isinstance(entry, TransactionEntry) or pseudonym is None:
        return row
    personal = entry.pseudonymized(pseudonym).personal()
    return SealedRow(row.number, row.kind, row.transaction_id, row.body, personal, row.seal, row.digest)


def _expired(row: SealedRow) -> SealedRow:
    """Return what stays of a row when its decision expires; rows of labels and erasures stay as they are."""
    if row.kind == "transaction":
        entry = decode(row)
        assert isinstance(entry, TransactionEntry)
        body = entry.expired_body()
    elif row.kind == "answer":
        body = b""
    else:
        return row
    digest = row.digest or digest_of(row.body)
    return SealedRow(row.number, row.kind, row.transaction_id, body, row.personal, row.seal, digest)


def _write(rows: Iterable[SealedRow], path: Path) -> None:
    values = [(row.number, row.kind, row.transaction_id, row.body, row.personal, row.seal, row.digest) for row in rows]
    frame = pl.DataFrame(values, schema=_SCHEMA, orient="row")
    with atomic_write.atomic_outputs(path) as (part,):
        frame.write_parquet(part, row_group_size=_ROW_GROUP, statistics=True)


def _read(file: ArchiveFile) -> Iterator[SealedRow]:
    with _report_unreadable(file.path):
        frame = pl.read_parquet(file.path, glob=False)
    return _rows(frame)


def _rows(frame: pl.DataFrame) -> Iterator[SealedRow]:
    return (SealedRow(*row) for row in frame.iter_rows())


@contextmanager
def _report_unreadable(path: Path) -> Iterator[None]:
    """Convert errors of reading a Parquet file in the block to a `DataError`."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path}: cannot be read ({str(error).splitlines()[0]})", hint="Restore the file from a backup."
        ) from error
