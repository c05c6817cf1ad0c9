"""Locations of inputs and outputs: files on this machine, or objects in S3."""

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

Location = Path | Address


def parse(location: str | Path) -> Location:
    """Parse the path of one file, or its address ``s3://bucket/key``.

    Raises
    ------
    ParamsError
        It begins with ``s3://`` but names no bucket.

    Examples
    --------
    >>> str(parse("s3://bank/march.csv")), parse("march.csv").name
    ('s3://bank/march.csv', 'march.csv')
    """
    return Address.from_uri(str(location)) if s3.is_uri(location) else Path(location)


@contextmanager
def fetch(location: str | None) -> Iterator[list[DataFile]]:
    """Find the data files at a location; files in S3 are copied to this machine for the duration of the block.

    In S3 a location is an object, a glob, or a prefix that ends at a ``/`` (written or not), which is
    searched like a folder. Copies are always removed when the block ends. Without a location the list is
    empty.

    Raises
    ------
    DataError
        There is nothing at the location, or it may not be read.
    UnavailableError
        The endpoint does not answer.
    """
    if location is None or not s3.is_uri(location):
        yield [DataFile(path, str(path)) for path in files.discover(location)] if location is not None else []
        return
    address, store = Address.from_uri(location), s3.client()
    found = _find(store, address)
    with tempfile.TemporaryDirectory(prefix="fraud3000-") as folder:
        copies = [DataFile(Path(folder, str(n), item.name[-60:]), str(item)) for n, item in enumerate(found)]
        s3.download(store, {item: copy.path for item, copy in zip(found, copies, strict=True)})
        yield copies


@contextmanager
def atomic_outputs(*outputs: Location) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary file for each output; all outputs appear if the block succeeds, otherwise none.

    Outputs are all on this machine or all in S3.

    Raises
    ------
    UnavailableError
        An output cannot be written.
    """
    addresses = [output for output in outputs if isinstance(output, Address)]
    if not addresses:
        with atomic_write.atomic_outputs(*(output for output in outputs if isinstance(output, Path))) as parts:
            yield parts
        return
    with tempfile.TemporaryDirectory(prefix="fraud3000-") as folder:
        targets = tuple(Path(folder, str(n), address.name[-60:]) for n, address in enumerate(addresses))
        with atomic_write.atomic_outputs(*targets) as parts:
            yield parts
        s3_upload.upload(dict(zip(addresses, targets, strict=True)))


@contextmanager
def scratch_dir(output: Location) -> Iterator[Path]:
    """Yield a temporary folder: on the disk of the output, or the system's own if the output is in S3.

    Raises
    ------
    UnavailableError
        The folder cannot be written.
    """
    near = Path(tempfile.gettempdir(), output.name) if isinstance(output, Address) else output
    with atomic_write.scratch_dir(near) as folder:
        yield folder


def require_writable(*outputs: Location) -> None:
    """Check before long work that the buckets of the outputs can be written.

    Raises
    ------
    UnavailableError
        A bucket does not exist, or may not be written.
    """
    addresses = [output for output in outputs if isinstance(output, Address)]
    if addresses:
        s3_upload.require_writable(addresses)


def refuse_inputs(outputs: Iterable[Location], inputs: Iterable[Location], *, hint: str) -> None:
    """Refuse to overwrite an input of the same command.

    Raises
    ------
    ParamsError
        Naming the output that is also an input.
    """
    read = {_resolve(location) for location in inputs}
    for output in outputs:
        if _resolve(output) in read:
            raise ParamsError(f"{output}: is also an input of this command", hint=hint)


def file_locations(data_files: Iterable[DataFile]) -> list[Location]:
    """The locations of data files; of a copy from S3, its address there."""
    return [parse(str(file)) for file in data_files]


def _resolve(location: Location) -> Location:
    return location.resolve() if isinstance(location, Path) else location


def _find(store: Any, address: Address) -> list[Address]:
    """Find objects as `files.discover` finds files, in the order that the same files have on a disk."""
    wildcard = re.search(r"[*?\[]", address.key)
    if wildcard:
        below = s3.list_objects(store, address.key[: wildcard.start()], address=address)
        found = [address] if address in below else [item for item in below if _matches(item.key, address.key)]
        missing = "no object matches"
    elif address.key and not address.key.endswith("/") and s3.exists(store, address):
        return [address]
    else:
        folder = f"{address.key.rstrip('/')}/" if address.key.strip("/") else ""
        below = s3.list_objects(store, folder, address=address)
        found = [item for item in below if files.is_data(PurePosixPath(item.key.removeprefix(folder)))]
        missing = "a prefix without data files" if below else "no such object, and none below it"
    if not found:
        raise DataError(f"{address}: {missing}", hint="Check the key; it may name an object, a glob or a prefix.")
    return sorted(found, key=lambda item: PurePosixPath(item.key).parts)


def _matches(key: str, pattern: str) -> bool:
    """Whether a key matches a glob; ``*`` matches no slash, ``**`` matches any number of folders."""
    return _match_parts(key.split("/"), pattern.split("/"))


def _match_parts(names: list[str], patterns: list[str]) -> bool:
    if not patterns or not names:
        return not names and all(pattern == "**" for pattern in patterns)
    if patterns[0] == "**":
        return _match_parts(names, patterns[1:]) or _match_parts(names[1:], patterns)
    return fnmatchcase(names[0], patterns[0]) and _match_parts(names[1:], patterns[1:])
