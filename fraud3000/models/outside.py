"""Calibration and threshold, both on rows that the model was not fitted on, and not on the same ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud3000.features.spec import Catalogue
from fraud3000.models import calibrate, fit
from fraud3000.models.calibrate import FEWEST_FOR_SLOPE, Calibrator
from fraud3000.models.encoder import Floats
from fraud3000.models.fit import Labels, Model
from fraud3000.models.policy import Threshold, choose_threshold
from fraud3000.models.rows import Rows
from fraud3000.params import PolicyParams, TrainModelParams
from fraud3000.splits import Boundaries


@dataclass(frozen=True)
class Outside:
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


def settle(
    model: Model,
    train: Rows,
    valid: Rows,
    catalogue: Catalogue,
    boundaries: Boundaries,
    params: TrainModelParams,
    policy: PolicyParams,
) -> Outside:
    """Calibrate on the first half of validation, set the threshold on the second.

    Halves are of the validation's time, cut at midnight UTC, or by a hash of the id in data without
    time. Where the first half knows fewer than 5 frauds, calibration is cross-fitted on the
    training rows and all of validation sets the threshold.

    Parameters
    ----------
    model
        Fitted on the known rows of `train`.
    train, valid
        Rows of the two splits, labels as known on the day.
    """
    log_odds = model.log_odds(valid.featured)
    first = _first_half(valid.featured, boundaries)
    known, is_fraud = first & valid.is_fraud.is_not_null().to_numpy(), (valid.is_fraud == 1).fill_null(value=False)
    labels = is_fraud.to_numpy()[known].astype(np.int8)
    train_rows, train_labels = train.known
    halved = (labels.sum() >= FEWEST_FOR_SLOPE and not first.all()) or train_labels.sum() < FEWEST_FOR_SLOPE
    if halved:
        calibrator = calibrate.fit(params.calibration, log_odds[known], labels)
        rest = ~first if not first.all() else first
        calibrated_on = _said("first half of validation", labels)
    else:
        across = fit.cross_fitted(train_rows, train_labels, catalogue.features, params)
        calibrator = calibrate.fit(params.calibration, across, train_labels)
        rest = np.ones(len(first), dtype=bool)
        calibrated_on = _said(
            f"training rows, cross-fitted (the first half of validation knows {labels.sum()} frauds)", train_labels
        )
    scored = valid.featured.filter(pl.Series(rest)).with_columns(
        score=pl.Series(calibrator.probability(log_odds[rest]))
    )
    where = "second half of validation" if not rest.all() else "all of validation"
    threshold = choose_threshold(scored, policy)
    return Outside(calibrator, threshold, calibrated_on, f"{where}: {scored.height:,} rows", log_odds)


def metrics(valid: Rows, log_odds: Floats) -> dict[str, float]:
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


def _first_half(featured: pl.DataFrame, boundaries: Boundaries) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows calibrate; the others set the threshold."""
    if boundaries.valid is None:
        return np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in featured["transaction_id"]], bool)
    first, last = boundaries.valid
    middle = first + (last - first) / 2
    midnight = middle.replace(hour=0, minute=0, second=0, microsecond=0)
    cut = midnight if midnight > first + timedelta(hours=12) else middle
    return featured.select(pl.col("ts") < cut).to_series().to_numpy()
