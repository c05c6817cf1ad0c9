"""Pointers to models that are signed: only a holder of the key can say which bundle serves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud3000.errors import ParamsError, ScorerError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.models.inference import calibrate
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.models.training.fit import fit
from fraud3000.params import ColumnMapping, TrainModelParams
from fraud3000.stages.shared import model_pointer
from fraud3000.stages.shared.workspace import Workspace

KEY, OTHER = "a key of more than thirty-two characters", "another key of more than thirty-two characters"


@pytest.fixture(scope="module")
def scorer(small_featured: pl.DataFrame, small_catalogue: Catalogue) -> Scorer:
    labels = small_featured["is_fraud"].to_numpy()
    model = fit(small_featured, labels, small_catalogue.features, TrainModelParams(estimator="logistic_regression"))
    typical = UsualValues.learn(model.encoder, small_featured, small_catalogue.features)
    return Scorer(small_catalogue, ColumnMapping(), model, calibrate.Platt(1.0, 0.0), Policy("capacity", 0.25), typical)


@pytest.fixture
def workspace(scorer: Scorer, tmp_path: Path) -> Workspace:
    """Two versions; the first is the champion."""
    made = Workspace(tmp_path)
    scorer.save(made.bundle("1"))
    scorer.save(made.bundle("2"))
    return made


def write(workspace: Workspace, alias: str = "champion", version: str = "1") -> None:
    workspace.pointer(alias).write_text(model_pointer.pointer_text(alias, version, workspace.bundle(version)))


def test_without_a_key_nothing_is_signed_or_asked_for(workspace: Workspace) -> None:
    write(workspace)
    assert "signature" not in json.loads(workspace.pointer("champion").read_text())
    assert model_pointer.load(workspace=workspace.root).version == "1"
    assert model_pointer.load("2", workspace=workspace.root).version == "2"


def test_with_a_key_an_export_is_signed_and_loads(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    write(workspace)
    content = json.loads(workspace.pointer("champion").read_text())
    assert content["signature"].startswith("hmac-sha256:")
    assert model_pointer.load(workspace=workspace.root).version == "1"
    assert model_pointer.load("1", workspace=workspace.root).version == "1"
    monkeypatch.delenv("FRAUD3000_SIGNING_KEY")
    assert model_pointer.load(workspace=workspace.root).version == "1"


def test_the_key_may_come_from_a_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("secrets") / "key"
    file.write_text(KEY + "\n")
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    write(workspace)
    monkeypatch.delenv("FRAUD3000_SIGNING_KEY")
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY_FILE", str(file))
    assert model_pointer.load(workspace=workspace.root).version == "1"


def test_an_unsigned_export_is_refused_while_a_key_is_set(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace)
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    with pytest.raises(ScorerError, match="not signed, and a key is set in FRAUD3000_SIGNING_KEY") as caught:
        model_pointer.exported_model(workspace, "champion")
    assert caught.value.exit_code == 5
    assert "promote --stage production --version 1" in caught.value.hint
    with pytest.raises(ScorerError, match="not signed because no alias points to it"):
        model_pointer.load("2", workspace=workspace.root)
    with pytest.raises(ScorerError, match="not signed"):
        model_pointer.load("1", workspace=workspace.root)


@pytest.mark.parametrize("change", [{"version": "2"}, {"bundle_sha256": "0" * 64}, {"signature": "hmac-sha256:00"}])
def test_an_export_that_was_changed_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    write(workspace)
    path = workspace.pointer("champion")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ScorerError, match="its signature was not made by the key in FRAUD3000_SIGNING_KEY"):
        model_pointer.exported_model(workspace, "champion")


def test_the_challengers_export_is_not_the_champions(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    write(workspace, "challenger", "2")
    workspace.pointer("champion").write_text(workspace.pointer("challenger").read_text())
    with pytest.raises(ScorerError, match="names alias 'challenger' and version '2'"):
        model_pointer.exported_model(workspace, "champion")


def test_a_key_is_rotated_with_the_old_one_beside_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", OTHER)
    write(workspace)
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    with pytest.raises(ScorerError, match="not made by the key in") as caught:
        model_pointer.exported_model(workspace, "champion")
    assert "FRAUD3000_SIGNING_KEY_OLD" in caught.value.hint
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY_OLD", OTHER)
    assert model_pointer.exported_model(workspace, "champion") is not None
    write(workspace)
    monkeypatch.delenv("FRAUD3000_SIGNING_KEY_OLD")
    assert model_pointer.exported_model(workspace, "champion") is not None


def test_an_old_key_alone_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace)
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY_OLD", OTHER)
    with pytest.raises(ParamsError, match="FRAUD3000_SIGNING_KEY_OLD: set, but FRAUD3000_SIGNING_KEY is not"):
        model_pointer.exported_model(workspace, "champion")


def test_a_loaded_model_scores_as_the_saved_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, scorer: Scorer, small_featured: pl.DataFrame
) -> None:
    monkeypatch.setenv("FRAUD3000_SIGNING_KEY", KEY)
    write(workspace)
    loaded = model_pointer.load(workspace=workspace.root)
    np.testing.assert_array_equal(loaded.probabilities(small_featured), scorer.probabilities(small_featured))
