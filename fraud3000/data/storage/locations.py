"""Where data comes from and goes to: files of this machine, or objects in S3."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from fraud3000.data.reading import files
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.data.storage import atomic_write, s3, s3_upload
from fraud3000.data.storage.s3 import Address
from fraud3000.errors import DataError, ParamsError

Place = Path | Address


def place(location: str | Path) -> Place:
    """The place of one file, by its path or ``s3://bucket/key``.

    Raises
    ------
    ParamsError
        It begins with ``s3://`` but names no bucket.

    Examples
    --------
    >>> str(place("s3://bank/march.csv")), place("march.csv").name
    ('s3://bank/march.csv', 'march.csv')
    """
    return Address.of(str(location)) if s3.is_uri(location) else Path(location)


@contextmanager
def fetched(location: str | None) -> Iterator[list[DataFile]]:
    """Find the data files that a location stands for, and have those of S3 on this machine during the block.

    In S3 a location is an object, a prefix that ends at a ``/`` (written or not) and is searched as a
    folder is, or a glob. Copies are removed when the block ends, however it ends. Without a location
    there are no files.

    Raises
    ------
    DataError
        There is nothing there, or it may not be read.
    UnavailableError
        The endpoint does not answer.
    """
    if location is None or not s3.is_uri(location):
        yield [DataFile(path, str(path)) for path in files.discover(location)] if location is not None else []
        return
    wanted, store = Address.of(location), s3.client()
    found = _find(store, wanted)
    with tempfile.TemporaryDirectory(prefix="fraud3000-") as folder:
        copies = [DataFile(Path(folder, str(n), one.name[-60:]), str(one)) for n, one in enumerate(found)]
        s3.download(store, {one: copy.path for one, copy in zip(found, copies, strict=True)})
        yield copies


@contextmanager
def whole(*places: Place) -> Iterator[tuple[Path, ...]]:
    """Give a temporary file for each place; all of them appear when the block ends well, or none.

    Places are all on this machine or all in S3.

    Raises
    ------
    UnavailableError
        A place cannot be written.
    """
    addresses = [one for one in places if isinstance(one, Address)]
    if not addresses:
        with atomic_write.whole(*(one for one in places if isinstance(one, Path))) as parts:
            yield parts
        return
    with tempfile.TemporaryDirectory(prefix="fraud3000-") as folder:
        targets = tuple(Path(folder, str(n), one.name[-60:]) for n, one in enumerate(addresses))
        with atomic_write.whole(*targets) as parts:
            yield parts
        s3_upload.upload(dict(zip(addresses, targets, strict=True)))


@contextmanager
def beside(near: Place) -> Iterator[Path]:
    """Give a folder for what is only needed on the way to a place: near it, or of the system's where that is in S3.

    Raises
    ------
    UnavailableError
        The folder cannot be written.
    """
    with atomic_write.beside(Path(tempfile.gettempdir(), near.name) if isinstance(near, Address) else near) as folder:
        yield folder


def require_writable(*places: Place) -> None:
    """Learn before long work that a bucket cannot be written.

    Raises
    ------
    UnavailableError
        There is no such bucket, or it may not be written.
    """
    addresses = [one for one in places if isinstance(one, Address)]
    if addresses:
        s3_upload.require_writable(addresses)


def refuse_inputs(places: Iterable[Place], read_from: Iterable[Place], *, hint: str) -> None:
    """Refuse to write over what the same command reads.

    Raises
    ------
    ParamsError
        Naming the place.
    """
    taken = {_resolved(one) for one in read_from}
    for one in places:
        if _resolved(one) in taken:
            raise ParamsError(f"{one}: is an input of this very command", hint=hint)


def of_files(read_from: Iterable[DataFile]) -> list[Place]:
    """The places of data files, those of S3 by their addresses there."""
    return [place(str(one)) for one in read_from]


def _resolved(one: Place) -> Place:
    return one.resolve() if isinstance(one, Path) else one


def _find(store: Any, wanted: Address) -> list[Address]:
    """As `files.discover` does it; the order is that of the same files on a disk."""
    sign = re.search(r"[*?\[]", wanted.key)
    if sign:
        below = s3.listed(store, wanted.key[: sign.start()], wanted=wanted)
        found = [wanted] if wanted in below else [one for one in below if _matches(one.key, wanted.key)]
        missing = "no object matches"
    elif wanted.key and not wanted.key.endswith("/") and s3.exists(store, wanted):
        return [wanted]
    else:
        folder = f"{wanted.key.rstrip('/')}/" if wanted.key.strip("/") else ""
        below = s3.listed(store, folder, wanted=wanted)
        found = [one for one in below if files.is_data(PurePosixPath(one.key.removeprefix(folder)))]
        missing = "a prefix without data files" if below else "no such object, and none below it"
    if not found:
        raise DataError(f"{wanted}: {missing}", hint="Check the key; it may name an object, a glob or a prefix.")
    return sorted(found, key=lambda one: PurePosixPath(one.key).parts)


def _matches(key: str, pattern: str) -> bool:
    """Whether a key fits a glob, whose ``*`` stays between slashes and whose ``**`` does not."""
    return _fit(key.split("/"), pattern.split("/"))


def _fit(names: list[str], patterns: list[str]) -> bool:
    if not patterns or not names:
        return not names and all(one == "**" for one in patterns)
    if patterns[0] == "**":
        return _fit(names, patterns[1:]) or _fit(names[1:], patterns)
    return fnmatchcase(names[0], patterns[0]) and _fit(names[1:], patterns[1:])
