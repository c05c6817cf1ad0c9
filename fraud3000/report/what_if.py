"""Section that compares policies: money saved, alerts and false alerts for each alert budget, by capacity and by cost."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes

from fraud3000.report import strokes
from fraud3000.report.canvas import ACCENT, BASELINE, INK, MUTED, Draw, Picture, Sheet
from fraud3000.report.formatting import money, per_day, percent
from fraud3000.report.section import Section, TextTable

NAME, TOPIC = "what-if", "Policy comparison"
_DRAWN = ("saved", "alerts", "precision", "honest")
_TITLES = {
    "saved": "money saved a day",
    "alerts": "alerts a day",
    "precision": "precision of alerts",
    "honest": "false alerts a day",
}


def section(points: pl.DataFrame, *, decimals: int, currency: str | None) -> Section:
    """Return the section on operating points.

    Parameters
    ----------
    points
        From `fraud3000.models.policy_simulation.operating_points`.
    decimals, currency
        Minor digits and currency of the amounts.
    """
    best = points.sort("saved", descending=True, maintain_order=True).row(0, named=True)
    finding = (
        f"The {best['threshold']} policy with {best['cards_per_day']:,} cards reviewed a day saves most: "
        f"{money(best['saved'], decimals, currency)} a day"
    )
    if points["reviewed"].is_null().all():
        finding = f"The cost policy saves {money(best['saved'], decimals, currency)}"
    picture = Picture(NAME, finding, _drawing(points, decimals), 560, 1_040)
    caption = "Blue: cost policy. Grey: capacity policy (highest scores first). One mark for each alert budget."
    return Section(NAME, TOPIC, finding, caption, picture, TextTable(COLUMNS, rows(points, decimals)), points)


COLUMNS = (
    "policy", "budget", "reviewed", "declined", "alerts", "precision", "recall", "caught", "lost", "review cost",
    "false alerts", "friction", "saved", "savings",
)  # fmt: skip
"""Column headers of `rows`: all but shares are per day, or over all rows if the data has no time."""

NARROW = tuple(
    COLUMNS.index(name) for name in COLUMNS if name not in {"declined", "review cost", "friction", "savings"}
)
"""Indices of the columns that fit on a terminal."""


def rows(points: pl.DataFrame, decimals: int) -> tuple[tuple[str, ...], ...]:
    """Format operating points as table rows.

    Examples
    --------
    >>> point = dict.fromkeys(["reviewed", "reviewed_sd", "precision", "recall"]) | dict.fromkeys(
    ...     ["declined", "alerts", "money_caught", "money_lost", "review_cost", "honest", "friction", "saved", "savings"], 0.5)
    >>> [row] = rows(pl.DataFrame([{"threshold": "cost", "cards_per_day": 12} | point]), 2)
    >>> row[:6]
    ('cost', '12', '–', '0.5', '0.5', '–')
    """
    return tuple(_row(point, decimals) for point in points.iter_rows(named=True))


def _row(point: dict[str, float], decimals: int) -> tuple[str, ...]:
    spread = "" if point["reviewed_sd"] is None else f" ± {per_day(point['reviewed_sd'])}"
    return (
        str(point["threshold"]),
        f"{point['cards_per_day']:,}",
        "–" if point["reviewed"] is None else per_day(point["reviewed"]) + spread,
        *(per_day(point[name]) for name in ("declined", "alerts")),
        *("–" if point[name] is None else percent(point[name]) for name in ("precision", "recall")),
        *(money(point[name], decimals) for name in ("money_caught", "money_lost", "review_cost")),
        per_day(point["honest"]),
        *(money(point[name], decimals) for name in ("friction", "saved")),
        "–" if point["savings"] is None else percent(point["savings"]),
    )


def _drawing(points: pl.DataFrame, decimals: int) -> Draw:
    def draw(sheet: Sheet) -> None:
        layout = {"nrows": 4, "ncols": 1} if sheet.narrow else {"nrows": 2, "ncols": 2}
        all_axes: Sequence[Axes] = sheet.figure.subplots(**layout, sharex=True).flat  # type: ignore[call-overload]
        for axes, name in zip(all_axes, _DRAWN, strict=True):
            axes.grid(visible=True, axis="y")
            for kind, colour in (("capacity", BASELINE), ("cost", ACCENT)):
                own = points.filter(pl.col("threshold") == kind)
                values = own[name] / 10**decimals if name == "saved" else own[name]
                axes.plot(own["cards_per_day"], values, color=colour, marker="o", markersize=5)
            axes.set_title(_TITLES[name], fontsize="medium", color=INK, loc="left", fontweight="bold")
            axes.set_xscale("log")
            axes.set_xticks(points["cards_per_day"].unique().sort().to_list())
            axes.xaxis.set_major_formatter(lambda value, _index: f"{value:,.0f}")
            axes.minorticks_off()
            axes.margins(0.05)
            axes.set_ylim(bottom=None if axes.get_ylim()[0] < 0 and name == "saved" else 0.0)
            if name == "precision":
                axes.yaxis.set_major_formatter(strokes.SHARE)
        all_axes[len(_DRAWN) - 1].set_xlabel("alert budget, cards a day", color=MUTED)

    return draw
