"""The key of card numbers is changed: files and service go on as if it were not, and what was answered stays answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.data.cleaning import cards
from fraud3000.data.simulation import simulate
from fraud3000.params import Params, SimulateParams
from fraud3000.stages.audit import erase
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train

OLD, NEW = cards.new_key(), cards.new_key()
HELD_BACK = 60
ALONE, BOTH, AFTER = (
    {"FRAUD3000_PAN_KEY": OLD.text()},
    {"FRAUD3000_PAN_KEY": NEW.text(), "FRAUD3000_PAN_KEY_OLD": OLD.text()},
    {"FRAUD3000_PAN_KEY": NEW.text()},
)
PARAMS = Params.model_validate(
    {
        "prepare": {"input": "raw.parquet", "mapping": {"card_numbers": "yes"}},
        "train": {"estimator_params": {"max_iter": 20}},
        "policy": {"cards_per_day": 5},
    }
)


def number(card: int) -> str:
    """A card number of the right check digit."""
    body = f"41111{card:010}"
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(body)]
    return body + str(-sum(digit // 10 + digit % 10 for digit in doubled) % 10)


@pytest.fixture(scope="module")
def raw() -> pl.DataFrame:
    world = simulate.simulate(SimulateParams(rows=30_000, days=200, cards=300, terminals=100, seed=3))
    names = world["card_id"].unique().sort()
    numbers = {name: number(place) for place, name in enumerate(names)}
    return world.drop("fraud_scenario").with_columns(pl.col("card_id").replace_strict(numbers)).sort("ts")


@pytest.fixture(scope="module")
def made(raw: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a model, prepared under the old key."""
    place = tmp_path_factory.mktemp("rotation")
    raw.head(-HELD_BACK).write_parquet(place / "raw.parquet")
    with pytest.MonkeyPatch.context() as patched, chdir(place):
        patched.setenv("FRAUD3000_PAN_KEY", OLD.text())
        for stage in (prepare, featurize, train):
            stage(PARAMS)
    return place


@pytest.fixture
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with chdir(made):
        yield monkeypatch
        Workspace.from_params(PARAMS).card_names.unlink(missing_ok=True)


def under(keys: dict[str, str], patched: pytest.MonkeyPatch) -> None:
    for name in BOTH:
        patched.delenv(name, raising=False)
    for name, value in keys.items():
        patched.setenv(name, value)


def test_what_is_prepared_for_training_is_the_same(there: pytest.MonkeyPatch) -> None:
    prepared = []
    for keys in (ALONE, BOTH, AFTER):
        under(keys, there)
        prepare(PARAMS)
        prepared.append(Workspace.from_params(PARAMS).transactions.read_bytes())
    assert prepared[1] == prepared[0]
    assert prepared[2] == prepared[0]
    Workspace.from_params(PARAMS).card_names.unlink()
    prepare(PARAMS)
    assert Workspace.from_params(PARAMS).transactions.read_bytes() != prepared[0], (
        "without the other names all cards are new"
    )
    under(ALONE, there)
    prepare(PARAMS)


def items(raw: pl.DataFrame) -> list[dict[str, Any]]:
    newest = raw.tail(HELD_BACK).drop("is_fraud", "reported_at")
    amounts = (pl.col("amount") * 100).round().cast(pl.Int64)
    times = pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return newest.with_columns(
        amount=amounts if newest["amount"].dtype.is_float() else pl.col("amount"), ts=times
    ).to_dicts()


def warned(store: Path) -> tuple[str, ...]:
    params = PARAMS.model_copy(update={"serve": PARAMS.serve.model_copy(update={"store": str(store)})})
    with closing(Service.open(params, port=0, model="challenger")) as service:
        return service.summary.warnings


def served(store: Path, sent: list[dict[str, Any]]) -> list[tuple[float, str, str]]:
    """What a service that is started says of transactions: score, decision, id."""
    params = PARAMS.model_copy(update={"serve": PARAMS.serve.model_copy(update={"store": str(store)})})
    with closing(Service.open(params, port=0, model="challenger")) as service:
        answer = TestClient(service.app).post("/score", json={"transactions": sent}).json()
    return [(one["score"], one["decision"], one["decision_id"]) for one in answer["results"]]


def test_a_service_answers_as_if_the_key_had_stayed(
    there: pytest.MonkeyPatch, raw: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(raw)
    third = HELD_BACK // 3
    under(ALONE, there)
    right = served(tmp_path / "unchanged", sent)
    first = served(tmp_path / "changed", sent[:third])
    under(BOTH, there)
    between = served(tmp_path / "changed", [*sent[: 2 * third]])
    assert [one[:2] for one in between] == [one[:2] for one in right[: 2 * third]]
    assert between[:third] == first, "retries"
    prepare(PARAMS)  # sees every card of the raw file
    under(AFTER, there)
    after = served(tmp_path / "changed", sent)
    assert [one[:2] for one in after] == [one[:2] for one in right]
    assert after[: 2 * third] == between, "retries"
    under(ALONE, there)
    prepare(PARAMS)


def test_a_card_that_nobody_saw_meanwhile_begins_anew(
    there: pytest.MonkeyPatch, raw: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(raw)[:1]
    under(ALONE, there)
    (known,) = served(tmp_path / "unchanged", sent)
    assert warned(tmp_path / "unchanged") == ()
    under(BOTH, there)
    assert warned(tmp_path / "unchanged") == ()
    under(AFTER, there)
    (stranger,) = served(tmp_path / "changed", sent)
    assert stranger[0] != known[0]
    (said,) = warned(tmp_path / "changed")
    assert f"hashed with the key {OLD.key_id}, those of requests with {NEW.key_id}" in said


def test_a_cardholder_is_erased_by_number_whatever_the_key(
    there: pytest.MonkeyPatch, raw: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(raw)[:1]
    params = PARAMS.model_copy(update={"serve": PARAMS.serve.model_copy(update={"store": str(tmp_path / "store")})})
    under(BOTH, there)
    served(tmp_path / "store", sent)
    under(AFTER, there)
    told = erase(params, sent[0]["card_id"])
    assert told.facts["entries of the journal"] >= 1
    assert (
        OLD.names(pl.Series([sent[0]["card_id"]]))[0].encode()
        not in Workspace.from_params(PARAMS).card_names.read_bytes()
    )
