"""promote: a worse model is refused, a better one gets in, a rollback goes back, and all of it is on record."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000 import params as p
from fraud3000 import registry
from fraud3000.data.storage import file_lock
from fraud3000.errors import CheckFailed, ParamsError, ScorerError, UnavailableError
from fraud3000.labels import visibility
from fraud3000.models.inference.scorer import Scorer
from fraud3000.promotion import hash_chain, history, verdict_log
from fraud3000.schema import TIME
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.featurize import featurize
from fraud3000.stages.promote import promote, train_and_promote
from fraud3000.stages.shared import model_pointer
from fraud3000.stages.shared.promotion_checks import PromotionResult, run_checks
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train
from tests.conftest import Once

START, DAYS, ROWS = datetime(2024, 1, 1, tzinfo=UTC), 60, 6_000
DELAY = timedelta(days=2)
FOREST = {"estimator": "random_forest", "estimator_params": {"n_estimators": 20, "min_samples_leaf": 5}}
STUMP = {"estimator": "random_forest", "estimator_params": {"n_estimators": 2, "max_depth": 1}}
A_STUMP, A_FOREST, A_BLIND_ONE, UNSEEN = "1", "2", "3", "4"
BLIND = {"estimator": "random_forest", "estimator_params": {"n_estimators": 1, "min_samples_leaf": 100_000}}


def transactions() -> pl.DataFrame:
    """Cards with amounts of their own; fraud is a run of larger ones on some of them, large for the card only."""
    source = np.random.default_rng(5)
    card = source.integers(0, 60, ROWS)
    second = np.sort(source.integers(0, DAYS * 86_400, ROWS))
    since = source.integers(5, DAYS, 60)[card] * 86_400
    fraud = (second >= since) & (second < since + 4 * 86_400) & (source.random(ROWS) < 0.6) & (card < 45)
    usual = source.lognormal(6, 1, 60)[card]
    return pl.DataFrame(
        {
            "transaction_id": [f"{one:06}" for one in range(ROWS)],
            "ts": pl.Series([START + timedelta(seconds=int(one)) for one in second], dtype=TIME),
            "card_id": [f"c{one:02}" for one in card],
            "terminal_id": [f"t{one:02}" for one in source.integers(0, 40, ROWS)],
            "amount": (usual * source.gamma(4, 0.5, ROWS) * np.where(fraud, 4, 1)).astype(np.int64),
            "status": "approved",
            "is_fraud": fraud.astype(np.int8),
            "reported_at": pl.Series([None] * ROWS, dtype=TIME),
            "labelled": True,
            "seq": np.arange(ROWS),
        }
    )


def params(**sections: Any) -> p.Params:
    usual = {
        "prepare": {"label_delay": "2d"},
        "featurize": {"burn_in": "5d"},
        "train": FOREST,
        "policy": {"threshold": "cost", "review_cost": 50, "cards_per_day": 5},
        "evaluate": {"replicates": 20, "top_k": [5]},
    }
    let_through = {
        "margin": 0.1,
        "other_margin": 0.1,
        "replicates": 100,
        "least_frauds": 10,
        "observed_over_expected": [0.1, 10],
        "calibration_slope": [0.1, 10],
    }
    return p.parse({**usual, **sections, "promote": {**let_through, **sections.get("promote", {})}})


@pytest.fixture(scope="module")
def trained_four(blank_pictures_in_module: None, _migrated_store: Path, once: Once) -> Path:
    """A world with four versions: a stump, a forest, one that ranks nothing, and a forest that was not evaluated."""

    def build(folder: Path) -> None:
        shutil.copy(_migrated_store, folder / "mlflow.db")
        workspace = Workspace(folder / "data")
        workspace.transactions.parent.mkdir(parents=True)
        rows = transactions()
        rows.write_parquet(workspace.transactions)
        visibility.ledger_from_rows(rows, DELAY).write_parquet(workspace.labels)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            featurize(params())
            assert [made(params(), **model) for model in (STUMP, FOREST, BLIND)] == [A_STUMP, A_FOREST, A_BLIND_ONE]
            train(params())

    return once("four", build)


@pytest.fixture
def world(trained_four: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of one's own: files and registry."""
    shutil.copytree(trained_four, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(Path("data"))


def made(given: p.Params, **train_params: Any) -> str:
    """Train and evaluate; the version."""
    given = given.model_copy(update={"train": p.TrainModelParams(**train_params)})
    train(given)
    version = history.alias_state(given.registry).challenger
    evaluate(given, model=str(version))
    return str(version)


def test_worse_is_refused_better_gets_in_and_a_rollback_goes_back(world: Workspace) -> None:
    assert promote(params(), version=A_STUMP).refused is None
    assert promote(params(), version=A_STUMP).refused == (
        "version 1 is not promoted: another version: version 1 is the champion already, needed one that is not"
    )
    done = promote(params(), version=A_FOREST, why="a forest, not a stump")
    assert (done.refused, history.alias_state(params().registry).champion) == (None, A_FOREST)
    refused = promote(params(), version=A_STUMP).refused
    assert refused is not None
    assert "average precision better than version 2" in refused
    assert history.alias_state(params().registry).champion == A_FOREST
    back = promote(params(), rollback=True, why="for the test")
    assert back.facts["verdict"] == "version 1 is the champion again"
    assert json.loads(world.pointer("champion").read_text())["version"] == A_STUMP
    with pytest.raises(ScorerError, match="no earlier champion to roll back to: version 1 is the first"):
        promote(params(), rollback=True)
    entries = [json.loads(line) for line in world.promotions.read_text().splitlines()]
    assert [(one["action"], one["before"], one["version"]) for one in entries] == [
        ("promote", None, "1"), ("promote", "1", "2"), ("rollback", "2", "1"),
    ]  # fmt: skip
    assert entries[1]["why"] == "a forest, not a stump"
    assert 0 < entries[1]["figures"]["average_precision"] <= 1
    assert set(entries[1]["hashes"]) == {"bundle", "catalogue", "data", "rows"}
    assert all(one["by"] for one in entries)


def test_a_model_no_better_than_the_baselines_is_refused(world: Workspace) -> None:
    refused = promote(params(), version=A_BLIND_ONE).refused
    assert refused is not None
    assert "average precision above the baselines" in refused
    assert not world.pointer("champion").exists()
    assert not world.promotions.exists()


def test_a_version_without_evaluation_is_refused(world: Workspace) -> None:
    assert promote(params()).refused == (
        "version 4 is not promoted: evaluation: none on record, needed one by `fraud3000 evaluate`"
    )


def test_a_dry_run_judges_and_changes_nothing(world: Workspace) -> None:
    before = files()
    dry = promote(params(), version=A_FOREST, dry_run=True)
    assert dry.facts["verdict"] == "version 2 is the champion (dry run: no alias was moved)"
    assert {row[3] for row in dry.tables[0].rows} == {"yes"}
    assert history.alias_state(params().registry).champion is None
    assert files() == before
    assert promote(params(), version=A_FOREST).facts["verdicts on these rows"] == 2


def files() -> dict[Path, int]:
    """When each file was written last, that with the verdicts aside."""
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file() and path.name != "mlflow.db"}


def test_a_champion_whose_labels_reach_into_the_rows_is_not_compared(world: Workspace) -> None:
    late = params(featurize={"burn_in": "5d", "split": {"train": 0.7, "valid": 0.2, "test": 0.1}})
    featurize(late)
    made(late, **STUMP)
    assert promote(late).refused is None
    assert history.alias_state(params().registry).champion == "5"
    featurize(params())
    refused = promote(params(), version=A_FOREST).refused
    assert refused is not None
    assert "rows after both label cut-offs" in refused


def test_a_champion_of_another_catalogue_is_scored_by_its_own(world: Workspace) -> None:
    promote(params(), version=A_STUMP)
    zone = params(featurize={"burn_in": "5d", "zone": "Asia/Tokyo"})
    featurize(zone)
    train(zone)
    evaluate(zone)
    done = promote(zone)
    assert done.refused is None, done.refused
    checks = {row[0]: row for row in done.tables[0].rows}
    assert checks["average precision better than version 1"][3] == "yes"


def test_an_evaluation_on_other_rows_than_those_at_hand_is_asked_for_again(world: Workspace) -> None:
    promote(params(), version=A_STUMP)
    featurize(params(featurize={"burn_in": "8d"}))
    refused = promote(params(), version=A_FOREST).refused
    assert refused is not None
    assert "evaluated on the rows at hand: others" in refused


def test_training_may_ask_the_gate_itself(world: Workspace) -> None:
    done = train_and_promote(params())
    assert done.command == "train"
    assert done.refused is None
    assert done.facts["verdict"] == "version 5 is the champion"
    assert {"model", "scored", "metrics", "champion", "history"} <= set(done.outputs)


def test_too_few_matured_frauds_are_no_evidence_and_nothing_more_is_asked(world: Workspace) -> None:
    done = promote(params(promote={"least_frauds": 1_000}), version=A_FOREST)
    assert [row[0] for row in done.tables[0].rows] == ["evaluated after its label cut-off", "enough matured frauds"]
    assert done.refused is not None
    assert "not enough evidence" in done.refused


def test_every_verdict_on_the_same_rows_is_counted_and_many_are_warned_of(world: Workspace) -> None:
    promote(params(), version=A_STUMP)
    asked = [promote(params(), version=A_BLIND_ONE, dry_run=bool(number % 2)) for number in range(5)]
    assert [one.facts["verdicts on these rows"] for one in asked] == list(range(2, 7))
    assert not any("these rows" in warning for warning in asked[3].warnings)
    assert any("used for 6 promotion decisions" in warning for warning in asked[4].warnings)
    every = verdict_log.read_verdicts(params().registry)
    assert [(one.version, one.accept) for one in every] == [(A_STUMP, True)] + [(A_BLIND_ONE, False)] * 5
    assert "average precision above the baselines" in every[-1].failed


def test_verdicts_that_were_changed_are_noticed(world: Workspace) -> None:
    for _ in range(2):
        promote(params(), version=A_BLIND_ONE)
    with sqlite3.connect("mlflow.db") as store:
        store.execute(
            "update registered_model_tags set value = replace(value, 'false', 'true') where key = 'verdict.000001'"
        )
    with pytest.raises(CheckFailed, match="entry 2 was changed"):
        promote(params(), version=A_FOREST)


def test_a_champion_whose_bundle_is_gone_is_told(world: Workspace) -> None:
    promote(params(), version=A_STUMP)
    shutil.rmtree(world.bundle(A_STUMP))
    with sqlite3.connect("mlflow.db") as store:
        store.execute("update logged_models set artifact_location = 'file:///nowhere/at/all'")
        store.execute("update model_versions set storage_location = 'file:///nowhere/at/all'")
    with pytest.raises(ScorerError, match="the bundle of version 1 is missing"):
        promote(params(), version=A_FOREST)


def test_a_final_model_is_promoted_on_its_recipes_verdict_and_stands_aside_when_others_are_judged(
    world: Workspace,
) -> None:
    with pytest.raises(CheckFailed, match=r"no accepted verdict on this recipe .* as a first champion"):
        train(params(train=STUMP), final=True)
    promote(params(), version=A_STUMP)
    done = train_and_promote(params(train=STUMP), partial(train, final=True), final=True)
    assert done.facts["recipe accepted as"] == "version 1"
    assert done.tables[-1].rows[0][1:] == ("as version 1", "accepted against version 1 or its recipe", "yes")
    facts = json.loads((world.bundle("5") / "scorer.json").read_text())["facts"]
    assert (facts["final"], facts["judged_as"]) == (True, A_STUMP)
    assert datetime.fromisoformat(facts["as_of"]) > START + timedelta(days=DAYS) - timedelta(hours=1)
    assert facts["rows"]["rows"] > 1.2 * Scorer.load(world.bundle(A_STUMP)).facts["rows"]["rows"]
    assert history.alias_state(params().registry).champion == "5"
    better = promote(params(), version=A_FOREST)
    assert better.refused is None
    assert "average precision better than version 1" in [row[0] for row in better.tables[0].rows]
    with pytest.raises(CheckFailed, match=r"no accepted verdict on this recipe .* against version 2"):
        train(params(train=STUMP), final=True)


def test_the_exported_champion_needs_no_registry(world: Workspace) -> None:
    promote(params(), version=A_FOREST)
    Path("mlflow.db").unlink()
    assert model_pointer.load(workspace=world.root).version == A_FOREST
    assert model_pointer.load(A_STUMP, workspace=world.root).version == A_STUMP


def test_an_exported_bundle_that_was_changed_is_refused(world: Workspace) -> None:
    promote(params(), version=A_FOREST)
    manifest = world.bundle(A_FOREST) / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(ScorerError, match="not the bundle that"):
        model_pointer.exported_model(world, "champion")
    world.pointer("champion").write_text("{}")
    with pytest.raises(ScorerError, match=r"cannot be read \(KeyError"):
        model_pointer.exported_model(world, "champion")


def test_a_bundle_changed_while_it_is_judged_is_not_promoted(world: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_then_change(*arguments: object) -> PromotionResult:
        judgement = run_checks(*arguments)
        manifest = world.bundle(A_FOREST) / "manifest.json"
        manifest.write_text(manifest.read_text() + " ")
        return judgement

    monkeypatch.setattr("fraud3000.stages.promote.run_checks", check_then_change)
    before = history.alias_state(params().registry)
    with pytest.raises(ScorerError, match="a valid bundle, but not the one registered as version 2"):
        promote(params(), version=A_FOREST)
    assert history.alias_state(params().registry) == before
    assert not world.pointer("champion").exists()


def test_staging_names_the_challenger(world: Workspace) -> None:
    done = promote(params(), stage="staging", version=A_STUMP, why="look at it again")
    assert done.facts["verdict"] == "version 1 is the challenger"
    assert registry.resolve("challenger", params().registry, world.root)[0] == A_STUMP
    assert json.loads(world.pointer("challenger").read_text())["version"] == A_STUMP


def test_a_history_that_was_changed_stops_everything(world: Workspace) -> None:
    promote(params(), version=A_FOREST, why="good")
    world.promotions.write_text(world.promotions.read_text().replace("good", "bad"))
    with pytest.raises(CheckFailed, match="differs from the promotion history in the registry"):
        promote(params(), dry_run=True)
    world.promotions.unlink()
    with sqlite3.connect("mlflow.db") as store:
        store.execute("update registered_model_tags set value = replace(value, '\"number\": 1', '\"number\": 2')")
    with pytest.raises(CheckFailed, match="entry 1 was changed"):
        promote(params(), dry_run=True)


def test_a_history_file_that_is_missing_is_written_anew(world: Workspace) -> None:
    promote(params(), version=A_STUMP)
    world.promotions.unlink()
    promote(params(), version=A_FOREST)
    assert len(world.promotions.read_text().splitlines()) == 2


def test_a_champion_that_was_not_exported_here_is_exported_anew(world: Workspace) -> None:
    promote(params(), version=A_FOREST)
    world.pointer("champion").unlink()
    assert promote(params(), version=A_FOREST, dry_run=True).refused is None
    assert not world.pointer("champion").exists()
    done = promote(params(), version=A_FOREST)
    assert done.facts["verdict"] == "version 2 is the champion already; its files were exported again"
    assert model_pointer.load(workspace=world.root).version == A_FOREST
    assert len(history.alias_state(params().registry).history) == 1


def test_of_two_promotions_at_once_one_is_told_to_wait(world: Workspace) -> None:
    with (
        file_lock.exclusive_lock(world.models, operation="promotion"),
        pytest.raises(UnavailableError, match="is running"),
    ):
        promote(params(), version=A_FOREST)


def test_a_move_between_judging_and_moving_is_noticed(world: Workspace) -> None:
    seen = history.alias_state(params().registry)
    promote(params(), stage="staging", version=A_STUMP)
    with pytest.raises(UnavailableError, match="changed while this command ran"):
        history.move_alias("promote", "champion", A_FOREST, params().registry, seen=seen, why="")


def test_an_alias_that_cannot_be_moved_leaves_no_entry(world: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    seen = history.alias_state(params().registry)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", interrupt)
    with pytest.raises(KeyboardInterrupt):
        history.move_alias("promote", "champion", A_FOREST, params().registry, seen=seen, why="")
    assert history.alias_state(params().registry) == seen


def test_an_evaluation_that_an_earlier_release_wrote_does_not_count(world: Workspace) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    run_id = client.get_model_version(params().registry.name, A_FOREST).run_id
    client.log_dict(run_id, {"metrics": {}, "floors": {}}, "reports/metrics.json")
    refused = promote(params(), version=A_FOREST).refused
    assert refused is not None
    assert "none on record" in refused


def test_what_there_is_not_is_said(world: Workspace) -> None:
    other = params(registry={"name": "other"})
    with pytest.raises(ScorerError, match="no model is registered under the name 'other'"):
        promote(other)
    with pytest.raises(ScorerError, match="no version 9"):
        promote(params(), version="9")
    with pytest.raises(ScorerError, match="no earlier champion to roll back to: there is no champion"):
        promote(params(), rollback=True)
    with pytest.raises(ParamsError, match="--rollback restores the previous champion"):
        promote(params(), rollback=True, version="1")


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid")

    monkeypatch.setattr(hash_chain.getpass, "getuser", nameless)
    assert hash_chain.user() == f"uid {os.getuid()}"
