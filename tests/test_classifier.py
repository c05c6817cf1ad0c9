"""FraudClassifier follows the conventions of scikit-learn and the rules of time."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_validate
from sklearn.utils import estimator_checks

from fraud3000 import FraudClassifier, TimeSplit, parse_params
from fraud3000.classifier import BudgetWarning
from fraud3000.errors import DataError, ParamsError
from fraud3000.models.inference.frame_scoring import RejectionWarning

PARAMS = parse_params(
    {
        "prepare": {
            "source": "custom",
            "label_delay": "3d",
            "mapping": {
                "columns": {"ts": "time", "card_id": "card", "terminal_id": "shop", "amount": "amount"},
                "categorical": ["kind"],
            },
        },
        "train": {"estimator": "logistic_regression"},
        "policy": {"cards_per_day": 1},
    }
)
DAYS, ROWS = 90, 4_500


def make_world(seed: int = 3) -> tuple[pl.DataFrame, np.ndarray]:
    """Frauds are runs on some cards with larger amounts."""
    random = np.random.default_rng(seed)
    card = random.integers(0, 60, ROWS)
    second = np.sort(random.integers(0, DAYS * 86_400, ROWS))
    start = random.integers(0, DAYS, 60)[card] * 86_400
    fraud = (second >= start) & (second < start + 5 * 86_400) & (random.random(ROWS) < 0.5)
    times = np.datetime64("2024-01-01") + second.astype("timedelta64[s]")
    frame = pl.DataFrame(
        {
            "time": times.astype("datetime64[us]"),
            "card": [f"c{number}" for number in card],
            "shop": [f"s{number}" for number in random.integers(0, 30, ROWS)],
            "amount": np.round(random.gamma(4, 8, ROWS) * np.where(fraud, 3, 1), 2),
            "kind": random.choice(["pos", "web"], ROWS),
        }
    )
    return frame, fraud.astype(int)


FRAME, LABELS = make_world()


@pytest.fixture(scope="module")
def fitted() -> FraudClassifier:
    return FraudClassifier(PARAMS).fit(FRAME[:3_000], LABELS[:3_000])


def test_probabilities_rank_frauds_and_do_not_depend_on_later_rows(fitted: FraudClassifier) -> None:
    later = FRAME[3_000:]
    probabilities = fitted.predict_proba(later)
    assert probabilities.shape == (1_500, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    frauds, others = (probabilities[LABELS[3_000:] == label, 1].mean() for label in (1, 0))
    assert frauds > 5 * others
    np.testing.assert_array_equal(fitted.predict_proba(later[:200]), probabilities[:200])
    predicted = fitted.predict(later)
    assert set(predicted.tolist()) == {0, 1}
    assert probabilities[predicted == 1, 1].min() > probabilities[predicted == 0, 1].max()


def test_the_labels_of_the_fit_count_only_after_the_label_delay() -> None:
    """Terminal risk of a row must not read labels that were not known: changing them changes no score."""
    changed = LABELS[:3_000].copy()
    last = (FRAME["time"][:3_000] > FRAME["time"][3_000] - np.timedelta64(2, "D")).to_numpy()
    changed[last] = 0
    assert (changed != LABELS[:3_000]).any()
    first = FRAME[3_000:3_010]
    models = [FraudClassifier(PARAMS).fit(FRAME[:3_000], labels) for labels in (LABELS[:3_000], changed)]
    read = [
        model.scorer_.featurize(model.history_.transactions, model.history_.labels)
        .tail(10)
        .select(pl.selectors.starts_with("terminal_risk", "card_risk") | pl.selectors.contains("fraud"))
        for model in models
    ]
    assert read[0].width > 0
    assert read[0].equals(read[1])
    assert first.height == 10


def test_the_same_fit_gives_the_same_model_and_a_clone_is_unfitted(fitted: FraudClassifier) -> None:
    again = clone(fitted)
    with pytest.raises(NotFittedError):
        again.predict(FRAME[:5])
    before = dict(vars(fitted))
    again.fit(FRAME[:3_000], LABELS[:3_000])
    np.testing.assert_array_equal(again.predict_proba(FRAME[3_000:]), fitted.predict_proba(FRAME[3_000:]))
    assert vars(fitted).keys() == before.keys()
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(FRAME[3_000:]), fitted.predict_proba(FRAME[3_000:]))
    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.n_features_in_ == FRAME.width
    assert fitted.feature_names_in_.tolist() == FRAME.columns


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_cross_validation_forward_in_time(kind: str) -> None:
    frame: Any = FRAME.to_pandas() if kind == "pandas" else FRAME
    split = TimeSplit(2, params=PARAMS)
    result = cross_validate(FraudClassifier(PARAMS), frame, LABELS, cv=split, scoring="roc_auc", error_score="raise")
    assert (result["test_score"] > 0.8).all()
    for train, test in split.split(frame):
        assert FRAME["time"][train].max() < FRAME["time"][test].min() - np.timedelta64(3, "D")
    tests = np.concatenate([test for _, test in split.split(frame)])
    assert len(np.unique(tests)) == len(tests)
    assert split.get_n_splits() == 2


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
    ],
)
def test_the_checks_of_scikit_learn_that_need_no_array_of_numbers(check: Any) -> None:
    """The others fit on arrays of random numbers, which are no transactions."""
    check("FraudClassifier", FraudClassifier())


def test_labels_may_be_in_the_frame() -> None:
    mapping = {**PARAMS.prepare.mapping, "columns": {**PARAMS.prepare.mapping["columns"], "is_fraud": "fraud"}}
    params = PARAMS.model_copy(update={"prepare": PARAMS.prepare.model_copy(update={"mapping": mapping})})
    inside = FraudClassifier(params).fit(FRAME[:3_000].with_columns(fraud=pl.Series(LABELS[:3_000])))
    beside = FraudClassifier(PARAMS).fit(FRAME[:3_000], LABELS[:3_000])
    np.testing.assert_array_equal(inside.predict_proba(FRAME[3_000:]), beside.predict_proba(FRAME[3_000:]))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"y: has shape \(2,\), but X has 4,500 rows"):
        FraudClassifier(PARAMS).fit(FRAME, [0, 1])
    with pytest.raises(ParamsError, match="y: has the values 0, 2"):
        FraudClassifier(PARAMS).fit(FRAME, np.where(LABELS == 1, 2, 0))
    with pytest.raises(DataError, match=r"0 of 4,5\d\d labels are fraud"):
        FraudClassifier(PARAMS).fit(FRAME, np.zeros(ROWS, dtype=int))
    with pytest.raises(ParamsError, match="a ndarray is not a frame"):
        FraudClassifier(PARAMS).fit(np.zeros((3, 2)), [0, 1, 0])
    with pytest.raises(DataError, match="X: no column is mapped as the time"):
        next(
            TimeSplit(
                2, params=parse_params({"prepare": {"source": "custom", "mapping": {"columns": {"amount": "amount"}}}})
            ).split(FRAME)
        )
    with pytest.raises(DataError, match="X: no training row is 60d before"):
        next(TimeSplit(3, params=PARAMS, gap="60d").split(FRAME))


def test_rejected_rows_and_a_large_budget_are_reported(fitted: FraudClassifier) -> None:
    text = FRAME.with_columns(pl.col("amount").cast(pl.String))
    broken = text.with_columns(
        pl.when(pl.int_range(pl.len()) == 4_000).then(pl.lit("?")).otherwise("amount").alias("amount")
    )
    with pytest.raises(DataError, match=r"X: 1 of 1,500 rows cannot be read \(amount_unreadable\)"):
        fitted.predict_proba(broken[3_000:])
    with pytest.warns(RejectionWarning, match="1 rows were rejected: amount_unreadable"):
        FraudClassifier(PARAMS).fit(broken, LABELS)
    generous = PARAMS.model_copy(update={"policy": PARAMS.policy.model_copy(update={"cards_per_day": 25})})
    with pytest.warns(BudgetWarning, match=r"the alert budget of 25 a day \(policy.cards_per_day\) is 50 % of the 50"):
        FraudClassifier(generous).fit(FRAME, LABELS)
