"""Slices of time give the features that all rows at once give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.data.cleaning import clean, roles
from fraud3000.data.cleaning.cards import key_from_environment
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column, LabelWindow, NotSeen, SinceLast, Window
from fraud3000.params import ColumnMapping
from fraud3000.stages.shared import partitioned_features
from fraud3000.stages.shared.history import History
from fraud3000.stages.shared.partitioned_features import PartitionedFeatures
from fraud3000.stages.shared.stream import Stream

COLUMNS = {
    "transaction_id": "id",
    "ts": "ts",
    "amount": "amount",
    "card_id": "card",
    "terminal_id": "shop",
    "is_fraud": "label",
    "reported_at": "seen",
}
CATALOGUE = Catalogue(
    features=(
        Column("amount"),
        Window("card_id", "3s", "sum"),
        Window("card_id", "3s", "std", delay="2s"),
        Window("terminal_id", "5s", "count"),
        SinceLast("card_id", "4s"),
        NotSeen(("card_id", "terminal_id"), "4s"),
        LabelWindow("terminal_id", "4s", "rate", delay="2s"),
        LabelWindow("terminal_id", "3s", "frauds", delay="3s"),
    ),
    label_delay=2,
    late_horizon=3,
)
moments = st.integers(0, 25).map(str)
events = st.lists(
    st.fixed_dictionaries(
        {
            "ts": moments,
            "amount": st.integers(0, 3).map(str),
            "card": st.sampled_from("ab"),
            "shop": st.sampled_from("xy"),
            "label": st.sampled_from(["0", "1", ""]),
            "seen": st.just("") | moments,
            "in_both": st.booleans(),
        }
    ),
    min_size=2,
    max_size=24,
)


def cleaned(rows: pl.DataFrame, folder: Path, name: str, **columns: str) -> clean.CleanedData:
    rows.write_csv(folder / f"{name}.csv")
    mapping = mapped(**columns)
    rules = roles.CleaningRules(mapping, datetime(1960, 1, 1), datetime(2100, 1, 1), key_from_environment)
    return clean.ingest_to_disk(
        [folder / f"{name}.csv"], rules, folder / name, label_delay=timedelta(seconds=2), size=3
    )


def mapped(**columns: str) -> ColumnMapping:
    time: dict[str, Any] = {"format": "epoch_s"}
    return ColumnMapping.model_validate({"columns": COLUMNS | columns, "time": time, "card_numbers": "no"})


def whole(
    before: pl.DataFrame | None, new: pl.DataFrame, ledgers: list[pl.DataFrame], *, numbered: bool
) -> pl.DataFrame:
    """Features of the input's rows, computed with all rows in memory."""
    together = new
    if before is not None:
        silent = before.filter(~pl.col("labelled"))["transaction_id"]
        stay = pl.col("transaction_id").is_in(silent.implode()) & pl.col("is_fraud").is_null()
        new = new.with_columns(labelled=pl.col("labelled") & ~stay)
        together = pl.concat([before.join(new, on="transaction_id", how="anti"), new])
        if not numbered:
            together = together.sort("ts", "transaction_id").with_columns(seq=pl.int_range(pl.len()))
    features = batch_engine.featurize(together, pl.concat(ledgers), CATALOGUE).drop("history_days")
    rows = together.select("transaction_id").hstack(features)
    return rows.join(new, on="transaction_id", how="semi").sort("transaction_id")


def sliced(stream: Stream, size: int, folder: Path) -> pl.DataFrame:
    """Features of the input's rows, with about so many rows in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned_features, "PART", size)
        patch.setattr(partitioned_features, "SLICE", size)
        return _sliced(stream, size, folder)


def _sliced(stream: Stream, size: int, folder: Path) -> pl.DataFrame:
    features = PartitionedFeatures(CATALOGUE, stream.ledger, ["transaction_id"], stream.height(CATALOGUE), folder)
    for rows in stream.slices(CATALOGUE, size):
        features.add(rows, rows["row_index"].is_not_null())
    return pl.concat(features.pieces()).sort("transaction_id")


@given(events=events, cut=st.integers(0, 12), numbered=st.booleans())
@settings(max_examples=10, deadline=None)
def test_slices_of_any_size_give_the_same_features(events: list[dict[str, Any]], cut: int, numbered: bool) -> None:
    rows = pl.DataFrame(events).with_row_index("id").with_columns(id="t" + pl.col("id").cast(pl.String).str.zfill(3))
    rows = rows.with_columns(arrived=pl.int_range(pl.len()))
    cut = min(cut, rows.height - 1)
    new = rows.slice(cut)
    before = pl.concat([rows.head(cut), new.filter("in_both" if not numbered and cut else pl.lit(value=False))])
    more = {"seq": "arrived"} if numbered else {}
    with TemporaryDirectory() as place:
        folder = Path(place)
        given_before = cleaned(before, folder, "before", **more) if before.height else None
        incoming = cleaned(new, folder, "new", **more)
        past = History.empty() if given_before is None else History.from_cleaned(given_before, source="before")
        stream = past.join_input(incoming, mapped(**more), folder / "both")
        ledgers = [part.ledger.rows.collect() for part in (given_before, incoming) if part is not None]
        earlier = given_before.transactions.collect() if given_before is not None else None
        expected = whole(earlier, incoming.transactions.collect(), ledgers, numbered=numbered)
        for size in (1, 5, 1_000):
            assert sliced(stream, size, folder / f"by-{size}").equals(expected)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_row_is_too_late_by_an_event_that_lies_after_it(tmp_path: Path, size: int) -> None:
    rows = pl.DataFrame(
        {
            "id": ["t0", "t1", "t2", "t3"],
            "ts": [0, 20, 1, 2],
            "amount": [1, 1, 1, 1],
            "card": ["a", "a", "a", "b"],
            "shop": ["x", "y", "y", "x"],
            "label": [0, 0, 0, 0],
            "seen": [None, None, None, None],
            "arrived": [0, 1, 2, 3],
        }
    )
    incoming = cleaned(rows, tmp_path, "new", seq="arrived")
    stream = History.empty().join_input(incoming, mapped(seq="arrived"), tmp_path / "both")
    found = sliced(stream, size, tmp_path / "features")
    assert found["card_amount_sum_3s"].to_list() == [0.0, 0.0, None, 0.0]
    assert found["terminal_count_5s"].to_list() == [0.0, 0.0, None, 1.0]


def test_history_that_is_not_in_order_of_time_is_put_so(tmp_path: Path) -> None:
    rows = [{"id": f"t{n}", "ts": n, "amount": 1, "card": "a", "shop": "x", "label": 0, "seen": None} for n in range(9)]
    taken = cleaned(pl.DataFrame(rows), tmp_path, "all")
    shuffled = taken.transactions.collect().sample(fraction=1, shuffle=True, seed=1)
    ordered = History.sort_by_time(shuffled.lazy(), shuffled.height, tmp_path).collect()
    assert ordered.equals(taken.transactions.collect())
    assert datetime(1970, 1, 1, tzinfo=UTC) == ordered["ts"][0]
