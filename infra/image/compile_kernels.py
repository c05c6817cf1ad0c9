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
from fraud3000.models.inference.encoder import Encoder
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.model import Member, Model
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.inference.trees import Trees
from fraud3000.models.policy import Policy
from fraud3000.params import ColumnMapping

catalogue = every_kind.build_catalogue(
    label_delay=604_800, late_horizon=86_400, zone="UTC", precedence=adversarial_stream.SOURCES
)
made = adversarial_stream.generate(catalogue, rows=1_000, seed=1)
assert compare(made.transactions, made.ledger, catalogue).differing_cells == 0

store = FeatureStore.rebuild(made.transactions, made.ledger, catalogue)
kept = BytesIO()
store.snapshot(kept)
kept.seek(0)
assert FeatureStore.restore(kept).checksum() == store.checksum()

features = catalogue.features
rows = [store.peek(row) for row in made.transactions.head(100).iter_rows(named=True)]
featured = batch_engine.assemble(made.transactions, made.ledger, catalogue)
ids = pl.col("transaction_id")
strangers = made.transactions.with_columns(card_id=ids, terminal_id=ids)  # so many keys that the hash maps grow
FeatureStore.rebuild(strangers, made.ledger, catalogue)

encoder = Encoder.learn(featured, features)
node = np.arange(6, dtype=np.int32)
for forest in (False, True):
    trees = Trees(  # two trees of a cut and two leaves each
        roots=np.array([0, 3], dtype=np.int32),
        column=np.array([0, -1, -1, 1, -1, -1], dtype=np.int32),
        cut=np.zeros(6),
        left=np.where(node % 3 == 0, node + 1, 0).astype(np.int32),
        right=np.where(node % 3 == 0, node + 2, 0).astype(np.int32),
        gap_left=np.zeros(6, dtype=np.bool_),
        value=np.array([0.0, 0.2, 0.8] * 2),
        cover=np.array([3.0, 1.0, 2.0] * 2),
        base=0.0,
        forest=forest,
    )
    model = Model(encoder, (Member(trees, 0.0), Member(trees, 0.1)))
    for calibrator in (calibrate.Platt(1.0, 0.0), calibrate.Beta(1.0, 1.0, 0.0)):
        scorer = Scorer(catalogue, ColumnMapping(), model, calibrator, Policy("capacity", 0.5), UsualValues({}))
        scorer.decide_rows(rows, [100] * len(rows))
        scorer.contributions(featured.head(100))
