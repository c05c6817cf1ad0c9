"""Snapshot file of a store: magic bytes, a JSON header with its own hash, arrays, and a hash over everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from fraud3000.errors import ScorerError

Array = np.ndarray[Any, np.dtype[Any]]

MAGIC = b"fraud3000 features 5\n"
_CHUNK = 1 << 24
_HASH = hashlib.sha256().digest_size
_HINT = "Rebuild the store from the transactions and the ledger."


def write(file: BinaryIO, content: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write JSON content, then arrays."""
    array_specs = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    header = json.dumps({"content": content, "arrays": array_specs}).encode()
    prefix = MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header
    digest = hashlib.sha256(prefix)
    file.write(prefix)
    for array in arrays.values():
        data = np.ascontiguousarray(array).reshape(-1).data.cast("B") if array.size else b""
        digest.update(data)
        file.write(data)
    file.write(digest.digest())


def read(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write` wrote.

    Raises
    ------
    ScorerError
        The file is not a snapshot, or is damaged.
    """
    prefix = file.read(len(MAGIC) + 8 + _HASH)
    if prefix[: len(MAGIC)] != MAGIC:
        raise ScorerError("not a snapshot of a feature store, or one of another format version", hint=_HINT)
    size = int.from_bytes(prefix[len(MAGIC) : len(MAGIC) + 8], "little")
    header = file.read(size) if size < 1 << 40 else b""
    if hashlib.sha256(header).digest() != prefix[len(MAGIC) + 8 :]:
        raise _damaged("hash of the header does not match")
    header_content = json.loads(header)
    digest = hashlib.sha256(prefix + header)
    arrays = {name: _read_array(file, digest, dtype, shape) for name, dtype, shape in header_content["arrays"]}
    if file.read(_HASH + 1) != digest.digest():
        raise _damaged("hash of the arrays does not match")
    return header_content["content"], arrays


def _read_array(file: BinaryIO, digest: Any, dtype: str, shape: list[int]) -> Array:
    array = np.empty(shape, dtype)
    if array.size:
        data = array.reshape(-1).data.cast("B")
        for start in range(0, len(data), _CHUNK):
            chunk = file.read(min(_CHUNK, len(data) - start))
            data[start : start + len(chunk)] = chunk
        digest.update(data)
    return array


def _damaged(reason: str) -> ScorerError:
    return ScorerError(f"snapshot of a feature store is damaged: {reason}", hint=_HINT)
