"""Serialize a fitted pipeline with skops and a fixed list of types; no pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import skops.io

from fraud3000.errors import ScorerError
from fraud3000.models.inference.bounded_zip import BoundedZip
from fraud3000.models.training.estimators import TRUSTED_TYPES
from fraud3000.strict_json import InvalidPartError, decode

_SCHEMA = "schema.json"
_KNOWN_TYPES = {
    "builtins.dict", "builtins.list", "builtins.tuple", "builtins.str", "builtins.int", "builtins.slice",
    "numpy.ndarray", "numpy.dtype", "numpy.bool", "numpy.int8", "numpy.int32", "numpy.int64", "numpy.float32",
    "numpy.float64",
    "sklearn.compose._column_transformer.ColumnTransformer", "sklearn.impute._base.MissingIndicator",
    "sklearn.impute._base.SimpleImputer", "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._encoders.OneHotEncoder",
    "CachedNode", "DTypeNode", "DictNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode", "SliceNode",
    "TupleNode", "TypeNode",
}  # fmt: skip
"""Types in the schema of a fitted logistic regression, and the names of skops' readers for them."""


def dumps(pipeline: Any) -> bytes:
    """Return the pipeline as an archive; equal pipelines give equal bytes."""
    numbers: dict[str, int] = {}
    with zipfile.ZipFile(BytesIO(skops.io.dumps(pipeline))) as raw:
        schema = _renumber(json.loads(raw.read(_SCHEMA)), numbers)
        arrays = {name: raw.read(name) for name in raw.namelist() if name != _SCHEMA}
    files = {_rename(name, numbers): content for name, content in arrays.items()}
    return _pack({**files, _SCHEMA: json.dumps(schema).encode()}, zipfile.ZIP_DEFLATED)


def loads(content: bytes) -> Any:
    """Read what `dumps` wrote.

    Raises
    ------
    InvalidPartError
        It cannot be read, or unpacks to more than any fraud3000 model.
    ScorerError
        It holds types that no fraud3000 model has.
    """
    archive = BoundedZip(content)
    members = {name: bytes(archive.read(name)) for name in archive.names}
    for name in archive.names:
        if name != _SCHEMA:
            _require_array(archive, name)
    unknown = sorted(_types(decode(members.get(_SCHEMA, b"{}"))) - _KNOWN_TYPES)
    if unknown:
        raise ScorerError(
            f"{_SCHEMA}: the model holds types that no fraud3000 model has ({', '.join(unknown)}); it was not opened",
            hint="Do not use this bundle; train again.",
        )
    return _load(_pack(members, zipfile.ZIP_STORED))


def _require_array(archive: BoundedZip, name: str) -> None:
    if not name.endswith(".npy"):
        raise InvalidPartError(f"{name}: neither {_SCHEMA} nor an array")
    archive.array(name)


def _types(schema: Any) -> set[str]:
    """Return the names of all types in a schema, and of the readers that would construct them."""
    names, rest = set(), [schema]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__module__" in node:
                names.add(f"{node.get('__module__')}.{node.get('__class__')}")
            if "__loader__" in node:
                names.add(str(node["__loader__"]))
        if isinstance(node, dict | list):
            rest.extend(node.values() if isinstance(node, dict) else node)
    return names


def _load(content: bytes) -> Any:
    try:
        return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # the error type depends on the content
        raise InvalidPartError(
            f"{_SCHEMA}: not a fitted pipeline ({type(error).__name__}: {str(error)[:200]})"
        ) from error


def _pack(files: Mapping[str, bytes], compression: int) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()


def _renumber(node: Any, numbers: dict[str, int]) -> Any:
    """Replace memory addresses, which skops uses as ids and file names, by their order of first use."""
    if isinstance(node, list):
        return [_renumber(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    renumbered: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            renumbered[key] = numbers.setdefault(str(value), len(numbers))
        elif key == "file" and isinstance(value, str):
            renumbered[key] = _rename(value, numbers)
        else:
            renumbered[key] = _renumber(value, numbers)
    return renumbered


def _rename(name: str, numbers: dict[str, int]) -> str:
    address, dot, ending = name.partition(".")
    return f"{numbers.setdefault(address, len(numbers))}{dot}{ending}"
