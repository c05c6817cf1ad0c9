"""Read numbers exactly as whole multiples of a power of ten, without binary-float error."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import polars as pl

from fraud3000.errors import SchemaError

MISSING, UNREADABLE, NOT_FINITE, DECIMALS, TOO_LARGE = "missing", "unreadable", "not_finite", "decimals", "too_large"
PROBLEMS = (MISSING, UNREADABLE, NOT_FINITE, DECIMALS, TOO_LARGE)

PLAIN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$"  # not \d: that takes the digits of every script
_SCIENTIFIC = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+$"
_NOT_FINITE = r"^(?i)[+-]?(?:nan|inf|infinity)$"
_WRITTEN_FLOAT = r"^[+-]?(?:0\.0*)?[1-9]\.?(?:[0-9]\.?){14,15}[0-9]$"  # 16 or 17 digits, as programs write a float
_DIGITS = 18  # any number of this many digits fits Int64
_FLOAT_DIGITS = 15
_NOISE = 8  # units in the last place
_EXACT_FLOAT32, _EXACT_FLOAT64 = 2**23, 2**53


def scaled(values: pl.Series, decimals: int, limit: int) -> tuple[pl.Series, pl.Series]:
    """Read numbers as integers in units of `10 ** -decimals`.

    A Float64 x is read as m = round(x * 10^d) if x is within 8 units in the last place of m / 10^d:
    the float nearest to that decimal, or the result of arithmetic on such decimals. Text that is such a
    float written out in 16 or 17 digits is read in the same way.

    Parameters
    ----------
    values
        Text, integers, floats or decimals.
    limit
        The greatest absolute value of the result.

    Returns
    -------
    tuple
        Int64 values, null where there is a problem; and the problem: String, one of `PROBLEMS` or null.

    Raises
    ------
    SchemaError
        The column's type is not numeric.

    Examples
    --------
    >>> values, problems = scaled(pl.Series(["57.16", "-1e1", "0.005", "nan", ""]), 2, 10**13)
    >>> values.to_list(), problems.to_list()
    ([5716, -1000, None, None, None], [None, None, 'decimals', 'not_finite', 'missing'])
    >>> scaled(pl.Series([0.29, 17.13 * 5, 12.345]), 2, 10**13)[0].to_list()
    [29, 8565, None]
    """
    kind = values.dtype
    frame = values.alias("x").to_frame()
    if kind == pl.String:
        checked = _from_written(values, decimals, limit)
    elif kind.is_float():
        checked = _from_floats(frame, decimals, limit)
    elif kind.is_integer() and kind not in {pl.Int128, pl.UInt128}:
        checked = _from_integers(frame, decimals, limit)
    elif kind.is_decimal() or kind.is_integer() or kind == pl.Null:
        checked = _from_text(frame.select(pl.col("x").cast(pl.String)), decimals, limit)
    else:
        raise SchemaError(f"column '{values.name}' is {kind}, not a number", hint="Export it as a number or as text.")
    unread = pl.col("problem").is_null() & pl.col("value").is_null()
    checked = checked.with_columns(problem=pl.when(unread).then(pl.lit(UNREADABLE)).otherwise("problem"))
    checked = checked.select("problem", value=pl.when(pl.col("problem").is_null()).then("value"))
    return checked["value"].alias(values.name), checked["problem"]


def _from_integers(frame: pl.DataFrame, decimals: int, limit: int) -> pl.DataFrame:
    x, largest = pl.col("x"), limit // 10**decimals
    large = (x > largest) | (x < -largest) if frame.schema["x"].is_signed_integer() else x > largest
    problem = pl.when(x.is_null()).then(pl.lit(MISSING)).when(large).then(pl.lit(TOO_LARGE))
    return frame.select(
        problem=problem, value=pl.when(~large).then(x).cast(pl.Int64) * pl.lit(10**decimals, dtype=pl.Int64)
    )


def _from_floats(frame: pl.DataFrame, decimals: int, limit: int) -> pl.DataFrame:
    """Check floats; a Float32 has seven digits, so larger amounts in it are not exact.

    Uses numpy, because polars divides by multiplying with the reciprocal, which can differ in the last bit.
    """
    single = frame.schema["x"] != pl.Float64
    x = frame["x"].cast(pl.Float64)
    floats = x.fill_null(float("nan")).to_numpy()
    finite = np.isfinite(floats)
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.round(np.where(finite, floats, 0.0) * 10.0**decimals)
        back = whole / 10.0**decimals
        inexact = ~(np.abs(back - floats) <= _NOISE * np.spacing(np.abs(floats)))
    if single and decimals:
        inexact = (back.astype(np.float32) != floats.astype(np.float32)) | (np.abs(whole) > _EXACT_FLOAT32)
    large = np.abs(whole) > limit
    problem = (
        pl.when(x.is_null())
        .then(pl.lit(MISSING))
        .when(pl.Series(~finite))
        .then(pl.lit(NOT_FINITE))
        .when(pl.Series(large))
        .then(pl.lit(TOO_LARGE))
        .when(pl.Series(inexact))
        .then(pl.lit(DECIMALS))
    )
    value = np.where(large, 0.0, whole).astype(np.int64)
    return pl.DataFrame({"value": value}).with_columns(problem=problem)


def _from_written(values: pl.Series, decimals: int, limit: int) -> pl.DataFrame:
    """Read short texts as floats, which are exact to 15 digits, and all others digit by digit."""
    text = values.str.strip_chars().alias("x")
    floats = text.cast(pl.Float64, strict=False)
    short = (text.str.len_bytes() <= _FLOAT_DIGITS) | text.str.contains(_WRITTEN_FLOAT)
    not_cut_to_zero = (floats != 0) | ~text.str.contains("[eE]")
    quick = short & not_cut_to_zero & (floats.abs() < _EXACT_FLOAT64 / 10.0**decimals)
    read = _from_floats(floats.to_frame(), decimals, limit)
    slow = (~quick).fill_null(value=True).arg_true()
    if slow.is_empty():
        return read
    rest = _from_text(_without_exponent(text.gather(slow)).to_frame(), decimals, limit)
    return pl.DataFrame({name: read[name].scatter(slow, rest[name]) for name in ("value", "problem")})


def _from_text(frame: pl.DataFrame, decimals: int, limit: int) -> pl.DataFrame:
    x = pl.col("x")
    parts = x.str.strip_chars_start("+-").str.splitn(".", 2)
    fraction = parts.struct.field("field_1").fill_null("").str.strip_chars_end("0")
    digits = parts.struct.field("field_0").str.strip_chars_start("0") + fraction.str.pad_end(decimals, "0")
    read = frame.select(
        x=x,
        fraction=fraction.str.len_bytes(),
        length=digits.str.len_bytes(),
        value=pl.when(x.str.starts_with("-")).then(-1).otherwise(1)
        * pl.when(digits == "").then(pl.lit("0")).otherwise(digits).cast(pl.Int64, strict=False),
    )
    problem = (
        pl.when(pl.col("x").is_null() | (pl.col("x") == ""))
        .then(pl.lit(MISSING))
        .when(pl.col("x").str.contains(_NOT_FINITE))
        .then(pl.lit(NOT_FINITE))
        .when(~pl.col("x").str.contains(PLAIN))
        .then(pl.lit(UNREADABLE))
        .when(pl.col("fraction") > decimals)
        .then(pl.lit(DECIMALS))
        .when((pl.col("length") > _DIGITS) | (pl.col("value").abs() > limit))
        .then(pl.lit(TOO_LARGE))
    )
    return read.select("value", problem=problem)


def _without_exponent(values: pl.Series) -> pl.Series:
    odd = values.filter(values.str.contains(_SCIENTIFIC)).unique()
    if odd.is_empty():
        return values
    return values.replace(odd, pl.Series([_spelled_out(text) for text in odd], dtype=pl.String))


def _spelled_out(text: str) -> str:
    """Write 1.5e3 as 1500; exponents beyond all limits are shortened to a number that is refused anyway."""
    number = Decimal(text)
    if number.adjusted() > _DIGITS:
        return "9" * (_DIGITS + 1)
    if not number.is_zero() and number.adjusted() < -_DIGITS:
        return "0." + "0" * _DIGITS + "1"
    return format(number, "f") if not number.is_zero() else "0"
