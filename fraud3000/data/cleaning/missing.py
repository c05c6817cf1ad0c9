"""Words that databases, spreadsheets and programs write for a missing value."""

from __future__ import annotations

import polars as pl

WORDS = frozenset(
    {
        *("", "null", "<null>", "(null)", r"\n", "nil", "none", "undefined"),
        *("na", "<na>", "n/a", "#n/a", "nan", "-nan", "nat", "-"),
    }
)
"""In lower case, without surrounding blanks. They are never read as ids."""


def is_missing(text: str) -> bool:
    r"""Whether a text is empty or a word for a missing value.

    Examples
    --------
    >>> [is_missing(text) for text in ("NULL", r"\N", " n/a ", "Nancy", "0")]
    [True, True, True, False, False]
    """
    return text.strip().lower() in WORDS


def are_missing(texts: pl.Series) -> pl.Series:
    """Whether each text of a column is missing, as `is_missing`; null is missing.

    Examples
    --------
    >>> are_missing(pl.Series(["c1", "<NA>", None])).to_list()
    [False, True, True]
    """
    return texts.str.strip_chars().str.to_lowercase().is_in(WORDS).fill_null(value=True)
