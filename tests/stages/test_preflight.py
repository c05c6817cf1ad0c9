"""Params that cannot work on the data at hand are reported before any feature is computed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.errors import DataError, ParamsError, SchemaError
from fraud3000.params import Params
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.train import train

COLUMNS = {"transaction_id": "id", "ts": "time", "card_id": "card", "amount": "amount", "is_fraud": "fraud"}


def params(folder: Path, *, without: tuple[str, ...] = (), **sections: Any) -> Params:
    """Params for 400 rows written to the folder, a fraud every tenth, some columns not mapped."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = range(400)
    frame = pl.DataFrame(
        {
            "id": [f"t{row}" for row in rows],
            "time": [start + timedelta(hours=6 * row) for row in rows],
            "card": [f"c{row % 9}" for row in rows],
            "amount": [1.0 + row % 50 for row in rows],
            "fraud": [int(row % 10 == 0) for row in rows],
            "hour": [row % 24 for row in rows],
            "reported": [start + timedelta(days=9_000)] * len(rows),
        }
    )
    frame.write_parquet(folder / "in.parquet")
    mapping = {"columns": {role: name for role, name in COLUMNS.items() if role not in without}}
    mapping["columns"] |= sections.pop("columns", {})
    mapping |= sections.pop("mapping", {})
    section = {"input": str(folder / "in.parquet"), "source": "custom", "label_delay": "7d", "mapping": mapping}
    return params_files.parse({"workspace": str(folder / "data"), "prepare": section, **sections})


def test_a_capacity_without_days_is_reported_by_prepare_and_refused_by_featurize(tmp_path: Path) -> None:
    given = params(tmp_path, without=("ts",), featurize={"split": {"by": "random"}})
    said = "policy.threshold: 'capacity' counts cards a day, and this data has no time"
    assert any(warning.startswith(said) and "'cost'" in warning for warning in prepare(given).warnings)
    with pytest.raises(ParamsError, match=said):
        featurize(given)
    assert not (tmp_path / "data" / "processed").exists()


def test_a_split_that_the_data_cannot_have_is_reported_by_prepare(tmp_path: Path) -> None:
    by_cost = {"policy": {"threshold": "cost"}}
    warnings = prepare(params(tmp_path, without=("ts",), **by_cost)).warnings
    assert (
        "featurize.split.by: 'time' needs times, but the transactions have none. Set featurize.split.by to random."
        in warnings
    )
    warnings = prepare(params(tmp_path, featurize={"split": {"by": "random"}}, **by_cost)).warnings
    assert any("'random' is only for data without time" in warning for warning in warnings)


def test_fitting_params_give_no_such_warning(tmp_path: Path) -> None:
    assert not [warning for warning in prepare(params(tmp_path)).warnings if "policy" in warning or "split" in warning]


@pytest.mark.parametrize("role", ["numeric", "categorical"])
def test_prepare_refuses_a_column_with_the_name_of_a_feature(tmp_path: Path, role: str) -> None:
    with pytest.raises(SchemaError, match="column 'hour' has the name of a feature") as refused:
        prepare(params(tmp_path, mapping={role: ["hour"]}))
    assert "Rename" in str(refused.value.hint)
    assert not (tmp_path / "data" / "interim" / "transactions.parquet").exists()


def test_a_column_named_hour_is_fine_where_there_is_no_such_feature(tmp_path: Path) -> None:
    given = params(tmp_path, without=("ts",), mapping={"numeric": ["hour"]}, policy={"threshold": "cost"})
    assert prepare(given).facts["rows kept"] == 400


def test_prepare_refuses_declared_features_that_the_data_cannot_have(tmp_path: Path) -> None:
    own = {"features": [{"key": "device_id", "aggregate": "count", "length": "1h"}]}
    with pytest.raises(ParamsError, match=r"featurize\.features\.0: key: the data has no column 'device_id'"):
        prepare(params(tmp_path, featurize=own))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"estimator_params": {"trees": 5}}, r"train\.estimator_params\.trees"),
        ({"monotone": {"amuont": 1}}, r"train\.monotone\.amuont: no such feature"),
    ],
)
def test_featurize_refuses_what_train_would(tmp_path: Path, section: dict[str, Any], said: str) -> None:
    given = params(tmp_path, train=section)
    prepare(given)
    with pytest.raises(ParamsError, match=said):
        featurize(given)


def test_frauds_that_are_all_reported_in_the_future_are_named_as_such(tmp_path: Path) -> None:
    given = params(tmp_path, columns={"reported_at": "reported"}, featurize={"burn_in": "1d"})
    warnings = prepare(given).warnings
    assert any("All 40 frauds with a report time were reported after the last transaction" in one for one in warnings)
    featurize(given)
    with pytest.raises(DataError, match=r"all \d+ frauds among these rows were reported only later") as refused:
        train(given)
    assert "reported_at" in str(refused.value.hint)
    assert "label values" not in str(refused.value.hint)
