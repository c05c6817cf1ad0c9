"""Errors of single rows, and the quarantine of rejected rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from fraud3000.data.cleaning import cards
from fraud3000.schema import QUARANTINE

_LONGEST_DETAIL = 200
_ELEVEN_DIGITS = 1e10

_MANY_DEVIATIONS = 4.0


@dataclass(frozen=True)
class RowError:
    """One kind of row error, with the rows that have it and a detail for each.

    Attributes
    ----------
    code
        The reason, such as ``amount_missing``.
    rows
        UInt32 row numbers.
    details
        String, one for each of the rows.
    """

    code: str
    rows: pl.Series
    details: pl.Series

    @classmethod
    def where(cls, code: str, bad: pl.Series, word: str, *values: pl.Series) -> RowError:
        """Build for the rows where `bad` is true; the details quote the values there, or state that they are empty.

        Examples
        --------
        >>> error = RowError.where("amount_unreadable", pl.Series([False, True]), "amount", pl.Series(["1", "x"]))
        >>> error.rows.to_list(), error.details.to_list()
        ([1], ["amount is 'x'"])
        """
        rows = bad.fill_null(value=False).arg_true()
        parts = [part.gather(rows).cast(pl.String, strict=False).alias(str(n)) for n, part in enumerate(values)]
        joined = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)).to_series()
        text = joined.str.strip_chars().set(joined == "", None)
        quoted = pl.select(pl.concat_str(pl.lit(f"{word} is '"), pl.lit(text), pl.lit("'"))).to_series()
        return cls(code, rows, quoted.fill_null(f"{word} is empty"))

    @classmethod
    def with_detail(cls, code: str, bad: pl.Series, detail: str) -> RowError:
        """Build for the rows where `bad` is true, with the same detail for all of them."""
        rows = bad.fill_null(value=False).arg_true()
        return cls(code, rows, pl.Series([detail] * len(rows), dtype=pl.String))


def first_errors(errors: Iterable[RowError]) -> pl.DataFrame:
    """The first error of each invalid row: columns row UInt32, reason and detail String, sorted by row.

    Examples
    --------
    >>> late = RowError.with_detail("b", pl.Series([True, True]), "late")
    >>> first_errors([RowError.with_detail("a", pl.Series([False, True]), "early"), late])["reason"].to_list()
    ['b', 'a']
    """
    kinds = {"row": pl.UInt32(), "reason": pl.String(), "detail": pl.String()}
    parts = [
        pl.DataFrame({"row": error.rows, "detail": error.details})
        .with_columns(reason=pl.lit(error.code))
        .select(pl.col(name).cast(kind) for name, kind in kinds.items())
        for error in errors
    ]
    return pl.concat([pl.DataFrame(schema=kinds), *parts]).unique("row", keep="first", maintain_order=True).sort("row")


def large(rows: pl.DataFrame) -> set[str]:
    """The numeric columns with a number of eleven digits or more; `as_json` writes all values of these as text."""
    return {
        column.name
        for column in rows
        if column.dtype.is_numeric() and (column.cast(pl.Float64).abs() >= _ELEVEN_DIGITS).any()
    }


def as_json(rows: pl.DataFrame, as_text: Collection[str] | None = None) -> pl.Series:
    """Write each row as one JSON object, card numbers masked.

    Parameters
    ----------
    as_text
        The columns that are `large`; needed if `rows` is only a part of the rows to be written.

    Examples
    --------
    >>> as_json(pl.DataFrame({"memo": ["card 4111111111111111"], "amount": [0.4111111111111111]})).to_list()
    ['{"memo":"card [card number]","amount":0.4111111111111111}']
    """
    if rows.is_empty() or rows.width == 0:
        return pl.Series("raw", ["{}"] * rows.height, dtype=pl.String)
    as_text = large(rows) if as_text is None else as_text
    # Not splitlines(): that also splits at Unicode separators, which JSON does not escape.
    lines = (
        rows.select(_masked(column, large=column.name in as_text) for column in rows)
        .write_ndjson()
        .removesuffix("\n")
        .split("\n")
    )
    return pl.Series("raw", lines, dtype=pl.String)


def _masked(column: pl.Series, *, large: bool) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.Duration):
        return column.dt.to_string()
    if kind == pl.Binary:
        return pl.select(pl.concat_str(pl.lit(column).bin.size(), pl.lit(" bytes")).alias(column.name)).to_series()
    if kind.is_nested() or isinstance(kind, pl.Object):
        text = pl.Series([None if value is None else str(value) for value in column], dtype=pl.String)
    elif kind.is_numeric():
        if not large:
            return column
        whole = column.cast(pl.Int128, strict=False)
        text = whole.cast(pl.String).zip_with((whole == column).fill_null(value=False), column.cast(pl.String))
    elif kind == pl.Time:
        return column.dt.to_string("iso")  # a cast would drop fractions of a second
    elif kind.is_temporal():
        return column.cast(pl.String)
    else:
        text = column.cast(pl.String, strict=False)
    return cards.mask_series(text).alias(column.name)


def quarantine(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate quarantined rows into QUARANTINE; masks card numbers in file names and details, shortens details."""
    rows = pl.concat([pl.DataFrame(schema=QUARANTINE), *(part.select(*QUARANTINE) for part in parts)])
    return rows.with_columns(
        cards.mask_series(rows["source_file"]), detail=cards.mask_series(rows["detail"]).str.slice(0, _LONGEST_DETAIL)
    )


class Rejections(NamedTuple):
    """Numbers of rows by label, and of those that were rejected; rows without a readable label count as others.

    Examples
    --------
    >>> Rejections(100, 30, 10_000, 10).depend_on_label, Rejections(100, 1, 10_000, 10).depend_on_label
    (True, False)
    """

    frauds: int
    rejected_frauds: int
    others: int
    rejected_others: int

    @property
    def share_of_frauds(self) -> float:
        return self.rejected_frauds / self.frauds if self.frauds else 0.0

    @property
    def share_of_others(self) -> float:
        return self.rejected_others / self.others if self.others else 0.0

    @property
    def depend_on_label(self) -> bool:
        """True if frauds were rejected at least twice as often as other rows, and not by chance."""
        if self.rejected_frauds < 3 or self.share_of_frauds < 2 * self.share_of_others:
            return False
        pooled = (self.rejected_frauds + self.rejected_others) / (self.frauds + self.others)
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / self.frauds + 1 / max(self.others, 1)))
        return deviation == 0 or self.share_of_frauds - self.share_of_others > _MANY_DEVIATIONS * deviation

    def add(self, other: Rejections) -> Rejections:
        """Return the sums of both."""
        return Rejections(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def describe(self) -> str:
        """Return both shares as text."""
        return (
            f"{self.rejected_frauds:,} of {self.frauds:,} frauds were rejected ({self.share_of_frauds:.1%}), but only"
            f" {self.rejected_others:,} of {self.others:,} other rows ({self.share_of_others:.1%})"
        )
