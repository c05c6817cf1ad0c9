"""Frames of polars, pandas and pyarrow: conversion to polars and back, and the frames that `prepare_frame` returns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from fraud3000.data.reading.raw_table import RawTable
from fraud3000.errors import ParamsError, SchemaError
from fraud3000.html_table import html_table

Convert = Callable[[pl.DataFrame], Any]
"""Converts a result to the kind of frame that was given."""


@dataclass(frozen=True)
class PreparedFrames:
    """What `prepare_frame` returns; each frame is of the kind that was given.

    Attributes
    ----------
    transactions
        TRANSACTIONS.
    labels
        LEDGER.
    quarantine
        QUARANTINE: the rejected rows, each with its reason.
    params
        The params that were used.
    text
        The params file that states the guessed mapping; None if params were given.
    """

    transactions: Any
    labels: Any
    quarantine: Any
    params: Any = field(repr=False)
    text: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"<PreparedFrames: {', '.join(f'{count:,} {name}' for name, count in self._counts().items())}>"

    def _repr_html_(self) -> str:
        return html_table("PreparedFrames", {name: f"{count:,}" for name, count in self._counts().items()}.items())

    def _counts(self) -> dict[str, int]:
        named = {"transactions": self.transactions, "label records": self.labels, "quarantined rows": self.quarantine}
        return {name: to_polars(frame, thing=name)[0].height for name, frame in named.items()}


def to_polars(frame: Any, *, thing: str) -> tuple[pl.DataFrame, Convert]:
    """Convert a frame to polars.

    Parameters
    ----------
    frame
        A polars DataFrame or LazyFrame, a pandas DataFrame, a pyarrow Table, or any other object with
        ``__arrow_c_stream__``. Categories become text.
    thing
        What the frame is, for messages.

    Returns
    -------
    tuple
        The rows, and a function that converts a result to the same kind. A pandas result of the same height gets the
        index of the frame. For other objects with ``__arrow_c_stream__``, the result stays a polars DataFrame.

    Raises
    ------
    ParamsError
        The object is not a frame.
    SchemaError
        A column has values of several types.

    Examples
    --------
    >>> rows, back = to_polars(pl.LazyFrame({"a": [1]}), thing="transactions")
    >>> rows.shape, type(back(rows)).__name__
    ((1, 1), 'LazyFrame')
    >>> to_polars("export.csv", thing="transactions")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: transactions: a str is not a frame
    Hint: Pass a polars, pandas or pyarrow frame. For a file, call fraud3000.score_file(file) or fraud3000.prepare(params).
    """
    rows, back = _converted(frame, thing)
    text = cs.categorical() | cs.enum()
    return rows.with_columns(text.cast(pl.String)), back


def _converted(frame: Any, thing: str) -> tuple[pl.DataFrame, Convert]:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect(), pl.DataFrame.lazy
    if isinstance(frame, pl.DataFrame):
        return frame, _same
    library = type(frame).__module__.partition(".")[0]
    try:
        if library == "pandas" and hasattr(frame, "columns"):
            rows = pl.DataFrame(_ArrowStream(frame.reset_index(drop=True)))
            return rows, lambda result: _to_pandas(result, frame.index)
        if library == "pyarrow" and hasattr(frame, "schema"):
            return pl.DataFrame(frame), pl.DataFrame.to_arrow
        if library not in {"polars", "pandas", "pyarrow"} and hasattr(frame, "__arrow_c_stream__"):
            return pl.DataFrame(frame), _same
    except Exception as error:  # the type depends on the library and on what it cannot convert
        raise SchemaError(
            f"{thing}: cannot be converted ({str(error).splitlines()[0][:200]})",
            hint="Give every column one type, such as df.astype({'column': 'string'}).",
        ) from error
    raise ParamsError(
        f"{thing}: a {type(frame).__name__} is not a frame",
        hint="Pass a polars, pandas or pyarrow frame. For a file, call fraud3000.score_file(file) or "
        "fraud3000.prepare(params).",
    )


@dataclass(frozen=True)
class _ArrowStream:
    """Shows only the Arrow interface of a frame, so that polars needs no code for its library."""

    frame: Any

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)


def _same(result: pl.DataFrame) -> pl.DataFrame:
    return result


def _to_pandas(result: pl.DataFrame, index: Any) -> Any:
    converted = result.to_pandas()
    if len(converted) == len(index):
        converted.index = index
    return converted


class FrameTable(RawTable):
    """Rows of a frame, which cleaning reads like a file of a given name."""

    def digest(self) -> str:
        """SHA-256 of the rows."""
        content = self.rows.collect().write_ipc(None, compat_level=pl.CompatLevel.oldest())
        return hashlib.sha256(content.getvalue()).hexdigest()


def to_table(rows: pl.DataFrame, name: str) -> FrameTable:
    """Return rows as a raw table with a name for messages."""
    return FrameTable.from_rows(Path(name), rows.lazy())
