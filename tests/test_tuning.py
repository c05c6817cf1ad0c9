"""The search: seeded, resumable, sparing, and kept away from the test weeks."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime, timedelta

import pytest

from fraud3000.errors import EmptyDataError, LeakageError, ParamsError, UnavailableError
from fraud3000.evaluation import hyperparameter_search
from fraud3000.evaluation.rolling_backtest import plan_folds
from fraud3000.models.training.search_space import SPACES, apply_values, resolve_space
from fraud3000.params import BacktestParams, TrainModelParams, TuneParams, parse

BASE = TrainModelParams(estimator="random_forest", estimator_params={"n_estimators": 20})
SPACE = resolve_space(BASE, {})
TRIALS = 16


class Killed(BaseException):
    """Stands for a signal."""


def judge(recipe, folds=3):
    """A smooth hill whose top is at a depth of 14 and leaves of 6."""
    told = recipe.estimator_params
    for fold in range(folds):
        yield (
            1 - 0.003 * (told["max_depth"] - 14) ** 2 - 0.1 * math.log(told["min_samples_leaf"] / 6) ** 2 - 0.01 * fold
        )


def search(place, judging=judge, *, trials=TRIALS, seed=1, identity="a", **more):
    told = TuneParams(trials=trials, seed=seed, **more)
    return hyperparameter_search.search(
        judging, BASE, SPACE, told, folds=3, storage=place / "trials.db", identity=identity
    )


def test_a_search_comes_near_the_top_and_changes_only_what_it_searches(tmp_path):
    found = search(tmp_path)
    assert len(found.trials) == TRIALS
    assert found.best.mean > 0.93
    assert found.best.mean == max(trial.mean for trial in found.trials if not trial.given_up)
    assert found.train.estimator_params["n_estimators"] == 20
    assert {key: value for key, value in found.train.estimator_params.items() if key != "n_estimators"} == {
        key.removeprefix("estimator_params."): value for key, value in found.best.chosen.items()
    }
    assert list(judge(found.train)) == pytest.approx(found.best.values)


def test_the_same_seed_finds_the_same_another_something_else(tmp_path):
    trials = [search(tmp_path / place, seed=seed).trials for place, seed in (("one", 1), ("two", 1), ("three", 2))]
    assert trials[0] == trials[1]
    assert trials[0] != trials[2]


@pytest.mark.parametrize("at", [3, 12])
def test_a_search_that_is_killed_goes_on_and_finds_what_it_would_have_found(tmp_path, at):
    judged = 0

    def until_killed(recipe):
        nonlocal judged
        for value in judge(recipe):
            judged += 1
            if judged == 3 * at:
                raise Killed
            yield value

    with pytest.raises(Killed):
        search(tmp_path, until_killed)
    resumed = search(tmp_path)
    assert 0 < resumed.resumed < TRIALS
    assert resumed.trials == search(tmp_path / "whole").trials


def test_a_trial_left_running_by_a_kill_without_mercy_does_not_count(tmp_path):
    import optuna

    whole = search(tmp_path / "whole").trials
    search(tmp_path, trials=4)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'trials.db'}")
    study.ask()
    assert search(tmp_path).trials == whole


def test_plainly_worse_trials_are_given_up_before_their_last_fold(tmp_path):
    found = search(tmp_path, trials=40)
    given_up = [trial for trial in found.trials if trial.given_up]
    assert given_up
    assert all(len(trial.values) < 3 for trial in given_up)
    assert all(len(trial.values) == 3 for trial in found.trials if not trial.given_up)
    assert found.best not in given_up


def test_a_search_of_something_else_is_not_taken_up(tmp_path):
    search(tmp_path, trials=4)
    assert search(tmp_path, trials=4, identity="b").resumed == 0
    assert search(tmp_path, trials=4).resumed == 4
    assert search(tmp_path, trials=6).resumed == 4


def test_no_trial_begins_once_the_time_is_used_up(tmp_path):
    assert len(search(tmp_path, trials=3).trials) == 3
    found = search(tmp_path, trials=50, time_budget="0s")
    assert 3 <= len(found.trials) < 50
    with pytest.raises(EmptyDataError, match=r"no trial ended within tune\.time_budget"):
        search(tmp_path / "fresh", lambda _recipe: iter(()), trials=1, time_budget="0s")


def test_a_storage_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "trials.db").write_text("no database at all, but text that is long enough to be looked at" * 100)
    with pytest.raises(UnavailableError, match=r"trials.db: the search cannot be stored"):
        search(tmp_path)


def test_without_optuna_the_hint_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ParamsError, match=r"fraud3000\[tune\]"):
        search(tmp_path)


def test_a_fold_whose_labels_come_in_the_test_weeks_is_refused():
    week = timedelta(days=7)
    test = datetime(2018, 8, 8, tzinfo=UTC)
    begin = datetime(2018, 5, 8, tzinfo=UTC)

    def folds(first):
        return plan_folds(BacktestParams(first=first, folds=4), (test, test + week), begin, week)

    hyperparameter_search.require_before(folds(datetime(2018, 7, 4, tzinfo=UTC)), test, week)
    with pytest.raises(
        LeakageError, match=r"the fold of 2018-07-26 ends 2018-08-02 00:00, so its labels are not known"
    ):
        hyperparameter_search.require_before(folds(datetime(2018, 7, 5, tzinfo=UTC)), test, week)
    with pytest.raises(LeakageError, match="the fold of 2018-08-08"):
        hyperparameter_search.require_before(folds(test), test, week)


def test_every_learner_has_a_space_that_it_takes():
    from fraud3000.models.training import estimators

    for name, ranges in SPACES.items():
        for end in ("low", "high"):
            params = {key: getattr(one, end) for key, one in ranges.items()}
            estimators.check(TrainModelParams(estimator=name, estimator_params=params))


def test_an_average_is_searched_member_by_member():
    members = ({"estimator": "random_forest"}, {"estimator": "logistic_regression"})
    train = TrainModelParams(estimator="average", members=members)
    space = resolve_space(train, {})
    assert "members.0.estimator_params.max_depth" in space
    assert "members.1.weight" in space
    assert "members.0.weight" not in space
    chosen = apply_values(train, {"members.1.estimator_params.C": 0.5, "members.1.weight": 2.0})
    assert chosen.members[1].estimator_params == {"C": 0.5}
    assert chosen.members[1].weight == 2
    assert chosen.members[0] == train.members[0]


@pytest.mark.parametrize(
    "key", ["max_depth", "estimator_params", "estimator_params.a.b", "members.0.weight", "seed", "estimator"]
)
def test_a_space_that_leads_nowhere_is_refused(key):
    with pytest.raises(ParamsError, match=rf"tune.space.{key}: not a param that can be searched"):
        resolve_space(BASE, {key: SPACE["estimator_params.max_depth"]})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"low": 1}, "needs either low and high, or choices"),
        ({}, "needs either low and high, or choices"),
        ({"low": 1, "high": 2, "choices": [1]}, "needs either low and high, or choices"),
        ({"low": 3, "high": 3}, "low must be below high, found 3 and 3"),
        ({"low": 0, "high": 3, "log": True}, "log needs a low above 0"),
    ],
)
def test_a_range_must_be_one(told, said):
    with pytest.raises(ParamsError, match=rf"tune.space.bags: {said}"):
        parse({"tune": {"space": {"bags": told}}})


def test_whole_numbers_and_choices_stay_what_they_are(tmp_path):
    told = parse(
        {"tune": {"space": {"bags": {"low": 1, "high": 3}, "imbalance": {"choices": ["none", "balanced"]}}}}
    ).tune
    found = hyperparameter_search.search(
        lambda recipe: iter([float(recipe.bags)] * 2),
        BASE,
        resolve_space(BASE, told.space),
        told.model_copy(update={"trials": 6}),
        folds=2,
        storage=tmp_path / "trials.db",
        identity="",
    )
    assert found.train.bags == 3
    assert {type(trial.chosen["bags"]) for trial in found.trials} == {int}
    assert {trial.chosen["imbalance"] for trial in found.trials} == {"none", "balanced"}
