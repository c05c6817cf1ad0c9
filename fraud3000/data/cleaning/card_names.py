"""Names of cards across a rotation of the card-number key.

A card's name is the hash of its number under a key. With a new key every card would get a new name and lose its history.
Therefore both keys are set for a time: cards keep their names under the old key, and for each card that is seen, its name
under the new key is stored as an alias of the first name. Then the old key is removed. A card with an alias keeps its
first name; a card that was not seen during the rotation gets a new name, and no window contains its old transactions.
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
_BATCH = 500  # names per query


class CardNameStore:
    """Aliases of cards (new name to first name) in a SQLite file that several processes may use.

    Parameters
    ----------
    path
        The file; it is created when the first alias is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return int(self._query("SELECT count(*) FROM names")[0][0]) if self.path.exists() else 0

    def first_names(self, names: Iterable[str]) -> dict[str, str]:
        """Map each name that is an alias to the first name of its card; other names are absent."""
        if not self.path.exists():
            return {}
        aliases = list(names)
        first_names: dict[str, str] = {}
        for start in range(0, len(aliases), _BATCH):
            part = aliases[start : start + _BATCH]
            placeholders = ",".join("?" * len(part))
            query = f"SELECT new, first FROM names WHERE new IN ({placeholders})"  # noqa: S608
            first_names.update(self._query(query, part))
        return first_names

    def add(self, first_names: Mapping[str, str]) -> None:
        """Store aliases, each with the card's first name; existing aliases are not changed.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        known = self.first_names(first_names)
        new = [(name, first) for name, first in first_names.items() if name != first and name not in known]
        if not new:
            return
        with self._translate_errors():
            self._create()
            with closing(sqlite3.connect(self.path, timeout=30)) as file, file:
                file.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", new)

    def _create(self) -> None:
        """Create the file if it does not exist; it appears with its table, so that no reader sees it without."""
        if self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".card-names-") as folder:
            new_file = Path(folder) / "new"
            with closing(sqlite3.connect(new_file)) as file, file:
                file.execute(_TABLE)
            with contextlib.suppress(FileExistsError):
                self.path.hardlink_to(new_file)

    def delete(self, first: str) -> None:
        """Delete all aliases of a card, by its first name."""
        if self.path.exists():
            with self._translate_errors(), closing(sqlite3.connect(self.path, timeout=30)) as file, file:
                file.execute("PRAGMA secure_delete = ON")
                file.execute("DELETE FROM names WHERE first = ?", (first,))

    def _query(self, query: str, values: Iterable[str] = ()) -> list[tuple[str, str]]:
        with self._translate_errors(), closing(sqlite3.connect(self.path, timeout=30)) as file:
            return file.execute(query, tuple(values)).fetchall()

    def _translate_errors(self) -> _SqliteErrors:
        return _SqliteErrors(self.path)


@dataclass(frozen=True)
class _SqliteErrors:
    """Context manager that turns errors of SQLite and the disk into UnavailableError."""

    path: Path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise UnavailableError(
                f"{self.path}: the aliases of cards cannot be read or written ({error})",
                hint="Check the disk and its permissions; without this file, cards lose their history.",
            ) from error


@dataclass(frozen=True)
class CardNames:
    """Replaces card numbers by names under the current key and, during a rotation, the old key.

    Attributes
    ----------
    key, old
        The current key, and the key that it replaces; None outside of a rotation.
    store
        Aliases of cards.
    """

    key: CardKey
    old: CardKey | None
    store: CardNameStore

    @property
    def key_ids(self) -> set[str]:
        """The key ids that names of cards may begin with, apart from first names in the store."""
        return {key.key_id for key in (self.key, self.old) if key is not None}

    def names(self, values: pl.Series) -> pl.Series:
        """Replace each card number by the card's first name; names are replaced by their first name, too.

        Parameters
        ----------
        values
            Card numbers or names, as text or integers.

        Returns
        -------
        polars.Series
            String, as long as `values`; null where the value is missing.

        Raises
        ------
        UnavailableError
            The store cannot be read or written.
        """
        hashed = cards.hash_cards(values, self.key)
        if self.old is None:
            return self._first(hashed)
        first_names = self._first(cards.hash_cards(values, self.old))
        pairs = pl.DataFrame({"new": hashed, "first": first_names}).drop_nulls().unique()
        self.store.add(dict(pairs.iter_rows()))
        return first_names

    def _first(self, names: pl.Series) -> pl.Series:
        first_names = self.store.first_names(names.drop_nulls().unique().to_list())
        return names.replace(first_names) if first_names else names


def load(environ: Mapping[str, str], path: Path) -> CardNames:
    """Read the card-number key from the environment, and the old key if it is set.

    Parameters
    ----------
    path
        The file of aliases.

    Raises
    ------
    ParamsError
        The key is not set, a key is not valid, or both are the same.
    """
    key = cards.load_key(environ)
    old = cards.load_key(environ, OLD) if any(environ.get(OLD + ending) for ending in ("", "_FILE")) else None
    if old is not None and old.key_id == key.key_id:
        raise ParamsError(
            f"{OLD}: the same key as {cards.VARIABLE}",
            hint=f"Set {cards.VARIABLE} to a new key from `fraud3000 keys pan`, or unset {OLD}.",
        )
    return CardNames(key, old, CardNameStore(path))
