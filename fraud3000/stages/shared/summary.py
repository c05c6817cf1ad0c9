"""Summary of a stage: facts, tables, output paths, warnings, next step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fraud3000.stages.shared import summary_text


@dataclass(frozen=True)
class Table:
    """A titled table; the stage formats numbers because it knows their units."""

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
        Path of each written output, by name.
    warnings
        Sentences that ask the reader to act.
    next_step
        The command to run next.
    refused
        Why a check failed; the command then exits with code 6.
    last_line
        Last line of the output, for scripts.
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
        """Merge with the summary of a later stage of the same command."""
        return replace(
            later,
            command=self.command,
            facts={**self.facts, **later.facts},
            tables=(*self.tables, *later.tables),
            outputs={**self.outputs, **later.outputs},
            warnings=tuple(dict.fromkeys((*self.warnings, *later.warnings))),
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
