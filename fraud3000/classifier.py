"""`FraudClassifier` and `TimeSplit`: training and cross-validation on frames, by the conventions of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from fraud3000 import durations
from fraud3000.data import frames
from fraud3000.data.cleaning import prepared, sources
from fraud3000.data.frames import PreparedFrames
from fraud3000.data.reading import times
from fraud3000.data.reading.columns import resolve
from fraud3000.errors import DataError, ParamsError
from fraud3000.features.batch import batch_engine
from fraud3000.frames import guess_params, prepare_frame
from fraud3000.labels import visibility
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.frame_scoring import HistoryWarning, RejectionWarning
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.training import cross_fit, fit
from fraud3000.params import Params
from fraud3000.schema import APPROVE, REFUND
from fraud3000.stages.shared.catalogues import build_catalogue
from fraud3000.stages.shared.default_warnings import budget_warnings

LABEL = "fraud3000_label"
"""Name of the column that `fit` adds for its labels."""


class BudgetWarning(UserWarning):
    """The alert budget of the params is a large share of the transactions of a day."""


class FraudClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier that is fitted on raw transactions: mapping, features in time, calibration and policy in one estimator.

    `predict_proba` and `predict` use the transactions of the fit as history of those to score, with the labels that were
    known at each time.

    Parameters
    ----------
    params
        Params of fraud3000; the sections ``prepare``, ``featurize``, ``train`` and ``policy`` are used. Without params the
        mapping is guessed, as `fraud3000 init` guesses it.
    folds
        Number of folds, forward in time, on which calibration and threshold are fitted.

    Attributes
    ----------
    scorer_
        The fitted `Scorer`, which can be saved and explained.
    history_
        The transactions of the fit, as `PreparedFrames`.
    classes_
        ``[0, 1]``.
    n_features_in_
        Number of columns of the frame of the fit.

    Examples
    --------
    >>> from fraud3000 import FraudClassifier, parse_params
    >>> model = FraudClassifier(parse_params({"train": {"estimator": "logistic_regression"}}))
    >>> model.get_params()["folds"]
    3
    """

    def __init__(self, params: Params | None = None, folds: int = 3) -> None:
        self.params = params
        self.folds = folds

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.no_validation = True
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Fit on transactions.

        Parameters
        ----------
        X
            A polars, pandas or pyarrow frame of raw transactions or TRANSACTIONS.
        y
            Labels of shape (n_rows,), 0 or 1; by default those in the column that the params map.

        Raises
        ------
        DataError
            The mapping does not fit the columns, or no model can be fitted on the labels.
        ParamsError
            The arguments are no frame and labels, or the mapping cannot be guessed.
        """
        rows, _ = frames.to_polars(X, thing="X")
        labelled = rows if y is None else _with_labels(rows, y)
        given = _prepare(labelled, self.params)
        if given.quarantine.height:
            reasons = ", ".join(given.quarantine["reason"].unique().sort().to_list())
            warnings.warn(f"{given.quarantine.height:,} rows were rejected: {reasons}", RejectionWarning, stacklevel=2)
        settings: Params = given.params
        catalogue = build_catalogue(settings.prepare, settings.featurize, given.transactions.clear())
        featured = _training_rows(batch_engine.assemble(given.transactions, given.labels, catalogue), settings)
        known = visibility.known_at(featured, given.labels, None, label_delay=settings.prepare.label_delay)
        featured, is_fraud = featured.filter(known.is_not_null()), known.drop_nulls().to_numpy().astype(np.int8)
        if not 0 < is_fraud.sum() < len(is_fraud):
            raise DataError(
                f"X: {int(is_fraud.sum()):,} of {len(is_fraud):,} labels are fraud",
                hint="A model needs both frauds and legitimate transactions: check the labels.",
            )
        model = fit.fit(featured, is_fraud, catalogue.features, settings.train)
        settled = cross_fit.settle_forward(
            featured, is_fraud, catalogue, settings.train, settings.policy, folds=self.folds
        )
        days = featured["ts"].dt.date().n_unique() if "ts" in featured.columns else 0
        for text in budget_warnings(featured.height, days, settings.policy):
            warnings.warn(text, BudgetWarning, stacklevel=2)
        self.scorer_ = Scorer(
            catalogue=catalogue,
            mapping=sources.resolve(settings.prepare),
            model=model,
            calibrator=settled.calibrator,
            policy=settled.threshold.policy,
            typical=UsualValues.learn(model.encoder, featured.filter(pl.Series(is_fraud == 0)), catalogue.features),
        )
        self.history_ = given
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = rows.width
        self.feature_names_in_ = np.array(rows.columns, dtype=object)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return calibrated probabilities of shape (n_rows, 2): legitimate and fraud.

        Raises
        ------
        DataError
            A row cannot be read; the message gives the reason.
        """
        fraud = self._score(X)["score"].to_numpy()
        return np.column_stack([1 - fraud, fraud])

    def predict(self, X: Any) -> npt.NDArray[np.int64]:  # noqa: N803
        """Return 1 for each row that the policy reviews or declines, 0 for each that it approves; shape (n_rows,)."""
        return (self._score(X)["decision"] != APPROVE).cast(pl.Int64).to_numpy()

    def _score(self, X: Any) -> pl.DataFrame:  # noqa: N803
        check_is_fitted(self)
        rows, _ = frames.to_polars(X, thing="X")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HistoryWarning)  # the history is that of the fit
            scored: pl.DataFrame = self.scorer_.score(rows, history=self.history_, reasons="none")
        rejected = scored["rejected"].drop_nulls()
        if len(rejected):
            raise DataError(
                f"X: {len(rejected):,} of {scored.height:,} rows cannot be read ({rejected[0]})",
                hint="Call fraud3000.prepare_frame(X, params) to see which; pass only rows that can be read.",
            )
        return scored


class TimeSplit:
    """Cross-validation forward in time: each test fold is later than its training rows by at least the label delay.

    Parameters
    ----------
    n_splits
        Number of folds. The time span is cut into ``n_splits + 1`` equal parts; the first is only trained on.
    params
        Params whose section ``prepare`` maps the time and states the label delay; by default they are guessed.
    gap
        Time between training and test, such as ``"7d"``; by default the label delay.

    Examples
    --------
    >>> import polars as pl
    >>> from fraud3000 import TimeSplit, parse_params
    >>> days = pl.DataFrame({"ts": [f"2024-01-{day:02}" for day in range(1, 13)], "amount": [1.0] * 12})
    >>> params = parse_params({"prepare": {"source": "custom", "mapping": {"columns": {"ts": "ts", "amount": "amount"}}}})
    >>> [(len(train), test.tolist()) for train, test in TimeSplit(2, params=params, gap="1d").split(days)]
    [(3, [4, 5, 6, 7]), (7, [8, 9, 10, 11])]
    """

    def __init__(self, n_splits: int = 5, *, params: Params | None = None, gap: str | None = None) -> None:
        self.n_splits, self.params, self.gap = n_splits, params, gap

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: N803, ARG002
        """Return the number of folds."""
        return self.n_splits

    def split(
        self,
        X: Any,  # noqa: N803
        y: Any = None,  # noqa: ARG002
        groups: Any = None,  # noqa: ARG002
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Yield the row indices of training and test, fold by fold.

        Raises
        ------
        DataError
            No time is mapped, or a fold has no training rows.
        """
        rows, _ = frames.to_polars(X, thing="X")
        params = self.params or guess_params(rows)[0]
        ts = _times(rows, params)
        gap = params.prepare.label_delay if self.gap is None else timedelta(seconds=durations.seconds(self.gap))
        first, last = ts.min(), ts.max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            raise DataError("X: no time can be read", hint="Map it as prepare.mapping.columns.ts.")
        cuts = [first + (last - first) * part / (self.n_splits + 1) for part in range(1, self.n_splits + 1)]
        for start, end in zip(cuts, [*cuts[1:], None], strict=True):
            train = (ts < start - gap).fill_null(value=False).arg_true().to_numpy()
            inside = (ts >= start) if end is None else (ts >= start) & (ts < end)
            if not len(train):
                raise DataError(
                    f"X: no training row is {durations.text(int(gap.total_seconds()))} before {start:%Y-%m-%d}",
                    hint="Set fewer splits or a shorter gap.",
                )
            yield train, inside.fill_null(value=False).arg_true().to_numpy()


def _times(rows: pl.DataFrame, params: Params) -> pl.Series:
    if prepared.is_prepared(rows.schema) and "ts" in rows.columns:
        return rows["ts"]
    mapping = sources.resolve(params.prepare)
    layout = resolve(rows.columns, mapping, thing="X", optional=("is_fraud", "reported_at"))
    if "ts" not in layout.roles:
        raise DataError("X: no column is mapped as the time", hint="Map it as prepare.mapping.columns.ts.")
    return times.read([rows[name] for name in layout.roles["ts"]], mapping.time)


def _with_labels(rows: pl.DataFrame, y: Any) -> pl.DataFrame:
    """Add labels to rows; TRANSACTIONS get them as `is_fraud`."""
    labels = np.asarray(y)
    if labels.shape != (rows.height,):
        raise ParamsError(
            f"y: has shape {labels.shape}, but X has {rows.height:,} rows", hint="Pass one label for each row."
        )
    values = {*np.unique(labels).tolist()}
    if not values <= {0, 1}:
        listed = ", ".join(map(repr, sorted(values, key=str)[:5]))
        raise ParamsError(f"y: has the values {listed}", hint="Pass 1 for fraud and 0 for legitimate.")
    column = pl.Series(labels.astype(np.int8))
    if prepared.is_prepared(rows.schema):
        return rows.with_columns(is_fraud=column, labelled=pl.lit(value=True))
    return rows.with_columns(column.alias(LABEL))


def _prepare(rows: pl.DataFrame, params: Params | None) -> PreparedFrames:
    """Clean the rows of a fit; labels that `fit` added take the place of a mapped label column."""
    settings = params or guess_params(rows.drop(LABEL, strict=False))[0]
    if LABEL not in rows.columns:
        return prepare_frame(rows, settings)
    section = settings.prepare
    columns = {**section.mapping.get("columns", {}), "is_fraud": LABEL}
    mapping = {**section.mapping, "columns": columns, "label": {}}
    changed = section.model_copy(update={"mapping": mapping})
    return prepare_frame(rows, settings.model_copy(update={"prepare": changed}))


def _training_rows(featured: pl.DataFrame, params: Params) -> pl.DataFrame:
    """Leave out refunds, and rows in the burn-in if the params state one."""
    burn_in = params.featurize.burn_in
    rows = featured.filter(pl.col("status").ne_missing(REFUND))
    if burn_in is None or "history_days" not in rows.columns:
        return rows
    return rows.filter(pl.col("history_days") * 86_400 >= burn_in.total_seconds())
