"""The train stage: from features on disk to a registered scorer, or to an error that says why not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from fraud3000 import params as p
from fraud3000 import registry
from fraud3000.data.cleaning import cards
from fraud3000.errors import DataError, EmptyDataError, ParamsError, UnavailableError
from fraud3000.labels import visibility
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.training import fit
from fraud3000.schema import TIME
from fraud3000.stages.featurize import featurize
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train

START, DAYS, ROWS = datetime(2024, 1, 1, tzinfo=UTC), 60, 4_000
DELAY = timedelta(days=2)


def transactions(**columns):
    """Cards with steady amounts; on some days of some cards large ones, which are fraud."""
    source = np.random.default_rng(8)
    card = source.integers(0, 50, ROWS)
    second = np.sort(source.integers(0, DAYS * 86_400, ROWS))
    since = source.integers(5, DAYS, 50)[card] * 86_400
    fraud = (second >= since) & (second < since + 4 * 86_400) & (card < 40)
    made = {
        "transaction_id": [f"{one:06}" for one in range(ROWS)],
        "ts": pl.Series([START + timedelta(seconds=int(one)) for one in second], dtype=TIME),
        "card_id": [f"c{one:02}" for one in card],
        "terminal_id": [f"t{one:02}" for one in source.integers(0, 40, ROWS)],
        "amount": (source.gamma(4, 800, ROWS) * np.where(fraud, 5, 1)).astype(np.int64),
        "status": np.where(np.arange(ROWS) % 400 == 0, "refund", "approved"),
        "is_fraud": fraud.astype(np.int8),
        "reported_at": pl.Series([None] * ROWS, dtype=TIME),
        "labelled": [True] * ROWS,
        "seq": np.arange(ROWS),
    }
    return pl.DataFrame(made).with_columns(**columns)


def world(place, rows, **sections: Any) -> p.Params:
    """Params whose workspace holds these rows, featurized."""
    given = {
        "prepare": {"label_delay": "2d"},
        "featurize": {"burn_in": "5d"},
        "train": {"estimator": "logistic_regression", "calibration": "platt"},
        "policy": {"cards_per_day": 4},
    }
    params = p.parse({**given, **sections, "workspace": str(place / "data")})
    workspace = Workspace.from_params(params)
    workspace.transactions.parent.mkdir(parents=True)
    rows.write_parquet(workspace.transactions)
    visibility.ledger_from_rows(rows, params.prepare.label_delay).write_parquet(workspace.labels)
    featurize(params)
    return params


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_training_ends_with_a_registered_challenger(own_store):
    params = world(own_store, transactions())
    outcome = train(params)
    workspace = Workspace.from_params(params)
    assert outcome.facts["version"] == "1 (challenger)"
    assert registry.resolve("challenger", params.registry, workspace.root) == ("1", workspace.bundle("1"))
    scorer = Scorer.load(workspace.bundle("1"))
    valid = pl.read_parquet(workspace.split("valid"))
    assert scorer.probabilities(valid).mean() == pytest.approx(outcome.facts["validation prevalence"], rel=0.5)
    assert outcome.facts["validation average precision"] > 5 * outcome.facts["validation prevalence"]
    assert outcome.facts["threshold"] == scorer.policy.value
    assert outcome.facts["cards reviewed a day"].startswith(("3.", "4.0"))
    assert scorer.facts["as_of"] == json.loads(workspace.boundaries.read_text())["as_of"]
    assert outcome.outputs == {"model": str(workspace.bundle("1"))}
    assert json.loads(json.dumps(outcome.as_dict()))


def test_every_row_of_the_splits_is_told(own_store):
    params = world(own_store, transactions())
    (table,) = train(params).tables
    counts = {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in table.rows}
    assert table.columns == ("", "train", "valid")
    parts = ("history too short", "refunds", "label unknown", "legitimate", "fraud")
    assert counts["rows"] == [sum(cells) for cells in zip(*(counts[part] for part in parts), strict=True)]
    heights = [pl.read_parquet(Workspace.from_params(params).split(name)).height for name in ("train", "valid")]
    assert counts["rows"] == heights
    assert counts["refunds"][0] > 0


def test_the_run_names_the_estimators_params_that_no_file_states(own_store):
    params = world(own_store, transactions())
    train(params)
    client = MlflowClient(tracking_uri=f"sqlite:///{own_store / 'mlflow.db'}")
    run = client.get_run(client.get_model_version_by_alias("fraud3000", "challenger").run_id)
    assert run.data.params["train.estimator_params.max_iter"] == "1000"
    assert run.data.params["train.estimator"] == "logistic_regression"


def test_validation_before_training_is_said(own_store):
    spans = {"valid": (10, 20), "train": (22, 40), "test": (42, 60)}
    dates = {part: [(START + timedelta(days=day)).isoformat() for day in span] for part, span in spans.items()}
    params = world(own_store, transactions(), featurize={"burn_in": "5d", "split": {"by": "dates", **dates}})
    said = train(params).facts["validation"]
    assert said == "2024-01-11 00:00 to 2024-01-21 00:00 UTC, before training"


def test_frauds_reported_after_the_day_are_legitimate_in_it_and_counted(own_store):
    late = pl.when(pl.col("card_id") < "c10").then(pl.lit(START + timedelta(days=300), dtype=TIME))
    params = world(own_store, transactions(reported_at=late))
    outcome = train(params)
    (row,) = [row for table in outcome.tables for row in table.rows if row[0] == "reported as fraud later"]
    assert int(row[1]) > 0
    assert any(f"{row[1]} training rows count as legitimate" in warning for warning in outcome.warnings)


def test_equal_trainings_give_equal_bundles(own_store):
    params = world(own_store, transactions())
    train(params)
    train(params)
    first, second = (Workspace.from_params(params).bundle(version) for version in ("1", "2"))
    assert files_of(first) == files_of(second)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files_of(first))


def test_data_without_time_is_split_at_random_and_says_so(own_store):
    rows = transactions().drop("ts", "card_id", "terminal_id").with_columns(reported_at=pl.lit(None, TIME))
    split = {"split": {"by": "random"}}
    params = world(own_store, rows, featurize=split, policy={"threshold": "cost"})
    outcome = train(params)
    assert outcome.facts["split by"] == "random"
    assert outcome.facts["threshold"] == "by cost, for each amount"
    assert any("the split is random" in warning for warning in outcome.warnings)


def test_features_that_say_nothing_are_left_out_and_named(own_store):
    outcome = train(world(own_store, transactions(constant=pl.lit(3.0))))
    assert any("constant (one value only)" in warning for warning in outcome.warnings)


@pytest.mark.parametrize(
    ("columns", "kind", "said"),
    [
        ({"labelled": False, "is_fraud": None}, EmptyDataError, "no row has a known label"),
        ({"is_fraud": 0}, DataError, "all .* known labels are legitimate, none is fraud"),
        ({"status": "refund"}, EmptyDataError, "no rows left to learn from .* refunds"),
    ],
)
def test_data_no_model_can_learn_from_is_refused(own_store, columns, kind, said):
    typed = {name: pl.lit(value, pl.Int8) if name == "is_fraud" else pl.lit(value) for name, value in columns.items()}
    params = world(own_store, transactions(**typed))
    with pytest.raises(kind, match=said) as caught:
        train(params)
    assert caught.value.hint
    assert not (Workspace.from_params(params).root / "models").exists()


def test_wrong_estimator_params_come_before_missing_data(own_store):
    params = p.parse({"train": {"estimator_params": {"trees": 3}}, "workspace": str(own_store / "none")})
    with pytest.raises(ParamsError, match=r"train\.estimator_params\.trees"):
        train(params)
    with pytest.raises(DataError, match="not found") as caught:
        train(p.parse({"workspace": str(own_store / "none")}))
    assert "fraud3000" in caught.value.hint


def test_a_broken_split_file_is_told(own_store):
    params = world(own_store, transactions())
    Workspace.from_params(params).boundaries.write_text("{")
    with pytest.raises(DataError, match=r"split\.json: cannot be read"):
        train(params)


def test_where_the_registry_is_out_of_reach_nothing_is_left(own_store, monkeypatch):
    params = world(own_store, transactions())
    before = files_of(own_store / "data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own_store}/none/at/all.db")
    monkeypatch.setattr(fit, "fit", never)
    with pytest.raises(UnavailableError, match="the model registry"):
        train(params)
    assert files_of(own_store / "data") == before


def never(*_):
    pytest.fail("a model was fitted for nothing")


def test_a_capacity_of_data_without_days_is_refused_before_any_fit(own_store, monkeypatch):
    rows = transactions().drop("ts").with_columns(reported_at=pl.lit(None, TIME))
    params = world(own_store, rows, featurize={"split": {"by": "random"}}, policy={"threshold": "cost"})
    by_capacity = params.model_copy(update={"policy": params.policy.model_copy(update={"threshold": "capacity"})})
    monkeypatch.setattr(fit, "fit", never)
    with pytest.raises(ParamsError, match=r"policy\.threshold: 'capacity' counts cards a day"):
        train(by_capacity)


def test_an_interrupted_training_leaves_nothing(own_store, monkeypatch):
    params = world(own_store, transactions())
    before = files_of(own_store / "data")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "log_training", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(params)
    assert files_of(own_store / "data") == before


def test_a_workspace_that_cannot_be_written_is_told(own_store):
    params = world(own_store, transactions())
    (own_store / "data" / "models").write_text("in the way")
    with pytest.raises(UnavailableError, match="models: cannot be written"):
        train(params)


def test_a_card_column_once_found_to_hold_numbers_is_hashed_in_every_later_file(own_store):
    key = cards.new_key()
    hashed = transactions().with_columns(card_id=cards.hash_cards(transactions()["card_id"], key))
    train(world(own_store, hashed, prepare={"label_delay": "2d", "source": "custom", "mapping": CUSTOM}))
    assert Scorer.load(own_store / "data/models/1").mapping.card_numbers == "yes"


def test_a_card_column_once_found_to_hold_none_is_not_judged_again_by_few_rows(own_store):
    train(world(own_store, transactions(), prepare={"label_delay": "2d", "source": "custom", "mapping": CUSTOM}))
    assert Scorer.load(own_store / "data/models/1").mapping.card_numbers == "no"


CUSTOM = {"columns": {"amount": "amount", "ts": "when", "card_id": "card", "terminal_id": "shop"}}
