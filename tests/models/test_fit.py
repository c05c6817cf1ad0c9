"""Estimators by name, fitted, and honest whatever is done about imbalance."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.features.spec.kinds import Column
from fraud3000.models.inference import predictors
from fraud3000.models.training import calibration, estimators
from fraud3000.models.training.fit import cross_fitted_log_odds, fit
from fraud3000.params import TrainModelParams

SMALL = {
    "hist_gradient_boosting": {"max_iter": 20},
    "random_forest": {"n_estimators": 20},
    "extra_trees": {"n_estimators": 20},
    "logistic_regression": {},
    "lightgbm": {"n_estimators": 20},
}
BOTH = (
    {"estimator": "random_forest", "estimator_params": {"n_estimators": 10}, "weight": 3},
    {"estimator": "lightgbm", "estimator_params": {"n_estimators": 10}, "imbalance": "undersample", "undersample_to": 0.4, "bags": 2},
)  # fmt: skip


def params_of(name, **others):
    if name == "average":
        return TrainModelParams(estimator=name, members=BOTH, **others)
    return TrainModelParams(estimator=name, estimator_params=SMALL[name], **others)


def shift_of(model):
    (member,) = model.members
    return member.shift


@pytest.fixture(scope="module")
def labels(small_featured):
    return small_featured["is_fraud"].to_numpy()


@pytest.mark.parametrize("name", [*SMALL, "average"])
def test_every_estimator_finds_the_fraud_the_same_way_each_time(name, small_featured, labels, small_catalogue):
    first, second = (fit(small_featured, labels, small_catalogue.features, params_of(name)) for _ in range(2))
    log_odds = first.log_odds(small_featured)
    assert roc_auc_score(labels, log_odds) > 0.85
    assert np.isfinite(log_odds).all()
    np.testing.assert_array_equal(log_odds, second.log_odds(small_featured))
    files = [[predictors.dumps(one.predictor) for one in model.members] for model in (first, second)]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", [*SMALL, "average"])
def test_the_score_of_a_row_does_not_depend_on_other_rows(name, small_featured, labels, small_catalogue):
    model = fit(small_featured, labels, small_catalogue.features, params_of(name))
    whole = model.log_odds(small_featured)
    parts = np.concatenate([model.log_odds(part) for part in small_featured.iter_slices(7)])
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(whole[::-1], model.log_odds(small_featured.reverse()))
    assert len(model.log_odds(small_featured.head(0))) == 0


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("imbalance", ["balanced", "weighted", "undersample"])
def test_imbalance_is_treated_without_broken_probabilities(name, imbalance, small_featured, labels, small_catalogue):
    params = params_of(name, imbalance=imbalance, undersample_to=0.4)
    model = fit(small_featured, labels, small_catalogue.features, params)
    assert shift_of(model) < -0.5
    log_odds = model.log_odds(small_featured)
    assert labels.mean() / 2 < expit(log_odds).mean() < labels.mean() * 2  # treated but not corrected: ten times
    calibrated = calibration.fit("beta", log_odds, labels).probability(log_odds)
    assert calibrated.mean() == pytest.approx(labels.mean(), rel=0.05)


def test_undersampling_to_less_than_there_is_changes_nothing(small_featured, labels, small_catalogue):
    plain = fit(small_featured, labels, small_catalogue.features, params_of("logistic_regression"))
    params = params_of("logistic_regression", imbalance="undersample", undersample_to=0.01)
    treated = fit(small_featured, labels, small_catalogue.features, params)
    assert shift_of(treated) == 0
    np.testing.assert_array_equal(treated.log_odds(small_featured), plain.log_odds(small_featured))


def test_undersampling_shifts_by_the_published_correction(small_featured, labels, small_catalogue):
    params = params_of("logistic_regression", imbalance="undersample", undersample_to=0.5)
    model = fit(small_featured, labels, small_catalogue.features, params)
    kept = labels.sum() / (labels == 0).sum()
    sampled = expit(model.log_odds(small_featured) - shift_of(model))
    corrected = kept * sampled / (kept * sampled - sampled + 1)
    np.testing.assert_allclose(expit(model.log_odds(small_featured)), corrected, rtol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_undersampling_leaves_no_column_without_values(name):
    frauds = (np.arange(2_000) < 50).astype(np.int8)
    rows = pl.DataFrame({"x": np.arange(2_000.0), "scarce": pl.Series([None] * 1_998 + [1.0, 2.0])})
    params = params_of(name, imbalance="undersample", undersample_to=0.9)
    model = fit(rows, frauds, [Column("x"), Column("scarce")], params)
    assert model.encoder.dropped == {"scarce": "no values"}
    assert np.isfinite(model.log_odds(rows)).all()


def test_undersampling_keeps_at_least_one_legitimate_row(small_featured, labels, small_catalogue):
    params = params_of("random_forest", imbalance="undersample", undersample_to=0.9999)
    assert np.isfinite(fit(small_featured, labels, small_catalogue.features, params).log_odds(small_featured)).all()


def test_a_column_with_hardly_any_values_does_not_stop_boosting_on_many_rows():
    rows = pl.DataFrame({"x": np.arange(300_000) % 977, "scarce": pl.Series([1.0, 2.0] + [None] * 299_998)})
    frauds = (np.arange(300_000) % 100 == 0).astype(np.int8)
    params = TrainModelParams(estimator_params={"max_iter": 2}, seed=3)
    dropped = fit(rows, frauds, [Column("x"), Column("scarce")], params).encoder.dropped
    assert dropped == {"scarce": "values in fewer than one of 10,000 rows"}


def test_cross_fitting_never_scores_rows_of_the_fit():
    source = np.random.default_rng(1)
    rows = pl.DataFrame({"x": source.normal(size=600)})
    noise = (source.random(600) < 0.2).astype(np.int8)
    params = TrainModelParams(estimator="random_forest", estimator_params={"n_estimators": 20, "min_samples_leaf": 1})
    inside = fit(rows, noise, [Column("x")], params).log_odds(rows)
    across = cross_fitted_log_odds(rows, noise, [Column("x")], params)
    assert roc_auc_score(noise, inside) > 0.95
    assert abs(roc_auc_score(noise, across) - 0.5) < 0.1


def test_features_with_a_single_value_are_refused():
    with pytest.raises(EmptyDataError, match="none of the 1 features has more than one value"):
        fit(pl.DataFrame({"x": [1.0, 1.0]}), np.array([0, 1], np.int8), [Column("x")], TrainModelParams())


def test_a_solver_that_stops_early_is_noticed(small_featured, labels, small_catalogue):
    params = TrainModelParams(estimator="logistic_regression", estimator_params={"max_iter": 1})
    assert not fit(small_featured, labels, small_catalogue.features, params).converged
    assert fit(small_featured, labels, small_catalogue.features, params_of("logistic_regression")).converged


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("hist_gradient_boosting", {"trees": 3}, "train.estimator_params.trees: hist_gradient_boosting takes no such"),
        ("random_forest", {"random_state": 3}, "train.estimator_params.random_state: random_forest takes no such"),
        ("hist_gradient_boosting", {"monotonic_cst": [1]}, "hist_gradient_boosting takes no such"),
        ("lightgbm", {"num_leaves": 1}, "train.estimator_params: .*num_leaves"),
        ("lightgbm", {"n_estimators": 0}, "n_estimators must be at least 1, found 0"),
        ("lightgbm", {"learning_rate": "quick"}, "train.estimator_params: learning_rate must be a number, found quick"),
        ("random_forest", {"n_estimators": -3}, "train.estimator_params: The n_estimators parameter"),
    ],
)
def test_wrong_params_are_named_before_any_fit(name, params, message):
    with pytest.raises(ParamsError, match=message):
        estimators.check(TrainModelParams(estimator=name, estimator_params=params))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("logistic_regression", {"l1_ratio": 1.0, "solver": "lbfgs"}),
        ("random_forest", {"bootstrap": False, "max_samples": 0.5}),
    ],
)
def test_inconsistent_params_are_refused(name, given, small_featured, labels, small_catalogue):
    estimators.check(TrainModelParams(estimator=name, estimator_params=given))
    with pytest.raises(ParamsError, match=rf"train\.estimator_params: {name} cannot be fitted with these \(.+\)"):
        fit(small_featured, labels, small_catalogue.features, TrainModelParams(estimator=name, estimator_params=given))


def test_the_hint_lists_the_allowed_params():
    with pytest.raises(ParamsError) as caught:
        estimators.check(TrainModelParams(estimator="random_forest", estimator_params={"trees": 3}))
    assert "n_estimators" in str(caught.value.hint)
    assert "random_state" not in str(caught.value.hint)


def test_an_average_is_of_probabilities_by_weight(small_featured, labels, small_catalogue):
    model = fit(small_featured, labels, small_catalogue.features, params_of("average"))
    assert [member.weight for member in model.members] == [3, 1, 1]
    matrix = model.encoder.matrix(small_featured)
    parts = [expit(member.log_odds(matrix)) for member in model.members]
    expected = (3 * parts[0] + parts[1] + parts[2]) / 5
    np.testing.assert_allclose(expit(model.log_odds(small_featured)), expected, rtol=1e-12)


def test_bags_have_seeds_and_draws_of_their_own(small_featured, labels, small_catalogue):
    params = params_of("random_forest", imbalance="undersample", undersample_to=0.4, bags=3)
    model = fit(small_featured, labels, small_catalogue.features, params)
    matrix = model.encoder.matrix(small_featured)
    answers = [member.log_odds(matrix) for member in model.members]
    assert len({member.shift for member in model.members}) == 1
    assert all((one != other).any() for one, other in itertools.pairwise(answers))
    alone = fit(
        small_featured,
        labels,
        small_catalogue.features,
        params_of("random_forest", imbalance="undersample", undersample_to=0.4),
    )
    assert set(alone.encoder.columns) <= set(model.encoder.columns)


def test_a_column_without_values_in_one_bag_is_left_out_and_reported():
    frauds = (np.arange(2_000) < 50).astype(np.int8)
    scarce = pl.Series([None] * 1_000 + [1.0, 2.0] * 20 + [None] * 960)
    rows = pl.DataFrame({"x": np.arange(2_000.0), "scarce": scarce})
    params = params_of("hist_gradient_boosting", imbalance="undersample", undersample_to=0.7, bags=8)
    model = fit(rows, frauds, [Column("x"), Column("scarce")], params)
    assert model.encoder.dropped == {"scarce": "no values in one of the bags"}
    assert np.isfinite(model.log_odds(rows)).all()


def test_the_fraud_weight_shifts_the_log_odds_back(small_featured, labels, small_catalogue):
    model = fit(
        small_featured,
        labels,
        small_catalogue.features,
        params_of("logistic_regression", imbalance="weighted", fraud_weight=4),
    )
    assert shift_of(model) == pytest.approx(-np.log(4))


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "lightgbm", "random_forest", "extra_trees"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_constraint_by_name_holds_whatever_the_data_say(name, sign):
    source = np.random.default_rng(5)
    rows = pl.DataFrame({"x": source.normal(size=4_000), "y": source.normal(size=4_000)})
    frauds = (source.random(4_000) < expit(2 * rows["x"].to_numpy() - 2 + rows["y"].to_numpy())).astype(np.int8)
    params = params_of(name, monotone={"x": sign})
    model = fit(rows, frauds, [Column("x"), Column("y")], params)
    line = pl.DataFrame({"x": np.linspace(-4, 4, 200), "y": [0.3] * 200})
    steps = np.diff(model.log_odds(line))
    assert (sign * steps >= -1e-12).all()
    assert (np.diff(fit(rows, frauds, [Column("x"), Column("y")], params_of(name)).log_odds(line)) > 0).any()


def test_constraints_that_cannot_hold_are_refused(small_featured, labels, small_catalogue):
    features = small_catalogue.features
    for name, message in [("amuont", "no such feature; nearest: 'amount'"), ("category", "a category neither grows")]:
        with pytest.raises(ParamsError, match=rf"train.monotone.{name}: {message}"):
            fit(small_featured, labels, features, params_of("lightgbm", monotone={name: 1}))
    with pytest.raises(ParamsError, match="random_forest takes no monotone constraints where features have missing"):
        fit(small_featured, labels, features, params_of("random_forest", monotone={"amount": 1}))
    with pytest.raises(ParamsError, match="logistic_regression takes no monotone constraints"):
        estimators.check(params_of("logistic_regression", monotone={"amount": 1}))


def test_a_wrong_member_is_named():
    wrong = TrainModelParams(estimator="average", members=(BOTH[0], {**BOTH[1], "estimator_params": {"trees": 1}}))
    with pytest.raises(ParamsError, match=r"train.members.1.estimator_params.trees: lightgbm takes no such key"):
        estimators.check(wrong)


def test_a_learner_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ParamsError, match=r"lightgbm cannot be used here(.|\n)*fraud3000\[lightgbm\]"):
        estimators.check(TrainModelParams(estimator="lightgbm"))
