"""Calibration and threshold, on rows that the model was not fitted on; no row sets a threshold by a calibrator that saw it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud3000.features.spec.declarations import Catalogue
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference import calibrate
from fraud3000.models.inference.calibrate import FEWEST_FOR_SLOPE, Calibrator
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.policy import Threshold, choose_threshold
from fraud3000.models.training import fit
from fraud3000.models.training.fit import Labels, Model
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import PolicyParams, TrainModelParams

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CrossFitResult:
    """What the rows outside the fit gave.

    Attributes
    ----------
    calibrated_on, threshold_on
        Which rows, in words.
    log_odds
        Of every validation row, uncalibrated; ndarray of shape (n_valid,).
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
    """Calibrate on validation, and set the threshold on the same rows, cross-fitted.

    Validation is cut into halves: of its time, at midnight UTC, or by a hash of the id in data without
    time. To set the threshold each half is scored by a calibrator that was fitted on the other;
    the calibrator that is kept is fitted on both. Where a half knows fewer than 5 frauds, calibration is cross-fitted on
    the training rows instead, and all of validation sets the threshold.

    Parameters
    ----------
    model
        Fitted on the known rows of `train`.
    train, valid
        Rows of the two splits, labels as known on the day.
    """
    log_odds = model.log_odds(valid.featured)
    known = valid.is_fraud.is_not_null().to_numpy()
    is_fraud = (valid.is_fraud == 1).fill_null(value=False).to_numpy().astype(np.int8)
    first = _first_half(valid.featured, boundaries)
    scarce = min(int(is_fraud[known & half].sum()) for half in (first, ~first))
    train_rows, train_labels = train.known
    if scarce >= FEWEST_FOR_SLOPE or train_labels.sum() < FEWEST_FOR_SLOPE:
        labels = is_fraud[known]
        calibrator = calibrate.fit(params.calibration, log_odds[known], labels)
        scores = _across_halves(params.calibration, log_odds, is_fraud, known, first)
        calibrated_on, how = _said("validation", labels), ", each half calibrated on the other"
    else:
        across = fit.cross_fitted(train_rows, train_labels, catalogue.features, params)
        calibrator = calibrate.fit(params.calibration, across, train_labels)
        scores = calibrator.probability(log_odds)
        fewest = f"(a half of validation knows {scarce} frauds)"
        calibrated_on, how = _said(f"training rows, cross-fitted {fewest}", train_labels), ""
    threshold = choose_threshold(valid.featured.with_columns(score=pl.Series(scores)), policy)
    return CrossFitResult(calibrator, threshold, calibrated_on, f"validation: {len(scores):,} rows{how}", log_odds)


def _across_halves(method: str, log_odds: Floats, is_fraud: Labels, known: Mask, first: Mask) -> Floats:
    """Score each half by a calibrator of the other; one half of no rows leaves all rows to one calibrator."""
    scores = np.empty(len(log_odds))
    for half, other in ((first, ~first), (~first, first)):
        rows = known & (other if other.any() else half)
        scores[half] = calibrate.fit(method, log_odds[rows], is_fraud[rows]).probability(log_odds[half])
    return scores


def validation_metrics(valid: TrainingRows, log_odds: Floats) -> dict[str, float]:
    """Average precision and AUC on the validation rows with a known label; empty where these are all the same."""
    known = valid.is_fraud.is_not_null().to_numpy()
    is_fraud, known_log_odds = valid.is_fraud.drop_nulls().to_numpy(), log_odds[known]
    if not 0 < is_fraud.sum() < len(is_fraud):
        return {}
    return {
        "valid_average_precision": float(average_precision_score(is_fraud, known_log_odds)),
        "valid_auc_roc": float(roc_auc_score(is_fraud, known_log_odds)),
        "valid_prevalence": float(is_fraud.mean()),
    }


def _said(rows: str, labels: Labels) -> str:
    return f"{rows}: {len(labels):,} rows, {labels.sum():,} frauds"


def _first_half(featured: pl.DataFrame, boundaries: Boundaries) -> Mask:
    """Which rows are of the first half."""
    if boundaries.valid is None:
        return np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in featured["transaction_id"]], bool)
    first, last = boundaries.valid
    middle = first + (last - first) / 2
    midnight = middle.replace(hour=0, minute=0, second=0, microsecond=0)
    cut = midnight if midnight > first + timedelta(hours=12) else middle
    return featured.select(pl.col("ts") < cut).to_series().to_numpy()
