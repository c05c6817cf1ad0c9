"""Contributions add up to the raw score, on every row of every model, and are Shapley values where they claim to be."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import lightgbm
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from fraud3000.errors import ScorerError
from fraud3000.features.spec.kinds import Column
from fraud3000.models.inference import contributions
from fraud3000.models.inference.contributions import Contributions
from fraud3000.models.inference.trees import LEAF, Trees
from fraud3000.models.training import tree_import
from fraud3000.models.training.fit import fit
from fraud3000.params import TrainModelParams

SMALL = {
    "hist_gradient_boosting": {"max_iter": 20},
    "lightgbm": {"n_estimators": 20},
    "random_forest": {"n_estimators": 20, "min_samples_leaf": 3},
    "extra_trees": {"n_estimators": 20, "min_samples_leaf": 1},
    "logistic_regression": {},
}
AVERAGE = tuple(
    {"estimator": name, "estimator_params": SMALL[name], "weight": weight, "imbalance": imbalance}
    for name, weight, imbalance in (
        ("random_forest", 3.0, "none"),
        ("lightgbm", 1.0, "weighted"),
        ("logistic_regression", 0.5, "balanced"),
    )
)
MODELS = {
    **{name: TrainModelParams(estimator=name, estimator_params=params) for name, params in SMALL.items()},
    "undersampled": TrainModelParams(
        estimator_params={"max_iter": 20}, imbalance="undersample", undersample_to=0.5
    ),
    "bags": TrainModelParams(estimator_params={"max_iter": 10}, imbalance="undersample", undersample_to=0.5, bags=3),
    "average": TrainModelParams(estimator="average", members=AVERAGE),
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def model(request, small_featured, small_catalogue):
    return fit(small_featured, small_featured["is_fraud"].to_numpy(), small_catalogue.features, MODELS[request.param])


def gappy(matrix, seed=0):
    """Rows with gaps where there were none, and values never seen."""
    source = np.random.default_rng(seed)
    changed = matrix * source.choice([-3.0, 0.0, 1.0, 50.0], matrix.shape)
    changed[source.random(matrix.shape) < 0.3] = np.nan
    return changed


def test_contributions_add_up_on_every_row(model, small_featured):
    matrix = model.encoder.matrix(small_featured)
    for rows in (matrix, gappy(matrix)):
        explained = model.contributions_of(rows)
        assert explained.values.shape == rows.shape
        np.testing.assert_allclose(explained.totals, model.log_odds_of(rows), rtol=0, atol=1e-9)


def test_contributions_of_a_row_do_not_depend_on_other_rows(model, small_featured):
    matrix = model.encoder.matrix(small_featured.head(300))
    explained = model.contributions_of(matrix)
    np.testing.assert_array_equal(explained.values, model.contributions_of(matrix).values)
    for index in (0, 7, 299):
        alone = model.contributions_of(matrix[index : index + 1])
        assert alone.base == explained.base
        np.testing.assert_array_equal(alone.values[0], explained.values[index])
    assert model.contributions_of(matrix[:0]).values.shape == (0, matrix.shape[1])


def test_an_unused_feature_contributes_exactly_zero(small_featured, small_catalogue):
    source = np.random.default_rng(5)
    rows = pl.DataFrame({"x": source.normal(size=2_000), "noise": source.integers(0, 2, 2_000)})
    fraud = (rows["x"].to_numpy() > 1).astype(np.int8)
    for name in ("hist_gradient_boosting", "lightgbm", "random_forest"):
        stumps = {"max_leaf_nodes" if name != "lightgbm" else "num_leaves": 2}
        params = TrainModelParams(estimator=name, estimator_params={**SMALL[name], **stumps, **({"max_features": None} if name == "random_forest" else {})})  # fmt: skip
        model = fit(rows, fraud, [Column("x"), Column("noise")], params)
        values = model.contributions_of(model.encoder.matrix(rows)).values
        assert (values[:, 1] == 0).all()
        assert (values[fraud == 1, 0] > 0).all()


def test_contributions_equal_those_of_lightgbm():
    source = np.random.default_rng(2)
    matrix = source.normal(size=(3_000, 8))
    matrix[:, 3] = np.round(matrix[:, 3])
    labels = matrix[:, 0] + matrix[:, 1] * matrix[:, 3] + source.normal(size=3_000) > 1
    holes = np.where(source.random(matrix.shape) < 0.2, np.nan, matrix)
    for rows in (matrix, holes):
        estimator = lightgbm.LGBMClassifier(n_estimators=40, num_leaves=31, verbosity=-1).fit(rows, labels)
        theirs = estimator.booster_.predict(rows, pred_contrib=True)
        ours = contributions.from_predictor(tree_import.from_estimator(estimator), rows)
        np.testing.assert_allclose(ours.values, theirs[:, :-1], rtol=0, atol=1e-10)
        np.testing.assert_allclose(ours.base, theirs[:, -1], rtol=0, atol=1e-10)


def expected(trees: Trees, row, known, index):
    """What a tree says on average of the rows of its fit, where only some columns of a row are known."""
    if trees.column[index] == LEAF:
        return trees.value[index]
    left, right, column = trees.left[index], trees.right[index], trees.column[index]
    if column in known:
        gap = math.isnan(row[column])
        goes_left = trees.gap_left[index] if gap else row[column] <= trees.cut[index]
        return expected(trees, row, known, left if goes_left else right)
    parts = [trees.cover[side] * expected(trees, row, known, side) for side in (left, right)]
    return sum(parts) / (trees.cover[left] + trees.cover[right])


def shapley(trees: Trees, row):
    """Over all subsets of columns, as the definition says."""
    n = len(row)
    worth = {
        known: sum(expected(trees, row, known, root) for root in trees.roots)
        for size in range(n + 1)
        for known in itertools.combinations(range(n), size)
    }
    values = np.zeros(n)
    for column in range(n):
        for known, value in worth.items():
            if column not in known:
                weight = math.factorial(len(known)) * math.factorial(n - len(known) - 1) / math.factorial(n)
                values[column] += weight * (worth[tuple(sorted((*known, column)))] - value)
    return values


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 5), forest=st.booleans())
def test_contributions_equal_shapley_values_by_their_definition(seed, columns, forest):
    source = np.random.default_rng(seed)
    matrix = np.round(source.normal(size=(120, columns)), 1)
    matrix[source.random(matrix.shape) < 0.15] = np.nan
    labels = np.nan_to_num(matrix).prod(axis=1) + source.normal(size=120) / 5 > 0
    labels[:2] = False, True
    estimator = (
        RandomForestClassifier(2, max_depth=7, random_state=seed)
        if forest
        else HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=9, min_samples_leaf=3)
    )
    trees = tree_import.from_estimator(estimator.fit(matrix, labels))
    rows = gappy(matrix[:4], seed).astype(np.float32).astype(np.float64)
    _, values = trees.explain_sums(rows)
    share = len(trees.roots) if forest else 1
    for row, value in zip(rows, values, strict=True):
        np.testing.assert_allclose(value * share, shapley(trees, row), rtol=0, atol=1e-12)


def test_contributions_of_an_average_are_those_of_its_members_to_the_mean():
    small, large = Contributions(-4.0, np.array([[1.0, 0.0]])), Contributions(-2.0, np.array([[0.0, 3.0]]))
    chance = contributions.average([small, large], [small.totals, large.totals], [1.0, 3.0])
    moved = (expit(-3.0) - expit(-4.0)) / 4, 3 * (expit(1.0) - expit(-2.0)) / 4
    np.testing.assert_allclose(chance.values, [moved])
    assert chance.base == pytest.approx((expit(-4.0) + 3 * expit(-2.0)) / 4)


def test_contributions_that_sum_to_zero_are_rescaled_by_the_slope():
    even = Contributions(-1.0, np.array([[2.0, -2.0], [0.1 + 0.2, -0.3], [0.0, 0.0]]))
    explained = even.rescale(0.5, np.array([0.5, 0.5, 0.5]), slope=0.25)
    np.testing.assert_allclose(explained.values, [[0.5, -0.5], [0.075, -0.075], [0.0, 0.0]])


def test_contributions_that_do_not_add_up_are_refused(monkeypatch, small_featured, small_catalogue):
    right = tree_import.from_estimator

    def off(estimator):
        trees = right(estimator)
        explain_sums = trees.explain_sums
        object.__setattr__(trees, "explain_sums", lambda rows: (explain_sums(rows)[0] + 2e-6, explain_sums(rows)[1]))
        return trees

    monkeypatch.setattr(tree_import, "from_estimator", off)
    labels = small_featured["is_fraud"].to_numpy()
    with pytest.raises(ScorerError, match=r"the features' contributions miss the raw score by up to 2e-06"):
        fit(small_featured, labels, small_catalogue.features, MODELS["hist_gradient_boosting"])


def test_paths_that_meet_a_column_many_times_and_deep_trees_stay_exact():
    source = np.random.default_rng(4)
    matrix = source.normal(size=(3_000, 40))
    labels = matrix @ source.normal(size=40) + source.normal(size=3_000) > 0
    trees = tree_import.from_estimator(
        RandomForestClassifier(3, max_depth=None, max_features=1, random_state=1).fit(matrix, labels)
    )
    explained = contributions.from_predictor(trees, matrix[:200])
    np.testing.assert_allclose(explained.totals, trees.log_odds(matrix[:200]), rtol=0, atol=1e-9)
    one_column = replace(trees, column=np.where(trees.column == LEAF, LEAF, 0).astype(np.int32))
    _, values = one_column.explain_sums(matrix[:50])
    base, sums = one_column.explain_sums(matrix[:1])[0], one_column.sums(matrix[:50])
    np.testing.assert_allclose(values[:, 0], sums - base, rtol=0, atol=1e-12)
    assert (values[:, 1:] == 0).all()
