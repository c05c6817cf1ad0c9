"""Read times in the formats of raw files as UTC microseconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache

import polars as pl

from fraud3000.data.reading import decimals
from fraud3000.errors import ParamsError, SchemaError
from fraud3000.params import TimeFormat
from fraud3000.schema import TIME

_EPOCH = {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0, "seconds_from": 6}
_ISO = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y%m%dT%H%M%S%.f")
_ISO_WITH_OFFSET = ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z", "%Y%m%dT%H%M%S%.f%z")
_OFFSET = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$"
_PART = re.compile(r"%[^A-Za-z%]*[A-Za-z%]|\s+|.")
_WIDTHS = {"%Y": 4, "%y": 2, "%m": 2, "%d": 2, "%H": 2, "%I": 2, "%M": 2, "%S": 2, "%j": 3}  # digits
_LARGEST = 10**17  # microseconds, three thousand years


def read(columns: Sequence[pl.Series], form: TimeFormat, key: str = "prepare.mapping.time") -> pl.Series:
    """Read one column, or several that together form the time, as Datetime[us, UTC].

    Columns of type Datetime or Date are used as they are, whatever the format says. Several columns
    are joined by blanks, one-digit numbers with a leading zero. Local times are read in `form.zone`; a
    time that occurs twice, at the end of summer time, is the earlier of the two; a time that does not
    occur is read with the offset before the gap (as Python reads fold=0). Fractions beyond
    microseconds are cut off.

    Parameters
    ----------
    key
        The section of the params that states the format, for error messages.

    Returns
    -------
    polars.Series
        Datetime[us, UTC], null where the time is missing or cannot be read.

    Raises
    ------
    SchemaError
        The column's type cannot represent times.
    ParamsError
        The strptime pattern does not describe a time.

    Examples
    --------
    >>> read([pl.Series([2024]), pl.Series([3]), pl.Series(["9:05"])], TimeFormat(format="%Y %m %H:%M")).to_list()
    [None]
    >>> read([pl.Series(["2024-03-31 02:30:00"])], TimeFormat(zone="Europe/Paris"))[0].isoformat()
    '2024-03-31T01:30:00+00:00'
    """
    first = columns[0]
    if len(columns) == 1 and (isinstance(first.dtype, pl.Datetime) or first.dtype == pl.Date):
        return _typed(first, form.zone)
    if form.format in _EPOCH:
        return _counted(first, form)
    text = _joined(columns)
    if form.format == "iso":
        return _iso(text, form.zone)
    return _by_pattern(text, form, key)


def to_utc(value: datetime) -> datetime:
    """Convert a time of the params to UTC; without an offset it is UTC."""
    series = pl.Series([value])
    return _typed(series, "UTC").item()  # type: ignore[no-any-return]


def outside_range(times: pl.Series, earliest: datetime, latest: datetime) -> pl.Series:
    """Boolean: the time is not null and lies outside [earliest, latest)."""
    return (times < to_utc(earliest)) | (times >= to_utc(latest))


def _typed(values: pl.Series, zone: str) -> pl.Series:
    kind = values.dtype
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return values.dt.convert_time_zone("UTC").cast(TIME)
    return _localised(values.cast(pl.Datetime("us")), zone)


def _localised(values: pl.Series, zone: str) -> pl.Series:
    if zone == "UTC":
        return values.dt.replace_time_zone("UTC")
    known = values.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    gap = values.is_not_null() & known.is_null()
    if not gap.any():
        return known
    before = values.dt.offset_by("-1d")
    offset = before - before.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone(
        "UTC"
    ).dt.replace_time_zone(None)
    return (values - offset).dt.replace_time_zone("UTC").zip_with(gap, known)


def _counted(values: pl.Series, form: TimeFormat) -> pl.Series:
    ticks, _ = decimals.scaled(values, _EPOCH[form.format], _LARGEST)
    if form.start is not None:
        start = _typed(pl.Series([form.start]), form.zone).dt.epoch("us").item()
        ticks = ticks + start
    return ticks.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _joined(columns: Sequence[pl.Series]) -> pl.Series:
    pieces = [_piece(column, pad=len(columns) > 1) for column in columns]
    frame = pl.DataFrame([piece.alias(str(index)) for index, piece in enumerate(pieces)])
    return frame.select(pl.concat_str(pl.all(), separator=" ").alias(columns[0].name)).to_series()


def _piece(column: pl.Series, *, pad: bool) -> pl.Series:
    if column.dtype.is_float():
        column = column.cast(pl.Int64, strict=False).zip_with(column == column.round(), pl.Series([None]))
    elif column.dtype.is_nested() or column.dtype == pl.Binary:
        raise SchemaError(f"column '{column.name}' is {column.dtype}, not a time", hint="Export it as text.")
    text = column.cast(pl.String).str.strip_chars()
    return text.str.replace(r"^([0-9])$", "0$1") if pad else text


def _iso(text: pl.Series, zone: str) -> pl.Series:
    day_and_time = text.str.replace(r"^([0-9]{4}-[0-9]{1,2}-[0-9]{1,2})[Tt]([0-9])", "$1 $2")
    has_offset = day_and_time.str.slice(10).str.contains(_OFFSET)
    if not has_offset.any():
        return _localised(_first_match(day_and_time, _ISO, pl.Datetime("us")), zone)
    local = day_and_time.set(has_offset.fill_null(value=False), None)
    offset = day_and_time.set(~has_offset.fill_null(value=True), None)
    full = offset.str.replace(r"\s*Z$", "+00:00").str.replace(r"\s*([+-][0-9]{2}):?([0-9]{2})?$", "$1:$2")
    full = full.str.replace(r":$", ":00")
    fixed = _first_match(full, _ISO_WITH_OFFSET, TIME)
    return _localised(_first_match(local, _ISO, pl.Datetime("us")), zone).zip_with(fixed.is_null(), fixed)


def _first_match(text: pl.Series, patterns: Sequence[str], kind: pl.Datetime) -> pl.Series:
    times = pl.Series(text.name, [None] * len(text), dtype=kind)
    for pattern in patterns:
        if text.null_count() == len(text):
            break
        parsed = _parse(text, pattern)
        times = times.zip_with(times.is_not_null(), parsed)
        text = text.set(parsed.is_not_null(), None)
    return times


def _parse(text: pl.Series, pattern: str) -> pl.Series:
    """Read texts by a strptime pattern; rejects texts that only polars accepts, such as 05.03.2: for %d.%m.%y."""
    parsed = text.str.to_datetime(pattern, time_unit="us", strict=False)
    return parsed.set(~text.str.contains(_shape(pattern)).fill_null(value=True), None)


@cache
def _shape(pattern: str) -> str:
    r"""A regular expression for the texts of a strptime pattern, in which each digit belongs to one part only.

    Examples
    --------
    >>> _shape("%d/%m/%Y %H:%M"), _shape("%Y%m%d")
    ('^[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}\\s+[0-9]{1,2}:[0-9]{1,2}$', '^[0-9]{4}[0-9]{2}[0-9]{2}$')
    """
    parts = _PART.findall(pattern)
    digits = [_WIDTHS.get(part, 0) for part in parts]
    neighbours = zip([0, *digits], digits, [*digits[1:], 0], parts, strict=False)
    return "^" + "".join(_expression(part, width, before, after) for before, width, after, part in neighbours) + "$"


def _expression(part: str, width: int, before: int, after: int) -> str:
    if width:
        fixed = before or after or part in {"%Y", "%y"}
        return f"[0-9]{{{width}}}" if fixed else f"[0-9]{{1,{width}}}"
    if part.isspace():
        return r"\s+" if before and after else r"\s*"
    return ".*" if part.startswith("%") and part != "%%" else re.escape(part[-1])


def _by_pattern(text: pl.Series, form: TimeFormat, key: str) -> pl.Series:
    try:
        parsed = _parse(text, form.format)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ParamsError(
            f"{key}.format: '{form.format}' does not describe a time ({reason})",
            hint="Write iso, epoch_s, epoch_ms, epoch_us, seconds_from or a strptime pattern.",
        ) from error
    return _typed(parsed, form.zone)
