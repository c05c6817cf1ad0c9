"""HTML tables that notebooks display: escaped text, no scripts, no remote resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(title: str, rows: Iterable[Sequence[str]], columns: Sequence[str] = ()) -> str:
    """Format rows as an HTML table; the first cell of each row is its header.

    Parameters
    ----------
    title
        Caption of the table.
    rows
        Cells as text.
    columns
        Column headers; empty for a table of names and values.

    Examples
    --------
    >>> html_table("Model <7>", [("features", "70")])
    '<table><caption>Model &lt;7&gt;</caption><tbody><tr><th scope="row">features</th><td>70</td></tr></tbody></table>'
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    thead = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table><caption>{escape(title)}</caption>{thead}<tbody>{body}</tbody></table>"
