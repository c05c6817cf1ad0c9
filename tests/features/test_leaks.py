"""The leak check reports engines that read the future, and passes the batch engine."""

from datetime import datetime

import polars as pl
import pytest

from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.kinds import Column
from fraud3000.features.verification import adversarial_stream, every_kind, leaks
from fraud3000.schema import LEDGER

CATALOGUE = every_kind.build_catalogue(precedence=adversarial_stream.SOURCES)
FEW = CATALOGUE.without([name for name in CATALOGUE.names if not name.startswith(("card_count", "card_frauds"))])


@pytest.fixture(scope="module")
def generated() -> adversarial_stream.AdversarialStream:
    return adversarial_stream.generate(CATALOGUE, rows=1_200)


def with_leaking_feature(column: pl.Expr, name: str):
    """An engine that computes one feature from all rows, future ones too."""

    def featurize(transactions, ledger, catalogue, *, output_mask=None):
        features_ = batch_engine.featurize(transactions, ledger, catalogue, output_mask=output_mask)
        values = transactions.select(column.cast(pl.Float64)).to_series()
        return features_.with_columns((values if output_mask is None else values.filter(output_mask)).alias(name))

    return featurize


def records_at_their_moment(transactions, ledger, catalogue, *, output_mask=None):
    early = ledger.with_columns(pl.col("recorded_at") - pl.duration(microseconds=1))
    return batch_engine.featurize(transactions, early, catalogue, output_mask=output_mask)


def reported_is_recorded(transactions, ledger, catalogue, *, output_mask=None):
    early = ledger.with_columns(recorded_at=pl.min_horizontal("reported_at", "recorded_at"))
    return batch_engine.featurize(transactions, early, catalogue, output_mask=output_mask)


def arrival_is_time(transactions, ledger, catalogue, *, output_mask=None):
    timely = pl.struct("ts", "transaction_id").rank("ordinal").cast(pl.Int64)
    return batch_engine.featurize(transactions.with_columns(seq=timely), ledger, catalogue, output_mask=output_mask)


def test_no_kind_of_feature_depends_on_the_future(generated):
    result = leaks.check(generated.transactions, generated.ledger, CATALOGUE, rows=12)
    assert result == leaks.LeakCheck(rows=12, futures=36, leaks=())


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(with_leaking_feature(pl.len().over("card_id"), "card_count_1d"), id="counts_all_of_the_card"),
        pytest.param(with_leaking_feature(pl.len().over("card_id", "ts"), "card_count_1d"), id="counts_ties"),
        pytest.param(
            with_leaking_feature(pl.col("amount").mean().over(pl.lit(1)), "card_count_1d"), id="mean_of_the_whole_file"
        ),
        pytest.param(with_leaking_feature(pl.col("is_fraud"), "card_count_1d"), id="the_files_final_label"),
        pytest.param(
            with_leaking_feature(
                pl.col("is_fraud").fill_null(0).cum_sum().over("card_id", order_by="ts"), "card_count_1d"
            ),
            id="final_labels_of_the_past",
        ),
        pytest.param(
            with_leaking_feature(pl.col("ts").shift(-1).over("card_id", order_by="ts").is_null(), "card_count_1d"),
            id="next_event",
        ),
    ],
)
def test_only_the_leaking_feature_is_reported(generated, engine):
    result = leaks.check(generated.transactions, generated.ledger, FEW, rows=20, featurize=engine)
    (leak,) = result.leaks
    assert leak.feature == "card_count_1d"
    assert leak.was != leak.became
    assert isinstance(leak.ts, datetime)
    assert leak.transaction_id in generated.transactions["transaction_id"]


@pytest.mark.parametrize("engine", [records_at_their_moment, reported_is_recorded])
def test_labels_read_too_early_are_reported_for_label_windows_only(generated, engine):
    result = leaks.check(generated.transactions, generated.ledger, FEW, rows=20, featurize=engine)
    assert {leak.feature.partition("_frauds")[1] for leak in result.leaks} == {"_frauds"}


def test_rows_that_arrived_later_are_future_whatever_their_time(generated):
    result = leaks.check(generated.transactions, generated.ledger, FEW, rows=20, featurize=arrival_is_time)
    assert "card_count_7d" in {leak.feature for leak in result.leaks}


def test_ties_and_rows_out_of_order_are_sampled_first(generated):
    number = pl.int_range(pl.len())
    timely = generated.transactions[:300].with_columns(ts=pl.col("ts").min() + pl.duration(seconds=number), seq=number)
    second = pl.duration(seconds=pl.when(number == 100).then(1).otherwise(0))
    odd = timely.with_columns(ts=pl.col("ts") + second, seq=pl.when(number == 200).then(250.5).otherwise("seq"))
    odd = odd.with_columns(pl.col("seq").rank("ordinal").cast(pl.Int64))
    sampled: list[pl.Series] = []

    def spying(transactions, ledger, catalogue, *, output_mask=None):
        sampled.append(transactions["transaction_id"].filter(output_mask))
        return batch_engine.featurize(transactions, ledger, catalogue, output_mask=output_mask)

    checked = leaks.check(odd, generated.ledger, FEW.without(FEW.names[1:]), rows=8, featurize=spying)
    assert (checked.rows, len(sampled[0])) == (8, 8)
    assert set(odd["transaction_id"].gather([100, 101, 200])) <= set(sampled[0])


def test_data_without_time_or_rows_passes(generated):
    empty = leaks.LeakCheck(0, 0, ())
    timeless = FEW.without(FEW.names)
    assert leaks.check(generated.transactions.drop("ts"), generated.ledger, timeless) == empty
    assert leaks.check(generated.transactions.clear(), pl.DataFrame(schema=LEDGER), timeless) == empty


def test_columns_of_the_row_itself_do_not_leak(generated):
    own = FEW.without(FEW.names)
    own = type(own)((Column("amount"), Column("country", categorical=True)), label_delay=0)
    assert leaks.check(generated.transactions, generated.ledger, own, rows=5).leaks == ()
