"""Summary of a stage: facts, tables, output paths, warnings, next step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Table:
    """A titled table; the stage formats numbers because it knows their units."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Summary:
    """The outcome of one stage: printed as one aligned block, or as JSON.

    Attributes
    ----------
    facts
        Label to value, in the order to print; values are JSON-ready.
    outputs
        Path of each written output, by name.
    warnings
        Sentences the reader should act on.
    next_step
        One line: the command to run next.
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
            warnings=(*self.warnings, *later.warnings),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
