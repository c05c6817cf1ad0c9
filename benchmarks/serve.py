"""The service under load from another process, compared with bare endpoints that parse and return the same messages.

Servers run one at a time, as one process with one event loop; another process sends the load over loopback.
Maximum rates are for 32 connections that each wait for their response; latencies at a fixed rate count from when a request was
due (open loop, Poisson). The data is simulated, for a model of 70 features, with the state of many cards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd
import polars as pl
import yaml
from sklearn.ensemble import HistGradientBoostingClassifier

import fraud3000
from fraud3000 import params as params_files
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.shared import model_pointer
from fraud3000.stages.simulate import simulate
from fraud3000.stages.train import train

ROWS = {
    "single": "one transaction a request, each on the disk before its answer (flush: full); requests a second over the bare endpoint's",
    "p99": "99th percentile at half of that rate, beside the bare endpoint at the same rate when it writes and flushes the same bytes",
    "naive": "the same over an endpoint that scores features in the request with pandas and scikit-learn, without state",
    "mlflow": "the same over `mlflow models serve` with the same model, features in the request",
    "batch": "1,000 transactions a request; transactions a second over the bare endpoint's requests a second",
}
HERE = Path(__file__).parent / "serving"
COMMAND = str(Path(sys.executable).with_name("fraud3000"))
CARDS = int(os.environ.get("FRAUD3000_BENCH_CARDS", "1000000"))
SECONDS = 15
_WORLD = {
    "simulate": {"rows": 200_000, "days": 240, "cards": 4_000, "terminals": 2_000},
    "policy": {"cards_per_day": 15},
    "train": {"estimator_params": {"max_iter": 200, "max_leaf_nodes": 31}},
}

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Server:
    """Running server process."""

    port: int


def measure(wanted: str | None) -> Figures:
    """Train a model, create a history of many cards, and load each server in turn."""
    with tempfile.TemporaryDirectory() as place, chdir(place):
        _prepared()
        _history(Path("history.parquet"))
        figures: Figures = {}
        with _served() as ours, _bare(flushed=False) as bare:
            single, bare_single = _load(ours, "closed"), _load(bare, "closed")
            if wanted in (None, "single"):
                figures["serve_single"] = {
                    "cards": CARDS,
                    "requests_a_second": single["rate"],
                    "bare_requests_a_second": bare_single["rate"],
                    "ratio": round(single["rate"] / bare_single["rate"], 2),
                    "at_least": 0.3,
                }
            for peer in ("naive", "mlflow"):
                if wanted in (None, peer):
                    with _peer(peer) as (other, path, body):
                        found = _load(other, "closed", path=path, body=body)
                    figures[f"serve_{peer}"] = {
                        "requests_a_second": found["rate"],
                        "ratio": round(single["rate"] / found["rate"], 1),
                        "at_least": 5,
                    }
            if wanted in (None, "batch"):
                many = _load(ours, "closed", size=1_000, connections=4)
                figures["serve_batch"] = {
                    "transactions_a_second": many["rate"] * 1_000,
                    "over_bare_requests": round(many["rate"] * 1_000 / bare_single["rate"], 2),
                    "at_least": 1,
                }
        if wanted in (None, "p99"):
            rate = single["rate"] / 2
            with _served() as ours:
                timed = _load(ours, "open", rate=rate)
            with _bare(flushed=True) as flushed:
                beside = _load(flushed, "open", rate=rate)
            figures["serve_p99"] = {
                "rate": round(rate),
                "p50_ms": timed["p50_ms"],
                "p99_ms": timed["p99_ms"],
                "at_most_ms": 10,
                "bare_p99_ms": beside["p99_ms"],
                "ratio": round(timed["p99_ms"] / beside["p99_ms"], 2),
                "at_most": 3,
            }
        return figures


def _prepared() -> None:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    given = params_files.parse(_WORLD)
    for stage in (simulate, prepare, featurize, train):
        stage(given)
    champion = model_pointer.pointer_text(
        "champion", "1", Path("data/models/1")
    )  # served from its files, like a promoted model
    Path("data/models/champion.json").write_text(champion, encoding="utf-8")
    Path("params.yaml").write_text(yaml.safe_dump({"serve": {"store": "service"}}), encoding="utf-8")


def _history(path: Path) -> None:
    """Write the simulated rows, and two transactions of each of many cards in the last days."""
    raw = pl.read_parquet("data/raw/transactions.parquet").drop("is_fraud", "reported_at", "fraud_scenario")
    rows = raw.sample(2 * CARDS, with_replacement=True, seed=1).with_row_index("n")
    spread = pl.col("n").cast(pl.Int64) * (20 * 86_400_000_000 // (2 * CARDS))
    many = rows.with_columns(
        transaction_id=pl.format("H{}", "n"),
        card_id=pl.format("H{}", pl.col("n") % CARDS),
        ts=(pl.lit(raw["ts"].max()) + pl.duration(microseconds=spread)).dt.cast_time_unit("us"),
    ).drop("n")
    pl.concat([raw, many.select(raw.columns).cast(raw.schema)]).write_parquet(path)


@contextmanager
def _served() -> Iterator[Server]:
    """Start the service on a new store; files of an earlier store would reject it."""
    shutil.rmtree("service", ignore_errors=True)
    for beside in Path().glob("service.anchors.*"):
        beside.unlink()
    command = [COMMAND, "serve", "--port", "0", "--history", "history.parquet", "--json"]
    with _process(command) as running:
        told = ""
        assert running.stdout is not None
        for line in running.stdout:
            told += line
            if line == "}\n":
                break
        yield Server(int(json.loads(told)["facts"]["listening at"].rpartition(":")[2]))


@contextmanager
def _bare(*, flushed: bool) -> Iterator[Server]:
    port = _free()
    with _process([sys.executable, str(HERE / "bare.py"), str(port), "flushed" if flushed else "plain"]):
        yield _listening(port)


@contextmanager
def _peer(name: str) -> Iterator[tuple[Server, str, str]]:
    """Start a server without state; return it with the path and the file of its requests."""
    port, row = _free(), pl.read_parquet("data/processed/valid.parquet").head(1)
    scorer = fraud3000.load("challenger")
    features = row.select(scorer.model.encoder.columns)
    if name == "naive":
        _fit(scorer)
        numbers = dict(zip(features.columns, scorer.model.encoder.matrix(row)[0].tolist(), strict=True))
        Path("naive.json").write_text(json.dumps({"features": _without_nan(numbers)}), encoding="utf-8")
        command = [sys.executable, str(HERE / "naive.py"), str(port), "naive.joblib"]
        with _process(command):
            yield _listening(port), "/score", "naive.json"
        return
    asked = {
        "dataframe_split": {
            "columns": features.columns,
            "data": [[*_without_nan(features.row(0, named=True)).values()]],
        }
    }
    Path("mlflow.json").write_text(json.dumps(asked), encoding="utf-8")
    beside = Path(sys.executable).parent  # mlflow finds uvicorn on PATH
    environ = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "PATH": f"{beside}:{os.environ['PATH']}"}
    command = [str(beside / "mlflow"), "models", "serve", "--model-uri", "models:/fraud3000/1"]
    with _process([*command, "--port", str(port), "--env-manager", "local", "--workers", "1"], **environ):
        yield _listening(port), "/invocations", "mlflow.json"


def _fit(scorer: fraud3000.Scorer) -> None:
    """Fit the same estimator on the same matrix, and save it as a notebook would."""
    labels = pl.scan_parquet("data/raw/transactions.parquet").select("transaction_id", "is_fraud")
    known = pl.scan_parquet("data/processed/train.parquet").join(labels, on="transaction_id", maintain_order="left")
    train_rows = known.collect()
    rows = pd.DataFrame(scorer.model.encoder.matrix(train_rows), columns=list(scorer.model.encoder.columns))
    model = HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=31, early_stopping=False, random_state=0)
    joblib.dump(model.fit(rows, train_rows["is_fraud"].to_numpy()), "naive.joblib")


def _without_nan(row: dict[str, object]) -> dict[str, object]:
    return {name: None if value != value else value for name, value in row.items()}  # noqa: PLR0124


def _free() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


def _listening(port: int) -> Server:
    for _ in range(900):
        with closing(socket.socket()) as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return Server(port)
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens at port {port}; see server.log")


@contextmanager
def _process(command: list[str], **environ: str) -> Iterator[subprocess.Popen[str]]:
    with Path("server.log").open("a", encoding="utf-8") as log:
        environ = {**os.environ, **environ}
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environ)
        try:
            yield running
        finally:
            running.terminate()
            running.wait(timeout=120)


_USED = iter(range(10_000))


def _load(
    server: Server,
    how: str,
    *,
    size: int = 1,
    rate: float = 0.0,
    connections: int = 32,
    path: str = "/score",
    body: str | None = None,
) -> dict[str, float]:
    """Load a server from another process: as fast as possible, or at a fixed rate."""
    command = [
        sys.executable,
        str(HERE / "load.py"),
        str(server.port),
        how,
        "--run",
        str(next(_USED)),
        "--cards",
        str(CARDS),
    ]
    command += ["--size", str(size), "--rate", str(rate), "--connections", str(connections), "--seconds", str(SECONDS)]
    command += ["--path", path, *(() if body is None else ("--body", body))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
