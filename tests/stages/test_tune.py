"""`train --tune`: a search on the weeks before the test, the params file it writes, the model it trains."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from mlflow import MlflowClient

from fraud3000 import params as p
from fraud3000 import registry
from fraud3000.errors import EmptyDataError, LeakageError, ParamsError
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference.scorer import Scorer
from fraud3000.stages.promote import train_and_promote
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.tune import tune, tune_and_train

ROOT = Path(__file__).parents[2]
TOLD = """
tune: {trials: 3, folds: 2, space: {estimator_params.max_depth: {low: 2, high: 12}}}
backtest: {window: 42d, test: 14d, step: 14d}
"""


@pytest.fixture(scope="module")
def tuned(blank_pictures_in_module, trained, tmp_path_factory):
    """A copy of the trained folder in which a search was made, and its summary."""
    place = tmp_path_factory.mktemp("tuned")
    shutil.copytree(trained, place, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        given = place / "params.yaml"
        given.write_text(given.read_text(encoding="utf-8") + TOLD, encoding="utf-8")
        outcome = tune_and_train(p.load(), None)
    return place, outcome


@pytest.fixture
def there(tuned, monkeypatch):
    monkeypatch.chdir(tuned[0])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace.from_params(p.load())


@pytest.fixture
def content(there):
    return json.loads((there.tuned / "trials.json").read_bytes())


def test_the_file_written_is_the_one_given_with_what_was_found(there, content):
    path = there.tuned / "params.yaml"
    found, given = p.load(path), p.load()
    depth = content["best"]["chosen"]["estimator_params.max_depth"]
    assert found.train.estimator_params == {**given.train.estimator_params, "max_depth": depth}
    assert found.model_copy(update={"train": given.train}) == given
    assert path.read_text(encoding="utf-8").startswith(
        "# train: found by `fraud3000 train --tune`, 3 trials, seed 2018"
    )


def deepest(trees):
    """The longest way from a root to a leaf."""
    depth = np.zeros(len(trees.column), dtype=int)
    for node in np.flatnonzero(trees.column >= 0):  # parents come before children
        depth[[trees.left[node], trees.right[node]]] = depth[node] + 1
    return depth.max()


def test_the_challenger_is_trained_by_what_was_found(there, content, tuned):
    version, folder = registry.resolve("challenger", p.load().registry, there.root)
    scorer = Scorer.load(folder)
    depth = content["best"]["chosen"]["estimator_params.max_depth"]
    assert deepest(scorer.model.members[0].predictor) == depth
    assert scorer.facts["recipe"]["estimator_params"]["max_depth"] == depth
    _, outcome = tuned
    assert outcome.facts["version"] == f"{version} (challenger)"
    assert outcome.facts["trials"].startswith("3, ")
    assert set(outcome.outputs) == {"params found", "trials", "model"}
    assert json.loads(json.dumps(outcome.as_dict()))


def test_every_label_of_a_fold_is_known_before_the_test_weeks(there, content):
    test = Boundaries.from_dict(json.loads(there.boundaries.read_bytes())).test
    ends = [datetime.fromisoformat(fold["test"][1]) for fold in content["folds"]]
    assert max(ends) + timedelta(days=7) <= test[0]
    assert max(ends) + timedelta(days=8) > test[0]
    features = pl.scan_parquet(there.features).select("ts", "split")
    for fold in content["folds"]:
        first, last = map(datetime.fromisoformat, fold["test"])
        within = features.filter(pl.col("ts").is_between(first, last, closed="left")).collect()
        assert "test" not in within["split"].to_list()


def test_a_search_made_again_writes_the_same_file(there, tuned):
    before = (there.tuned / "params.yaml").read_bytes()
    outcome, _ = tune(p.load())
    assert "3 of an earlier run" in outcome.facts["trials"]
    assert (there.tuned / "params.yaml").read_bytes() == before
    there.trials.unlink()
    outcome, _ = tune(p.load())
    assert "earlier run" not in outcome.facts["trials"]
    assert (there.tuned / "params.yaml").read_bytes() == before


def test_each_trial_is_a_run_below_the_searchs_own(there, content):
    client = MlflowClient(tracking_uri=f"sqlite:///{Path('mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("fraud3000").experiment_id
    (run, *_) = client.search_runs([experiment], "tags.mlflow.runName = 'tune'")
    below = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert {one.info.run_name for one in below} == {f"trial {one['trial']}" for one in content["trials"]}
    assert run.data.metrics["average_precision"] == pytest.approx(content["best"]["mean"])


def test_what_was_found_is_evaluated_and_judged_in_one_go(there):
    outcome = train_and_promote(p.load(), lambda told: tune_and_train(told, None))
    assert {"best", "version", "caught by alerts", "verdict"} <= set(outcome.facts)
    assert {"params found", "model", "report"} <= set(outcome.outputs)


def changed(**sections):
    given = p.load()
    return p.parse({**yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), **sections}), given


def test_folds_in_the_test_weeks_are_refused(there):
    told, given = changed(tune={"first": "2025-05-20", "folds": 1, "trials": 1})
    with pytest.raises(LeakageError, match="the fold of 2025-05-20 ends"):
        tune(told)
    early, _ = changed(backtest={"first": "2025-04-01", "test": "14d", "step": "14d"}, tune={"folds": 1, "trials": 1})
    outcome, _ = tune(early)
    assert outcome.facts["folds"].startswith("2025-03-11 to 2025-03-25")
    assert given.tune.trials == 3


def test_savings_need_a_threshold(there):
    told, _ = changed(tune={"objective": "savings", "trials": 1, "folds": 1})
    with pytest.raises(ParamsError, match="'savings' needs calibrated scores"):
        tune(told)
    told, _ = changed(
        tune={"objective": "savings", "trials": 1, "folds": 1}, backtest={"valid": "14d", "test": "14d", "step": "14d"}
    )
    assert tune(told)[0].facts["objective"] == "savings, mean over 1 folds"


def test_a_fold_without_fraud_is_named(there):
    ledger = pl.read_parquet(there.labels)
    ledger.filter(pl.col("recorded_at") < datetime(2025, 4, 28, tzinfo=UTC)).write_parquet(there.labels)
    told, _ = changed(tune={"trials": 1, "folds": 1})
    try:
        with pytest.raises(EmptyDataError, match=r"fold 20\d\d-\d\d-\d\d: no known fraud"):
            tune(told)
    finally:
        ledger.write_parquet(there.labels)


@pytest.mark.parametrize("name", ["handbook-p1", "handbook-p2", "handbook-p2-7d"])
def test_the_published_searches_end_before_august(name, monkeypatch):
    from fraud3000.evaluation.hyperparameter_search import require_before
    from fraud3000.evaluation.rolling_backtest import plan_folds

    monkeypatch.setenv("FRAUD3000_DATASETS", "/data")
    params = p.load(ROOT / "params" / f"{name}.yaml")
    test = datetime.fromisoformat("2018-08-08T00:00:00+00:00")
    week = timedelta(days=7)
    shape = params.backtest.model_copy(update={"first": params.tune.first, "folds": params.tune.folds})
    folds = plan_folds(shape, (test, test + week), datetime.fromisoformat("2018-05-08T00:00:00+00:00"), week)
    assert len(folds) >= 4
    assert max(fold.test[1] for fold in folds) <= datetime.fromisoformat("2018-08-01T00:00:00+00:00")
    require_before(folds, test, week)
    assert params.tune.trials >= 30


@pytest.mark.parametrize(("name", "recipe"), [("confirm", "p2"), ("confirm-7d", "p2-7d")])
def test_the_later_weeks_are_scored_by_the_recipe_as_it_was_found(name, recipe, monkeypatch):
    monkeypatch.setenv("FRAUD3000_DATASETS", "/data")
    later, found = (p.load(ROOT / "params" / f"handbook-{one}.yaml") for one in (name, recipe))
    assert (later.train, later.prepare) == (found.train, found.prepare)
    weeks = {"first": later.backtest.first, "folds": later.backtest.folds}
    assert later.backtest == found.backtest.model_copy(update=weeks)


@pytest.mark.slow
def test_a_search_that_is_killed_is_taken_up_by_the_next_command(there, console_command):
    command = [console_command, "train", "--tune", "--json"]
    text = Path("params.yaml").read_text(encoding="utf-8").replace("trials: 3", "trials: 8")
    Path("more.yaml").write_text(text, encoding="utf-8")
    there.trials.unlink(missing_ok=True)
    first = subprocess.Popen([*command, "--params", "more.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not there.trials.exists() or there.trials.stat().st_size < 1_000:
        time.sleep(0.1)
    time.sleep(6)
    first.send_signal(signal.SIGKILL)
    first.wait()
    subprocess.run([*command, "--params", "more.yaml"], check=True, capture_output=True)
    resumed = (there.tuned / "params.yaml").read_bytes()
    there.trials.unlink()
    subprocess.run([*command, "--params", "more.yaml"], check=True, capture_output=True)
    assert (there.tuned / "params.yaml").read_bytes() == resumed
