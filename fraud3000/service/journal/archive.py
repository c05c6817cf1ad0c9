"""Old entries in Parquet files by date: out of the journal, and still at hand.

Each file holds entries that follow on one another, sealed as they were. When decisions have expired, features and answers
are taken out of a file; what happened stays, since the features' state is made of it, and so do the seals.
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
from fraud3000.service.journal import entries
from fraud3000.service.journal.entries import Entry, TransactionEntry
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
class File:
    """One file: which entries it holds, and the day on which the last of them came."""

    first: int
    last: int
    day: date
    path: Path

    @property
    def expired(self) -> bool:
        return self.path.stem.endswith(_EXPIRED)

    @classmethod
    def at(cls, path: Path) -> File:
        """What its name says: the day, and the numbers."""
        day, first, last, *_ = path.stem.split("_")
        return cls(int(first), int(last.removesuffix(_EXPIRED)), date.fromisoformat(day), path)


class Archive:
    """The folder of these files.

    Parameters
    ----------
    root
        There may be none.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def files(self) -> list[File]:
        """In the order of their entries."""
        return sorted(File.at(path) for path in self.root.glob("*.parquet"))

    @property
    def last(self) -> int:
        """Number of the last entry; 0 where there is none."""
        return max((file.last for file in self.files), default=0)

    def add(self, rows: Sequence[SealedRow], day: date) -> None:
        """Write entries that follow on those that are here, all or none.

        Raises
        ------
        UnavailableError
            The place cannot be written.
        """
        name = f"{day.isoformat()}_{rows[0].number:015d}_{rows[-1].number:015d}"
        _write(rows, self.root / f"{name}.parquet")

    def after(self, number: int, until: int) -> Iterator[SealedRow]:
        """Every entry behind a number, up to another.

        Raises
        ------
        DataError
            A file is damaged.
        """
        for file in self.files:
            if file.last > number and file.first <= until:
                yield from (row for row in ascending(_read(file)) if number < row.number <= until)

    def entry(self, number: int) -> SealedRow | None:
        """The entry of a number; None where it is not here.

        Raises
        ------
        DataError
            A file is damaged.
        """
        for file in self.files:
            if file.first <= number <= file.last:
                with _readable(file.path):
                    found = pl.scan_parquet(file.path, glob=False).filter(pl.col("number") == number).collect()
                return next(_rows(found), None)
        return None

    def ends(self) -> list[Entry]:
        """The first transaction and the last; none where there is none.

        Raises
        ------
        DataError
            A file is damaged.
        """
        found = []
        for files, place in ((self.files, 0), (self.files[::-1], -1)):
            for file in files:
                rows = [row for row in _read(file) if row.kind == "transaction"]
                if rows:
                    found.append(entry_of(rows[place]))
                    break
        return [entry for entry in found if entry is not None]

    def expire(self, before: date) -> int:
        """Take features and answers out of the files whose last entry came before a day; how many were taken out.

        Raises
        ------
        UnavailableError
            The place cannot be written.
        """
        count = 0
        for file in self.files:
            if file.day < before and not file.expired:
                rows = list(_read(file))
                _write([_without(row) for row in rows], file.path.with_stem(f"{file.path.stem}{_EXPIRED}"))
                file.path.unlink()
                count += sum(row.kind == "transaction" for row in rows)
        return count

    def replace(self, rows: Mapping[int, SealedRow]) -> None:
        """Write files anew with other rows under some numbers.

        Raises
        ------
        UnavailableError
            The place cannot be written.
        """
        for file in self.files:
            if any(file.first <= number <= file.last for number in rows):
                _write([rows.get(row.number, row) for row in _read(file)], file.path)

    def erase(self, cards: dict[str, str]) -> int:
        """Give cards other names in every file, and take what else is personal; how many entries were of them.

        Parameters
        ----------
        cards
            Card to pseudonym.
        """
        count = 0
        for file in self.files:
            rows = list(_read(file))
            told = [without_person(row, cards) for row in rows]
            changed = sum(new is not old for new, old in zip(told, rows, strict=True))
            if changed:
                _write(told, file.path)
            count += changed
        return count


def entry_of(row: SealedRow) -> Entry | None:
    """What a row says; None where it was an answer that has expired."""
    if row.digest is not None and row.kind == "answer":
        return None
    return entries.read(row.number, row.kind, row.transaction_id, row.body, row.personal)


def without_person(row: SealedRow, cards: dict[str, str]) -> SealedRow:
    """The row with another name for the card, if it is one of these; else itself."""
    if row.personal is None:
        return row
    taken = entry_of(row)
    pseudonym = cards.get(taken.transaction["card_id"]) if isinstance(taken, TransactionEntry) else None
    if not isinstance(taken, TransactionEntry) or pseudonym is None:
        return row
    beside = taken.erased(pseudonym).personal()
    return SealedRow(row.number, row.kind, row.transaction_id, row.body, beside, row.seal, row.digest)


def _without(row: SealedRow) -> SealedRow:
    """What stays when a decision has expired; labels and erasures stay as they are."""
    if row.kind == "transaction":
        taken = entry_of(row)
        assert isinstance(taken, TransactionEntry)
        left = taken.content()
    elif row.kind == "answer":
        left = b""
    else:
        return row
    digest = row.digest or digest_of(row.body)
    return SealedRow(row.number, row.kind, row.transaction_id, left, row.personal, row.seal, digest)


def _write(rows: Iterable[SealedRow], path: Path) -> None:
    told = [(row.number, row.kind, row.transaction_id, row.body, row.personal, row.seal, row.digest) for row in rows]
    frame = pl.DataFrame(told, schema=_SCHEMA, orient="row")
    with atomic_write.atomic_outputs(path) as (part,):
        frame.write_parquet(part, row_group_size=_ROW_GROUP, statistics=True)


def _read(file: File) -> Iterator[SealedRow]:
    with _readable(file.path):
        frame = pl.read_parquet(file.path, glob=False)
    return _rows(frame)


def _rows(frame: pl.DataFrame) -> Iterator[SealedRow]:
    return (SealedRow(*row) for row in frame.iter_rows())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tell of a file that cannot be read in the block."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path}: cannot be read ({str(error).splitlines()[0]})", hint="Bring it back from a backup."
        ) from error
