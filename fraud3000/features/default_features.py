"""The default features of a card fraud model: the list that analysts read and change."""

from __future__ import annotations

from collections.abc import Sequence

from fraud3000 import durations
from fraud3000.features.spec.base import Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import (
    Calendar,
    Column,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    Shift,
    SinceLast,
    Versus,
    Window,
)


def default_features(label_delay: str) -> list[Feature]:
    """Return every default feature, as if the data had all columns."""
    return [
        Column("amount"),
        *(Calendar(part) for part in ("hour", "weekday", "night", "weekend")),
        FromHome(),
        *(Window("card_id", length, "count") for length in ("10m", "1h", "1d", "7d", "30d")),
        *(Window("card_id", length, "sum") for length in ("1d", "7d")),
        *(Window("card_id", length, agg) for agg in ("mean", "max", "std") for length in ("7d", "30d", "90d")),
        Window("card_id", "30d", "min"),
        *(Versus("card_id", length, how) for how in ("ratio", "zscore") for length in ("7d", "30d", "90d")),
        *(Shift("card_id", length, agg, "90d") for agg in ("mean", "max") for length in ("3d", "7d", "14d")),
        *(Window("card_id", length, "distinct", column="terminal_id") for length in ("1d", "7d", "30d")),
        *(
            LabelWindow("card_id", length, agg, delay=label_delay)
            for agg in ("frauds", "rate")
            for length in ("7d", "30d")
        ),
        SinceLast("card_id", "30d"),
        *(FromLast("card_id", "30d", how) for how in ("distance", "speed")),
        NotSeen(("card_id", "terminal_id"), "90d"),
        Window(("card_id", "terminal_id"), "30d", "count"),
        *(
            Window("terminal_id", length, "count", bucket=bucket)
            for length, bucket in (("1h", "5m"), ("1d", "1h"), ("7d", "1h"), ("30d", "6h"))
        ),
        *(
            Window("terminal_id", length, agg, bucket=bucket)
            for agg in ("mean", "std")
            for length, bucket in (("7d", "1h"), ("30d", "6h"))
        ),
        Versus("terminal_id", "30d", "ratio", bucket="6h"),
        *(
            LabelWindow("terminal_id", length, agg, delay=label_delay, bucket=bucket)
            for agg in ("frauds", "labelled", "rate")
            for length, bucket in (("1d", "1h"), ("7d", "1h"), ("30d", "6h"))
        ),
        *(
            LabelWindow("terminal_id", length, "rate", delay=label_delay, bucket=bucket)
            for length, bucket in (("3d", "1h"), ("14d", "6h"), ("21d", "6h"))
        ),
        LabelWindow("terminal_id", "30d", "smoothed", delay=label_delay, bucket="6h"),
    ]


def default_catalogue(
    columns: Sequence[str],
    *,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    label_delay: int,
    late_horizon: int = 86_400,
    zone: str = "UTC",
    precedence: Sequence[str] = (),
) -> Catalogue:
    """Build the catalogue of the default features whose columns a data set has, then its passthrough columns.

    Examples
    --------
    >>> default_catalogue(["amount"], categorical=["country"], label_delay=604_800).names
    ['amount', 'country']
    """
    supported = [feature for feature in default_features(durations.text(label_delay)) if feature.needs <= set(columns)]
    passthrough = [*(Column(name) for name in numeric), *(Column(name, categorical=True) for name in categorical)]
    return Catalogue(
        features=(*supported, *passthrough),
        label_delay=label_delay,
        late_horizon=late_horizon,
        zone=zone,
        precedence=tuple(precedence),
    )
