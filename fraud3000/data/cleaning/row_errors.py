"""What is wrong with single rows, and the quarantine they go to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import polars as pl

from fraud3000.data.cleaning import cards
from fraud3000.schema import QUARANTINE

_LONGEST_DETAIL = 200
_ELEVEN_DIGITS = 1e10


@dataclass(frozen=True)
class RowError:
    """One kind of fault, the rows that have it, and what was found there.

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
    def where(cls, code: str, bad: pl.Series, word: str, *found: pl.Series) -> RowError:
        """Mark the rows where `bad` holds and quote what was found there, or that nothing was.

        Examples
        --------
        >>> fault = Fault.where("amount_unreadable", pl.Series([False, True]), "amount", pl.Series(["1", "x"]))
        >>> fault.rows.to_list(), fault.details.to_list()
        ([1], ["amount is 'x'"])
        """
        rows = bad.fill_null(value=False).arg_true()
        parts = [part.gather(rows).cast(pl.String, strict=False).alias(str(n)) for n, part in enumerate(found)]
        joined = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)).to_series()
        text = joined.str.strip_chars().set(joined == "", None)
        quoted = pl.select(pl.concat_str(pl.lit(f"{word} is '"), pl.lit(text), pl.lit("'"))).to_series()
        return cls(code, rows, quoted.fill_null(f"{word} is empty"))

    @classmethod
    def told(cls, code: str, bad: pl.Series, detail: str) -> RowError:
        """Mark the rows where `bad` holds, with one text for all of them."""
        rows = bad.fill_null(value=False).arg_true()
        return cls(code, rows, pl.Series([detail] * len(rows), dtype=pl.String))


def first_faults(faults: Iterable[RowError]) -> pl.DataFrame:
    """The first fault of each faulty row: columns row UInt32, reason and detail String, by row.

    Examples
    --------
    >>> late = Fault.told("b", pl.Series([True, True]), "late")
    >>> first_faults([Fault.told("a", pl.Series([False, True]), "early"), late])["reason"].to_list()
    ['b', 'a']
    """
    kinds = {"row": pl.UInt32(), "reason": pl.String(), "detail": pl.String()}
    parts = [
        pl.DataFrame({"row": fault.rows, "detail": fault.details})
        .with_columns(reason=pl.lit(fault.code))
        .select(pl.col(name).cast(kind) for name, kind in kinds.items())
        for fault in faults
    ]
    return pl.concat([pl.DataFrame(schema=kinds), *parts]).unique("row", keep="first", maintain_order=True).sort("row")


def large(rows: pl.DataFrame) -> set[str]:
    """The columns of numbers in which any has eleven digits: all of these columns' values are written as text."""
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
        The columns that are `large` in all rows to be written, where these are but some of them.

    Examples
    --------
    >>> as_json(pl.DataFrame({"memo": ["card 4111111111111111"], "amount": [0.4111111111111111]})).to_list()
    ['{"memo":"card [card number]","amount":0.4111111111111111}']
    """
    if rows.is_empty() or rows.width == 0:
        return pl.Series("raw", ["{}"] * rows.height, dtype=pl.String)
    as_text = large(rows) if as_text is None else as_text
    # Not splitlines(): that also breaks at the separators of Unicode, which JSON leaves as they are.
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
        return column.dt.to_string("iso")  # a cast would cut fractions of a second off
    elif kind.is_temporal():
        return column.cast(pl.String)
    else:
        text = column.cast(pl.String, strict=False)
    return cards.mask_series(text).alias(column.name)


def quarantine(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Join quarantined rows to one QUARANTINE frame: card numbers in names and details masked, long details cut."""
    rows = pl.concat([pl.DataFrame(schema=QUARANTINE), *(part.select(*QUARANTINE) for part in parts)])
    return rows.with_columns(
        cards.mask_series(rows["source_file"]), detail=cards.mask_series(rows["detail"]).str.slice(0, _LONGEST_DETAIL)
    )
