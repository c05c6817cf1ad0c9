"""The evaluate stage on a small world that was featurized and trained for real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000 import params as p
from fraud3000.cli import output
from fraud3000.errors import DataError, EmptyDataError, ScorerError, UnavailableError
from fraud3000.labels import visibility
from fraud3000.labels.splits import Boundaries
from fraud3000.metrics.report import measure
from fraud3000.models.inference.scorer import Scorer
from fraud3000.registry import resolve
from fraud3000.report.formatting import percent, plain, share
from fraud3000.schema import TIME
from fraud3000.stages.evaluate import evaluate, warnings
from fraud3000.stages.featurize import featurize
from fraud3000.stages.policy import what_ifs
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train
from tests.evaluations import evaluation

START, DAYS, ROWS = datetime(2024, 1, 1, tzinfo=UTC), 60, 6_000
DELAY = timedelta(days=2)
PARAMS: dict[str, Any] = {
    "prepare": {"label_delay": "2d"},
    "featurize": {"burn_in": "5d"},
    "train": {"estimator": "logistic_regression"},
    "policy": {"cards_per_day": 5},
    "evaluate": {"replicates": 20, "top_k": [5]},
}
WITHOUT_PLOTS = pytest.mark.usefixtures("blank_pictures")


def transactions() -> pl.DataFrame:
    """Cards with steady amounts; fraud is a run of large ones, on some cards for some days."""
    source = np.random.default_rng(5)
    card = source.integers(0, 60, ROWS)
    second = np.sort(source.integers(0, DAYS * 86_400, ROWS))
    since = source.integers(5, DAYS, 60)[card] * 86_400
    fraud = (second >= since) & (second < since + 4 * 86_400) & (source.random(ROWS) < 0.6) & (card < 45)
    amount = source.gamma(4, 800, ROWS) * np.where(fraud, 5, 1)
    place = np.arange(ROWS)
    return pl.DataFrame(
        {
            "transaction_id": [f"{one:06}" for one in place],
            "ts": pl.Series([START + timedelta(seconds=int(one)) for one in second], dtype=TIME),
            "card_id": [f"c{one:02}" for one in card],
            "terminal_id": [f"t{one:02}" for one in source.integers(0, 40, ROWS)],
            "amount": amount.astype(np.int64) * np.where(place % 500 == 0, -1, 1),
            "status": np.where(place % 500 == 0, "refund", np.where(place % 331 == 0, "declined", "approved")),
            "is_fraud": (fraud & (place % 500 != 0)).astype(np.int8),
            "reported_at": pl.Series([None] * ROWS, dtype=TIME),
            "labelled": [True] * ROWS,
            "seq": place,
        }
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[p.Params]:
    place = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = p.parse({**PARAMS, "workspace": str(place / "data")})
        workspace = Workspace.from_params(params)
        workspace.transactions.parent.mkdir(parents=True)
        rows = transactions()
        rows.write_parquet(workspace.transactions)
        visibility.ledger_from_rows(rows, DELAY).write_parquet(workspace.labels)
        featurize(params)
        train(params)
        yield params


@pytest.fixture(scope="module")
def timeless(world: p.Params, tmp_path_factory: pytest.TempPathFactory) -> p.Params:
    """The same rows without time, cards and terminals."""
    changes = {"featurize": {"split": {"by": "random"}}, "policy": {"threshold": "cost"}}
    place = str(tmp_path_factory.mktemp("timeless"))
    params = p.parse({**PARAMS, **changes, "workspace": place, "registry": {"name": "timeless"}})
    workspace = Workspace.from_params(params)
    workspace.transactions.parent.mkdir(parents=True)
    rows = transactions().drop("ts", "card_id", "terminal_id")
    rows.write_parquet(workspace.transactions)
    visibility.ledger_from_rows(rows, DELAY).write_parquet(workspace.labels)
    featurize(params)
    train(params)
    return params


_LAST: dict[str, Any] = {}


def evaluated(params: p.Params) -> Summary:
    """Evaluate, unless the files of just these params stand there from the test before."""
    if _LAST.get("params") != params:
        _LAST.clear()
        _LAST.update(summary=evaluate(params), params=params)
    summary: Summary = _LAST["summary"]
    return summary


def with_evaluate(params: p.Params, **changes: object) -> p.Params:
    return params.model_copy(update={"evaluate": params.evaluate.model_copy(update=changes)})


def report_of(params: p.Params) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Workspace.from_params(params).metrics.read_text(encoding="utf-8"))
    return content


@WITHOUT_PLOTS
def test_every_test_row_is_scored_and_the_known_ones_are_measured(world):
    evaluated(world)
    workspace = Workspace.from_params(world)
    scored, test = pl.read_parquet(workspace.scored), pl.read_parquet(workspace.split("test"))
    assert scored["transaction_id"].to_list() == test["transaction_id"].to_list()
    assert scored.schema == {
        "transaction_id": pl.String,
        "ts": TIME,
        "card_id": pl.String,
        "terminal_id": pl.String,
        "amount": pl.Int64,
        "status": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "alert": pl.Boolean,
        "model_version": pl.String,
        "decision": pl.String,
        "is_fraud": pl.Int8,
        "evaluated": pl.Boolean,
    }
    version, folder = resolve("challenger", world.registry, workspace.root)
    assert scored["score"].to_list() == Scorer.load(folder).probabilities(test).tolist()
    assert (scored["alert"] == (scored["score"] >= scored["threshold"])).all()
    assert scored["model_version"].unique().to_list() == [version]
    report = report_of(world)
    assert report["rows"] == scored["evaluated"].sum() == scored.height - sum(report["excluded"].values())
    assert report["excluded"]["refund"] == (scored["status"] == "refund").sum() > 0
    assert report["excluded"]["label_unknown"] > 0  # declined rows without a record
    again = measure(scored, policy=world.policy, evaluate=world.evaluate, split="test")
    assert again.to_dict()["metrics"] == report["metrics"]
    assert report["metrics"]["average_precision"]["value"] > 5 * report["prevalence"]


@WITHOUT_PLOTS
def test_the_label_date_is_just_after_all_that_is_on_record(world):
    evaluated(world)
    workspace = Workspace.from_params(world)
    newest = max(
        pl.read_parquet(workspace.transactions)["ts"].max(), pl.read_parquet(workspace.labels)["recorded_at"].max()
    )
    assert datetime.fromisoformat(report_of(world)["label_date"]) == newest + timedelta(microseconds=1)


@WITHOUT_PLOTS
def test_labels_are_read_as_known_at_the_stated_date(world):
    begin = Boundaries.from_dict(json.loads(Workspace.from_params(world).boundaries.read_text(encoding="utf-8"))).test[
        0
    ]
    stated = begin + DELAY + timedelta(days=3)
    evaluated(with_evaluate(world, label_date=stated.replace(tzinfo=None)))
    scored = pl.read_parquet(Workspace.from_params(world).scored)
    known = scored["is_fraud"].is_not_null()
    assert scored.filter(known)["ts"].max() + DELAY < stated
    assert scored.filter(~known & (scored["ts"] + DELAY < stated))["status"].unique().to_list() == ["declined"]
    assert scored["score"].is_not_null().all()


@WITHOUT_PLOTS
def test_known_compromised_cards_are_removed_where_params_say_so(world):
    evaluated(world)
    kept = report_of(world)
    evaluated(with_evaluate(world, compromised_cards="remove"))
    removed = report_of(world)
    assert kept["compromised_cards"] == {"rule": "keep", "rows": 0}
    assert removed["compromised_cards"]["rule"] == "remove"
    assert removed["excluded"]["set_aside"] == kept["rows"] - removed["rows"] > 0
    scored = pl.read_parquet(Workspace.from_params(world).scored)
    rows = transactions().filter(pl.col("is_fraud") == 1)
    first, last = Boundaries.from_dict(
        json.loads(Workspace.from_params(world).boundaries.read_text(encoding="utf-8"))
    ).train
    measured = scored.filter("evaluated")
    in_train = rows.filter(pl.col("ts").is_between(first, last, closed="left"))["card_id"]
    assert measured.filter(pl.col("card_id").is_in(in_train.implode())).is_empty()
    set_aside = scored.filter(~pl.col("evaluated") & pl.col("is_fraud").is_not_null() & (pl.col("status") != "refund"))
    later = rows.filter(pl.col("ts") >= last).select("card_id", seen="ts")
    explained = set_aside.join(later, on="card_id", how="left").filter(
        pl.col("card_id").is_in(in_train.implode())
        | (pl.col("seen").dt.truncate("1d") + timedelta(days=1) + DELAY <= pl.col("ts").dt.truncate("1d"))
    )
    assert explained["transaction_id"].n_unique() == set_aside.height


@WITHOUT_PLOTS
def test_frauds_before_a_stated_day_leave_their_cards_in(world):
    evaluated(with_evaluate(world, compromised_cards="remove"))
    all_since_training = report_of(world)["compromised_cards"]["rows"]
    begin = Boundaries.from_dict(json.loads(Workspace.from_params(world).boundaries.read_text(encoding="utf-8"))).test[
        0
    ]
    evaluated(with_evaluate(world, compromised_cards="remove", compromised_since=begin - DELAY))
    told = report_of(world)["compromised_cards"]
    assert 0 < told["rows"] < all_since_training
    assert told["since"] == (begin - DELAY).isoformat()


@WITHOUT_PLOTS
def test_the_registry_keeps_the_metrics_and_the_report(world):
    from mlflow import MlflowClient

    evaluated(world)
    client = MlflowClient(tracking_uri=f"sqlite:///{Path('mlflow.db').resolve()}")
    run = client.get_run(client.get_model_version_by_alias("fraud3000", "challenger").run_id)
    expected = report_of(world)["metrics"]["average_precision"]["value"]
    assert run.data.metrics["test_average_precision"] == pytest.approx(expected)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "reports")] == [
        "reports/metrics.json",
        "reports/model-card.md",
        "reports/report.html",
    ]
    described = client.get_model_version_by_alias("fraud3000", "challenger").description
    assert described.startswith("**With ")
    assert "alerted a day, the model catches" in described


@WITHOUT_PLOTS
def test_the_summary_fits_the_terminal_and_leads_with_the_verdict(world):
    outcome = evaluated(world)
    lines = [line for line, _ in output.lines(outcome)]
    assert max(map(len, lines)) <= 100
    recall = report_of(world)["metrics"]["recall"]
    assert outcome.facts["caught by alerts"].startswith(plain(share(recall["value"], recall["low"], recall["high"])))
    assert outcome.facts["caught by alerts"].endswith("of their money")
    assert list(outcome.facts).index("caught by alerts") < 2
    assert json.loads(json.dumps(outcome.as_dict()))
    precision = next(line for line in lines if "card precision@5" in line)
    assert "ceiling" in precision
    assert " – " in precision


def test_a_label_date_before_any_label_is_known_leaves_nulls_with_their_reason(world):
    outcome = evaluated(with_evaluate(world, label_date=START))
    report = report_of(world)
    assert report["rows"] == 0
    assert {metric["reason"] for metric in report["metrics"].values()} == {"no row with a known label"}
    assert any("no test row has a known label" in warning for warning in outcome.warnings)
    assert outcome.facts["caught by alerts"] == "unknown: no row with a known label"


def test_input_is_looked_at_before_a_model(world, tmp_path):
    empty = world.model_copy(update={"workspace": str(tmp_path)})
    with pytest.raises(DataError, match=r"test.parquet: not found"):
        evaluate(empty, model="champion")


def test_a_broken_boundaries_file_is_named(world):
    path = Workspace.from_params(world).boundaries
    content = path.read_bytes()
    try:
        path.write_text("{}")
        with pytest.raises(DataError, match=r"split.json: cannot be read \(KeyError"):
            evaluate(world)
        path.unlink()
        with pytest.raises(DataError, match=r"split.json: not found"):
            evaluate(world)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("changes", [{"zone": "Asia/Tokyo"}, {"late_horizon": 3_600, "precedence": ["analyst"]}])
def test_features_made_otherwise_than_the_models_own_are_refused(world, changes):
    path = Workspace.from_params(world).catalogue
    content = path.read_bytes()
    try:
        path.write_text(json.dumps({**json.loads(content), **changes}))
        with pytest.raises(ScorerError, match=f"they differ in {', '.join(changes)}") as caught:
            evaluate(world)
    finally:
        path.write_bytes(content)
    assert "featurize" in caught.value.hint


@WITHOUT_PLOTS
def test_a_missing_model_changes_nothing(world):
    evaluated(world)
    workspace = Workspace.from_params(world)
    before = workspace.scored.read_bytes(), workspace.metrics.read_bytes()
    with pytest.raises(ScorerError, match="champion"):
        evaluate(world, model="champion")
    assert (workspace.scored.read_bytes(), workspace.metrics.read_bytes()) == before


def test_an_evaluation_repeats_to_the_same_bytes(world):
    workspace = Workspace.from_params(world)
    evaluate(world)
    written = [
        workspace.scored,
        workspace.metrics,
        workspace.report,
        workspace.card,
        *sorted(workspace.plots.iterdir()),
    ]
    first = {path: path.read_bytes() for path in written}
    evaluate(world)
    assert {path: path.read_bytes() for path in written} == first


def test_the_report_its_plots_and_the_model_card_lie_beside_the_metrics(world):
    outcome = evaluated(world)
    workspace, report = Workspace.from_params(world), report_of(world)
    assert outcome.outputs["report"] == str(workspace.report)
    page = workspace.report.read_text(encoding="utf-8")
    assert percent(report["metrics"]["recall"]["value"]) in page
    assert report["bundle_sha256"] in page
    assert not re.findall(r">c\d\d<|>t\d\d<", page)
    names = {path.name for path in workspace.plots.iterdir()}
    drawn = {"caught", "precision-recall", "workload", "scores", "features"}
    assert {f"{name}.{kind}" for name in drawn for kind in ("svg", "png", "csv")} <= names
    assert pl.read_csv(workspace.plots / "workload.csv").columns[:3] == ["alerts", "threshold", "frauds"]
    card = workspace.card.read_text(encoding="utf-8")
    assert workspace.bundle_card(report["model_version"]).read_text(encoding="utf-8") == card
    assert Scorer.load(workspace.bundle(report["model_version"]))


@WITHOUT_PLOTS
def test_a_report_that_cannot_be_written_changes_nothing(world):
    evaluated(world)
    workspace = Workspace.from_params(world)
    before = workspace.scored.read_bytes(), workspace.metrics.read_bytes()
    workspace.report.unlink()
    workspace.report.mkdir()
    _LAST.clear()
    try:
        with pytest.raises(UnavailableError, match="cannot be written"):
            evaluate(with_evaluate(world, seed=3))
        assert (workspace.scored.read_bytes(), workspace.metrics.read_bytes()) == before
        assert not [path.name for path in workspace.metrics.parent.iterdir() if path.name.endswith(".part")]
    finally:
        workspace.report.rmdir()


def test_data_without_time_has_no_days_and_says_that_its_split_is_random(timeless):
    outcome = evaluated(timeless)
    report = report_of(timeless)
    assert (report["label_date"], report["test_span"], report["split_by"]) == (None, None, "random")
    assert report["metrics"]["average_precision"]["by"] == "row"
    assert report["metrics"]["recall_at_alert_budget"] == {"value": None, "reason": "the data has no time"}
    assert report["metrics"]["savings"]["value"] is not None
    assert any("random" in warning for warning in outcome.warnings)
    assert any("drawn by row" in warning for warning in outcome.warnings)
    thresholds = pl.read_parquet(Workspace.from_params(timeless).scored).sort("amount")["threshold"]
    assert thresholds.is_sorted(descending=True)
    assert thresholds.n_unique() > 1


def test_a_threshold_that_no_score_reaches_is_told():
    assert list(warnings(evaluation(alerts=0))) == ["no measured row is alerted: the threshold is above every score"]
    assert "no test row is known to be fraud" in next(warnings(evaluation(frauds=0)))


def test_what_other_policies_would_have_done_is_told_and_pictured(world):
    valid = pl.read_parquet(Workspace.from_params(world).split("valid"))
    told = what_ifs(world, cards_per_day=[2])
    assert told.facts["measured on"].startswith(f"validation: {valid.height:,} rows, ")
    [table] = told.tables
    assert [row[:2] for row in table.rows] == [("capacity", "2"), ("capacity", "5"), ("cost", "2"), ("cost", "5")]
    page = Path(told.outputs["page"])
    assert table.rows[0][-1] in page.read_text(encoding="utf-8")
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    points = pl.read_csv(told.outputs["points"])
    scorer = Scorer.load(resolve("challenger", world.registry, Workspace.from_params(world).root)[1])
    assert points.filter(threshold="capacity", cards_per_day=5)["score"].item() == pytest.approx(
        scorer.policy.value, rel=0.5
    )  # not the same: the threshold in use was set on scores of each half by a calibrator of the other


def test_what_if_of_data_without_time_is_by_cost_and_over_all_rows(timeless):
    [table] = what_ifs(timeless, rows="test").tables
    assert table.title == "Operating points, over all rows"
    assert [row[:3] for row in table.rows] == [("cost", "100", "–")]


def test_what_if_needs_known_labels(world):
    early = with_evaluate(world, label_date=START)
    with pytest.raises(EmptyDataError, match="no label of the valid split is known"):
        what_ifs(early)
