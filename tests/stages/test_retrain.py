"""All steps in one go: stopped where one says no, gone on with where one broke, told to a webhook; and labels that come late."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud3000.data.simulation import simulate
from fraud3000.data.storage import file_lock
from fraud3000.errors import CheckFailed, DataError, UnavailableError
from fraud3000.params import Params, SimulateParams
from fraud3000.stages import retrain as stage
from fraud3000.stages.retrain import STEPS, retrain
from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.workspace import Workspace


class Steps(dict[str, Any]):
    """Steps that only note that they were done; one may fail or refuse."""

    def __init__(self) -> None:
        super().__init__({name: self._step(name) for name in STEPS})
        self.done: list[str] = []
        self.fails: dict[str, BaseException] = {}
        self.refuses: str | None = None

    def _step(self, name: str) -> Any:
        def step(params: Params) -> Summary:
            if name in self.fails:
                raise self.fails.pop(name)
            self.done.append(name)
            return Summary(name, {name: "done"}, refused="no good" if name == self.refuses else None)

        return step


class Told(BaseHTTPRequestHandler):
    """What a webhook was told, and with which status it answers."""

    heard: list[dict[str, Any]]
    answers: list[int]

    def do_POST(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answers.pop(0) if self.answers else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Told]]]:
    handler = type("Here", (Told,), {"heard": [], "answers": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/services/secret-of-the-hook", handler
        server.shutdown()


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    standing = type("Standing", (), {"champion": "7", "challenger": "8"})
    monkeypatch.setattr("fraud3000.promotion.history.alias_state", lambda _: standing)
    return Params(workspace=str(tmp_path / "data"))


@pytest.fixture
def steps() -> Steps:
    return Steps()


def runs(params: Params) -> list[dict[str, Any]]:
    path = Workspace.from_params(params).retraining / "runs.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_all_steps_are_done_in_their_order(params: Params, steps: Steps) -> None:
    told = retrain(params, steps=steps)
    assert steps.done == ["prepare", "featurize", "train", "evaluate", "promote"]
    assert told.command == "retrain"
    assert told.refused is None
    assert dict.fromkeys(STEPS, "done").items() <= told.facts.items()
    (run,) = runs(params)
    assert (run["status"], run["step"], run["champion"]) == ("promoted", "promote", "7")
    assert list(run["seconds"]) == steps.done


def test_a_step_that_says_no_ends_the_run_and_the_next_one_begins_anew(params: Params, steps: Steps) -> None:
    steps.refuses = "evaluate"
    told = retrain(params, steps=steps)
    assert told.refused == "no good"
    assert steps.done == ["prepare", "featurize", "train", "evaluate"]
    assert [(run["status"], run["why"]) for run in runs(params)] == [("refused", "no good")]
    steps.refuses = None
    steps.done.clear()
    retrain(params, steps=steps)
    assert steps.done == list(STEPS)


@pytest.mark.parametrize(
    "error", [UnavailableError("store gone"), DataError("bad"), KeyboardInterrupt(), ValueError("x")]
)
def test_a_run_that_broke_off_is_gone_on_with(params: Params, steps: Steps, error: BaseException) -> None:
    steps.fails["train"] = error
    with pytest.raises(type(error)):
        retrain(params, steps=steps)
    assert steps.done == ["prepare", "featurize"]
    told = retrain(params, steps=steps)
    assert steps.done == list(STEPS)
    assert told.facts["resumed after"] == "featurize"
    assert runs(params)[-1]["status"] == "promoted"


def test_it_begins_anew_if_asked_with_other_params_or_too_late(
    params: Params, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    other = params.model_copy(update={"train": params.train.model_copy(update={"seed": 5})})
    for given, restart, now in ((params, True, None), (other, False, None), (params, False, later)):
        steps.fails["train"] = UnavailableError("store gone")
        with pytest.raises(UnavailableError):
            retrain(params, restart=True, steps=steps)
        steps.done.clear()
        with monkeypatch.context() as patched:
            if now is not None:
                clock = type("Clock", (datetime,), {"now": classmethod(lambda cls, zone=None, at=now: at)})
                patched.setattr(stage, "datetime", clock)
            retrain(given, restart=restart, steps=steps)
        assert steps.done == list(STEPS)


def test_another_run_at_the_same_time_is_refused(params: Params, steps: Steps) -> None:
    with (
        file_lock.exclusive_lock(Workspace.from_params(params).retraining, operation="retraining"),
        pytest.raises(UnavailableError, match="another retraining is running"),
    ):
        retrain(params, steps=steps)
    assert steps.done == []


def test_the_webhook_is_told_how_it_ended(params: Params, steps: Steps, hook: tuple[str, type[Told]]) -> None:
    url, told = hook
    given = params.model_copy(update={"retrain": params.retrain.model_copy(update={"webhook": url})})
    steps.fails["featurize"] = DataError("no rows", hint="Look.")
    with pytest.raises(DataError):
        retrain(given, steps=steps)
    steps.refuses = "promote"
    retrain(given, steps=steps)
    steps.refuses = None
    retrain(given, steps=steps)
    assert [(one["status"], one["step"], one["why"]) for one in told.heard] == [
        ("failed", "featurize", "no rows"),
        ("refused", "promote", "no good"),
        ("promoted", "promote", None),
    ]
    assert {one["command"] for one in told.heard} == {"retrain"}


def test_a_webhook_that_fails_changes_nothing_and_is_asked_again(
    params: Params,
    steps: Steps,
    hook: tuple[str, type[Told]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("fraud3000.webhook.time.sleep", lambda _: None)
    url, told = hook
    given = params.model_copy(update={"retrain": params.retrain.model_copy(update={"webhook": url})})
    told.answers += [500, 429, 204]
    assert retrain(given, steps=steps).refused is None
    assert len(told.heard) == 3
    told.answers += [404]
    retrain(given, steps=steps)
    assert len(told.heard) == 4
    nowhere = params.model_copy(
        update={"retrain": params.retrain.model_copy(update={"webhook": "http://127.0.0.1:9/secret-of-the-hook"})}
    )
    assert retrain(nowhere, steps=steps).refused is None
    assert "secret-of-the-hook" not in capfd.readouterr().err


def test_a_webhook_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        Params.model_validate({"retrain": {"webhook": "example.org"}})


def as_known_at(raw: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """A raw file as it was that day: no later transaction, and frauds that were reported by then."""
    known = (pl.col("is_fraud") == 1) & (pl.col("reported_at") < moment)
    return raw.filter(pl.col("ts") < moment).with_columns(
        is_fraud=known.cast(pl.Int8), reported_at=pl.when(known).then("reported_at")
    )


@pytest.mark.slow
def test_labels_that_came_between_two_runs_are_in_the_second(tmp_path: Path) -> None:
    world = SimulateParams(rows=200_000, days=240, cards=2_000, terminals=800, seed=5)
    raw = simulate.simulate(world).drop("fraud_scenario")
    first, second = (raw["ts"].min() + timedelta(days=days) for days in (212, 240))  # type: ignore[operator]
    params = Params.model_validate(
        {
            "policy": {"cards_per_day": 25},
            "evaluate": {"replicates": 20},
            "promote": {"least_frauds": 10},
            "prepare": {"input": "raw.parquet"},
        }
    )
    known = []
    with chdir(tmp_path):
        workspace = Workspace.from_params(params)
        for moment in (first, second):
            as_known_at(raw, moment).write_parquet("raw.parquet")
            told = retrain(params)
            assert told.facts["rows read"] == as_known_at(raw, moment).height
            known.append(pl.read_parquet(workspace.labels).filter(is_fraud=1))
        run = [one["status"] for one in runs(params)]
    late = (
        known[1]
        .join(known[0], on="transaction_id", how="anti")
        .join(raw.filter(pl.col("ts") < first), on="transaction_id")
    )
    assert run[0] == "promoted", runs(Params(workspace=str(tmp_path / "data")))[0]["why"]
    assert run[1] in {"promoted", "refused"}
    assert late.height > 5
    assert late["reported_at"].min() >= first  # type: ignore[operator]


def test_a_check_that_fails_outright_is_no_refusal(params: Params, steps: Steps) -> None:
    steps.fails["promote"] = CheckFailed("the history was changed")
    with pytest.raises(CheckFailed):
        retrain(params, steps=steps)
    assert runs(params)[-1]["status"] == "failed"
