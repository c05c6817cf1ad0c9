"""Runs the engines of a copy of the package on prepared streams in a separate process: `python -m tests.judge FOLDER ENGINE`.

The folder contains the files of `tests.mutants.prepared_inputs`: an adversarial stream with the features that both engines
computed before the change, and small streams with the features of the oracle.
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
    """An engine that returns stored features."""

    features: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, _: Catalogue) -> None:
        self._left = iter(self.features)

    def observe(self, _: Any, /) -> dict[str, Any]:
        return next(self._left)

    def record_label(self, *_: Any, **__: Any) -> None:
        return


def by_parity(inputs: dict[str, Any], engine: str) -> int:
    """Count the cells of the adversarial stream in which the engines differ; an unchanged engine returns stored features."""
    features = inputs["features"]
    Replayed.features = features[inputs["transactions"]["seq"].arg_sort()].to_dicts()
    engines: dict[str, Any] = {}
    if engine == "batch":
        engines = {"store": Replayed}
    if engine == "online":
        engines = {"featurize": lambda *_: features}
    return compare(inputs["transactions"], inputs["ledger"], inputs["catalogue"], **engines).differing_cells


def by_oracle(inputs: dict[str, Any], engine: str) -> int:
    """Count the cells of the small streams that differ from the oracle."""
    wrong = 0
    for transactions, ledger, expected in inputs["streams"]:
        if engine in {"batch", "both"}:
            computed = batch_engine.featurize(transactions, ledger, inputs["small_catalogue"])
            wrong += _count_differing(computed, expected)
        if engine in {"online", "both"}:
            wrong += _count_differing(run_online(transactions, ledger, inputs["small_catalogue"]), expected)
    return wrong


def run_online(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Compute features with the online engine, which gets all label records before the first row."""
    store = FeatureStore(catalogue)
    for label_record in ledger.rows(named=True):
        store.record_label(**label_record)
    order = transactions["seq"].arg_sort()
    features = [store.observe(row) for row in transactions[order].rows(named=True)]
    return as_frame(features, catalogue)[order.arg_sort()]


def as_frame(features: list[dict[str, Any]], catalogue: Catalogue) -> pl.DataFrame:
    """Build a frame of features with the type of each."""
    kinds = {"numeric": pl.Float64, "boolean": pl.Boolean, "categorical": pl.String}
    return pl.DataFrame(features, schema={feature.name: kinds[feature.kind] for feature in catalogue.features})


def _count_differing(computed: pl.DataFrame, expected: pl.DataFrame) -> int:
    return sum(int(differ(computed[name], expected[name]).sum()) for name in expected.columns)


if __name__ == "__main__":
    folder, changed = Path(sys.argv[1]), sys.argv[2]
    streams = pickle.loads((folder / "inputs.pickle").read_bytes())
    json.dump({"parity": by_parity(streams, changed), "oracle": by_oracle(streams, changed)}, sys.stdout)
