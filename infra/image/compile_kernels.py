"""Compile all numba kernels that serving uses while the image is built, so that the service starts fast.

Runs a generated stream through both feature engines, and a model of each kind of tree on it. Fails if the engines differ.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl

from fraud3000.features.batch import batch_engine
from fraud3000.features.online import FeatureStore
from fraud3000.features.verification import adversarial_stream, every_kind
from fraud3000.features.verification.parity import compare
from fraud3000.models.inference import calibrate
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.models.training import fit
from fraud3000.params import ColumnMapping, TrainModelParams

catalogue = every_kind.catalogue(
    label_delay=604_800, late_horizon=86_400, zone="UTC", precedence=adversarial_stream.SOURCES
)
made = adversarial_stream.stream(catalogue, rows=1_000, seed=1)
assert compare(made.transactions, made.ledger, catalogue).differing_cells == 0

store = FeatureStore.rebuild(made.transactions, made.ledger, catalogue)
kept = BytesIO()
store.snapshot(kept)
kept.seek(0)
assert FeatureStore.restore(kept).checksum() == store.checksum()

features = catalogue.features
rows = [store.features_for(row) for row in made.transactions.head(100).iter_rows(named=True)]
featured = batch_engine.assemble(made.transactions, made.ledger, catalogue)
ids = pl.col("transaction_id")
strangers = made.transactions.with_columns(card_id=ids, terminal_id=ids)  # so many keys that the hash maps grow
FeatureStore.rebuild(strangers, made.ledger, catalogue)

is_fraud = np.arange(featured.height, dtype=np.int8) % 2
for estimator in ("hist_gradient_boosting", "random_forest"):
    model = fit.fit(featured, is_fraud, features, TrainModelParams(estimator=estimator))
    scorer = Scorer(
        catalogue, ColumnMapping(), model, calibrate.Platt(1.0, 0.0), Policy("capacity", 0.5), UsualValues({})
    )
    scorer.judge(rows, [100] * len(rows))
    scorer.contributions(featured.head(100))
