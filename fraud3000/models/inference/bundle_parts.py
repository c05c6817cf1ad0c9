"""Build the parts of a scorer from a bundle's files; every value is validated first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from fraud3000 import params, strict_json
from fraud3000.errors import ScorerError
from fraud3000.features.spec import schema
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.models.inference import bundle_schema, calibrate, predictors
from fraud3000.models.inference.bundle_schema import ScorerJson
from fraud3000.models.inference.calibrate import Calibrator
from fraud3000.models.inference.encoder import Encoder
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.model import Member, Model
from fraud3000.models.inference.self_test_rows import SelfTestRows
from fraud3000.models.policy import Policy
from fraud3000.strict_json import InvalidPartError

_CHECKSUMMED = ("mapping", "encoder", "members", "calibrator", "policy", "typical", "recorded")


class ScorerParts(NamedTuple):
    """The fields of a `Scorer`."""

    catalogue: Catalogue
    mapping: params.ColumnMapping
    model: Model
    calibrator: Calibrator
    policy: Policy
    typical: UsualValues
    recorded: SelfTestRows
    facts: dict[str, Any]


def assemble(files: Mapping[str, bytes], catalogue_hash: str) -> ScorerParts:
    """Validate all files of a bundle, then build the parts of the scorer.

    Parameters
    ----------
    files
        All files except the manifest, by name.
    catalogue_hash
        The catalogue hash in the manifest.

    Raises
    ------
    InvalidPartError
        Naming the file and the field.
    ScorerError
        A model's file holds types that no fraud3000 model has, or invalid trees.
    """
    with _name_file("catalogue.json"):
        catalogue = schema.read(files.get("catalogue.json", b""))
        if catalogue.hash != catalogue_hash:
            raise InvalidPartError("not the catalogue that the manifest names")
    with _name_file("scorer.json"):
        text, plain = strict_json.parse(ScorerJson, files.get("scorer.json", b""))
        bundle_schema.require_consistent(text, catalogue, set(files))
        _require_finite(plain["facts"])
    encoder = Encoder.from_dict(text.encoder.model_dump())
    members = []
    for member in text.members:
        with _name_file(member.file):
            predictor = predictors.loads(_ending(member.file), files[member.file], len(encoder.columns))
        members.append(Member(predictor, member.shift, member.weight))
    _require_checksums(plain, files)
    return ScorerParts(
        catalogue=catalogue,
        mapping=text.mapping,
        model=Model(encoder, tuple(members)),
        calibrator=calibrate.from_dict(text.calibrator.model_dump()),
        policy=Policy.from_dict(text.policy.model_dump()),
        typical=UsualValues.from_dict(text.typical.model_dump()),
        recorded=SelfTestRows.from_dict(text.recorded.model_dump()),
        facts=plain["facts"],
    )


def checksums(parts: Mapping[str, Any], catalogue: bytes, members: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each part that scores depend on, by name, so that a change of one part is detected.

    Parameters
    ----------
    parts
        The content of `scorer.json`.
    catalogue
        The content of `catalogue.json`.
    members
        The models' files.
    """
    hashes = {name: _sha256(parts[name]) for name in _CHECKSUMMED}
    hashes |= {f"catalogue.json/{key}": _sha256(value) for key, value in json.loads(catalogue).items()}
    for file, content in members.items():
        hashes |= {f"{file}/{name}": sha256 for name, sha256 in predictors.checksums(_ending(file), content).items()}
    return hashes


def _require_checksums(parts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    members = {member["file"]: files[member["file"]] for member in parts["members"]}
    expected, actual = parts["checksums"], checksums(parts, files["catalogue.json"], members)
    wrong = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    if wrong:
        raise InvalidPartError(f"{', '.join(wrong)}: not what scorer.json was written with, by its checksums")


def _ending(file: str) -> str:
    return file.rpartition(".")[2]


def _sha256(part: Any) -> str:
    canonical = json.dumps(part, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _require_finite(facts: dict[str, Any]) -> None:
    try:
        json.dumps(facts, allow_nan=False)
    except ValueError:
        raise InvalidPartError("facts: a number is not finite") from None


@contextmanager
def _name_file(name: str) -> Iterator[None]:
    """Prefix errors in the block with the file's name."""
    try:
        yield
    except InvalidPartError as error:
        raise InvalidPartError(f"{name}: {error}") from error
    except ScorerError as error:
        raise ScorerError(f"{name}: {error.message}", hint=error.hint) from error
