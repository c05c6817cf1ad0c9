"""Frames in, frames out: the results equal those of the commands, for every kind of frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import fraud3000
from fraud3000.data.cleaning import cards
from fraud3000.data.frames import to_polars
from fraud3000.errors import DataError, ParamsError, SchemaError
from fraud3000.models.inference.frame_scoring import HistoryWarning, RejectionWarning
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.registry import resolve
from fraud3000.stages.score_file import score_file

RAW = "data/raw/transactions.parquet"
KINDS = {
    "polars": (lambda frame: frame, pl.DataFrame),
    "lazy": (lambda frame: frame.lazy(), pl.LazyFrame),
    "pandas": (lambda frame: frame.to_pandas(), pd.DataFrame),
    "pyarrow": (lambda frame: frame.to_arrow(), pa.Table),
}


@pytest.fixture
def raw(in_trained: Path) -> pl.DataFrame:
    return pl.read_parquet(RAW)


@pytest.fixture
def params(in_trained: Path) -> Params:
    return fraud3000.load_params()


@pytest.fixture
def scorer(in_trained: Path, params: Params) -> Scorer:
    version, folder = resolve("challenger", params.registry, Path(params.workspace))
    return Scorer.load(folder, version=version)


def as_polars(frame: Any) -> pl.DataFrame:
    return to_polars(frame, thing="result")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_prepare_and_featurize_equal_the_commands(raw: pl.DataFrame, params: Params, kind: str) -> None:
    convert, type_ = KINDS[kind]
    made = fraud3000.prepare_frame(convert(raw), params)
    assert {type(frame) for frame in (made.transactions, made.labels, made.quarantine)} == {type_}
    written = pl.read_parquet("data/interim/transactions.parquet")
    labels = pl.read_parquet("data/interim/labels.parquet")
    if kind != "pandas":  # whose times have nanoseconds
        assert_frame_equal(as_polars(made.transactions), written)
        assert_frame_equal(as_polars(made.labels), labels)
    assert as_polars(made.transactions)["transaction_id"].equals(written["transaction_id"])
    assert as_polars(made.quarantine).height == 0
    featured = fraud3000.featurize_frame(made)
    assert type(featured) is type_
    expected = pl.read_parquet("data/processed/features.parquet").drop("split")
    got = as_polars(featured).select(expected.columns)
    assert_frame_equal(got.drop("ts"), expected.drop("ts"), check_exact=True)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_score_file(raw: pl.DataFrame, scorer: Scorer, kind: str, tmp_path: Path) -> None:
    raw.head(18_000).write_parquet(tmp_path / "before.parquet")
    raw.tail(2_000).write_parquet(tmp_path / "new.parquet")
    out = tmp_path / "out.parquet"
    score_file(tmp_path / "new.parquet", history=tmp_path / "before.parquet", out=out, model="challenger")
    convert, type_ = KINDS[kind]
    scored = scorer.score(convert(raw.tail(2_000)), history=convert(raw.head(18_000)))
    assert type(scored) is type_
    expected = pl.read_parquet(out)
    assert_frame_equal(as_polars(scored).select(expected.columns), expected, check_exact=True)


def test_raw_and_clean_rows_and_prepared_frames_score_the_same(
    raw: pl.DataFrame, params: Params, scorer: Scorer
) -> None:
    before, new = raw.head(18_000), raw.tail(2_000)
    past, present = fraud3000.prepare_frame(before, params), fraud3000.prepare_frame(new, params)
    expected = scorer.score(new, history=before)
    assert_frame_equal(scorer.score(present, history=past), expected)
    assert_frame_equal(scorer.score(present.transactions, history=past.transactions, labels=past.labels), expected)


def test_label_records_count_from_the_time_they_are_known(raw: pl.DataFrame, scorer: Scorer) -> None:
    unlabelled = raw.drop("is_fraud", "reported_at")
    before, new = unlabelled.head(18_000), unlabelled.tail(2_000)
    records = raw.filter(pl.col("is_fraud") == 1).select("transaction_id", "is_fraud", "reported_at")
    with_records = scorer.score(new, history=before, labels=records)
    assert_frame_equal(with_records, scorer.score(raw.tail(2_000), history=raw.head(18_000)))
    assert not with_records["score"].equals(scorer.score(new, history=before)["score"])


def test_the_index_of_a_pandas_frame_is_kept_and_rejected_rows_stay_in_place(raw: pl.DataFrame, scorer: Scorer) -> None:
    rows = raw.tail(5).to_pandas().set_index(pd.Index([10, 30, 20, 50, 40]))
    rows["amount"] = rows["amount"].astype(str)
    rows.loc[20, "amount"] = "?"
    scored = scorer.score(rows, history=raw.head(19_000))
    assert scored.index.tolist() == [10, 30, 20, 50, 40]
    assert scored["rejected"].dropna().to_dict() == {20: "amount_unreadable"}
    assert scored["score"].isna().tolist() == [False, False, True, False, False]
    twice = scorer.score(pl.concat([raw.tail(1), raw.tail(1)]), history=raw.head(19_000))
    assert twice["score"].n_unique() == 1
    assert twice.height == 2


def test_a_short_history_and_rejected_history_are_reported(raw: pl.DataFrame, scorer: Scorer) -> None:
    with pytest.warns(HistoryWarning, match=r"only 0\.0 days of history lie before the first .* needs 90d"):
        scorer.score(raw.tail(5))
    seventh = pl.int_range(pl.len()) == 7
    broken = raw.head(19_000).with_columns(pl.when(~seventh).then("amount").alias("amount"))
    with pytest.warns(RejectionWarning, match=r"1 rows of the history were rejected: amount_missing \(1\)"):
        scorer.score(raw.tail(5), history=broken)


def test_without_params_the_mapping_is_guessed(raw: pl.DataFrame) -> None:
    made = fraud3000.prepare_frame(raw.select("transaction_id", "ts", "card_id", "terminal_id", "amount", "is_fraud"))
    assert made.text is not None
    assert "source: custom" in made.text
    assert made.transactions.height == raw.height
    assert (
        repr(made) == f"<PreparedFrames: 20,000 transactions, {made.labels.height:,} label records, 0 quarantined rows>"
    )
    assert "20,000" in made._repr_html_()
    with pytest.raises(ParamsError, match="the mapping cannot be guessed"):
        fraud3000.prepare_frame(raw.select("transaction_id", "ts", "card_id"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("export.csv", "a str is not a frame"),
        (Path("export.csv"), "Path is not a frame"),
        ([1, 2], "a list is not a frame"),
        (np.zeros((3, 2)), "a ndarray is not a frame"),
        (None, "a NoneType is not a frame"),
        (pd.Series([1, 2]), "a Series is not a frame"),
    ],
)
def test_what_is_not_a_frame_is_refused_with_what_to_call(scorer: Scorer, given: Any, message: str) -> None:
    for call in (fraud3000.prepare_frame, fraud3000.featurize_frame, scorer.score):
        with pytest.raises(ParamsError, match=message) as refused:
            call(given)
        assert refused.value.hint is not None
        assert "fraud3000.score_file(file)" in refused.value.hint


def test_rows_with_features_are_refused(scorer: Scorer, in_trained: Path) -> None:
    featured = pl.read_parquet("data/processed/test.parquet")
    with pytest.raises(SchemaError, match="the rows already have features") as refused:
        scorer.score(featured)
    assert "scorer.decide(featured)" in str(refused.value)


def test_columns_of_mixed_types_and_missing_columns_are_refused(raw: pl.DataFrame, scorer: Scorer) -> None:
    mixed = raw.head(3).to_pandas()
    mixed["terminal_id"] = pd.Series([1, "b", None], dtype=object)
    with pytest.raises(SchemaError, match="transactions: cannot be converted"):
        scorer.score(mixed)
    with pytest.raises(SchemaError, match="column 'amount' is missing"):
        scorer.score(raw.drop("amount"))
    with pytest.raises(ParamsError, match="reasons: 'some' is not known"):
        scorer.score(raw.tail(5), history=raw.head(19_000), reasons="some")
    with pytest.raises(SchemaError, match=r"labels: 1 of 1 records cannot be read: label_unknown_value \(1\)"):
        scorer.score(
            raw.tail(5),
            history=raw.head(19_000),
            labels=pl.DataFrame({"transaction_id": raw["transaction_id"][:1], "is_fraud": [7]}),
        )


def test_card_numbers_are_hashed_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame(
        {"when": ["2024-05-01", "2024-05-02", "?"], "pan": ["4111111111111111"] * 3, "amount": [1.0, 2.0, 3.0]}
    )
    mapping = {"columns": {"ts": "when", "card_id": "pan", "amount": "amount"}, "card_numbers": "yes"}
    params = fraud3000.parse_params({"prepare": {"source": "custom", "mapping": mapping}})
    monkeypatch.delenv(cards.VARIABLE, raising=False)
    with pytest.raises((DataError, ParamsError), match=cards.VARIABLE):
        fraud3000.prepare_frame(rows, params)
    monkeypatch.setenv(cards.VARIABLE, cards.new_key().text())
    made = fraud3000.prepare_frame(rows, params)
    assert "4111111111111111" not in "".join(frame.write_ndjson() for frame in (made.transactions, made.quarantine))


def test_paths_may_be_text(in_trained: Path, params: Params, scorer: Scorer, tmp_path: Path) -> None:
    assert fraud3000.load_params("params.yaml") == params
    assert fraud3000.Workspace("data").raw == fraud3000.Workspace(Path("data")).raw  # type: ignore[arg-type]
    scorer.save(str(tmp_path / "bundle"))
    assert Scorer.load(str(tmp_path / "bundle")).catalogue == scorer.catalogue
    with pytest.raises(ParamsError, match="a dict is not the path of a file") as refused:
        fraud3000.load_params({"policy": {}})  # type: ignore[arg-type]
    assert "fraud3000.parse_params(content)" in str(refused.value)


def test_a_stage_without_params_says_what_to_pass(in_trained: Path) -> None:
    for stage in (fraud3000.prepare, fraud3000.featurize, fraud3000.train, fraud3000.evaluate):
        with pytest.raises(ParamsError, match=r"params: a (str|DataFrame) is not Params") as refused:
            stage("params.yaml")
        assert "fraud3000.load_params(" in str(refused.value)
