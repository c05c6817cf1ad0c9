"""Cross-fitted calibration and threshold on held-out rows: no row sets the threshold with a calibrator fitted on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference.calibrate import Calibrator
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.model import Model
from fraud3000.models.policy import Threshold, choose_threshold
from fraud3000.models.training import calibration, fit
from fraud3000.models.training.calibration import FEWEST_FOR_SLOPE
from fraud3000.models.training.fit import Labels
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import PolicyParams, TrainModelParams
from fraud3000.utc import midnight_before

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CrossFitResult:
    """Calibrator and threshold fitted on held-out rows.

    Attributes
    ----------
    calibrated_on, threshold_on
        Description of the rows used.
    log_odds
        Uncalibrated log-odds of every validation row; ndarray of shape (n_valid,).
    """

    calibrator: Calibrator
    threshold: Threshold
    calibrated_on: str
    threshold_on: str
    log_odds: Floats


def calibrate_and_set_threshold(
    model: Model,
    train: TrainingRows,
    valid: TrainingRows,
    catalogue: Catalogue,
    boundaries: Boundaries,
    params: TrainModelParams,
    policy: PolicyParams,
) -> CrossFitResult:
    """Fit the calibrator on validation rows, and set the threshold on the same rows by cross-fitting.

    Validation is split into halves: by time, at midnight UTC, or by a hash of the id in data without
    time. To set the threshold, each half is scored by a calibrator fitted on the other half;
    the returned calibrator is fitted on both. If a half has fewer than 5 known frauds, the calibrator is cross-fitted on
    the training rows instead, and all validation rows set the threshold.

    Parameters
    ----------
    model
        Fitted on the known rows of `train`.
    train, valid
        Rows of the two splits, with labels as known on the model's cut-off date.
    """
    log_odds = model.log_odds(valid.featured)
    known = valid.is_fraud.is_not_null().to_numpy()
    is_fraud = (valid.is_fraud == 1).fill_null(value=False).to_numpy().astype(np.int8)
    first = _first_half(valid.featured, boundaries)
    fewest = min(int(is_fraud[known & half].sum()) for half in (first, ~first))
    train_rows, train_labels = train.known
    if fewest >= FEWEST_FOR_SLOPE or train_labels.sum() < FEWEST_FOR_SLOPE:
        labels = is_fraud[known]
        calibrator = calibration.fit(params.calibration, log_odds[known], labels)
        scores = _cross_calibrated_scores(params.calibration, log_odds, is_fraud, known, first)
        calibrated_on, how = _description("validation", labels), ", each half calibrated on the other"
    else:
        train_log_odds = fit.cross_fitted_log_odds(train_rows, train_labels, catalogue.features, params)
        calibrator = calibration.fit(params.calibration, train_log_odds, train_labels)
        scores = calibrator.probability(log_odds)
        reason = f"(a half of validation has {fewest} known frauds)"
        calibrated_on, how = _description(f"training rows, cross-fitted {reason}", train_labels), ""
    threshold = choose_threshold(valid.featured.with_columns(score=pl.Series(scores)), policy)
    return CrossFitResult(calibrator, threshold, calibrated_on, f"validation: {len(scores):,} rows{how}", log_odds)


def _cross_calibrated_scores(method: str, log_odds: Floats, is_fraud: Labels, known: Mask, first: Mask) -> Floats:
    """Score each half by a calibrator fitted on the other; if one half is empty, one calibrator scores all rows."""
    scores = np.empty(len(log_odds))
    for half, other in ((first, ~first), (~first, first)):
        rows = known & (other if other.any() else half)
        scores[half] = calibration.fit(method, log_odds[rows], is_fraud[rows]).probability(log_odds[half])
    return scores


def settle_forward(
    featured: pl.DataFrame,
    is_fraud: Labels,
    catalogue: Catalogue,
    params: TrainModelParams,
    policy: PolicyParams,
    *,
    folds: int,
) -> CrossFitResult:
    """Fit the calibrator and set the threshold on rows scored by models of earlier rows, so that all rows can be fitted on.

    The rows are cut into ``folds + 1`` parts of equal size, by time. Each part but the first is scored by a model of the
    rows before it, without those of the last label delay. In data without time, each row is scored by a model fitted
    without it.

    Parameters
    ----------
    featured
        FEATURED, the rows of the final fit only.
    is_fraud
        0 or 1 for each row.

    Returns
    -------
    CrossFitResult
        Its `log_odds` are NaN for rows that no earlier model scored.
    """
    log_odds = _forward_log_odds(featured, is_fraud, catalogue, params, folds)
    scored = ~np.isnan(log_odds)
    labels = is_fraud[scored]
    if not 0 < labels.sum() < len(labels):
        log_odds = fit.cross_fitted_log_odds(featured, is_fraud, catalogue.features, params, folds=folds)
        scored, labels = np.ones(len(log_odds), dtype=bool), is_fraud
    rows = featured.filter(pl.Series(scored))
    calibrator = calibration.fit(params.calibration, log_odds[scored], labels)
    first = np.arange(len(labels)) < len(labels) // 2
    first = first[np.argsort(np.argsort(rows["ts"].to_numpy(), kind="stable"))] if "ts" in rows.columns else first
    known = np.ones(len(labels), dtype=bool)
    enough = min(int(labels[half].sum()) for half in (first, ~first)) >= FEWEST_FOR_SLOPE
    scores = (
        _cross_calibrated_scores(params.calibration, log_odds[scored], labels, known, first)
        if enough
        else calibrator.probability(log_odds[scored])
    )
    threshold = choose_threshold(rows.with_columns(score=pl.Series(scores)), policy)
    description = _description(f"rows scored by models of earlier rows, {folds} folds", labels)
    return CrossFitResult(calibrator, threshold, description, description, log_odds)


def _forward_log_odds(
    featured: pl.DataFrame, is_fraud: Labels, catalogue: Catalogue, params: TrainModelParams, folds: int
) -> Floats:
    """Return the log-odds of each row by a model of the rows before its part; NaN for rows without such a model."""
    log_odds = np.full(len(is_fraud), np.nan)
    if "ts" not in featured.columns:
        return fit.cross_fitted_log_odds(featured, is_fraud, catalogue.features, params, folds=folds)
    ts = featured["ts"].dt.epoch("us").to_numpy()
    starts = np.quantile(ts, np.arange(1, folds + 1) / (folds + 1), method="higher")
    for start, end in zip(starts, [*starts[1:], np.iinfo(np.int64).max], strict=True):
        before, inside = ts < start - catalogue.label_delay * 1_000_000, (ts >= start) & (ts < end)
        if before.any() and 0 < is_fraud[before].sum() < before.sum() and inside.any():
            model = fit.fit(featured.filter(pl.Series(before)), is_fraud[before], catalogue.features, params)
            log_odds[inside] = model.log_odds(featured.filter(pl.Series(inside)))
    return log_odds


def validation_metrics(valid: TrainingRows, log_odds: Floats) -> dict[str, float]:
    """Return average precision and AUC on validation rows with a known label; empty if all labels are the same."""
    known = valid.is_fraud.is_not_null().to_numpy()
    is_fraud, known_log_odds = valid.is_fraud.drop_nulls().to_numpy(), log_odds[known]
    if not 0 < is_fraud.sum() < len(is_fraud):
        return {}
    return {
        "valid_average_precision": float(average_precision_score(is_fraud, known_log_odds)),
        "valid_auc_roc": float(roc_auc_score(is_fraud, known_log_odds)),
        "valid_prevalence": float(is_fraud.mean()),
    }


def _description(rows: str, labels: Labels) -> str:
    return f"{rows}: {len(labels):,} rows, {labels.sum():,} frauds"


def _first_half(featured: pl.DataFrame, boundaries: Boundaries) -> Mask:
    """Return which rows are in the first half."""
    if boundaries.valid is None:
        return np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in featured["transaction_id"]], bool)
    first, last = boundaries.valid
    middle = first + (last - first) / 2
    midnight = midnight_before(middle)
    cut = midnight if midnight > first + timedelta(hours=12) else middle
    return featured.select(pl.col("ts") < cut).to_series().to_numpy()
