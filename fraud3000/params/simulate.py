"""Section `simulate`."""

from __future__ import annotations

from pydantic import (
    Field,
)

from fraud3000.params.section import Section


class SimulateParams(Section):
    """A world of cards, terminals and fraudsters (`fraud3000 simulate`)."""

    rows: int = Field(1_000_000, ge=1)  # transactions
    days: int = Field(240, ge=1)  # that they span
    cards: int = Field(10_000, ge=1)
    terminals: int = Field(4_000, ge=1)
    seed: int = Field(2018, ge=0)  # same seed, same file
