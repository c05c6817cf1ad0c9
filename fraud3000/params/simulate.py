"""Section `simulate`: the size of the simulated data."""

from __future__ import annotations

from pydantic import Field

from fraud3000.params.section import Section


class SimulateParams(Section):
    """Simulated transactions (`fraud3000 simulate`)."""

    rows: int = Field(1_000_000, ge=1)  # number of transactions
    days: int = Field(240, ge=1)  # days covered
    cards: int = Field(10_000, ge=1)  # number of cards
    terminals: int = Field(4_000, ge=1)  # number of terminals
    seed: int = Field(2018, ge=0)  # the same seed gives the same file
