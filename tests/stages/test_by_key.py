"""Rows dealt out by their keys have the features that they have all together, to the bit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.data.storage.spill import PartitionedSpill
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column, Window
from fraud3000.features.verification.bitwise import differ
from fraud3000.schema import LEDGER, TRANSACTIONS
from fraud3000.stages.shared import partitioned_features
from fraud3000.stages.shared.partitioned_features import PartitionedFeatures
from tests.streams import CATALOGUE, Stream, frames, streams, transactions

KEPT = ["transaction_id", "amount"]


def dealt_out(
    rows: pl.DataFrame, ledger: pl.DataFrame, size: int, catalogue: Catalogue = CATALOGUE, wanted: str | None = None
) -> pl.DataFrame:
    """Features by way of slices and parts of about so many rows."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as place:
        patch.setattr(partitioned_features, "PART", size)
        patch.setattr(partitioned_features, "SLICE", size)
        features = PartitionedFeatures(catalogue, ledger.lazy(), KEPT, rows.height, Path(place))
        for piece in rows.iter_slices(size):
            features.add(piece, None if wanted is None else piece.select(pl.sql_expr(wanted)).to_series())
        return pl.concat(features.pieces())


def assert_equal(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found["transaction_id"].equals(expected["transaction_id"])
    for name in found.columns:
        assert found[name].dtype == expected[name].dtype, name
        assert not differ(found[name], expected[name]).any(), name


@given(stream=streams().filter(lambda stream: stream[0]), size=st.integers(2, 9))
@settings(max_examples=5, deadline=None)
def test_parts_of_any_size_give_the_features_of_the_whole(stream: Stream, size: int) -> None:
    rows, ledger = frames(*stream)
    expected = batch_engine.assemble(rows, ledger, CATALOGUE)
    assert_equal(dealt_out(rows, ledger, size), expected.select(*KEPT, *CATALOGUE.names[1:]))


def test_rows_that_are_only_looked_back_at_are_not_given_back() -> None:
    rows, ledger = frames(transactions(*({"at": at, "card_id": "ab"[at % 2]} for at in range(12))), [])
    expected = batch_engine.assemble(rows, ledger, CATALOGUE).select(*KEPT, *CATALOGUE.names[1:])
    later = "seq >= 5"
    assert_equal(dealt_out(rows, ledger, 3, wanted=later), expected.filter(pl.sql_expr("transaction_id::int >= 5")))


def test_rows_without_any_key_have_no_features_of_it() -> None:
    catalogue = Catalogue((Column("amount"), Window("card_id", "9s", "count")), label_delay=2)
    rows, ledger = frames(transactions(*({"at": at, "card_id": None} for at in range(7))), [])
    found = dealt_out(rows, ledger, 2, catalogue)
    assert found["card_count_9s"].null_count() == found.height == 7


def test_data_without_time_has_what_its_rows_say(tmp_path: Path) -> None:
    rows = pl.DataFrame({"transaction_id": ["a", "b"], "amount": [1, 2]}, schema_overrides=TRANSACTIONS)
    features = PartitionedFeatures(
        Catalogue((Column("amount"),), label_delay=2), pl.LazyFrame(schema=LEDGER), KEPT, 2, tmp_path
    )
    features.add(rows)
    assert pl.concat(features.pieces()).equals(rows)


def test_what_is_dealt_out_comes_back_in_its_order_and_leaves_nothing(tmp_path: Path) -> None:
    spread = PartitionedSpill(tmp_path, 2)
    for first in (0, 3, 6):
        spread.add(pl.DataFrame({"a": range(first, first + 3)}), pl.Series([first % 2, 1, 0]))
    assert spread.take(0)["a"].to_list() == [0, 2, 5, 6, 8]
    assert spread.take(1)["a"].to_list() == [1, 3, 4, 7]
    assert spread.take(7).schema == {"a": pl.Int64}
    assert not list(tmp_path.rglob("*.parquet"))
