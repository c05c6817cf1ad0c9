"""The features of a card fraud model: the one list that analysts read and change."""

from __future__ import annotations

from collections.abc import Sequence

from fraud3000 import durations
from fraud3000.features.spec import (
    Calendar,
    Catalogue,
    Column,
    Feature,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    SinceLast,
    Versus,
    Window,
)


def declared(label_delay: str) -> list[Feature]:
    """Every feature there could be, given all columns."""
    return [
        Column("amount"),
        Calendar("hour"),
        Calendar("weekday"),
        FromHome(),
        *(Window("card_id", length, "count") for length in ("1h", "1d", "7d", "30d")),
        *(Window("card_id", length, "sum") for length in ("1d", "7d")),
        *(Window("card_id", length, agg) for agg in ("mean", "max", "std") for length in ("7d", "30d", "90d")),
        *(Versus("card_id", length, how) for how in ("ratio", "zscore") for length in ("7d", "30d", "90d")),
        *(LabelWindow("card_id", length, agg, label_delay) for agg in ("frauds", "rate") for length in ("7d", "30d")),
        SinceLast("card_id", "30d"),
        NotSeen(("card_id", "terminal_id"), "90d"),
        FromLast("card_id", "30d", "distance"),
        FromLast("card_id", "30d", "speed"),
        *(Window("terminal_id", length, "count") for length in ("1h", "1d", "7d", "30d")),
        *(Window("terminal_id", length, agg) for agg in ("mean", "std") for length in ("7d", "30d")),
        Versus("terminal_id", "30d", "ratio"),
        *(
            LabelWindow("terminal_id", length, agg, label_delay)
            for agg in ("frauds", "labelled", "rate")
            for length in ("1d", "7d", "30d")
        ),
    ]


def default(
    columns: Sequence[str],
    *,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    label_delay: int,
    late_horizon: int = 86_400,
    zone: str = "UTC",
    precedence: Sequence[str] = (),
) -> Catalogue:
    """The declared features that a data set has the columns for, then its passthrough columns.

    Examples
    --------
    >>> default(["amount"], categorical=["country"], label_delay=604_800).names
    ['amount', 'country']
    """
    possible = [feature for feature in declared(durations.text(label_delay)) if feature.needs <= set(columns)]
    passed = [*(Column(name) for name in numeric), *(Column(name, categorical=True) for name in categorical)]
    return Catalogue(
        features=(*possible, *passed),
        label_delay=label_delay,
        late_horizon=late_horizon,
        zone=zone,
        precedence=tuple(precedence),
    )
