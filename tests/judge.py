"""What both engines of a copy of the package say of prepared streams, in a process of its own: `python -m tests.judge FOLDER ENGINE`.

The folder holds what `tests.mutants.prepared` wrote: a stress stream with the features that both engines gave before the
change, and small streams with what the oracle says of them.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from fraud3000.features.batch import batch_engine
from fraud3000.features.online import FeatureStore
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification.bitwise import differ
from fraud3000.features.verification.parity import compare


class Replayed:
    """An engine that says again what it said before."""

    answers: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, _: Catalogue) -> None:
        self._left = iter(self.answers)

    def observe(self, _: Any, /) -> dict[str, Any]:
        return next(self._left)

    def record_label(self, *_: Any, **__: Any) -> None:
        return


def by_parity(given: dict[str, Any], engine: str) -> int:
    """Cells of the stress stream in which the engines differ; an engine that was not changed says what it said."""
    was = given["features"]
    Replayed.answers = was[given["transactions"]["seq"].arg_sort()].to_dicts()
    how: dict[str, Any] = {}
    if engine == "batch":
        how = {"store": Replayed}
    if engine == "online":
        how = {"featurize": lambda *_: was}
    return compare(given["transactions"], given["ledger"], given["catalogue"], **how).differing_cells


def by_oracle(given: dict[str, Any], engine: str) -> int:
    """Cells of the small streams that are not what the oracle says."""
    found = 0
    for transactions, ledger, right in given["streams"]:
        if engine in {"batch", "both"}:
            mine = batch_engine.featurize(transactions, ledger, given["small_catalogue"])
            found += _cells(mine, right)
        if engine in {"online", "both"}:
            found += _cells(observed(transactions, ledger, given["small_catalogue"]), right)
    return found


def observed(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """The online engine's answers, told every record before any row."""
    store = FeatureStore(catalogue)
    for one in ledger.rows(named=True):
        store.record_label(**one)
    order = transactions["seq"].arg_sort()
    answers = [store.observe(row) for row in transactions[order].rows(named=True)]
    return as_frame(answers, catalogue)[order.arg_sort()]


def as_frame(answers: list[dict[str, Any]], catalogue: Catalogue) -> pl.DataFrame:
    """Features by name, in the types that they have."""
    kinds = {"numeric": pl.Float64, "boolean": pl.Boolean, "categorical": pl.String}
    return pl.DataFrame(answers, schema={feature.name: kinds[feature.kind] for feature in catalogue.features})


def _cells(mine: pl.DataFrame, right: pl.DataFrame) -> int:
    return sum(int(differ(mine[name], right[name]).sum()) for name in right.columns)


if __name__ == "__main__":
    folder, changed = Path(sys.argv[1]), sys.argv[2]
    streams = pickle.loads((folder / "given.pickle").read_bytes())
    json.dump({"parity": by_parity(streams, changed), "oracle": by_oracle(streams, changed)}, sys.stdout)
