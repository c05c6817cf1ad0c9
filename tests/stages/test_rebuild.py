"""A training as of a past date is made again to the byte, whatever was recorded since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000 import params as p
from fraud3000.models.inference import bundle
from fraud3000.params import Params
from fraud3000.schema import LEDGER, TIME
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.shared import training_inputs
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train

START, DELAY = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=2)
SPLIT = {
    "valid": ("2024-01-06", "2024-01-16"),
    "train": ("2024-01-18", "2024-02-10"),
    "test": ("2024-02-12", "2024-02-26"),
}
AS_OF = datetime(2024, 2, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("blank_pictures")


def raw(days: int) -> pl.DataFrame:
    """The first so many days of a world in which large amounts of some cards are fraud, reported after 1 to 15 days."""
    source = np.random.default_rng(8)
    n = 6_000
    second = np.sort(source.integers(0, 80 * 86_400, n))
    card = source.integers(0, 50, n)
    fraud = (card < 30) & (source.random(n) < 0.08)
    ts = pl.Series(second).cast(pl.Duration("ms")) * 1000 + START
    told = pl.DataFrame(
        {
            "transaction_id": [f"{one:06}" for one in range(n)],
            "ts": ts.cast(TIME),
            "card_id": [f"c{one:02}" for one in card],
            "terminal_id": [f"t{one:02}" for one in source.integers(0, 40, n)],
            "amount": source.gamma(4, 8, n).round(2) * np.where(fraud, 5, 1),
            "is_fraud": fraud.astype(np.int8),
            "reported_at": (
                ts + pl.Series(source.integers(86_400, 15 * 86_400, n)).cast(pl.Duration("ms")) * 1000
            ).cast(TIME),
        }
    )
    end = START + timedelta(days=days)
    seen = (pl.col("is_fraud") == 1) & (pl.col("reported_at") < end)
    return told.filter(pl.col("ts") < end).with_columns(
        is_fraud=seen.cast(pl.Int8), reported_at=pl.when(seen).then("reported_at")
    )


def params_of(place: Path, **sections: Any) -> Params:
    return p.parse(
        {
            "workspace": str(place / "data"),
            "prepare": {
                "label_delay": "2d",
                "input": str(place / "raw.parquet"),
                "labels": {"input": str(place / "records.parquet")},
                "source": "custom",
                "mapping": {"columns": {name: name for name in raw(1).columns}},
            },
            "featurize": {"burn_in": "5d", "split": {"by": "dates", **SPLIT}},
            "train": {"estimator": "hist_gradient_boosting", "estimator_params": {"max_iter": 20}},
            "policy": {"cards_per_day": 4},
            "evaluate": {"replicates": 20},
            **sections,
        }
    )


def records(rows: pl.DataFrame, *, is_fraud: int, at: datetime) -> pl.DataFrame:
    told = rows.select("transaction_id", is_fraud=pl.lit(is_fraud, pl.Int8), source=pl.lit("bank"))
    return told.with_columns(reported_at=pl.lit(at, TIME), recorded_at=pl.lit(at, TIME)).select(*LEDGER)


def made(params: Params, transactions: pl.DataFrame, said: pl.DataFrame) -> Summary:
    transactions.write_parquet(params.prepare.input)
    assert params.prepare.labels is not None
    said.write_parquet(params.prepare.labels.input)
    prepare(params)
    featurize(params)
    return train(params)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_recorded_since_changes_nothing(own_store: Path) -> None:
    params = params_of(own_store)
    then, now = raw(60), raw(80)
    early = records(then.filter(pl.col("is_fraud") == 0).head(5), is_fraud=1, at=AS_OF - timedelta(days=20))
    first = made(params, then, early)
    in_train = now.filter(pl.col("ts") < AS_OF)
    chargebacks = records(in_train.filter(pl.col("is_fraud") == 0)[::40], is_fraud=1, at=AS_OF)
    reversals = records(in_train.filter(pl.col("is_fraud") == 1)[::3], is_fraud=0, at=AS_OF + timedelta(days=3))
    second = made(params, now, pl.concat([early, chargebacks, reversals]))
    assert chargebacks.height > 50
    assert reversals.height > 20
    before, after = (Workspace.from_params(params).bundle(version) for version in ("1", "2"))
    assert content(before) == content(after)
    assert first.facts["bundle hash"] == second.facts["bundle hash"] == bundle.fingerprint(before)[:12]
    assert first.facts["data fingerprint"] == second.facts["data fingerprint"]
    later = [row[1] for row in second.tables[0].rows if row[0] == "reported as fraud later"]
    assert int(later[0]) > 30, "the summary tells what is known now"
    evaluate(params)
    said = Workspace.from_params(params).card.read_text(encoding="utf-8")
    assert f"{later[0]} training rows were labelled legitimate, and were reported as fraud" in said


def test_what_was_recorded_before_makes_another_model(own_store: Path) -> None:
    params = params_of(own_store)
    then = raw(60)
    known = records(then.filter(pl.col("is_fraud") == 0)[1000:1010], is_fraud=1, at=AS_OF - timedelta(microseconds=1))
    first = made(params, then, known.head(5))
    second = made(params, then, known)
    assert first.facts["data fingerprint"] != second.facts["data fingerprint"]
    assert first.facts["bundle hash"] != second.facts["bundle hash"]


def test_a_refit_as_of_a_stated_date_reads_what_was_known_then(own_store: Path) -> None:
    params = params_of(own_store, evaluate={"label_date": "2024-02-28"})
    then, now, nothing = raw(60), raw(80), pl.DataFrame(schema=LEDGER)
    some = records(then.head(3), is_fraud=1, at=AS_OF)
    made(params, then, some)
    before = training_inputs.from_known_labels(Workspace.from_params(params), params.prepare, params.evaluate)
    later = records(then.filter(pl.col("is_fraud") == 0)[::50], is_fraud=1, at=datetime(2024, 2, 28, tzinfo=UTC))
    made(params, now, pl.concat([nothing, some, later]))
    after = training_inputs.from_known_labels(Workspace.from_params(params), params.prepare, params.evaluate)
    assert before.fingerprint == after.fingerprint
    assert before.boundaries.as_of == datetime(2024, 2, 28, tzinfo=UTC)
