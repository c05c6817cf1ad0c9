"""Ranking metrics against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from fraud3000.metrics.ranking import Curve, at_rate, auc_roc, average_precision, corners, top_rows

ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40
)  # few distinct scores, so that most examples hold ties


def arrays(rows: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score, fraud, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assume(0 < fraud @ weight < weight.sum())
    return score, fraud, weight


def weighted(score: np.ndarray, fraud: np.ndarray, weight: np.ndarray) -> Curve:
    order = np.argsort(-score, kind="stable")
    return Curve.from_sorted(corners(score[order], fraud[order]), fraud[order], weight[order])


@given(ROWS)
def test_average_precision_and_auc_equal_scikit_learn_under_weights(rows):
    score, fraud, weight = arrays(rows)
    curve = weighted(score, fraud, weight)
    assert curve.average_precision() == pytest.approx(
        average_precision_score(fraud, score, sample_weight=weight), abs=1e-12
    )
    assert curve.auc_roc() == pytest.approx(roc_auc_score(fraud, score, sample_weight=weight), abs=1e-12)


@given(ROWS, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]))
def test_recall_at_fpr_is_read_off_the_roc_curve(rows, rate):
    score, fraud, weight = arrays(rows)
    fpr, tpr, _ = roc_curve(fraud, score, sample_weight=weight)
    assert weighted(score, fraud, weight).recall_at_fpr(rate) == pytest.approx(np.interp(rate, fpr, tpr), abs=1e-12)


@given(ROWS)
def test_weights_count_as_copies_of_rows(rows):
    score, fraud, weight = arrays(rows)
    copies = weight.astype(int)
    drawn, copied = (
        weighted(score, fraud, weight),
        Curve.from_rows(np.repeat(score, copies), np.repeat(fraud, copies)),
    )
    for metric in (Curve.average_precision, Curve.auc_roc, lambda curve: curve.recall_at_alert_rate(0.3)):
        assert metric(drawn) == pytest.approx(metric(copied), abs=1e-12)


def test_hand_computed_literals():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    fraud = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    assert average_precision(score, fraud) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert auc_roc(score, fraud) == pytest.approx(5 / 6)
    curve = Curve.from_rows(score, fraud)
    assert curve.recall_at_fpr(0.2) == pytest.approx(0.5)
    assert curve.recall_at_alert_rate(0.2) == pytest.approx(0.5)
    assert curve.recall_at_alert_rate(0.41) == pytest.approx(1.0)  # ⌈2.05⌉ = 3 rows


def test_recall_at_alert_rate_takes_the_rows_rounded_up():
    score, fraud = np.arange(300.0), np.zeros(300)
    fraud[-4:] = 1
    assert Curve.from_rows(score, fraud).recall_at_alert_rate(0.01) == pytest.approx(3 / 4)
    assert top_rows(300, 0.01) == 3
    assert top_rows(301, 0.01) == 4


def test_equal_scores_count_in_proportion_whatever_their_order():
    fraud = np.array([1.0, 0.0, 0.0, 0.0])
    for order in (fraud, fraud[::-1]):
        curve = Curve.from_rows(np.full(4, 0.3), order)
        assert curve.recall_at_alert_rate(0.25) == pytest.approx(0.25)
        assert curve.average_precision() == pytest.approx(0.25)
        assert curve.auc_roc() == pytest.approx(0.5)


@pytest.mark.parametrize("fraud", [[], [0.0, 0.0]])
def test_without_a_fraud_nothing_is_determined(fraud):
    curve = Curve.from_rows(np.linspace(0, 1, len(fraud)), np.array(fraud))
    assert np.isnan([curve.average_precision(), curve.auc_roc(), curve.recall_at_fpr(0.1)]).all()
    assert np.isnan(curve.recall_at_alert_rate(0.1))


def test_with_frauds_only_there_is_no_roc_curve():
    curve = Curve.from_rows(np.array([0.1, 0.2]), np.ones(2))
    assert curve.average_precision() == 1.0
    assert np.isnan([curve.auc_roc(), curve.recall_at_fpr(0.1)]).all()


def test_at_rate_reads_between_entries():
    assert at_rate(np.array([10.0, 100.0]), np.array([5.0, 14.0]), 0.19) == pytest.approx(5.9)
