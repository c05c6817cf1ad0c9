"""Models by name in a real MLflow store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from fraud3000 import registry
from fraud3000.errors import SchemaError, ScorerError, UnavailableError
from fraud3000.models.inference import bundle, bundle_parts, calibrate
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.models.training.fit import fit
from fraud3000.params import ColumnMapping, RegistryParams, TrainModelParams
from fraud3000.registry import (
    LONGEST_DESCRIPTION,
    TrainingRun,
    connection,
    log_evaluation,
    log_training,
    logged_evaluation,
    resolve,
)
from fraud3000.stages.shared import model_pointer
from tests.evaluations import evaluation, metrics

NAMES = RegistryParams()


@pytest.fixture(scope="module")
def saved(small_featured, small_catalogue, tmp_path_factory):
    labels = small_featured["is_fraud"].to_numpy()
    model = fit(small_featured, labels, small_catalogue.features, TrainModelParams(estimator="logistic_regression"))
    typical = UsualValues.learn(model.encoder, small_featured, small_catalogue.features)
    policy = Policy("capacity", 0.25)
    scorer = Scorer(small_catalogue, ColumnMapping(), model, calibrate.Platt(1.0, 0.0), policy, typical)
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    scorer.save(folder)
    return folder


@pytest.fixture
def training(saved, small_catalogue):
    kinds = {feature.name: feature.kind for feature in small_catalogue.features[:5]} | {"amount": "integer"}
    params = {"train": {"seed": 3, "estimator_params": {}}, "workspace": "data"}
    return TrainingRun(saved, params, {"valid_average_precision": 0.5}, {"data_fingerprint": "abc"}, kinds)


def client():
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path('mlflow.db').resolve()}")


def test_a_training_is_recorded_and_becomes_the_challenger(own_store, training, capfd):
    assert log_training(training, NAMES) == "1"
    assert log_training(training, NAMES) == "2"
    version = client().get_model_version_by_alias("fraud3000", "challenger")
    assert str(version.version) == "2"
    run = client().get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.seed": "3", "workspace": "data"}
    assert run.data.metrics == {"valid_average_precision": 0.5}
    assert run.data.tags["data_fingerprint"] == version.tags["data_fingerprint"] == "abc"
    assert version.tags["bundle_sha256"] == bundle.fingerprint(training.bundle)
    assert not [path for path in Path("mlartifacts").rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]
    assert not Path("mlruns").exists()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert capfd.readouterr() == ("", "")


def test_mlflow_itself_can_score_with_it(own_store, training, small_featured):
    import mlflow

    log_training(training, NAMES)
    _, folder = resolve("challenger", NAMES, own_store / "data")
    with mlflow.tracking._tracking_service.utils._use_tracking_uri(f"sqlite:///{own_store / 'mlflow.db'}"):
        model = mlflow.pyfunc.load_model("models:/fraud3000/1")
    columns = list(training.columns)
    answers = model.predict(small_featured.select(columns).to_pandas())
    np.testing.assert_array_equal(answers, Scorer.load(folder).probabilities(small_featured))


def test_a_version_is_fetched_once_and_then_taken_from_the_workspace(own_store, training):
    log_training(training, NAMES)
    version, folder = resolve("challenger", NAMES, own_store / "data")
    assert (version, folder) == ("1", own_store / "data" / "models" / "1")
    assert bundle.fingerprint(folder) == bundle.fingerprint(training.bundle)
    shutil.rmtree("mlartifacts")
    assert resolve("1", NAMES, own_store / "data") == (version, folder)


def test_a_copy_that_is_not_what_was_registered_is_refused(own_store, training):
    log_training(training, NAMES)
    _, folder = resolve("challenger", NAMES, own_store / "data")
    manifest = folder / bundle.MANIFEST
    sound = manifest.read_text()
    manifest.write_text(sound + "\n")
    with pytest.raises(ScorerError, match="a valid bundle, but not the one registered as version 1"):
        resolve("challenger", NAMES, own_store / "data")
    manifest.write_text(sound.replace('"contract": 1', '"contract": 2'))
    with pytest.raises(ScorerError, match="contract version 2 is unknown"):
        resolve("challenger", NAMES, own_store / "data")


def tampered(folder: Path) -> None:
    """Change the policy of a bundle and everything in it that is computed from the policy, as a thief of the store would."""
    parts = json.loads((folder / "scorer.json").read_text())
    parts["policy"]["value"] = 0.99
    members = {path.name: path.read_bytes() for path in folder.glob("model-*")}
    parts["checksums"] = bundle_parts.checksums(parts, (folder / "catalogue.json").read_bytes(), members)
    content = json.dumps(parts).encode()
    (folder / "scorer.json").write_bytes(content)
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    manifest["files"]["scorer.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / bundle.MANIFEST).write_text(json.dumps(manifest))


def in_artifacts() -> Path:
    return next(Path("mlartifacts").rglob(bundle.MANIFEST)).parent


def test_a_fetched_bundle_that_is_not_the_registered_one_is_refused(own_store, training):
    log_training(training, NAMES)
    tampered(in_artifacts())
    assert Scorer.load(in_artifacts()).policy.value == 0.99, "by itself it is a sound bundle"
    with pytest.raises(
        ScorerError, match="files of version 1 hold a different bundle than the registered one"
    ) as caught:
        resolve("challenger", NAMES, own_store / "data")
    assert caught.value.exit_code == 5
    assert not (own_store / "data" / "models" / "1").exists()
    (in_artifacts() / bundle.MANIFEST).unlink()
    with pytest.raises(ScorerError, match="missing instead of"):
        resolve("challenger", NAMES, own_store / "data")


def test_a_fetched_bundle_with_a_changed_file_is_refused(own_store, training):
    log_training(training, NAMES)
    (in_artifacts() / "scorer.json").write_text("{}")
    with pytest.raises(ScorerError, match=r"scorer\.json is not what the manifest says"):
        resolve("1", NAMES, own_store / "data")
    assert not (own_store / "data" / "models" / "1").exists()


def test_a_version_without_the_hash_of_its_bundle_is_refused(own_store, training):
    log_training(training, NAMES)
    client().delete_model_version_tag("fraud3000", "1", "bundle_sha256")
    with pytest.raises(ScorerError, match="version 1 has no tag 'bundle_sha256'") as caught:
        resolve("1", NAMES, own_store / "data")
    assert caught.value.exit_code == 5
    (own_store / "data" / "models" / "1").mkdir(parents=True)
    with pytest.raises(ScorerError, match="version 1 has no tag 'bundle_sha256'"):
        resolve("1", NAMES, own_store / "data")


def test_mlflow_itself_refuses_a_tampered_bundle(own_store, training):
    import mlflow

    log_training(training, NAMES)
    tampered(in_artifacts())
    with (
        mlflow.tracking._tracking_service.utils._use_tracking_uri(f"sqlite:///{own_store / 'mlflow.db'}"),
        pytest.raises(ScorerError, match="not the bundle that this model was logged with"),
    ):
        mlflow.pyfunc.load_model("models:/fraud3000/1")


def test_what_is_exported_is_compared_once_more_and_loaded(own_store, training):
    log_training(training, NAMES)
    version, folder = resolve("1", NAMES, own_store / "data")
    model_pointer.require_usable(version, folder, NAMES)
    tampered(folder)
    with pytest.raises(ScorerError, match="a valid bundle, but not the one registered as version 1"):
        model_pointer.require_usable(version, folder, NAMES)


def test_what_there_is_not_is_said_with_what_there_is(own_store, training):
    with pytest.raises(ScorerError, match="no challenger is registered under the name 'fraud3000'") as caught:
        resolve("challenger", NAMES, own_store)
    assert "fraud3000 train" in caught.value.hint
    log_training(training, NAMES)
    with pytest.raises(ScorerError, match="no champion is registered") as caught:
        resolve("champion", NAMES, own_store)
    assert "--model challenger" in caught.value.hint
    with pytest.raises(ScorerError, match="no version 9 is registered"):
        resolve("9", NAMES, own_store)
    with pytest.raises(ScorerError, match="no model 'best'"):
        resolve("best", NAMES, own_store)


def test_asking_where_nothing_was_ever_trained_makes_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ScorerError, match=r"there is no mlflow\.db"):
        resolve("champion", NAMES, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_evaluation_joins_the_training_it_judges(own_store, training):
    version = log_training(training, NAMES)
    log_evaluation(version, evaluation(metrics=metrics(average_precision=0.4, auc_roc=None)), NAMES)
    run = client().get_run(client().get_model_version("fraud3000", version).run_id)
    assert run.data.metrics == {"valid_average_precision": 0.5, "test_average_precision": 0.4}
    assert [file.path for file in client().list_artifacts(run.info.run_id, "reports")] == ["reports/metrics.json"]


def test_an_evaluation_is_read_back_as_it_was_logged(own_store, training):
    version = log_training(training, NAMES)
    assert logged_evaluation(version, NAMES) is None
    log_evaluation(version, evaluation(), NAMES)
    assert logged_evaluation(version, NAMES) == evaluation()


def test_an_evaluation_with_invalid_values_names_each_of_them(own_store, training):
    version = log_training(training, NAMES)
    run_id = client().get_model_version("fraud3000", version).run_id
    client().log_dict(run_id, {**evaluation().to_dict(), "rows": "many", "alerts": None}, "reports/metrics.json")
    with pytest.raises(SchemaError, match=r"metrics.json is not a valid evaluation: rows: .*; alerts: "):
        logged_evaluation(version, NAMES)


def test_an_evaluation_brings_files_and_describes_the_version(own_store, training):
    version = log_training(training, NAMES)
    texts = {"reports/model-card.md": "# Card – 87 %\n"}
    log_evaluation(version, evaluation(), NAMES, texts=texts, description="x" * (LONGEST_DESCRIPTION + 1))
    found = client().get_model_version("fraud3000", version)
    assert found.description == "x" * LONGEST_DESCRIPTION
    kept = client().download_artifacts(found.run_id, "reports/model-card.md", str(own_store))
    assert Path(kept).read_text(encoding="utf-8") == "# Card – 87 %\n"


def test_an_interrupted_training_registers_nothing(own_store, training, monkeypatch):
    from mlflow import MlflowClient

    log_training(training, NAMES)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", interrupt)
    with pytest.raises(KeyboardInterrupt):
        log_training(training, NAMES)
    monkeypatch.undo()
    monkeypatch.chdir(own_store)
    assert [version.version for version in client().search_model_versions("name='fraud3000'")] in ([1], ["1"])
    assert str(client().get_model_version_by_alias("fraud3000", "challenger").version) == "1"
    assert {run.info.status for run in client().search_runs(["1"])} == {"FINISHED", "FAILED"}


def test_a_locked_store_is_told_soon(own_store, training, monkeypatch):
    monkeypatch.setattr("fraud3000.registry.connection._SECONDS_TO_WAIT", 0.1)
    lock = sqlite3.connect("mlflow.db")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(UnavailableError, match=r"cannot be used .*locked"):
            log_training(training, NAMES)
        with pytest.raises(UnavailableError, match=r"cannot be used .*locked"):
            resolve("challenger", NAMES, own_store)
    finally:
        lock.close()


def test_a_store_that_is_none_is_told(own_store):
    Path("mlflow.db").write_text("this is no database, whatever it is called" * 100)
    with pytest.raises(UnavailableError, match="file is not a database"):
        resolve("challenger", NAMES, own_store)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://someone:secret@127.0.0.1:9", "the model registry at http://127.0.0.1:9 cannot be used"),
        ("sqlite:////nowhere/at/all/mlflow.db", "does not exist"),
        ("gopher://x", "the model registry at gopher://x cannot be used"),
        ("mssql+nodriver://x:secret@y/z", "the model registry at mssql.nodriver://y/z cannot be used"),
        ("postgresql://x:secret@127.0.0.1:9/z", "the model registry at postgresql://127.0.0.1:9/z cannot be used"),
    ],
)
def test_a_store_that_cannot_be_reached_is_told_without_its_password(uri, said, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UnavailableError, match=said) as caught:
        resolve("challenger", NAMES, tmp_path)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 7
    assert not caplog.records


@pytest.mark.parametrize("password", ["plain", "with#and/and?", "[brackets"])
def test_a_database_that_can_be_reached_passes_the_probe_whatever_its_password(password):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        connection._probe(f"postgresql+psycopg://user:{password}@127.0.0.1:{port}/mlflow", write=True)


@pytest.mark.parametrize("named", [True, False])
def test_before_any_training_there_is_no_model(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if named:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(
        ScorerError, match=r"no challenger: nothing is registered here, there is no .*mlflow\.db"
    ) as caught:
        resolve("challenger", NAMES, tmp_path)
    assert caught.value.exit_code == 5
    assert "fraud3000 train" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_store_not_made_yet_is_not_made_by_asking(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    registry.require_writable(NAMES)
    assert not list(tmp_path.iterdir())
