"""Guess the format of a time column from its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fraud3000.data.reading import times
from fraud3000.params import TimeFormat

_ENOUGH = 0.98
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d%m%Y", "%d.%m.%y",
          "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%b %d %Y", "%d%b%Y", "%y%m%d", "%d-%m-%y")  # fmt: skip
_CLOCKS = ("%H:%M:%S", "%H:%M:%S%.f", "%H:%M", "%H.%M.%S", "%H%M%S", "%I:%M:%S %p", "%I:%M %p", "%H%M")
_EPOCHS = {"epoch_s": (3e8, 4e9), "epoch_ms": (3e11, 4e12), "epoch_us": (3e14, 4e15)}
_OFFSETS = ("", "%z")
_SWAPPED = {"%d/%m/%Y": "%m/%d/%Y", "%d-%m-%Y": "%m-%d-%Y", "%d/%m/%y": "%m/%d/%y"}
CLOCK = re.compile(r"^[0-9]{1,2}[:.][0-9]{2}([:.][0-9]{2}(\.[0-9]+)?)?( ?[AaPp][Mm])?$|^[0-9]{6}$|^[0-9]{4}$")
"""A time of day without a date."""


@dataclass(frozen=True)
class TimeGuess:
    """A format that fits a column.

    Attributes
    ----------
    form
        The format; in UTC.
    readable
        Share of the values that it reads.
    other
        Another format that reads them just as well, with day and month swapped; None if there is none.
    has_clock
        Whether the values contain a time of day.
    """

    form: TimeFormat
    readable: float
    other: str | None
    has_clock: bool


def guess(columns: Sequence[pl.Series]) -> TimeGuess | None:
    """Guess the format of one column, or of a date column and a clock column; None if no format reads the values."""
    first = columns[0]
    if isinstance(first.dtype, pl.Datetime) or first.dtype == pl.Date:
        return TimeGuess(TimeFormat(), 1.0, None, first.dtype != pl.Date)
    columns = [
        column.drop_nulls().unique(maintain_order=True).head(2_000) if len(columns) == 1 else column.head(2_000)
        for column in columns
    ]
    if not len(columns[0]) or columns[0].null_count() == len(columns[0]):
        return None
    epoch = _epoch(columns[0]) if len(columns) == 1 else None
    if epoch is not None:
        return epoch
    if not (columns[0].dtype == pl.String or columns[0].dtype.is_integer()):
        return None
    return _by_pattern(columns)


def _epoch(values: pl.Series) -> TimeGuess | None:
    numbers = values.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) < _ENOUGH * len(values) or not len(numbers):
        return None
    for name, (least, most) in _EPOCHS.items():
        share = float(numbers.is_between(least, most).mean() or 0.0)  # type: ignore[arg-type]
        if share >= _ENOUGH and not _is_compact_date(values):
            return TimeGuess(TimeFormat(format=name), share, None, True)
    return None


def _is_compact_date(values: pl.Series) -> bool:
    text = values.cast(pl.String).head(200)
    return bool(
        text.str.contains(r"^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([0-9]{4}|[0-9]{6})?$").all()
    )


def _by_pattern(columns: Sequence[pl.Series]) -> TimeGuess | None:
    best: TimeGuess | None = None
    present = len(columns[0]) - columns[0].null_count()
    example = str(columns[0].drop_nulls()[0])
    for pattern in _patterns(example, two=len(columns) > 1):
        read = times.read(columns, TimeFormat(format=pattern))
        plausible = read.dt.year().is_between(1990, 2100)
        share = float(plausible.sum()) / present
        if share >= 0.5 and (best is None or share > best.readable + 1e-9):
            best = TimeGuess(
                TimeFormat(format=pattern),
                min(1.0, share),
                None,
                "%H" in pattern or "%I" in pattern or pattern == "iso",
            )
        if best is not None and best.readable == 1.0:
            break
    return None if best is None else _with_other(best, columns, present)


def _with_other(best: TimeGuess, columns: Sequence[pl.Series], present: int) -> TimeGuess:
    """Look for the same pattern with day and month swapped."""
    for one, other in [*_SWAPPED.items(), *((b, a) for a, b in _SWAPPED.items())]:
        if best.form.format.startswith(one):
            pattern = best.form.format.replace(one, other)
            read = times.read(columns, TimeFormat(format=pattern)).is_not_null().sum() / present
            return TimeGuess(
                best.form, best.readable, pattern if read >= best.readable - 1e-9 else None, best.has_clock
            )
    if best.form.format == "iso":
        clock = bool(columns[0].cast(pl.String).str.contains(r"[0-9][T ][0-9]{1,2}:").any())
        return TimeGuess(best.form, best.readable, None, clock)
    return best


def _patterns(example: str, *, two: bool) -> list[str]:
    """Patterns to try, the likeliest first."""
    clocks = [f" {clock}" for clock in _CLOCKS]
    if two:
        return [f"{date}{clock}" for date in ("%Y-%m-%d", *_DATES) for clock in clocks]
    together = [f"{date}{clock}" for date in _DATES for clock in clocks] if re.search(r"\d[ T]\s*\d", example) else []
    together += [f"{date}T{clock.strip()}" for date in _DATES for clock in clocks] if "T" in example else []
    compact = ["%Y%m%d%H%M%S", "%Y%m%d%H%M", "%d%m%Y%H%M%S", "%y%m%d%H%M%S"] if example.isdigit() else []
    return ["iso", *compact, *together, *_DATES]
