"""Read ZIP archives of NumPy arrays in bounded memory: sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from fraud3000.strict_json import InvalidPartError

SMALL_BYTES = 16 * 2**20
"""Every archive may unpack to this size."""
MOST_TIMES = 40
"""A larger archive may unpack to this multiple of its own size; arrays of fitted trees unpack to three times it."""
_MOST_MEMBERS = 1_000
_PIECE = 2**20
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>[<>|=]?[?a-zA-Z]\d*)', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,20}, ?)*(?:\d{1,20})?)\), \} *\n"
)
_MAGIC = b"\x93NUMPY\x01\x00"
_ENCRYPTED = 0x1


class BoundedZip:
    """ZIP archive that limits how much its members unpack to.

    Parameters
    ----------
    content
        The archive.

    Raises
    ------
    InvalidPartError
        It is not an archive, has too many members, two members of one name, or an encrypted one.
    """

    def __init__(self, content: bytes) -> None:
        with _readable("the archive"):
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        listed = self._archive.infolist()
        self._members = {member.filename: member for member in listed}
        self._most = max(SMALL_BYTES, MOST_TIMES * len(content))
        self._unpacked: dict[str, int] = {}
        if len(listed) > _MOST_MEMBERS or len(self._members) < len(listed):
            raise InvalidPartError(f"the archive: {len(listed):,} members, {len(self._members):,} of them by name")
        for member in listed:
            if member.flag_bits & _ENCRYPTED or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidPartError(f"{member.filename}: encrypted, or compressed by an unknown method")

    @property
    def names(self) -> list[str]:
        """The members' names, in order."""
        return sorted(self._members)

    def read(self, name: str) -> bytearray:
        """Unpack a member.

        Raises
        ------
        InvalidPartError
            It is missing or damaged, or all members unpacked so far take too much memory.
        """
        if name not in self._members:
            raise InvalidPartError(f"{name}: missing")
        member = self._members[name]
        self._unpacked[name] = member.file_size
        unpacked = sum(self._unpacked.values())
        if unpacked > self._most:
            raise InvalidPartError(f"{name}: unpacks to {unpacked:,} bytes; at most {self._most:,} are read")
        content = bytearray()
        with _readable(name), self._archive.open(member) as file:
            while piece := file.read(_PIECE):
                content += piece
        if len(content) != member.file_size:
            raise InvalidPartError(f"{name}: {len(content):,} bytes of the {member.file_size:,} that it declares")
        return content

    def array(self, name: str) -> npt.NDArray[Any]:
        """Read a member that is an array in NumPy's format 1.0.

        Raises
        ------
        InvalidPartError
            As `read`; or it is not such an array, holds Python objects, or its size is not the declared one.
        """
        content = self.read(name)
        kind, shape, fortran, offset = _header(content, name)
        if kind.hasobject:
            raise InvalidPartError(f"{name}: holds Python objects, which are never read (allow_pickle is off)")
        if math.prod(shape) * kind.itemsize != len(content) - offset:
            raise InvalidPartError(f"{name}: shape {shape} of {kind} does not fit its {len(content) - offset:,} bytes")
        flat = np.frombuffer(content, dtype=kind, offset=offset)
        return flat.reshape(shape, order="F" if fortran else "C")


def _header(content: bytearray, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Return an array's type, shape, order, and the offset of its values."""
    begin = len(_MAGIC) + 2
    if not content.startswith(_MAGIC) or len(content) < begin:
        raise InvalidPartError(f"{name}: not an array in NumPy's format 1.0")
    offset = begin + struct.unpack_from("<H", content, len(_MAGIC))[0]
    match = _HEADER.fullmatch(content[begin:offset])
    kind = _kind(match["kind"]) if match else None
    if match is None or kind is None:
        raise InvalidPartError(f"{name}: the array's header cannot be read")
    shape = tuple(int(length) for length in re.findall(rb"\d+", match["shape"]))
    return kind, shape, match["fortran"] == b"True", offset


def _kind(text: bytes) -> np.dtype[Any] | None:
    try:
        return np.dtype(text.decode())
    except (TypeError, ValueError):
        return None


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Raise every error of `zipfile` on a damaged archive as InvalidPartError."""
    try:
        yield
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError
    ) as error:  # fmt: skip
        raise InvalidPartError(f"{name}: {error}") from error
