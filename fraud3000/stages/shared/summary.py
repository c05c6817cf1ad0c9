"""The summary of a stage: what a command prints and what a stage returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fraud3000.stages.shared import summary_text


@dataclass(frozen=True)
class Table:
    """A titled table; cells are text: the stage formats numbers, since it knows their units."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Summary:
    """Result of one stage: facts, tables, files written, warnings and the next command.

    ``print(summary)`` shows the table of the command line; notebooks display HTML tables.

    Attributes
    ----------
    facts
        Label to value, in the order to print; values are JSON-ready.
    outputs
        Name to path of what was written.
    warnings
        Sentences that ask the reader to act.
    next_step
        The command to run next.
    refused
        Why a check failed; the command then exits with code 6.
    last_line
        Last line on stdout, for scripts to read.

    Examples
    --------
    >>> done = Summary("prepare", {"rows read": 1754155}, outputs={"transactions": "data/interim/transactions.parquet"})
    >>> done
    <Summary of prepare: 1 fact, 0 tables, 1 output, 0 warnings>
    >>> print(done)
    prepare
      rows read  1,754,155
    <BLANKLINE>
    written
      transactions  data/interim/transactions.parquet
    """

    command: str
    facts: dict[str, Any]
    tables: tuple[Table, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    next_step: str | None = None
    refused: str | None = None
    last_line: str | None = None

    def then(self, later: Summary) -> Summary:
        """Combine the summaries of two stages that one command ran; the later one wins where both have a value."""
        return replace(
            later,
            command=self.command,
            facts={**self.facts, **later.facts},
            tables=(*self.tables, *later.tables),
            outputs={**self.outputs, **later.outputs},
            warnings=(*self.warnings, *later.warnings),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as ``--json`` prints it."""
        return asdict(self)

    def __repr__(self) -> str:
        parts = {"fact": self.facts, "table": self.tables, "output": self.outputs, "warning": self.warnings}
        counts = (f"{len(part)} {name}{'' if len(part) == 1 else 's'}" for name, part in parts.items())
        refused = "; a check failed" if self.refused else ""
        return f"<Summary of {self.command}: {', '.join(counts)}{refused}>"

    def __str__(self) -> str:
        return "\n".join(line for line, _ in summary_text.lines(summary_text.masked(self)))

    def _repr_html_(self) -> str:
        return summary_text.html(summary_text.masked(self))
