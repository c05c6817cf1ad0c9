"""The backtest stage: weeks scored one after the other, told in files, in MLflow and in the report."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient
from sklearn.metrics import average_precision_score

from fraud3000 import params as p
from fraud3000.errors import DataError, EmptyDataError, ParamsError
from fraud3000.labels import splits, visibility
from fraud3000.stages.backtest import backtest
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.shared.workspace import Workspace


def asked(**told):
    """The small world's params, with other ones for the backtest: four folds of it unless told otherwise."""
    given = p.load()
    told = {"first": "2025-05-05", "folds": 4, **told}
    return given.model_copy(update={"backtest": p.BacktestParams(**told)})


@pytest.fixture(scope="module")
def backtested(trained, tmp_path_factory):
    """A copy of the trained folder, in which a backtest by two seeds was done, and its summary."""
    place = tmp_path_factory.mktemp("backtested")
    shutil.copytree(trained, place, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        outcome = backtest(asked(valid="7d", seeds=(5, 6)))
    return place, outcome


@pytest.fixture
def there(backtested, monkeypatch):
    monkeypatch.chdir(backtested[0])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace.from_params(p.load())


@pytest.fixture
def content(there):
    return json.loads((there.backtest / "metrics.json").read_bytes())


def test_every_row_of_every_test_is_scored_once(there, content):
    features = pl.read_parquet(there.features, columns=["transaction_id", "ts"])
    for name in ("scored.parquet", "scored-6.parquet"):
        scored = pl.read_parquet(there.backtest / name)
        assert scored.schema == {"transaction_id": pl.String, "fold": pl.String, "score": pl.Float64}
        assert scored["score"].is_between(0, 1, closed="none").all()
        assert scored["transaction_id"].is_unique().all()
        for fold in content["folds"]:
            first, last = map(datetime.fromisoformat, fold["test"])
            ids = features.filter(pl.col("ts").is_between(first, last, closed="left"))["transaction_id"]
            assert scored.filter(pl.col("fold") == fold["fold"])["transaction_id"].to_list() == ids.to_list()
    one, other = (pl.read_parquet(there.backtest / name)["score"] for name in ("scored.parquet", "scored-6.parquet"))
    assert (one != other).any()


def test_the_metrics_are_those_of_the_scores_written(there, content):
    scored = pl.read_parquet(there.backtest / "scored.parquet")
    transactions, ledger = pl.read_parquet(there.transactions), pl.read_parquet(there.labels)
    at = datetime.fromisoformat(content["label_date"])
    is_fraud = visibility.known_at(transactions, ledger, at, label_delay=timedelta(days=7))
    known = transactions.select("transaction_id", "status", is_fraud=is_fraud)
    for fold in [fold for fold in content["folds"] if fold["seed"] == 5]:
        rows = scored.filter(pl.col("fold") == fold["fold"]).join(known, on="transaction_id")
        rows = rows.filter(pl.col("is_fraud").is_not_null() & (pl.col("status") != "refund"))
        assert (rows.height, rows["is_fraud"].sum()) == (fold["rows"], fold["frauds"])
        found = fold["metrics"]["average_precision"]
        if fold["frauds"]:
            assert found["value"] == pytest.approx(average_precision_score(rows["is_fraud"], rows["score"]))
        else:
            assert found == {"value": None, "reason": "no known fraud"}
    assert sum(fold["frauds"] > 0 for fold in content["folds"]) >= 2


def test_a_fold_learns_from_what_was_known_before_its_test(content):
    for fold in content["folds"]:
        begin = fold["test"][0]
        assert fold["labels_as_of"] == begin
        assert datetime.fromisoformat(fold["train"][1]) == datetime.fromisoformat(begin) - timedelta(days=7)
        assert fold["training_rows"]["fraud"] > 0


def test_the_summary_states_dates_rules_and_deviations(backtested, content):
    _, outcome = backtested
    assert outcome.facts["labels in training"] == "as known when the test begins"
    assert outcome.facts["labels in the tests"] == f"as known at {content['label_date']}"
    by_fold, over = outcome.tables
    assert [row[0] for row in by_fold.rows] == sorted({fold["fold"] for fold in content["folds"]})
    (average,) = [row for row in over.rows if row[0] == "average precision"]
    assert float(average[1]) == pytest.approx(content["metrics"]["average_precision"]["mean"], abs=1e-4)
    assert all(average[2:4])
    assert json.loads(json.dumps(outcome.as_dict()))


def test_equal_runs_give_equal_bytes(there):
    before = {path.name: path.read_bytes() for path in there.backtest.iterdir()}
    backtest(asked(valid="7d", seeds=(5, 6)))
    assert {path.name: path.read_bytes() for path in there.backtest.iterdir()} == before
    assert {"scored.parquet", "scored-6.parquet", "metrics.json", "weeks.svg", "weeks.png"} == set(before)


def test_each_fold_is_a_run_below_the_backtests_own(there, content):
    client = MlflowClient(tracking_uri=f"sqlite:///{Path('mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("fraud3000").experiment_id
    (run, *_) = client.search_runs([experiment], "tags.mlflow.runName = 'backtest'")
    mean = content["metrics"]["average_precision"]["mean"]
    assert run.data.metrics["average_precision"] == pytest.approx(mean)
    assert run.data.params["backtest.valid"] == "7d"
    below = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    names = {one.info.run_name for one in below}
    assert names == {f"{fold['fold']} seed {fold['seed']}" for fold in content["folds"]}


def test_the_report_shows_the_backtest_of_its_own_recipe_only(there):
    evaluate(p.load())
    page = there.report.read_text(encoding="utf-8")
    assert "Retrained before each test period, the model reaches" in page
    assert (there.plots / "backtest.svg").exists()
    other = p.load().train.model_copy(update={"imbalance": "balanced"})
    backtest(asked(folds=1).model_copy(update={"train": other}))
    evaluate(p.load())
    page = there.report.read_text(encoding="utf-8")
    assert "the last backtest used another recipe, which differs in imbalance" in page
    assert not (there.plots / "backtest.svg").exists()


def test_a_model_that_is_not_refitted_scores_every_test(there):
    backtest(asked(refit=False, window="28d"))
    content = json.loads((there.backtest / "metrics.json").read_bytes())
    assert {tuple(fold["train"]) for fold in content["folds"]} == {tuple(content["folds"][0]["train"])}
    assert not (there.backtest / "scored-6.parquet").exists()
    assert "savings" not in content["metrics"]


def test_without_a_number_the_folds_are_those_whose_labels_are_known(there):
    params = p.load()
    outcome = backtest(params.model_copy(update={"evaluate": p.EvaluateModelParams(label_date="2025-06-10")}))
    content = json.loads((there.backtest / "metrics.json").read_bytes())
    first = splits.Boundaries.from_dict(json.loads(there.boundaries.read_bytes())).test[0]
    assert datetime.fromisoformat(content["test_span"][0]).date() == first.date() + timedelta(days=1)
    assert datetime.fromisoformat(content["test_span"][1]) <= datetime(2025, 6, 3, tzinfo=UTC)
    assert outcome.facts["folds"].startswith("2 of 7d")


def test_compromised_cards_are_left_out_by_the_handbooks_rule(there):
    backtest(asked(compromised_cards="remove", compromised_window="7d"))
    removed = json.loads((there.backtest / "metrics.json").read_bytes())
    scored = pl.read_parquet(there.backtest / "scored.parquet")
    transactions, ledger = pl.read_parquet(there.transactions), pl.read_parquet(there.labels)
    known = visibility.known_at(
        transactions, ledger, datetime.fromisoformat(removed["label_date"]), label_delay=timedelta(days=7)
    )
    for fold in removed["folds"]:
        spans = {name: tuple(map(datetime.fromisoformat, fold[name])) for name in ("train", "test")}
        since = spans["train"][1] - timedelta(days=7)
        out = splits.known_compromised(
            transactions, known, splits.Boundaries(train=spans["train"]), timedelta(days=7), since=since
        )
        gone = transactions.filter(out)["transaction_id"]
        mine = scored.filter(pl.col("fold") == fold["fold"])
        assert fold["compromised_rows"] == mine["transaction_id"].is_in(gone.implode()).sum() > 0


def test_data_without_features_time_or_rows_is_refused_by_name(there):
    with pytest.raises(EmptyDataError, match=r"fold 20\d\d-\d\d-\d\d: no transactions in"):
        backtest(asked(folds=60))
    with pytest.raises(ParamsError, match="has nothing to train on"):
        backtest(asked(valid="200d"))
    elsewhere = p.load().model_copy(update={"workspace": "elsewhere"})
    with pytest.raises(DataError, match=r"split.json: not found"):
        backtest(elsewhere)
    there.boundaries.write_text(json.dumps(splits.Boundaries().to_dict()), encoding="utf-8")
    with pytest.raises(ParamsError, match="the data has no time"):
        backtest(asked())
