"""Ordinary card payments, and frauds with card data skimmed at compromised terminals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from fraud3000.data.simulation import world as worlds
from fraud3000.data.simulation.draws import Draws, Ints, log, normal, part, scale
from fraud3000.data.simulation.draws import exp as exponential
from fraud3000.data.simulation.world import DAY, World

APPROVED, DECLINED, REFUND = 0, 1, 2
HONEST, OUTLIER, COMPROMISED_TERMINAL, STOLEN_CARD, CARD_TESTING, TAKEOVER = range(6)

_OF_1024 = {"neighbour": 80, "anyone": 40, "declined": 12, "refund": 6}
SKIMMED = 600  # in 1024, share of fraud among the payments at a compromised terminal
_WEEK = (97, 96, 98, 101, 112, 108, 88)  # relative traffic from Monday to Sunday
_FIRST_WEEKDAY = 2  # the first simulated day is a Wednesday


@dataclass(frozen=True)
class TransactionArrays:
    """Transactions as integer arrays; seconds count from the first day, amounts are minor units, delays seconds."""

    second: Ints
    card: Ints
    terminal: Ints
    amount: Ints
    status: Ints
    scenario: Ints
    delay: Ints

    def __len__(self) -> int:
        return len(self.second)

    def take(self, index: Ints | slice) -> TransactionArrays:
        return TransactionArrays(*(getattr(self, field.name)[index] for field in fields(self)))

    @staticmethod
    def join(*parts: TransactionArrays) -> TransactionArrays:
        """Concatenate and sort by time."""
        joined = TransactionArrays(
            *(np.concatenate([getattr(rows, field.name) for rows in parts]) for field in fields(TransactionArrays))
        )
        return joined.take(np.argsort(joined.second, kind="stable"))


@dataclass(frozen=True)
class Compromise:
    """First and last second in which each terminal is compromised; both are 0 for terminals that never are."""

    first: Ints
    last: Ints


def per_day(rows: int, days: int) -> list[int]:
    """Distribute rows over days, the same in every week, with more before the weekend.

    Examples
    --------
    >>> per_day(700, 7)
    [98, 101, 112, 108, 88, 97, 96]
    """
    weights = [_WEEK[(_FIRST_WEEKDAY + day) % 7] for day in range(days)]
    ends = [0]
    for weight in weights:
        ends.append(ends[-1] + weight)
    return [rows * last // ends[-1] - rows * first // ends[-1] for first, last in pairwise(ends)]


def ordinary_payments(world: World, draws: Draws, days: Ints, compromise: Compromise) -> TransactionArrays:
    """Generate ordinary payments, some skimmed, one for each item of `days`."""
    count = len(days)
    first, second, third = draws.bits(count), draws.bits(count), draws.bits(count)
    card = world.activity.at(first >> np.uint64(32))
    seconds = days * DAY + worlds.second_of_day(world, card, _off(days), part(first, 0, 10), part(first, 10, 20))
    terminal = visited(world, card, second)
    spent = worlds.amount(world, card, terminal, normal(part(third, 0, 14)), part(third, 14, 10))
    chance = part(third, 24, 10)
    status = np.where(chance < _OF_1024["declined"], DECLINED, APPROVED)
    refund = chance >= 1024 - _OF_1024["refund"]
    skimmed = (
        (status == APPROVED)
        & ~refund
        & (compromise.first[terminal] <= seconds)
        & (seconds < compromise.last[terminal])
        & (part(third, 34, 10) < SKIMMED)
    )
    return TransactionArrays(
        second=seconds,
        card=card,
        terminal=terminal,
        amount=np.where(refund, -spent, spent),
        status=np.where(refund, REFUND, status),
        scenario=np.where(skimmed, COMPROMISED_TERMINAL, HONEST),
        delay=np.where(skimmed, time_to_report(part(third, 44, 14), part(third, 58, 6)), 0),
    )


def visited(world: World, card: Ints, bits: np.ndarray) -> Ints:
    """Choose terminals: mostly favourites of the card, some of neighbouring cards, a few of any card."""
    count = world.cards
    kind = part(bits, 0, 10)
    neighbour = np.clip(card - 32 + part(bits, 10, 6), 0, count - 1)
    regular = np.where(kind < _OF_1024["neighbour"], neighbour, card)
    anyone = kind >= 1024 - _OF_1024["anyone"]
    regular = np.where(anyone, scale(bits, 16, 31, count), regular)
    return world.favourites[regular, worlds.favourite(part(bits, 58, 6))]


def time_to_report(quantile: Ints, jitter: Ints, *, median: float = 8.0) -> Ints:
    """Draw the seconds until a fraud is reported: lognormal with a median in days, from one hour to 150 days."""
    minutes = exponential(log(median * 1_440) + (normal(quantile) * 9 // 10), jitter * 16)
    return np.clip(minutes, 60, 150 * 1_440) * 60 + jitter


def _off(days: Ints) -> Ints:
    return ((days + _FIRST_WEEKDAY) % 7 >= 5).astype(np.int64)
