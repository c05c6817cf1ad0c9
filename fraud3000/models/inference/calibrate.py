"""Calibrate log-odds to probabilities of fraud by strictly increasing functions.

Every calibrator here is strictly increasing, so rankings, and with them average precision, are
those of the model itself. `training.calibration` fits them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from fraud3000.errors import ScorerError
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.logistic import expit

_TILT = 1e-6
"""Weight of a slowly rising term that keeps distinct scores apart where a curve is flat."""


class Calibrator(Protocol):
    """A strictly increasing map from log-odds to probability."""

    method: ClassVar[str]

    def probability(self, log_odds: Floats) -> Floats:
        """Return probabilities in the open interval (0, 1), ndarray of shape (n_rows,)."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; floats are exact."""


@dataclass(frozen=True)
class Platt:
    """Platt calibration: logit p = slope · z + intercept.

    References
    ----------
    Platt (1999): Probabilistic Outputs for Support Vector Machines.
    """

    slope: float
    intercept: float
    method: ClassVar[str] = "platt"

    def probability(self, log_odds: Floats) -> Floats:
        return _tilt(expit(self.slope * log_odds + self.intercept), log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, **asdict(self)}


@dataclass(frozen=True)
class Beta:
    """Beta calibration: logit p = a · ln s − b · ln(1 − s) + c, with s the uncalibrated probability.

    References
    ----------
    Kull, Silva Filho, Flach (2017): Beyond Sigmoids: How to Obtain Well-Calibrated Probabilities
    from Binary Classifiers with Beta Calibration.
    """

    a: float
    b: float
    c: float
    method: ClassVar[str] = "beta"

    def probability(self, log_odds: Floats) -> Floats:
        low, high = beta_terms(log_odds)
        return _tilt(expit(self.a * low + self.b * high + self.c), log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, **asdict(self)}


@dataclass(frozen=True)
class Isotonic:
    """Isotonic calibration: linear interpolation between the centres of the blocks of an isotonic regression."""

    centres: tuple[float, ...]
    rates: tuple[float, ...]
    method: ClassVar[str] = "isotonic"

    def probability(self, log_odds: Floats) -> Floats:
        return _tilt(np.interp(log_odds, self.centres, self.rates), log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, "centres": list(self.centres), "rates": list(self.rates)}


def from_dict(content: dict[str, Any]) -> Calibrator:
    """Read what `to_dict` wrote.

    Raises
    ------
    ScorerError
        The method is unknown to this release.
    """
    values = {name: value for name, value in content.items() if name != "method"}
    if content["method"] == "isotonic":
        return Isotonic(tuple(values["centres"]), tuple(values["rates"]))
    known: dict[str, Callable[..., Calibrator]] = {"platt": Platt, "beta": Beta}
    if content["method"] not in known:
        raise ScorerError(
            f"unknown calibration '{content['method']}'; known: platt, beta, isotonic", hint="Update fraud3000."
        )
    return known[content["method"]](**values)


def _tilt(probability: Floats, log_odds: Floats) -> Floats:
    rising = 0.5 + 0.5 * log_odds / (1 + np.abs(log_odds))
    tilted: Floats = (1 - _TILT) * probability + _TILT * rising
    return tilted


def beta_terms(log_odds: Floats) -> tuple[Floats, Floats]:
    """Return ln s and −ln(1 − s) of the uncalibrated probability s, each of shape (n_rows,)."""
    return -np.logaddexp(0, -log_odds), np.logaddexp(0, log_odds)
