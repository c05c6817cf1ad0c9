"""Which name a card goes by, while its key is changed and after that.

A name is the hash of a card's number under a key. When the key changes, windows would lose every card. So for a time both
keys are set: cards go on by their names under the old one, and each that is seen has its new name written down as
another name of the same card. Then the old key goes. A card with another name goes on by its first; one that was not
seen for so long that no window remembers it begins anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fraud3000.data.cleaning import cards
from fraud3000.data.cleaning.cards import CardKey
from fraud3000.errors import ParamsError, UnavailableError

OLD = "FRAUD3000_PAN_KEY_OLD"

_TABLE = "CREATE TABLE names (new TEXT PRIMARY KEY, first TEXT NOT NULL) WITHOUT ROWID"
_AT_ONCE = 500  # names of a question


class CardNameStore:
    """Other names of cards, in a SQLite file that several programs may use; it is made with the first of them.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return int(self._ask("SELECT count(*) FROM names")[0][0]) if self.path.exists() else 0

    def firsts(self, names: Iterable[str]) -> dict[str, str]:
        """The first name of each card that has one beside the name that is given."""
        if not self.path.exists():
            return {}
        asked = list(names)
        found: dict[str, str] = {}
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            places = ",".join("?" * len(part))
            found.update(self._ask(f"SELECT new, first FROM names WHERE new IN ({places})", part))  # noqa: S608
        return found

    def add(self, firsts: Mapping[str, str]) -> None:
        """Write down other names, each with the card's first; those that are known stay.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        known = self.firsts(firsts)
        new = [(name, first) for name, first in firsts.items() if name != first and name not in known]
        if not new:
            return
        with self._unwritable():
            self._make()
            with closing(sqlite3.connect(self.path, timeout=30)) as file, file:
                file.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", new)

    def _make(self) -> None:
        """Make the file where there is none: with its table from the first, for who reads it meanwhile."""
        if self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".card-names-") as place:
            made = Path(place) / "made"
            with closing(sqlite3.connect(made)) as file, file:
                file.execute(_TABLE)
            with contextlib.suppress(FileExistsError):
                self.path.hardlink_to(made)

    def forget(self, first: str) -> None:
        """Take the other names of a card away."""
        if self.path.exists():
            with self._unwritable(), closing(sqlite3.connect(self.path, timeout=30)) as file, file:
                file.execute("PRAGMA secure_delete = ON")
                file.execute("DELETE FROM names WHERE first = ?", (first,))

    def _ask(self, question: str, values: Iterable[str] = ()) -> list[tuple[str, str]]:
        with self._unwritable(), closing(sqlite3.connect(self.path, timeout=30)) as file:
            return file.execute(question, tuple(values)).fetchall()

    def _unwritable(self) -> _Told:
        return _Told(self.path)


@dataclass(frozen=True)
class _Told:
    """Tells what SQLite says of a file as ours."""

    path: Path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise UnavailableError(
                f"{self.path}: the other names of cards cannot be read or written ({error})",
                hint="Check the disk and its permissions; the file is needed for cards to keep their history.",
            ) from error


@dataclass(frozen=True)
class CardNames:
    """What cards are called under a key, with the key before it where that is still there.

    Attributes
    ----------
    key, old
        That of today, and the one that it takes the place of; None where no key is being changed.
    book
        Other names of cards.
    """

    key: CardKey
    old: CardKey | None
    book: CardNameStore

    @property
    def key_ids(self) -> set[str]:
        """What names begin with that cards may go by, but for those in the book."""
        return {key.key_id for key in (self.key, self.old) if key is not None}

    def names(self, values: pl.Series) -> pl.Series:
        """Replace each card number by the first name that the card went by; what is a name already too.

        Parameters
        ----------
        values
            Card numbers as text or integers.

        Returns
        -------
        polars.Series
            String, as long as `values`; null where there is no number.

        Raises
        ------
        UnavailableError
            The book cannot be read or written.
        """
        hashed = cards.hash_cards(values, self.key)
        if self.old is None:
            return self._first(hashed)
        before = self._first(cards.hash_cards(values, self.old))
        pairs = pl.DataFrame({"new": hashed, "first": before}).drop_nulls().unique()
        self.book.add(dict(pairs.iter_rows()))
        return before

    def _first(self, names: pl.Series) -> pl.Series:
        firsts = self.book.firsts(names.drop_nulls().unique().to_list())
        return names.replace(firsts) if firsts else names


def load(environ: Mapping[str, str], book: Path) -> CardNames:
    """Read the key of card numbers from the environment, and the one before it where it is set.

    Parameters
    ----------
    book
        The file of other names.

    Raises
    ------
    ParamsError
        There is no key, one is none, or both are the same.
    """
    key = cards.load_key(environ)
    old = cards.load_key(environ, OLD) if any(environ.get(OLD + ending) for ending in ("", "_FILE")) else None
    if old is not None and old.key_id == key.key_id:
        raise ParamsError(
            f"{OLD}: the same key as {cards.VARIABLE}",
            hint=f"Set {cards.VARIABLE} to a new one, made by `fraud3000 keys pan`, or unset {OLD}.",
        )
    return CardNames(key, old, CardNameStore(book))
