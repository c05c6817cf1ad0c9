"""Words that databases, spreadsheets and programs write where there is no value."""

from __future__ import annotations

import polars as pl

WORDS = frozenset(
    {
        *("", "null", "<null>", "(null)", r"\n", "nil", "none", "undefined"),
        *("na", "<na>", "n/a", "#n/a", "nan", "-nan", "nat", "-"),
    }
)
"""In small letters, without blanks around them. None of them is ever an id."""


def is_missing(text: str) -> bool:
    r"""Tell whether a text only says that there is no value.

    Examples
    --------
    >>> [is_missing(text) for text in ("NULL", r"\N", " n/a ", "Nancy", "0")]
    [True, True, True, False, False]
    """
    return text.strip().lower() in WORDS


def are_missing(texts: pl.Series) -> pl.Series:
    """Tell for each text of a column whether it is missing; null is.

    Examples
    --------
    >>> are_missing(pl.Series(["c1", "<NA>", None])).to_list()
    [False, True, True]
    """
    return texts.str.strip_chars().str.to_lowercase().is_in(WORDS).fill_null(value=True)
