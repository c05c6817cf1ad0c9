"""Compare the service with score-file: `compare_serving.py RAW MODEL_PARAMS [--days N] [--model NAME]`.

The last days of a raw file are scored twice, with all earlier rows as history: once as a file, once sent to a running
service in time order. Every score, threshold, alert, decision and reason must be equal to the last bit.
Exits with 6 if one differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from fraud3000 import params as params_files
from fraud3000.data.cleaning import clean, sources

COMMAND = str(Path(sys.executable).with_name("fraud3000"))
AT_ONCE = 10_000
_NOT_SENT = ("is_fraud", "reported_at", "labelled", "seq")


def main() -> int:
    """Compare, and print how many rows differ."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        asked.params = _with_own_store(asked.params, folder)
        history, newest = _cut(asked, folder)
        scored = _by_file(asked, newest, history, folder)
        # Later rows of a file know its labels, so the service gets them beforehand.
        labels = [COMMAND, "labels", "import", str(newest), "--params", str(asked.params)]
        subprocess.run(labels, check=True, stdout=subprocess.DEVNULL)
        with _running(asked, history, folder) as port:
            start = time.perf_counter()
            served = _by_service(_transactions(asked, newest), port)
            seconds = time.perf_counter() - start
    # Duplicate transactions of a file are sent once.
    expected = scored.unique("transaction_id", keep="first").join(
        served.select("transaction_id"), on="transaction_id", how="semi"
    )
    both = expected.sort("transaction_id"), served.sort("transaction_id")
    differing = _differing(*both)
    for row in differing.head(5).iter_rows(named=True):
        print(row)
    print(f"rows={served.height} alerts={int(served['alert'].sum())} reasons={served['reason_1'].count()} "
          f"differing={differing.height} seconds={seconds:.1f}")  # fmt: skip
    return 6 if differing.height or both[0].height != scored["transaction_id"].n_unique() else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="Raw Parquet file in the layout of the params.")
    parser.add_argument("params", type=Path, help="Params file of a trained workspace.")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--model", default="challenger")
    return parser.parse_args()


def _with_own_store(params: Path, folder: Path) -> Path:
    """The same params, for a service that begins here."""
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    content["serve"] = {**content.get("serve", {}), "store": str(folder / "service")}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "params.yaml"


def _cut(asked: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Split the raw file at the beginning of the last days."""
    ts = sources.resolve(params_files.load(asked.params).prepare).columns.ts
    raw = pl.read_parquet(asked.raw)
    begin = raw[ts].dt.date().max() - timedelta(days=asked.days - 1)  # type: ignore[index]
    late = raw[ts].dt.date() >= begin  # type: ignore[index]
    history, newest = folder / "history.parquet", folder / "newest.parquet"
    raw.filter(~late).write_parquet(history)
    raw.filter(late).write_parquet(newest)
    return history, newest


def _by_file(asked: argparse.Namespace, newest: Path, history: Path, folder: Path) -> pl.DataFrame:
    out = folder / "scored.parquet"
    command = [
        COMMAND,
        "score-file",
        str(newest),
        "--history",
        str(history),
        "--out",
        str(out),
        "--params",
        str(asked.params),
    ]
    subprocess.run([*command, "--model", asked.model], check=True, stdout=subprocess.DEVNULL)
    return pl.read_parquet(out)


@contextlib.contextmanager
def _running(asked: argparse.Namespace, history: Path, folder: Path) -> Iterator[int]:
    command = [COMMAND, "serve", "--port", "0", "--history", str(history), "--params", str(asked.params), "--json"]
    log = (folder / "serve.log").open("w")
    running = subprocess.Popen([*command, "--model", asked.model], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        told = ""
        assert running.stdout is not None
        for line in running.stdout:
            told += line
            if line == "}\n":
                break
        yield int(json.loads(told)["facts"]["listening at"].rpartition(":")[2])
    finally:
        running.terminate()
        running.wait(timeout=60)
        log.close()


def _transactions(asked: argparse.Namespace, newest: Path) -> list[dict[str, Any]]:
    """Return the newest rows as a client sends them: cleaned, in time order."""
    params = params_files.load(asked.params)
    ingested = clean.ingest(
        [newest],
        sources.resolve(params.prepare),
        label_delay=params.prepare.label_delay,
        earliest=params.prepare.earliest,
        latest=params.prepare.latest,
    )
    rows = ingested.transactions.sort("ts", "transaction_id").drop(_NOT_SENT, strict=False)
    return rows.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).to_dicts()


def _by_service(sent: list[dict[str, Any]], port: int) -> pl.DataFrame:
    results: list[dict[str, Any]] = []
    for start in range(0, len(sent), AT_ONCE):
        body = json.dumps({"transactions": sent[start : start + AT_ONCE]}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/score", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            results += json.load(answer)["results"]
        print(f"{len(results):,} of {len(sent):,} rows answered", file=sys.stderr)
    return pl.DataFrame([_row(one) for one in results], infer_schema_length=None, schema_overrides=_TEXTS)


_TEXTS = {f"reason_{number}": pl.String for number in (1, 2, 3)}


def _row(result: dict[str, Any]) -> dict[str, Any]:
    reasons = [reason["text"] for reason in result["reasons"]] + [None] * 3
    told = {name: result[name] for name in ("transaction_id", "score", "alert", "threshold", "decision")}
    return told | dict(zip(_TEXTS, reasons, strict=False))


def _differing(scored: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    compared = [name for name in served.columns if name != "transaction_id"]
    paired = scored.select("transaction_id", *compared).join(served, on="transaction_id", suffix=":served")
    return paired.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}:served")) for name in compared))


if __name__ == "__main__":
    sys.exit(main())
