"""A fitted pipeline as bytes: skops with a fixed list of types, never pickle."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import skops.io

from fraud3000.errors import ScorerError
from fraud3000.models.estimators import TRUSTED_TYPES


def dumps(pipeline: Any) -> bytes:
    """The pipeline as an archive whose bytes are the same whenever it is."""
    numbers: dict[str, int] = {}
    with zipfile.ZipFile(BytesIO(skops.io.dumps(pipeline))) as raw:
        schema = _renumbered(json.loads(raw.read("schema.json")), numbers)
        arrays = {name: raw.read(name) for name in raw.namelist() if name != "schema.json"}
    files = {_renamed(name, numbers): content for name, content in arrays.items()}
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted({**files, "schema.json": json.dumps(schema).encode()}.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def loads(content: bytes) -> Any:
    """Read what `dumps` wrote; the bytes must be known to be the ones that were written.

    Raises
    ------
    ScorerError
        It holds types that no model of ours has.
    """
    strange = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
    if strange:
        raise ScorerError(
            f"the model holds types that no model of ours has ({', '.join(strange)}); it was not opened",
            hint="Do not use this bundle; train again.",
        )
    return skops.io.loads(content, trusted=list(TRUSTED_TYPES))


def _renumbered(node: Any, numbers: dict[str, int]) -> Any:
    """Memory addresses, which skops uses as ids and file names, replaced by their place of first use."""
    if isinstance(node, list):
        return [_renumbered(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    renumbered: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            renumbered[key] = numbers.setdefault(str(value), len(numbers))
        elif key == "file" and isinstance(value, str):
            renumbered[key] = _renamed(value, numbers)
        else:
            renumbered[key] = _renumbered(value, numbers)
    return renumbered


def _renamed(name: str, numbers: dict[str, int]) -> str:
    address, dot, ending = name.partition(".")
    return f"{numbers.setdefault(address, len(numbers))}{dot}{ending}"
