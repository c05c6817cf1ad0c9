"""Catalogue for verification: the default features plus every kind of feature that the default lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from fraud3000 import durations
from fraud3000.features.default_features import default_catalogue
from fraud3000.features.spec.base import Condition, Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from fraud3000.schema import APPROVED, DECLINED, REFUND, TRANSACTIONS

NUMERIC, CATEGORICAL = "risk", "country"
"""Passthrough columns that the catalogue needs."""

LIMIT = 5_000
"""Amount that the conditions compare with."""

_PAIR = ("card_id", "terminal_id")
_ValueAggregate = Literal["sum", "mean", "max", "min", "std"]
_VALUE_AGGREGATES: tuple[_ValueAggregate, ...] = ("sum", "mean", "max", "min", "std")
_PLAIN_AGGREGATES: tuple[Literal["count"] | _ValueAggregate, ...] = ("count", *_VALUE_AGGREGATES)
_CONDITIONS = (
    Condition("country", "is", ("FR", "US")),
    Condition("status", "is", (DECLINED,)),
    Condition("status", "is", (REFUND, APPROVED)),
    Condition("amount", "above", (LIMIT,)),
    Condition("amount", "at_most", (0,)),
    Condition("risk", "below", (0.25,)),
    Condition("risk", "at_least", (0.25,)),
)


def build_catalogue(
    *,
    label_delay: int = 604_800,
    late_horizon: int = 86_400,
    zone: str = "Europe/Paris",
    precedence: Sequence[str] = (),
) -> Catalogue:
    """Build the default catalogue plus every kind of feature that it lacks.

    Examples
    --------
    >>> len(build_catalogue().names) > 100
    True
    """
    default = default_catalogue(
        [*TRANSACTIONS],
        numeric=[NUMERIC],
        categorical=[CATEGORICAL],
        label_delay=label_delay,
        late_horizon=late_horizon,
        zone=zone,
        precedence=precedence,
    )
    features = (*default.features, *_missing_kinds(durations.text(label_delay)), *_bucket_variants(default))
    return replace(default, features=tuple({feature.name: feature for feature in features}.values()))


def _missing_kinds(label_delay: str) -> list[Feature]:
    return [
        *(Window("card_id", "7d", agg, column="risk") for agg in _VALUE_AGGREGATES),
        *(Window("terminal_id", "1d", agg, column="risk", bucket="1h") for agg in _VALUE_AGGREGATES),
        *(Window("card_id", "2d", agg, delay="1d") for agg in _PLAIN_AGGREGATES),
        *(Window("card_id", "2d", agg, delay="90m", bucket="1h") for agg in _PLAIN_AGGREGATES),
        *(
            Window("card_id", "7d", agg, where=condition)
            for agg in ("count", "share", "sum")
            for condition in _CONDITIONS
        ),
        *(
            Window("terminal_id", "1d", agg, where=condition, bucket="5m")
            for agg in ("share", "max")
            for condition in _CONDITIONS
        ),
        *(Window(_PAIR, "30d", agg) for agg in ("mean", "std", "max")),
        Window("card_id", "30d", "distinct", column="country", cap=3),
        Window("card_id", "7d", "distinct", column="country", delay="1d", where=_CONDITIONS[3]),
        Window("terminal_id", "7d", "distinct", column="card_id", bucket="6h"),
        *(Versus("card_id", "30d", how, column="risk") for how in ("ratio", "zscore")),
        *(Versus("terminal_id", "7d", how, bucket="1h") for how in ("ratio", "zscore")),
        Versus("card_id", "7d", "zscore", where=_CONDITIONS[0]),
        *(Shift("card_id", "2d", agg, "7d", column="risk") for agg in _VALUE_AGGREGATES),
        *(Shift("terminal_id", "1d", agg, "7d", bucket="1h") for agg in _VALUE_AGGREGATES),
        Shift("card_id", "1d", "max", "30d", delay="1d", where=_CONDITIONS[0]),
        *(SinceLast(key, "1h") for key in ("card_id", "terminal_id", _PAIR)),
        SinceLast("card_id", "30d", where=_CONDITIONS[1]),
        NotSeen("card_id", "1d"),
        NotSeen(_PAIR, "7d", where=_CONDITIONS[0]),
        NotSeen(("card_id", "country"), "1d"),  # a key that no other feature uses
        *(FromLast("terminal_id", "1d", how) for how in ("distance", "speed")),
        *(
            LabelWindow(key, "7d", agg, delay=delay, prior=0.02, strength=5.0)
            for key in ("card_id", "terminal_id", _PAIR)
            for delay in (label_delay, _longer_delay(label_delay))
            for agg in ("frauds", "labelled", "rate", "smoothed")
        ),
        LabelWindow("card_id", "30d", "rate", delay=label_delay, where=_CONDITIONS[3]),
    ]


def _longer_delay(delay: str) -> str:
    return durations.text(durations.seconds(delay) + 3 * 86_400)


def _bucket_variants(default: Catalogue) -> list[Feature]:
    """Return each bucketed window as an exact one, and each exact window as a bucketed one if its kind allows."""
    stateful = [feature for feature in default.features if isinstance(feature, Window | LabelWindow | Versus)]
    exact = [replace(feature, bucket=None) for feature in stateful if feature.bucket]
    return [*exact, *(replace(feature, bucket="10m") for feature in stateful if not feature.bucket)]
