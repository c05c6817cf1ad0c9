"""A store as a file: a mark, a header with its own hash, arrays of numbers, and a hash of all of it at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from fraud3000.errors import ScorerError

Array = np.ndarray[Any, np.dtype[Any]]

MARK = b"fraud3000 features 4\n"
_PART = 1 << 24
_HASH = hashlib.sha256().digest_size
_HINT = "Build the store anew from the transactions and the ledger."


def write(file: BinaryIO, content: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write what JSON can tell, then arrays."""
    described = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    header = json.dumps({"content": content, "arrays": described}).encode()
    begin = MARK + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header
    digest = hashlib.sha256(begin)
    file.write(begin)
    for array in arrays.values():
        words = np.ascontiguousarray(array).reshape(-1).data.cast("B") if array.size else b""
        digest.update(words)
        file.write(words)
    file.write(digest.digest())


def read(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write` wrote.

    Raises
    ------
    ScorerError
        The file is no snapshot, or not as it was written.
    """
    begin = file.read(len(MARK) + 8 + _HASH)
    if begin[: len(MARK)] != MARK:
        raise ScorerError("no snapshot of a feature store, or one of another version", hint=_HINT)
    size = int.from_bytes(begin[len(MARK) : len(MARK) + 8], "little")
    header = file.read(size) if size < 1 << 40 else b""
    if hashlib.sha256(header).digest() != begin[len(MARK) + 8 :]:
        raise _damaged("its header")
    told = json.loads(header)
    digest = hashlib.sha256(begin + header)
    arrays = {name: _array(file, digest, kind, shape) for name, kind, shape in told["arrays"]}
    if file.read(_HASH + 1) != digest.digest():
        raise _damaged("its numbers")
    return told["content"], arrays


def _array(file: BinaryIO, digest: Any, kind: str, shape: list[int]) -> Array:
    array = np.empty(shape, kind)
    if array.size:
        words = array.reshape(-1).data.cast("B")
        for first in range(0, len(words), _PART):
            part = file.read(min(_PART, len(words) - first))
            words[first : first + len(part)] = part
        digest.update(words)
    return array


def _damaged(what: str) -> ScorerError:
    return ScorerError(f"snapshot of a feature store: damaged ({what})", hint=_HINT)
