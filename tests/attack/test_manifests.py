"""Bundles with changed fields and matching manifests are rejected, or score the same."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000.errors import ScorerError
from fraud3000.models.inference import bundle, bundle_parts
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.inference.self_test_rows import SelfTestRows, row_indices
from fraud3000.models.policy import Policy
from fraud3000.models.training import calibration
from fraud3000.models.training.fit import fit
from fraud3000.params import ColumnMapping, TrainModelParams

LEARNERS = {
    "boosting": TrainModelParams(estimator_params={"max_iter": 10}),
    "linear": TrainModelParams(estimator="logistic_regression"),
    "average": TrainModelParams(
        estimator="average",
        members=(
            {"estimator": "lightgbm", "estimator_params": {"n_estimators": 8}, "weight": 2},
            {"estimator": "extra_trees", "estimator_params": {"n_estimators": 8}, "weight": 1},
        ),
    ),
}
MISSING = object()
VALUES: dict[str, Any] = {
    "nan": float("nan"),
    "infinite": float("inf"),
    "minus one": -1,
    "zero": 0,
    "text": "a text",
    "null": None,
    "true": True,
    "missing": MISSING,
    "huge": 10**30,
    "nested": [[[]]],
    "object": {"a": 1},
}
ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nan": lambda a: np.full(a.shape, np.nan),
    "minus one": lambda a: np.full(a.shape, -1).astype(a.dtype),
    "zero": np.zeros_like,
    "one element zero": lambda a: edited(a, 0),
    "one element minus one": lambda a: edited(a, -1),
    "one element huge": lambda a: edited(a, 2**31 - 1),
    "negated": lambda a: ~a if a.dtype == bool else -a,
    "text": lambda a: np.full(a.shape, "a text"),
    "null": lambda a: np.full(a.shape, None, dtype=object),
    "huge": lambda a: np.full(a.shape, 2**31 - 1).astype(a.dtype),
    "nested": lambda a: a[None],
    "shorter": lambda a: a.ravel()[:-1],
    "longer": lambda a: np.concatenate([a.ravel(), a.ravel()]),
    "empty": lambda a: a.ravel()[:0],
    "other type": lambda a: a.astype(np.float32 if a.dtype == np.float64 else np.int64),
}
SMALL = 150
"""Cases of each learner in the ordinary run."""
AGAIN = 3
"""Elements of each long list that are changed."""


def edited(array: np.ndarray, value: float) -> np.ndarray:
    """Change the element in the middle."""
    other = array.copy()
    other.reshape(-1)[array.size // 2 : array.size // 2 + 1] = np.array([value]).astype(array.dtype)
    return other


def make(featured: pl.DataFrame, catalogue: Any, params: TrainModelParams) -> Scorer:
    labels = featured["is_fraud"].to_numpy()
    model = fit(featured, labels, catalogue.features, params)
    log_odds = model.log_odds(featured)
    calibrator = calibration.fit("isotonic" if len(model.members) > 1 else "beta", log_odds, labels)
    rows = row_indices(featured.height)
    return Scorer(
        catalogue=catalogue,
        mapping=ColumnMapping(numeric=("same",), categorical=("category",)),
        model=model,
        calibrator=calibrator,
        policy=Policy("capacity", 0.25, review_cost=500, fee=100, lost_sale=2_000),
        typical=UsualValues.learn(model.encoder, featured.filter(pl.col("is_fraud") == 0), catalogue.features),
        recorded=SelfTestRows.from_matrix(model.encoder.matrix(featured[rows]), calibrator.probability(log_odds[rows])),
        facts={"estimator": "of a test", "as_of": "2018-08-01T00:00:00", "rows": {"fraud": 3}},
    )


class Bundle:
    """A sound bundle, of which forged ones are made."""

    def __init__(self, scorer: Scorer, folder: Path, featured: pl.DataFrame) -> None:
        scorer.save(folder)
        self.folder, self.featured = folder, featured.head(500)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != bundle.MANIFEST}
        self.manifest = json.loads((folder / bundle.MANIFEST).read_bytes())
        self.answers = scorer.decide(self.featured).drop("model_version")
        self.reasons = scorer.reasons(self.featured.head(20))

    def forge(self, folder: Path, changes: dict[str, bytes], *, checksums: bool) -> Path:
        """Write the bundle with other files, and a manifest that agrees with them."""
        files = {**self.files, **changes}
        if checksums:
            files = _with_checksums(files)
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        listed = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in sorted(files.items())
        }
        manifest = {**self.manifest, "files": listed, "catalogue": _catalogue_hash(files, self.manifest["catalogue"])}
        (folder / bundle.MANIFEST).write_text(json.dumps(manifest))
        return folder

    def same_answers(self, scorer: Scorer) -> bool:
        return bool(scorer.decide(self.featured).drop("model_version").equals(self.answers))


def _catalogue_hash(files: dict[str, bytes], otherwise: str) -> str:
    from fraud3000.features.spec.catalogue import Catalogue

    try:
        return Catalogue.from_dict(json.loads(files["catalogue.json"])).hash
    except Exception:  # noqa: BLE001 - a forged catalogue that has no hash keeps the old one
        return otherwise


def _with_checksums(files: dict[str, bytes]) -> dict[str, bytes]:
    """Adjust the checksums too, as far as they can be."""
    try:
        parts = json.loads(files["scorer.json"])
        members = {name: content for name, content in files.items() if name.startswith("model-")}
        parts["checksums"] = bundle_parts.checksums(parts, files["catalogue.json"], members)
    except (ValueError, KeyError, TypeError):
        return files
    return {**files, "scorer.json": json.dumps(parts).encode()}


@pytest.fixture(scope="module", params=LEARNERS)
def sound(request, small_featured, small_catalogue, tmp_path_factory) -> Bundle:
    scorer = make(small_featured, small_catalogue, LEARNERS[request.param])
    return Bundle(scorer, tmp_path_factory.mktemp("sound") / "7", small_featured)


Path_ = tuple[str | int, ...]
Case = tuple[str, Path_, str]


def paths(content: Any, path: Path_ = ()) -> Iterator[Path_]:
    """All fields of a JSON text; of long lists the first, the middle and the last element."""
    if path:
        yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from paths(value, (*path, key))
    if isinstance(content, list):
        chosen = range(len(content)) if len(content) <= AGAIN else (0, len(content) // 2, len(content) - 1)
        for place in chosen:
            yield from paths(content[place], (*path, place))


def changed(content: Any, path: Path_, value: object) -> bytes:
    other = copy.deepcopy(content)
    at = other
    for part in path[:-1]:
        at = at[part]
    if value is MISSING:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(other).encode()


def cases(sound: Bundle) -> Iterator[Case]:
    """Every field of every file with every bad value."""
    for file, content in sound.files.items():
        if file.endswith(".json"):
            for path in paths(json.loads(content)):
                yield from ((file, path, name) for name in VALUES)
            continue
        archive = zipfile.ZipFile(io.BytesIO(content))
        for member in archive.namelist():
            yield from ((file, (member,), name) for name in (*ARRAYS, "missing"))


def forged(sound: Bundle, case: Case) -> bytes:
    """The file with the field changed."""
    file, path, name = case
    content = sound.files[file]
    if file.endswith(".json"):
        return changed(json.loads(content), path, VALUES[name])
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = {one: archive.read(one) for one in archive.namelist()}
    member = str(path[0])
    if name == "missing":
        del members[member]
    else:
        members[member] = npy(ARRAYS[name](np.load(io.BytesIO(members[member]))))
    return packed(members)


def npy(array: np.ndarray) -> bytes:
    place = io.BytesIO()
    np.save(place, array)
    return place.getvalue()


def packed(members: dict[str, bytes]) -> bytes:
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return place.getvalue()


def fault_of(sound: Bundle, case: Case, folder: Path) -> str | None:
    """What is wrong with how a forged bundle is treated; None if it is refused by its field, or answers the same.

    The forger adjusts the checksums too. What loads then must answer the same, or be refused without that.
    """
    changes = {case[0]: forged(sound, case)}
    for checksums in (True, False):
        try:
            loaded = Scorer.load(sound.forge(folder, changes, checksums=checksums))
            loaded.reasons(sound.featured.head(20))
        except ScorerError as error:
            return None if names(error, case) and error.exit_code == 5 else f"{case}: not by its field: {error.message}"
        except BaseException as error:  # noqa: BLE001 - any other exception is what this test looks for
            return f"{case}: {type(error).__name__}: {error}"
    return None if sound.same_answers(loaded) else f"{case}: other answers"


def names(error: ScorerError, case: Case) -> bool:
    """Whether a message names the field or a part it is in, or the recorded rows that it makes score otherwise."""
    file, path, _ = case
    if "self-test rows" in error.message or f"{file}/content: not what" in error.message:
        return True  # a coefficient file has one checksum, so it names no field
    return any(str(part).partition(".")[0] in error.message for part in path if isinstance(part, str))


def report(faults: list[str]) -> str:
    return f"{len(faults)} faults:\n" + "\n".join(faults[:20])


def test_forged_bundles_are_rejected_or_score_the_same(sound: Bundle, tmp_path: Path) -> None:
    every = list(cases(sound))
    chosen = random.Random(19).sample(every, SMALL)
    faults = [fault for case in chosen if (fault := fault_of(sound, case, tmp_path / "7"))]
    assert not faults, report(faults)


@pytest.mark.slow
def test_every_field_with_every_bad_value(sound: Bundle, tmp_path: Path) -> None:
    faults = [fault for case in cases(sound) if (fault := fault_of(sound, case, tmp_path / "7"))]
    assert not faults, report(faults)


def refused(sound: Bundle, folder: Path, changes: dict[str, bytes]) -> str:
    """The message with which a forged bundle is refused whose checksums agree as well."""
    sound.forge(folder, changes, checksums=True)
    with pytest.raises(ScorerError) as caught:
        Scorer.load(folder)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("policy", "value"), float("nan"), "policy.value: Input should be a finite number, found nan"),
        (("policy", "value"), -1, "policy.value: Input should be greater than or equal to 0, found -1"),
        (("policy", "value"), "0.5", "policy.value: Input should be a valid number, found '0.5'"),
        (("policy", "kind"), "cost", "policy: value: a capacity policy has a threshold"),
        (("members", 0, "weight"), float("nan"), "members.0.weight: Input should be a finite number"),
        (("members", 0, "weight"), 0, "members.0.weight: Input should be greater than 0, found 0"),
        (("members", 0, "file"), "../model-0.npz", "members.0.file: String should match"),
        (("recorded",), MISSING, "recorded: missing"),
        (("recorded", "rows"), [], "recorded.rows: Tuple should have at least 1 item"),
        (("recorded", "rows", 0), [1.0], "recorded.rows.0: 1 values for"),
        (("encoder", "columns", 0), "other", "encoder: 'other' is none of the features in catalogue.json"),
        (("typical", "values", "category"), 3.0, "typical.values.category: 3.0 is no code of its 3 categories"),
        (("calibrator", "method"), "magic", "calibrator: Input tag 'magic'"),
        (("facts", "as_of"), "yesterday", "facts.as_of: Invalid isoformat string"),
        (("mapping", "amount", "decimals"), "2", "mapping.amount.decimals: Input should be a valid integer"),
    ],
)
def test_error_about_a_bad_value_has_its_field(
    sound: Bundle, tmp_path: Path, path: Path_, value: object, named: str
) -> None:
    content = json.loads(sound.files["scorer.json"])
    assert named in refused(sound, tmp_path / "7", {"scorer.json": changed(content, path, value)})


def negated(sound: Bundle) -> dict[str, bytes]:
    """The models' files with every coefficient or leaf of the other sign."""
    changes = {}
    for file, content in sound.files.items():
        if not file.startswith("model-"):
            continue
        if file.endswith(".json"):
            linear = json.loads(content)
            terms = [{**term, "coefficient": -term["coefficient"]} for term in linear["terms"]]
            changes[file] = json.dumps({**linear, "terms": terms}).encode()
            continue
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = {name: archive.read(name) for name in archive.namelist()}
        if not np.load(io.BytesIO(members["forest.npy"])):
            members["value.npy"] = npy(-np.load(io.BytesIO(members["value.npy"])))
        changes[file] = packed(members)
    return changes


def test_negated_models_are_detected_by_the_self_test_rows(sound: Bundle, tmp_path: Path) -> None:
    changes = negated(sound)
    assert "scores its self-test rows differently" in refused(sound, tmp_path / "7", changes)
    parts = json.loads(sound.files["scorer.json"])
    without = changed(parts, ("recorded",), MISSING)
    assert "recorded: missing" in refused(sound, tmp_path / "7", {**changes, "scorer.json": without})


def test_single_changed_file_is_rejected_by_its_checksum(sound: Bundle, tmp_path: Path) -> None:
    parts = json.loads(sound.files["scorer.json"])
    lower = changed(parts, ("policy", "value"), 0.001)
    sound.forge(tmp_path / "7", {"scorer.json": lower}, checksums=False)
    with pytest.raises(ScorerError, match=r"policy: not what scorer\.json was written with, by its checksums"):
        Scorer.load(tmp_path / "7")


def test_other_catalogue_is_rejected(sound: Bundle, tmp_path: Path) -> None:
    catalogue = json.loads(sound.files["catalogue.json"])
    fewer = json.dumps({**catalogue, "features": catalogue["features"][1:]}).encode()
    assert "encoder: 'amount' is none of the features in catalogue.json" in refused(
        sound, tmp_path / "7", {"catalogue.json": fewer}
    )
    sound.forge(tmp_path / "7", {"catalogue.json": fewer}, checksums=True)
    manifest = json.loads((tmp_path / "7" / bundle.MANIFEST).read_text())
    (tmp_path / "7" / bundle.MANIFEST).write_text(json.dumps({**manifest, "catalogue": sound.manifest["catalogue"]}))
    with pytest.raises(ScorerError, match=r"catalogue.json: not the catalogue that the manifest names"):
        Scorer.load(tmp_path / "7")


@pytest.mark.parametrize("file", ["scorer.json", "catalogue.json", bundle.MANIFEST])
def test_deep_or_large_json_is_rejected(sound: Bundle, tmp_path: Path, file: str) -> None:
    folder = sound.forge(tmp_path / "7", {}, checksums=True)
    for content, named in ((b"[" * 100_000, "nested too deeply"), (b" " * (9 * 2**20), "at most 8,388,608 are read")):
        if file == bundle.MANIFEST:
            (folder / file).write_bytes(content)
        else:
            sound.forge(folder, {file: content}, checksums=False)
        with pytest.raises(ScorerError, match=named) as caught:
            Scorer.load(folder)
        assert file in caught.value.message


def test_repeated_key_is_rejected(sound: Bundle, tmp_path: Path) -> None:
    twice = sound.files["scorer.json"].replace(b'"policy": {', b'"policy": {"kind": "capacity",', 1)
    sound.forge(tmp_path / "7", {"scorer.json": twice}, checksums=False)
    with pytest.raises(ScorerError, match=r"scorer\.json: the key 'kind' appears twice"):
        Scorer.load(tmp_path / "7")


def test_manifest_with_wrong_values_is_rejected(sound: Bundle, tmp_path: Path) -> None:
    folder = sound.forge(tmp_path / "7", {}, checksums=True)
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    whole = [path for path in paths(manifest) if path != ("catalogue",)]
    for path in whole:
        for name, value in VALUES.items():
            (folder / bundle.MANIFEST).write_bytes(changed(manifest, path, value))
            with pytest.raises(ScorerError) as caught:
                Scorer.load(folder)
            named = any(str(part) in caught.value.message for part in path)
            assert named, f"{path} {name}: {caught.value.message}"


def test_brackets_in_the_schema_of_a_linear_model_are_rejected(sound: Bundle, tmp_path: Path) -> None:
    if "model-0.skops" not in sound.files:
        pytest.skip("a model of trees has no schema")
    archive = zipfile.ZipFile(io.BytesIO(sound.files["model-0.skops"]))
    members = {name: archive.read(name) for name in archive.namelist()}
    deep = packed({**members, "schema.json": b"[" * 100_000})
    assert "nested too deep" in refused(sound, tmp_path / "7", {"model-0.skops": deep})
    text = members["schema.json"].replace(b'"content": "1000"', b'"content": "' + b"[" * 100_000 + b'"', 1)
    assert text != members["schema.json"]
    message = refused(sound, tmp_path / "7", {"model-0.skops": packed({**members, "schema.json": text})})
    assert "schema.json: no fitted pipeline" in message


BOMB = 2**30
"""Bytes that the archive below unpacks to; it has some megabytes itself."""


def bomb(kind: str, nodes: int) -> bytes:
    """An array of zeros, whose header is true, for so many nodes."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({nodes},), }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def write_bomb(path: Path, kinds: dict[str, str]) -> bytes:
    nodes = BOMB // 8
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, kind in kinds.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(bomb(kind, nodes))
                piece = bytes(2**24)
                for _ in range(BOMB // len(piece)):
                    member.write(piece)
    return path.read_bytes()


@pytest.mark.slow
def test_decompression_bomb_takes_no_memory(sound: Bundle, tmp_path: Path) -> None:
    file = "model-0.npz"
    if file not in sound.files or "model-1.npz" in sound.files:
        pytest.skip("one archive is enough")
    content = write_bomb(tmp_path / "bomb.zip", {"roots.npy": "<f8"})
    assert len(content) < 8e6
    folder = sound.forge(tmp_path / "7", {file: content}, checksums=False)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom fraud3000.errors import ScorerError\n"
        "from fraud3000.models.inference.scorer import Scorer\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    Scorer.load(Path(sys.argv[1]))\nexcept ScorerError as error:\n    print(error.message)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    message, kilobytes = done.stdout.strip().splitlines()
    assert "are read" in message
    assert int(kilobytes) < 100_000


@pytest.mark.parametrize("shape", [(10**12,), (2**62,), (2**40, 2**40)])
def test_header_with_a_too_large_size_is_rejected(sound: Bundle, tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = "model-0.npz"
    if file not in sound.files:
        pytest.skip("a linear model is no archive")
    archive = zipfile.ZipFile(io.BytesIO(sound.files[file]))
    members = {name: archive.read(name) for name in archive.namelist()}
    name = next(one for one in members if one.endswith(".npy"))
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    members[name] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(800)
    assert "does not fit its 800 bytes" in refused(sound, tmp_path / "7", {file: packed(members)})
