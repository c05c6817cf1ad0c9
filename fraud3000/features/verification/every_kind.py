"""The default catalogue, and beside it every kind of feature that it lacks: for proofs, not for models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from fraud3000 import durations
from fraud3000.features import catalogue as catalogues
from fraud3000.features.spec.base import Condition, Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from fraud3000.schema import APPROVED, DECLINED, REFUND, TRANSACTIONS

NUMERIC, CATEGORICAL = "risk", "country"
"""The passthrough columns that it needs."""

LIMIT = 5_000
"""An amount that a condition compares with."""

_PAIR = ("card_id", "terminal_id")
_OfValues = Literal["sum", "mean", "max", "min", "std"]
_OF_VALUES: tuple[_OfValues, ...] = ("sum", "mean", "max", "min", "std")
_PLAIN: tuple[Literal["count"] | _OfValues, ...] = ("count", *_OF_VALUES)
_CONDITIONS = (
    Condition("country", "is", ("FR", "US")),
    Condition("status", "is", (DECLINED,)),
    Condition("status", "is", (REFUND, APPROVED)),
    Condition("amount", "above", (LIMIT,)),
    Condition("amount", "at_most", (0,)),
    Condition("risk", "below", (0.25,)),
    Condition("risk", "at_least", (0.25,)),
)


def catalogue(
    *,
    label_delay: int = 604_800,
    late_horizon: int = 86_400,
    zone: str = "Europe/Paris",
    precedence: Sequence[str] = (),
) -> Catalogue:
    """The default catalogue, and beside it every kind of feature that it lacks.

    Examples
    --------
    >>> len(catalogue().names) > 100
    True
    """
    default = catalogues.default(
        [*TRANSACTIONS],
        numeric=[NUMERIC],
        categorical=[CATEGORICAL],
        label_delay=label_delay,
        late_horizon=late_horizon,
        zone=zone,
        precedence=precedence,
    )
    every = (*default.features, *_lacking(durations.text(label_delay)), *_twins(default))
    return replace(default, features=tuple({feature.name: feature for feature in every}.values()))


def _lacking(label_delay: str) -> list[Feature]:
    return [
        *(Window("card_id", "7d", agg, column="risk") for agg in _OF_VALUES),
        *(Window("terminal_id", "1d", agg, column="risk", bucket="1h") for agg in _OF_VALUES),
        *(Window("card_id", "2d", agg, delay="1d") for agg in _PLAIN),
        *(Window("card_id", "2d", agg, delay="90m", bucket="1h") for agg in _PLAIN),
        *(Window("card_id", "7d", agg, where=one) for agg in ("count", "share", "sum") for one in _CONDITIONS),
        *(Window("terminal_id", "1d", agg, where=one, bucket="5m") for agg in ("share", "max") for one in _CONDITIONS),
        *(Window(_PAIR, "30d", agg) for agg in ("mean", "std", "max")),
        Window("card_id", "30d", "distinct", column="country", cap=3),
        Window("card_id", "7d", "distinct", column="country", delay="1d", where=_CONDITIONS[3]),
        Window("terminal_id", "7d", "distinct", column="card_id", bucket="6h"),
        *(Versus("card_id", "30d", how, column="risk") for how in ("ratio", "zscore")),
        *(Versus("terminal_id", "7d", how, bucket="1h") for how in ("ratio", "zscore")),
        Versus("card_id", "7d", "zscore", where=_CONDITIONS[0]),
        *(Shift("card_id", "2d", agg, "7d", column="risk") for agg in _OF_VALUES),
        *(Shift("terminal_id", "1d", agg, "7d", bucket="1h") for agg in _OF_VALUES),
        Shift("card_id", "1d", "max", "30d", delay="1d", where=_CONDITIONS[0]),
        *(SinceLast(key, "1h") for key in ("card_id", "terminal_id", _PAIR)),
        SinceLast("card_id", "30d", where=_CONDITIONS[1]),
        NotSeen("card_id", "1d"),
        NotSeen(_PAIR, "7d", where=_CONDITIONS[0]),
        NotSeen(("card_id", "country"), "1d"),  # a key of which nothing else is asked
        *(FromLast("terminal_id", "1d", how) for how in ("distance", "speed")),
        *(
            LabelWindow(key, "7d", agg, delay=delay, prior=0.02, strength=5.0)
            for key in ("card_id", "terminal_id", _PAIR)
            for delay in (label_delay, _longer(label_delay))
            for agg in ("frauds", "labelled", "rate", "smoothed")
        ),
        LabelWindow("card_id", "30d", "rate", delay=label_delay, where=_CONDITIONS[3]),
    ]


def _longer(delay: str) -> str:
    return durations.text(durations.seconds(delay) + 3 * 86_400)


def _twins(default: Catalogue) -> list[Feature]:
    """Each bucketed window of a catalogue as an exact one, and each exact one as a bucketed one where it may be."""
    stateful = [feature for feature in default.features if isinstance(feature, Window | LabelWindow | Versus)]
    exact = [replace(feature, bucket=None) for feature in stateful if feature.bucket]
    return [*exact, *(replace(feature, bucket="10m") for feature in stateful if not feature.bucket)]
