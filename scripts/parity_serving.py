"""Compare the service's features with the batch engine's: `parity_serving.py RAW MODEL_PARAMS [--days N] [--model NAME]`.

The last days of a raw file are sent to a running service out of order: each transaction up to two days late or early, 5 % of
them twice, in requests of different sizes, with all earlier rows as history and the labels of the file imported beforehand.
The batch engine then computes the features from the service's history in order of arrival; every feature of every transaction
must be equal to the last bit. Exits with 6 if one differs.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import compare_serving as serving
import polars as pl

from fraud3000 import params as params_files
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.service.entries import TransactionEntry
from fraud3000.service.journal import history_frames
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.shared.alias_follower import AliasFollower

_LATE = 2 * 86_400  # seconds by which a transaction may arrive early or late
_AGAIN = 0.05
_SIZES = (1, 3, 50, 2_000)


def main() -> int:
    """Send, compute, compare, and print how many cells differ."""
    asked = serving._arguments()  # noqa: SLF001
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        asked.params = serving._with_own_store(asked.params, folder)  # noqa: SLF001
        history, newest = serving._cut(asked, folder)  # noqa: SLF001
        labels = [serving.COMMAND, "labels", "import", str(newest), "--params", str(asked.params)]
        subprocess.run(labels, check=True, stdout=subprocess.DEVNULL)
        sent = _in_disorder(serving._transactions(asked, newest))  # noqa: SLF001
        with serving._running(asked, history, folder) as port:  # noqa: SLF001
            answered = _send(sent, port)
        catalogue = _catalogue(asked)
        served = _served(folder / "service", catalogue)
        known = history_frames.read_history(folder / "service")
        assert known is not None
        computed = batch_engine.assemble(known.transactions.collect(), known.ledger, catalogue)
    differing = _differing(served, computed, catalogue.names)
    late = sum(one["late"] for one in answered)
    print(f"sent={len(sent)} transactions={served.height} again={len(sent) - served.height} refused={late} "
          f"cells={served.height * len(catalogue.names)} differing={differing}")  # fmt: skip
    return 6 if differing or served.height != len({one["transaction_id"] for one in sent}) else 0


def _in_disorder(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Shuffle the rows within the lateness, and repeat some of them."""
    draw = random.Random(11)
    again = [row for row in rows if draw.random() < _AGAIN]
    times = {row["transaction_id"]: pl.Series([row["ts"]]).str.to_datetime(time_zone="UTC").item() for row in rows}
    placed = [(times[row["transaction_id"]].timestamp() + draw.uniform(-_LATE, _LATE), row) for row in [*rows, *again]]
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def _send(rows: list[dict[str, Any]], port: int) -> list[dict[str, Any]]:
    draw, results = random.Random(12), list[dict[str, Any]]()
    while len(results) < len(rows):
        part = rows[len(results) : len(results) + draw.choice(_SIZES)]
        body = json.dumps({"transactions": part}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/score", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            results += [{"late": "error" in one} for one in json.load(answer)["results"]]
    return results


def _catalogue(asked: Any) -> Catalogue:
    _, folder = AliasFollower(params_files.load(asked.params), asked.model)()
    return Catalogue.from_dict(json.loads((folder / "catalogue.json").read_text(encoding="utf-8")))


def _served(root: Path, catalogue: Catalogue) -> pl.DataFrame:
    """Read the features of each transaction from the journal."""
    with closing(SqliteJournal(root / "journal.db")) as journal:
        rows = [(one.transaction_id, *one.features) for one in journal.after(0) if isinstance(one, TransactionEntry)]
    return pl.DataFrame(rows, schema=["transaction_id", *catalogue.names], orient="row", infer_schema_length=None)


def _differing(served: pl.DataFrame, computed: pl.DataFrame, names: list[str]) -> int:
    both = served.join(computed.select("transaction_id", *names), on="transaction_id", suffix=":batch", how="left")
    counts = {name: both.select(_other(both, name).sum()).item() for name in names}
    for name, count in counts.items():
        if count:
            print(f"{name}: {count} differ", file=sys.stderr)
    return sum(counts.values())


def _other(both: pl.DataFrame, name: str) -> pl.Expr:
    computed = pl.col(f"{name}:batch")
    return pl.col(name).ne_missing(computed.cast(both.schema[name]) if both.schema[name] != pl.Null else computed)


if __name__ == "__main__":
    sys.exit(main())
