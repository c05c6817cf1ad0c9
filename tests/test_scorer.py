"""The scorer and its bundle: the same answers before and after, and nothing read that was tampered with."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud3000.errors import SchemaError, ScorerError, UnavailableError
from fraud3000.models.inference import bundle
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.linear import Linear
from fraud3000.models.inference.scorer import UNREGISTERED, Scorer
from fraud3000.models.policy import Policy
from fraud3000.models.training import calibration
from fraud3000.models.training.fit import fit
from fraud3000.params import ColumnMapping, TrainModelParams

SMALL = {
    "random_forest": {"n_estimators": 10},
    "extra_trees": {"n_estimators": 10},
    "hist_gradient_boosting": {"max_iter": 10},
    "logistic_regression": {},
    "lightgbm": {"n_estimators": 10},
}
TRAIN = {name: TrainModelParams(estimator=name, estimator_params=params) for name, params in SMALL.items()}
TRAIN["average"] = TrainModelParams(
    estimator="average",
    members=tuple(
        {"estimator": name, "estimator_params": SMALL[name], "weight": 2} for name in ("lightgbm", "random_forest")
    ),
)


def make(featured, catalogue, name="logistic_regression"):
    labels = featured["is_fraud"].to_numpy()
    model = fit(featured, labels, catalogue.features, TRAIN[name])
    log_odds = model.log_odds(featured)
    return Scorer(
        catalogue=catalogue,
        mapping=ColumnMapping(numeric=("same",)),
        model=model,
        calibrator=calibration.fit("beta", log_odds, labels),
        policy=Policy("capacity", 0.25),
        typical=UsualValues.learn(model.encoder, featured.filter(pl.col("is_fraud") == 0), catalogue.features),
        facts={"estimator": name},
    )


@pytest.fixture(scope="module")
def scorer(small_featured, small_catalogue):
    return make(small_featured, small_catalogue)


def test_repr_is_short(scorer):
    known = replace(scorer, version="7", facts={**scorer.facts, "as_of": "2024-02-20T00:00:00+00:00"})
    expected = "estimator logistic_regression, features 5 of 7, calibration beta, policy capacity, threshold 0.25"
    assert repr(scorer) == f"<Scorer: version unregistered, {expected}>"
    assert repr(known) == f"<Scorer: version 7, {expected}, as of 2024-02-20>"
    by_cost = replace(scorer, policy=Policy("cost", None, review_cost=500))
    assert repr(by_cost).endswith("policy cost>")


def test_notebooks_display_a_scorer_as_an_escaped_table(scorer):
    html = replace(scorer, version="<script>")._repr_html_()
    assert '<th scope="row">version</th><td>&lt;script&gt;</td>' in html
    assert "<script" not in html


@pytest.fixture
def folder(scorer, tmp_path):
    scorer.save(tmp_path / "7")
    return tmp_path / "7"


def edit_manifest(folder, **changes):
    path = folder / bundle.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_file(folder, name, content):
    """Change a file and the manifest with it, as a forger would."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / bundle.MANIFEST).read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, files=files)


@pytest.mark.parametrize("name", TRAIN)
def test_a_loaded_scorer_answers_to_the_last_bit_as_the_saved_one(name, small_featured, small_catalogue, tmp_path):
    scorer = make(small_featured, small_catalogue, name)
    scorer.save(tmp_path / "7")
    loaded = Scorer.load(tmp_path / "7")
    scores = scorer.probabilities(small_featured)
    np.testing.assert_array_equal(scores, loaded.probabilities(small_featured))
    parts = np.concatenate([loaded.probabilities(part) for part in small_featured.iter_slices(13)])
    np.testing.assert_array_equal(scores, parts)
    assert ((scores > 0) & (scores < 1)).all()
    alerted = small_featured.filter(loaded.policy.decisions(scores, small_featured["amount"].to_numpy()) != "approve")
    assert loaded.reasons(alerted) == scorer.reasons(alerted)
    assert loaded.reasons(alerted)[0][0].text
    assert (loaded.version, scorer.version) == ("7", UNREGISTERED)
    assert Scorer.load(tmp_path / "7", version="9").version == "9"
    assert (loaded.catalogue, loaded.mapping, loaded.policy) == (scorer.catalogue, scorer.mapping, scorer.policy)


@pytest.mark.parametrize("name", TRAIN)
def test_rows_by_name_get_the_same_decisions_as_a_frame(name, small_featured, small_catalogue):
    scorer = make(small_featured, small_catalogue, name)
    rows = small_featured.to_dicts()
    amounts = small_featured["amount"].to_list()
    np.testing.assert_array_equal(scorer.model.encoder.rows(rows), scorer.model.encoder.matrix(small_featured))
    answered = scorer.decide(small_featured)
    decisions = scorer.decide_rows(rows, amounts)
    fields = [(decision.score, decision.threshold, decision.decision) for decision in decisions]
    assert fields == answered.select("score", "threshold", "decision").rows()
    fee = scorer.policy.fee
    assert [decision.expected_loss for decision in decisions] == [
        decision.score * (max(amount, 0) + fee) for decision, amount in zip(decisions, amounts, strict=True)
    ]
    assert [one.alert for one in scorer.decide_rows(rows[:9], amounts[:9])] == answered["alert"].head(9).to_list()
    assert scorer.decide_rows([], []) == []
    assert scorer.reasons_for(rows[:9]) == scorer.reasons(small_featured.head(9))
    with pytest.raises(SchemaError, match="features: column 'amount' is missing"):
        scorer.decide_rows([{name: value for name, value in rows[0].items() if name != "amount"}], [1])


@pytest.mark.parametrize("name", TRAIN)
def test_contributions_sum_to_the_raw_score_in_a_frame_of_the_models_features(
    name, small_featured, small_catalogue, tmp_path
):
    scorer = make(small_featured, small_catalogue, name)
    told = scorer.contributions(small_featured)
    assert told.columns == ["transaction_id", "base", *scorer.model.encoder.columns]
    assert told["transaction_id"].equals(small_featured["transaction_id"])
    sums = told.drop("transaction_id").sum_horizontal().to_numpy()
    np.testing.assert_allclose(sums, scorer.model.log_odds(small_featured), rtol=0, atol=1e-9)
    np.testing.assert_allclose(scorer.calibrator.probability(sums), scorer.probabilities(small_featured), rtol=1e-8)
    scorer.save(tmp_path / "7")
    assert Scorer.load(tmp_path / "7").contributions(small_featured).equals(told)
    assert scorer.contributions(small_featured.clear()).shape == (0, told.width)


def test_a_feature_of_the_name_of_the_base_cannot_be_told_apart_from_it(scorer, small_featured):
    renamed = replace(scorer.model.encoder, columns=("base", *scorer.model.encoder.columns[1:]))
    other = replace(scorer, model=replace(scorer.model, encoder=renamed))
    with pytest.raises(SchemaError, match="a feature is named 'base'"):
        other.contributions(small_featured)


def test_alerts_are_scores_at_or_above_the_threshold(scorer):
    amounts = np.array([100, 100, 100])
    assert scorer.policy.decisions(np.array([0.24, 0.25, 0.26]), amounts).to_list() == ["approve", "review", "review"]
    assert scorer.policy.thresholds(amounts).tolist() == [0.25] * 3


def test_missing_features_are_named(scorer, small_featured):
    with pytest.raises(SchemaError, match="column 'category' is missing"):
        scorer.probabilities(small_featured.drop("category"))


def test_equal_trainings_give_equal_bytes(small_featured, small_catalogue, tmp_path):
    hashes = {make(small_featured, small_catalogue, "random_forest").save(tmp_path / name) for name in ("a", "b")}
    assert len(hashes) == 1
    assert hashes == {bundle.fingerprint(tmp_path / "a")}


def test_a_bundle_names_no_card_and_no_transaction(folder, small_featured):
    text = b"".join(path.read_bytes() for path in folder.glob("*.json")).decode()
    assert not any(f'"{one}"' in text for one in small_featured["transaction_id"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "catalogue.json", "manifest.json", "model-0.json", "scorer.json"]  # fmt: skip


def test_a_bundle_is_read_without_mlflow(folder):
    code = (
        "import sys; from pathlib import Path; from fraud3000.models.inference.scorer import Scorer;"
        "Scorer.load(Path(sys.argv[1])); print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_bundle_that_cannot_be_written_leaves_the_old_one(scorer, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder.parent / "file").write_text("in the way")
    with pytest.raises(UnavailableError):
        scorer.save(folder.parent / "file" / "7")
    scorer.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_bundle_is_said(tmp_path):
    with pytest.raises(ScorerError, match="no bundle here"):
        Scorer.load(tmp_path / "8")
    (tmp_path / "8").mkdir()
    with pytest.raises(ScorerError, match=r"manifest.json is missing"):
        Scorer.load(tmp_path / "8")


@pytest.mark.parametrize("name", ["catalogue.json", "model-0.json", "scorer.json"])
def test_changed_cut_or_missing_files_are_refused(folder, name):
    content = (folder / name).read_bytes()
    for changed in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        (folder / name).write_bytes(changed)
        with pytest.raises(ScorerError, match=f"{name} is not what the manifest says"):
            Scorer.load(folder)
    (folder / name).unlink()
    with pytest.raises(ScorerError, match=f"{name} is named in the manifest and missing"):
        Scorer.load(folder)


def test_unknown_files_and_folders_are_refused(folder):
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(ScorerError, match=r"notes.txt is not named in the manifest"):
        Scorer.load(folder)
    (folder / "notes.txt").unlink()
    (folder / "more").mkdir()
    with pytest.raises(ScorerError, match="'more' is not a plain file"):
        Scorer.load(folder)
    (folder / "more").rmdir()
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(ScorerError, match="'link' is not a plain file"):
        Scorer.load(folder)


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["model.pkl", "extra.joblib", "model-0.json"])
def test_a_pickle_is_refused_and_never_read(folder, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    replace_file(folder, name, pickle.dumps(_Bomb()))
    with pytest.raises(ScorerError, match=f"'{name}' is a pickle"):
        Scorer.load(folder)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(("thing", "ours"), [("bundle", 4), ("contract", 1), ("schema", 1)])
def test_an_unknown_version_is_refused(folder, thing, ours):
    edit_manifest(folder, **{thing: 99})
    with pytest.raises(ScorerError, match=f"{thing} version 99 is unknown; this fraud3000 knows {ours}"):
        Scorer.load(folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"files": 3}', b"\xff"])
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / bundle.MANIFEST).write_bytes(content)
    with pytest.raises(ScorerError, match=r"not valid JSON|not a manifest"):
        Scorer.load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [("model-0.json", b"not JSON"), ("scorer.json", b"{}"), ("catalogue.json", b"{}"), ("scorer.json", b"\xff")],
)
def test_a_forged_bundle_that_makes_no_scorer_is_told_as_one(folder, name, content):
    replace_file(folder, name, content)
    with pytest.raises(ScorerError, match="not a valid scorer"):
        Scorer.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda catalogue: catalogue["features"].append(catalogue["features"][0]),
        lambda catalogue: catalogue.update(label_delay=catalogue["label_delay"] + 1),
        lambda catalogue: catalogue["features"][2].update(length="1 fortnight"),
    ],
)
def test_a_forged_catalogue_that_could_not_be_declared_is_told_as_a_bundle(change, folder):
    catalogue = json.loads((folder / "catalogue.json").read_text())
    change(catalogue)
    replace_file(folder, "catalogue.json", json.dumps(catalogue).encode())
    with pytest.raises(ScorerError, match="7: not a valid scorer") as caught:
        Scorer.load(folder)
    assert caught.value.exit_code == 5


def test_a_linear_model_comes_back_with_the_same_bits(scorer, small_featured):
    linear = scorer.model.members[0].predictor
    again = Linear.loads(linear.dumps(), len(scorer.model.encoder.columns))
    assert again == linear
    matrix = scorer.model.encoder.matrix(small_featured)
    np.testing.assert_array_equal(again.log_odds(matrix), linear.log_odds(matrix))
