"""Trees as arrays: the scores of the estimators they are converted from; invalid arrays are refused."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import logit
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from fraud3000.errors import ScorerError
from fraud3000.models.inference import trees
from fraud3000.models.inference.trees import Trees
from fraud3000.models.training import predictor_import, tree_import

COLUMNS = 6
MADE = {
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=9),
    "forest": lambda: RandomForestClassifier(12, max_depth=7, random_state=1),
    "extra": lambda: ExtraTreesClassifier(12, max_depth=7, random_state=1),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=30, num_leaves=9, verbosity=-1),
    "dart": lambda: lightgbm.LGBMClassifier(n_estimators=30, boosting_type="dart", verbosity=-1),
}


def rows(n=4_000, *, gaps=True, seed=0):
    source = np.random.default_rng(seed)
    matrix = source.normal(size=(n, COLUMNS))
    matrix[:, 3] = np.round(matrix[:, 3])
    matrix[:, 4] = source.integers(0, 5, n)
    if gaps:
        matrix[source.random(matrix.shape) < 0.1] = np.nan
        matrix[:, 5] = np.nan_to_num(matrix[:, 5])
    return matrix


def own(estimator, matrix):
    if isinstance(estimator, HistGradientBoostingClassifier):
        return estimator.decision_function(matrix)
    if isinstance(estimator, lightgbm.LGBMClassifier):
        return estimator.booster_.predict(matrix, raw_score=True)
    return logit(trees.SQUEEZE + (1 - 2 * trees.SQUEEZE) * estimator.predict_proba(matrix)[:, 1])


@pytest.fixture(scope="module", params=[(name, gaps) for name in MADE for gaps in (True, False)], ids=str)
def fitted(request):
    """An estimator fitted on rows with or without gaps, and its trees."""
    name, gaps = request.param
    matrix = rows(gaps=gaps)
    signal = np.nan_to_num(matrix[:, 0] + matrix[:, 1] * matrix[:, 3]) + (matrix[:, 4] == 2)
    estimator = MADE[name]().fit(matrix, signal + np.random.default_rng(1).normal(size=len(signal)) > 1.5)
    return estimator, tree_import.from_estimator(estimator)


def test_scores_are_the_estimators_own_to_the_last_bit(fitted):
    estimator, trees = fitted
    for matrix in (rows(seed=7, gaps=bool(np.isnan(rows()).any())), rows(gaps=False, seed=8)):
        np.testing.assert_array_equal(trees.log_odds(matrix), own(estimator, matrix))


@settings(max_examples=40, deadline=None)
@given(
    matrix=arrays.arrays(
        np.float64, (5, COLUMNS), elements=st.floats(-1e6, 1e6) | st.just(np.nan) | st.integers(-3, 3).map(float)
    )
)
def test_any_row_scores_as_the_estimator_says(fitted, matrix):
    estimator, trees = fitted
    np.testing.assert_array_equal(trees.log_odds(matrix), own(estimator, matrix))


def test_values_on_a_cut_go_where_the_estimator_sends_them(fitted):
    estimator, trees = fitted
    inner = (trees.column >= 0) & np.isfinite(trees.cut)  # a forest tells gaps from values by an infinite cut
    on_cut = np.zeros((inner.sum(), COLUMNS))
    on_cut[np.arange(inner.sum()), trees.column[inner]] = trees.cut[inner]
    for matrix in (on_cut, np.nextafter(on_cut, np.inf), np.nextafter(on_cut, -np.inf)):
        np.testing.assert_array_equal(trees.log_odds(matrix), own(estimator, matrix))


def test_the_cover_of_a_node_is_the_sum_of_its_childrens(fitted):
    _, trees = fitted
    inner = trees.column >= 0
    np.testing.assert_allclose(
        trees.cover[inner], trees.cover[trees.left[inner]] + trees.cover[trees.right[inner]], rtol=1e-12
    )
    assert set(trees.cover[trees.roots]) == {4_000.0}


def test_a_row_alone_scores_as_among_many_and_in_any_layout(fitted):
    _, trees = fitted
    matrix = rows(20_000, seed=3)
    log_odds = trees.log_odds(matrix)
    np.testing.assert_array_equal(log_odds[:50], [trees.log_odds(row[None])[0] for row in matrix[:50]])
    np.testing.assert_array_equal(log_odds, trees.log_odds(np.asfortranarray(matrix)))
    assert trees.log_odds(matrix[:0]).shape == (0,)


def test_trees_survive_a_file_byte_for_byte(fitted):
    _, trees = fitted
    content = trees.dumps()
    again = Trees.loads(content, COLUMNS)
    assert again.dumps() == content
    for item in fields(Trees):
        np.testing.assert_array_equal(getattr(again, item.name), getattr(trees, item.name))


def forged(trees, **changes):
    arrays_of = {item.name: getattr(trees, item.name) for item in fields(Trees)} | changes
    file = io.BytesIO()
    np.savez(file, **arrays_of)
    return file.getvalue()


@pytest.fixture(scope="module")
def small():
    matrix = rows(500)
    return tree_import.from_estimator(MADE["boosting"]().fit(matrix, matrix[:, 5] > 0))


def test_trees_with_invalid_links_are_refused(small):
    inner = int(np.flatnonzero(small.column >= 0)[0])

    def changed(name, value):
        array = getattr(small, name).copy()
        array[inner] = value
        return {name: array}

    wrong = [
        changed("left", len(small.column)),
        changed("left", inner),
        changed("right", -1),
        changed("column", COLUMNS),
        changed("column", -2),
        changed("value", np.inf),
        changed("cover", np.nan),
        changed("cover", 0.0),
        changed("cover", 2 * small.cover[inner]),
        {"cover": -small.cover},
        {"cover": small.cover.astype(np.float32)},
        changed("left", small.right[inner]),
        changed("left", small.roots[-1] + 1),
        {"roots": small.roots[1:]},
        {"roots": small.roots[::-1].copy()},
        {"roots": np.array([len(small.column)], np.int32)},
        {"roots": np.array([], np.int32)},
        {"cut": small.cut[:-1]},
        {"left": small.left.astype(np.int64)},
        {"base": np.nan},
    ]
    assert Trees.loads(forged(small), COLUMNS).dumps() == small.dumps()
    for change in wrong:
        with pytest.raises(ScorerError, match="the model's trees are invalid"):
            Trees.loads(forged(small, **change), COLUMNS)
    with pytest.raises(ScorerError, match="are invalid"):
        Trees.loads(small.dumps(), 1)


def test_python_objects_in_a_file_are_refused(small):
    file = io.BytesIO()
    np.savez(
        file, **{item.name: getattr(small, item.name) for item in fields(Trees)}, more=np.array([print], dtype=object)
    )
    again = Trees.loads(file.getvalue(), COLUMNS)
    assert again.dumps() == small.dumps()
    objects = forged(small, value=small.value.astype(object))
    with pytest.raises(ScorerError, match=r"the model's trees cannot be read \(.*allow_pickle"):
        Trees.loads(objects, COLUMNS)


@pytest.mark.parametrize("cut", [0, 1, 30, 400, -40, -1])
def test_a_truncated_or_empty_file_is_refused(small, cut):
    archive = small.dumps()
    for content in (archive[:cut], b"not a zip", archive[:60] + bytes(40) + archive[100:]):
        with pytest.raises(ScorerError, match="the model's trees cannot be read"):
            Trees.loads(content, COLUMNS)


def test_arrays_that_score_differently_from_the_estimator_are_refused(monkeypatch):
    matrix = rows(500)
    pipeline = Pipeline([("estimator", MADE["boosting"]())]).fit(matrix, matrix[:, 5] > 0)
    assert isinstance(predictor_import.from_pipeline(pipeline, matrix), Trees)
    right = tree_import.from_estimator

    def off(estimator):
        trees = right(estimator)
        return replace(trees, value=trees.value * (1 + 1e-8))

    monkeypatch.setattr(tree_import, "from_estimator", off)
    with pytest.raises(ScorerError, match=r"the arrays score up to .* off the fitted HistGradientBoostingClassifier"):
        predictor_import.from_pipeline(pipeline, matrix)
