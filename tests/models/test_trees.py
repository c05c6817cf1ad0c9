"""Trees as arrays: the scores of the estimators they were taken from, and nothing that could run away."""

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
def taken(request):
    """An estimator fitted on rows with or without gaps, and its trees."""
    name, gaps = request.param
    matrix = rows(gaps=gaps)
    signal = np.nan_to_num(matrix[:, 0] + matrix[:, 1] * matrix[:, 3]) + (matrix[:, 4] == 2)
    estimator = MADE[name]().fit(matrix, signal + np.random.default_rng(1).normal(size=len(signal)) > 1.5)
    return estimator, tree_import.from_estimator(estimator)


def test_scores_are_the_estimators_own_to_the_last_bit(taken):
    estimator, made = taken
    for matrix in (rows(seed=7, gaps=bool(np.isnan(rows()).any())), rows(gaps=False, seed=8)):
        np.testing.assert_array_equal(made.log_odds(matrix), own(estimator, matrix))


@settings(max_examples=40, deadline=None)
@given(
    matrix=arrays.arrays(
        np.float64, (5, COLUMNS), elements=st.floats(-1e6, 1e6) | st.just(np.nan) | st.integers(-3, 3).map(float)
    )
)
def test_any_row_scores_as_the_estimator_says(taken, matrix):
    estimator, made = taken
    np.testing.assert_array_equal(made.log_odds(matrix), own(estimator, matrix))


def test_values_on_a_cut_go_where_the_estimator_sends_them(taken):
    estimator, made = taken
    inner = (made.column >= 0) & np.isfinite(made.cut)  # a forest tells gaps from values by an infinite cut
    on_cut = np.zeros((inner.sum(), COLUMNS))
    on_cut[np.arange(inner.sum()), made.column[inner]] = made.cut[inner]
    for matrix in (on_cut, np.nextafter(on_cut, np.inf), np.nextafter(on_cut, -np.inf)):
        np.testing.assert_array_equal(made.log_odds(matrix), own(estimator, matrix))


def test_rows_that_came_to_a_node_went_on_to_its_children(taken):
    _, made = taken
    inner = made.column >= 0
    np.testing.assert_allclose(
        made.cover[inner], made.cover[made.left[inner]] + made.cover[made.right[inner]], rtol=1e-12
    )
    assert set(made.cover[made.roots]) == {4_000.0}


def test_a_row_alone_scores_as_among_many_and_in_any_layout(taken):
    _, made = taken
    matrix = rows(20_000, seed=3)
    whole = made.log_odds(matrix)
    np.testing.assert_array_equal(whole[:50], [made.log_odds(row[None])[0] for row in matrix[:50]])
    np.testing.assert_array_equal(whole, made.log_odds(np.asfortranarray(matrix)))
    assert made.log_odds(matrix[:0]).shape == (0,)


def test_a_file_gives_them_back_byte_for_byte(taken):
    _, made = taken
    content = made.dumps()
    again = Trees.loads(content, COLUMNS)
    assert again.dumps() == content
    for one in fields(Trees):
        np.testing.assert_array_equal(getattr(again, one.name), getattr(made, one.name))


def forged(made, **changes):
    arrays_of = {one.name: getattr(made, one.name) for one in fields(Trees)} | changes
    place = io.BytesIO()
    np.savez(place, **arrays_of)
    return place.getvalue()


@pytest.fixture(scope="module")
def small():
    matrix = rows(500)
    return tree_import.from_estimator(MADE["boosting"]().fit(matrix, matrix[:, 5] > 0))


def test_trees_that_lead_out_of_themselves_are_refused(small):
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


def test_an_object_in_the_file_is_never_read(small):
    place = io.BytesIO()
    np.savez(
        place, **{one.name: getattr(small, one.name) for one in fields(Trees)}, more=np.array([print], dtype=object)
    )
    again = Trees.loads(place.getvalue(), COLUMNS)
    assert again.dumps() == small.dumps()
    objects = forged(small, value=small.value.astype(object))
    with pytest.raises(ScorerError, match=r"the model's trees cannot be read \(.*allow_pickle"):
        Trees.loads(objects, COLUMNS)


@pytest.mark.parametrize("cut", [0, 1, 30, 400, -40, -1])
def test_a_file_that_is_cut_off_or_none_is_told(small, cut):
    whole = small.dumps()
    for content in (whole[:cut], b"not a zip", whole[:60] + bytes(40) + whole[100:]):
        with pytest.raises(ScorerError, match="the model's trees cannot be read"):
            Trees.loads(content, COLUMNS)


def test_a_form_that_scores_otherwise_is_refused(monkeypatch):
    matrix = rows(500)
    pipeline = Pipeline([("estimator", MADE["boosting"]())]).fit(matrix, matrix[:, 5] > 0)
    assert isinstance(predictor_import.from_pipeline(pipeline, matrix), Trees)
    right = tree_import.from_estimator

    def off(estimator):
        made = right(estimator)
        return replace(made, value=made.value * (1 + 1e-8))

    monkeypatch.setattr(tree_import, "from_estimator", off)
    with pytest.raises(ScorerError, match=r"the arrays score up to .* off the fitted HistGradientBoostingClassifier"):
        predictor_import.from_pipeline(pipeline, matrix)
