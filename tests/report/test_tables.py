"""Tables behind the plots agree with the metrics and with direct counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import precision_recall_curve

from fraud3000.params import EvaluateModelParams
from fraud3000.report import groups, tables

FEW = EvaluateModelParams(replicates=20)


def rows(score, fraud, amount=100, **columns):
    frame = pl.DataFrame({"score": score, "is_fraud": fraud, **columns}, strict=False)
    return frame.with_columns(
        amount=pl.Series(amount) if isinstance(amount, list) else pl.lit(amount), alert=pl.col("score") >= 0.5
    )


def test_precision_at_each_recall_equals_scikit_learn(scored):
    measured = scored.filter("evaluated")
    precision, recall, _ = precision_recall_curve(measured["is_fraud"], measured["score"])
    for row in tables.precision_recall(scored, FEW).iter_rows(named=True):
        reached = recall >= row["recall"] - 1e-9
        assert row["precision"] == pytest.approx(precision[reached][-1])
        assert row["low"] <= row["high"]


def test_the_curve_does_not_depend_on_the_order_of_rows(scored):
    own = tables.precision_recall(scored, FEW).select("precision", "largest_amount", "random")
    other = tables.precision_recall(scored.reverse(), FEW).select("precision", "largest_amount", "random")
    assert own.equals(other)


def test_the_workload_counts_cards_and_what_they_catch(scored):
    table = tables.workload(scored, FEW, marks=[4, 12])
    assert {4.0, 12.0} <= set(table["alerts"])
    acted_on = scored.filter(pl.col("status") != "refund")
    measured = scored.filter("evaluated")
    frauds = measured.filter(pl.col("is_fraud") == 1)
    for row in table.filter(pl.col("threshold").is_finite()).gather_every(20).iter_rows(named=True):
        alerted = acted_on.filter(pl.col("score") >= row["threshold"])
        a_day = alerted.select(pl.col("ts").dt.date(), "card_id").n_unique() / acted_on["ts"].dt.date().n_unique()
        assert a_day <= row["alerts"] + 1e-9
        caught = frauds.filter(pl.col("score") >= row["threshold"])
        assert row["frauds"] == pytest.approx(caught.height / frauds.height)
        assert row["money"] == pytest.approx(caught["amount"].sum() / frauds["amount"].sum())
    assert table["frauds"].is_sorted()
    assert table["money_largest_amount"].is_sorted()


def test_equal_scores_are_alerted_together_or_not_at_all():
    table = tables.workload(rows([0.9, 0.5, 0.5, 0.1], [1, 1, 1, 0]), FEW, marks=[250, 500, 750])
    assert table.filter(pl.col("alerts").is_in([250.0, 500.0, 750.0]))["frauds"].round(3).to_list() == [
        0.333,
        0.333,
        1.0,
    ]


def test_without_time_or_cards_the_workload_says_what_it_counts(scored):
    assert tables.workload_unit(scored) == "cards a day"
    assert tables.workload_unit(scored.drop("card_id")) == "transactions a day"
    assert tables.workload_unit(scored.drop("ts")) == "alerts per 1,000 transactions"
    assert tables.workload(scored.drop("card_id"), FEW, marks=[3])["alerts"].max() == 3


def test_calibration_bins_cover_every_row_with_equal_predictions(scored):
    table = tables.calibration(scored)
    measured = scored.filter("evaluated")
    assert table["rows"].sum() == measured.height
    assert table["frauds"].sum() == measured["is_fraud"].sum()
    expected = table["rows"] * table["score"]
    assert expected.sum() == pytest.approx(measured["score"].sum())
    assert expected.max() - expected.min() <= 2
    assert table["score"].is_sorted()
    assert (table["low"] <= table["observed"]).all()
    assert (table["observed"] <= table["high"]).all()


@pytest.mark.parametrize("fraud", [[1] * 9 + [0] * 91, [0] * 100])
def test_too_few_frauds_give_no_calibration(fraud):
    assert tables.calibration(rows([0.1] * 100, fraud)).is_empty()


def test_the_distribution_counts_each_row_once(scored):
    table = tables.distribution(scored)
    measured = scored.filter("evaluated")
    assert table["frauds"].sum() + table["legitimate"].sum() == measured.height
    assert table["frauds_share"].sum() == pytest.approx(1)
    assert table["score_to"][-1] == pytest.approx(measured["score"].max())
    assert tables.distribution(rows([0.3, 0.3], [0, 1]))["frauds"].sum() == 1


def test_wilson_interval_has_width_at_0_and_1():
    low, high = tables.wilson(np.array([0.0, 10.0]), np.array([10.0, 10.0]))
    assert (low[0], high[1]) == (0.0, 1.0)
    assert high[0] == pytest.approx(0.2775, abs=1e-4)
    assert low[1] == pytest.approx(0.7225, abs=1e-4)


def test_missing_data_gives_a_reason(scored):
    assert tables.missing(scored, "rows", "time", "frauds") is None
    assert tables.missing(scored.drop("ts"), "rows", "time") == "the data has no time"
    assert tables.missing(scored.with_columns(is_fraud=0), "frauds") == "no known fraud"


def test_weeks_begin_with_the_first_day_and_sum_to_all_rows(scored):
    weeks = groups.by_week(scored)
    assert weeks["rows"].sum() == scored["evaluated"].sum()
    assert weeks["first"][0] == scored["ts"].min().date()
    assert weeks["days"].to_list() == [7, 7, 7, 7]
    assert (weeks["first"][1:] - weeks["last"][:-1] == timedelta(days=1)).all()
    over = groups.spread(weeks).filter(measure="recall")
    assert over["sd"].item() == pytest.approx(weeks["recall"].std(ddof=1))


def test_years_are_grouped_into_longer_periods():
    times = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=one) for one in range(0, 1_460, 10)]
    weeks = groups.by_week(rows([0.4] * len(times), [0] * len(times), ts=times))
    assert weeks.height <= groups.MOST_PERIODS
    assert weeks["days"].max() % 7 == 0
    assert weeks["recall"].null_count() == weeks["average_precision"].null_count() == weeks.height


def test_ranges_of_amounts_have_round_edges_and_cover_every_row(scored):
    bands = groups.by_amount(scored)
    assert bands["rows"].sum() == scored["evaluated"].sum()
    assert bands["money"].sum() == scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1))["amount"].sum()
    assert bands["group"][0].startswith("under ")
    assert bands["group"][-1].endswith(" and more")


@pytest.mark.parametrize("amount", [0, 700, -5])
def test_a_single_amount_is_one_range(amount):
    assert groups.by_amount(rows([0.1, 0.9], [0, 1], amount=amount))["rows"].to_list() == [2]


def test_values_of_a_category_include_null():
    table = groups.by_category(rows([0.9, 0.2, 0.6], [1, 1, 0], trade=["food", None, "food"]), "trade")
    assert table.select("group", "rows", "frauds", "alerts", "precision", "recall").rows() == [
        ("food", 2, 1, 2, 0.5, 1.0),
        ("none", 1, 1, 0, None, 0.0),
    ]
