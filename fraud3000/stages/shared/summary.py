"""What a stage has to say when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Table:
    """A titled table; numbers are formatted by the stage, since it knows their units."""

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
        Name to path of what was written.
    warnings
        Sentences the reader should act on.
    next_step
        One line: the command to run next.
    refused
        Why a check said no; the command then ends with exit code 6.
    last_line
        For scripts: the last line of what is printed.
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
        """Tell two stages that one command ran as one: what comes later adds to what came before."""
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
