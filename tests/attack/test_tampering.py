"""Random tampering with a service's store: each lost entry stays a finding until it is acknowledged."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fraud3000.params import Params
from fraud3000.service.data_dir import DataDir
from fraud3000.stages import audit
from fraud3000.stages.shared.service_store import checkpoint_file, service_folder
from tests.attack.store import ENTRIES, KEY, build, entry, findings, other_journal, params_of, start, whole

_SMALL, _WHOLE = 45, 1_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUD3000_AUDIT_KEY", KEY)
        build(place)
        other_journal(place / "other")
    return place


@pytest.fixture(autouse=True)
def _keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_AUDIT_KEY", KEY)


def _files(place: Path) -> list[Path]:
    names = ("journal.db", "journal.db-wal", "../service.anchors.jsonl", "../service.anchors.jsonl.mark")
    archived = (place / "service" / "archive").glob("*.parquet")
    return [*(path for name in names if (path := place / "service" / name).exists()), *archived]


def flip_bit(place: Path, chance: random.Random, _: Path) -> str:
    path = chance.choice(_files(place))
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"bit {at} of {path.name}"


def cut(place: Path, chance: random.Random, _: Path) -> str:
    path = chance.choice(_files(place))
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{path.name} cut to {size}"


def swap_pages(place: Path, chance: random.Random, _: Path) -> str:
    path = chance.choice(_files(place)[:2])
    content = path.read_bytes()
    pages = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    if len(pages) < 3:
        return "nothing to swap"
    one, other = chance.sample(range(1, len(pages)), 2)
    pages[one], pages[other] = pages[other], pages[one]
    path.write_bytes(b"".join(pages))
    return f"pages {one} and {other} of {path.name}"


def swap_rows(place: Path, chance: random.Random, _: Path) -> str:
    one, other = chance.sample(range(1, ENTRIES + 1), 2)
    column = chance.choice(["body", "seal", "personal", "transaction_id"])
    rows = _sql(place, f"SELECT number, {column} FROM entries WHERE number IN ({one}, {other})")
    for (number, _value), (_number, value) in zip(rows, rows[::-1], strict=True):
        _sql(place, f"UPDATE entries SET {column} = ? WHERE number = ?", value, number)
    return f"{column} of {one} and {other}"


def delete_rows(place: Path, chance: random.Random, _: Path) -> str:
    first = chance.randrange(1, ENTRIES + 1)
    last = chance.choice([first, min(ENTRIES, first + chance.randrange(30)), ENTRIES])
    _sql(place, f"DELETE FROM entries WHERE number BETWEEN {first} AND {last}")
    return f"rows {first} to {last}"


def delete_file(place: Path, chance: random.Random, _: Path) -> str:
    path = chance.choice([*_files(place), place / "service"])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return path.name


def replace_file(place: Path, chance: random.Random, made: Path) -> str:
    name = chance.choice(["backup-40", "backup-80", "other"])
    backup = made / name / "service" if name == "other" else made / name
    if chance.random() < 0.5:
        shutil.rmtree(place / "service")
        shutil.copytree(backup, place / "service")
        return f"folder by {name}"
    for path in _files(place)[:2]:
        path.unlink()
    for path in backup.glob("journal.db*"):
        shutil.copy(path, place / "service" / path.name)
    return f"journal by {name}"


_KINDS: list[Callable[[Path, random.Random, Path], str]] = [
    flip_bit,
    cut,
    swap_pages,
    swap_rows,
    delete_rows,
    delete_file,
    replace_file,
]


def _sql(place: Path, statement: str, *values: object) -> list[tuple[object, object]]:
    with closing(sqlite3.connect(place / "service" / "journal.db")) as connection:
        rows = connection.execute(statement, values).fetchall()
        connection.commit()
        return rows


class _Killed(BaseException):
    """Stands for a `kill -9`: nothing catches it but the test."""


def interrupted(params: Params, chance: random.Random) -> None:
    """Start, and end without any cleaning up at a random change of a file's name."""
    left = chance.randrange(1, 8)
    names = ("link", "replace", "rename", "unlink")
    real = {name: getattr(os, name) for name in names}

    def counted(name: str) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise _Killed
            if left < 0 and name == "unlink":
                return None  # the dead clean nothing up
            return real[name](*args, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, counted(name))
        with suppress(_Killed):
            start(params)


def run_case(seed: int, made: Path, place: Path) -> None:
    chance = random.Random(seed)
    shutil.copytree(made / "killed", place)
    params = params_of(place)
    when = seed % 3
    if when == 2:
        assert start(params) is None
    kind = _KINDS[(seed // 3) % len(_KINDS)]
    what = f"seed {seed}, {('before', 'during', 'after')[when]} a start: {kind.__name__}: {kind(place, chance, made)}"
    readable = whole(params) if kind in {swap_rows, delete_rows} else set()
    if when == 1:
        interrupted(params, chance)
    error = start(params)
    kept = whole(params)
    lost = set(range(1, ENTRIES + 1)) - kept
    assert error is not None or readable <= kept | _swapped(kind), f"{what}: whole entries are kept"
    if lost:
        first = findings(params)
        assert first, f"{what}: {len(lost)} lost without a finding"
        start(params)
        assert findings(params), f"{what}: {len(lost)} lost, and the finding went away"
    if error is not None:
        assert error.exit_code in {3, 6, 7}, f"{what}: {error}"
    if findings_of_loss(params):
        audit.acknowledge(params, "a test")
    again = start(params)
    assert again is None, f"{what}: {again}"
    continued(params, what)


def findings_of_loss(params: Params) -> list[str]:
    """All findings except those about the anchors and the high-water mark themselves."""
    return [finding for finding in findings(params) if ": line " not in finding and ".mark: is not" not in finding]


def _swapped(kind: object) -> set[int]:
    """Rows whose body is whole may be lost with another part of them."""
    return set(range(1, ENTRIES + 1)) if kind is swap_rows else set()


def continued(params: Params, what: str) -> None:
    """Append entries and check that no lost number is used again."""
    with (
        closing(DataDir(service_folder(params), checkpoint_file(params))) as folder,
        closing(folder.journal(key=KEY.encode())) as journal,
    ):
        assert journal.last >= ENTRIES or "other" in what, f"{what}: goes on at {journal.last}"
        journal.append([entry(journal.last + 1)])
        assert len(list(journal.after(0))) == journal.last - sum(hole.last - hole.first + 1 for hole in journal.holes)
    assert not findings_of_loss(params), f"{what}: {findings_of_loss(params)}"


@pytest.mark.parametrize("seed", range(_SMALL))
def test_a_lost_entry_stays_a_finding(seed: int, made: Path, tmp_path: Path) -> None:
    run_case(seed, made, tmp_path / "case")


@pytest.mark.slow
def test_a_thousand_cases(made: Path, tmp_path: Path) -> None:
    for seed in range(_SMALL, _WHOLE):
        run_case(seed, made, tmp_path / "case")
        shutil.rmtree(tmp_path / "case")
