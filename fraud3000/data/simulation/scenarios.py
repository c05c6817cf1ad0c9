"""Fraud scenarios: campaigns against a card or against a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fraud3000.data.simulation import traffic
from fraud3000.data.simulation import world as worlds
from fraud3000.data.simulation.draws import Draws, Ints, log
from fraud3000.data.simulation.traffic import APPROVED, DECLINED, Compromise, TransactionArrays
from fraud3000.data.simulation.world import DAY, FAVOURITES, World

NAMES = (None, "amount_outlier", "compromised_terminal", "stolen_card", "card_testing", "account_takeover")

_PER_100_000 = {  # transactions of each scenario among all
    traffic.OUTLIER: 60,
    traffic.STOLEN_CARD: 220,
    traffic.CARD_TESTING: 120,
    traffic.TAKEOVER: 160,
}
_SKIMMED_PER_100_000 = 260


@dataclass(frozen=True)
class _Campaigns:
    """Campaigns against one card each, as arrays with one item per transaction."""

    number: Ints  # of the campaign
    index: Ints  # of the transaction in its campaign, from 0
    size: Ints  # transactions of the campaign
    card: Ints
    start: Ints  # second at which the campaign begins
    delay: Ints  # seconds from a transaction to its report

    def each(self, per_campaign: Ints) -> Ints:
        """Repeat values per campaign for each of its transactions."""
        return per_campaign[self.number]

    @property
    def count(self) -> int:
        return int(self.number[-1]) + 1


def campaigns(world: World, seed: int, rows: int, span: int) -> TransactionArrays:
    """Generate the transactions of all campaigns against cards, as their share of `rows`, within `span` seconds."""
    generators: dict[int, Callable[[World, Draws, int, int], TransactionArrays]] = {
        traffic.OUTLIER: _outliers,
        traffic.STOLEN_CARD: _stolen_cards,
        traffic.CARD_TESTING: _card_testing,
        traffic.TAKEOVER: _takeovers,
    }
    shares = {scenario: rows * share // 100_000 for scenario, share in _PER_100_000.items()}
    generated = [
        replace(generators[scenario](world, Draws(seed, 2, scenario), share, span), scenario=np.full(share, scenario))
        for scenario, share in shares.items()
        if share
    ]
    return TransactionArrays.join(*generated) if generated else TransactionArrays(*[np.zeros(0, dtype=np.int64)] * 7)


def compromise(world: World, draws: Draws, span: int) -> Compromise:
    """Choose which of the busier terminals are compromised, and when, until skimming reaches its share of all traffic.

    No terminal contributes more than a third of that share: in a small world it is compromised for a shorter time.
    """
    length = draws.between(28, 84, world.terminals) * DAY
    begin = draws.below(span + 84 * DAY, world.terminals) - length
    order = draws.order(world.terminals)
    order = order[world.traffic[order] * world.terminals >= 2 * world.traffic.sum()]
    start, end = np.maximum(begin[order], 0), np.minimum((begin + length)[order], span)
    # expected frauds per hour at each terminal, as a share of all traffic in units of 2⁻²⁰
    hourly = 1 + (world.traffic[order] << 20) // max(1, int(world.traffic.sum())) * traffic.SKIMMED // 1024
    target = (_SKIMMED_PER_100_000 << 20) * (span // 3_600) // 100_000
    hours = np.minimum(np.maximum(end - start, 0) // 3_600, target // 3 // hourly)
    chosen = (np.cumsum(hourly * hours) <= target) & (hours > 0)
    first, last = np.zeros((2, world.terminals), dtype=np.int64)
    first[order[chosen]], last[order[chosen]] = start[chosen], (start + hours * 3_600)[chosen]
    return Compromise(first, last)


def _outliers(world: World, draws: Draws, budget: int, span: int) -> TransactionArrays:
    """Single transactions of six to twenty times the card's usual amount."""
    case = _start(world, draws, budget, span, sizes=(1, 1))
    return _rows(world, draws, case, case.start, case.card, boost=draws.between(log(6), log(20), budget))


def _stolen_cards(world: World, draws: Draws, budget: int, span: int) -> TransactionArrays:
    """Over one to six days, near the card's home, two to six times the card's usual amounts."""
    case = _start(world, draws, budget, span, sizes=(4, 18))
    length = case.each(draws.between(1, 6, case.count)) * DAY
    boost = case.each(draws.between(log(2), log(6), case.count))
    second = case.start + draws.below(length, budget)
    regular = np.clip(case.card + draws.between(-250, 250, budget), 0, world.cards - 1)
    return _rows(world, draws, case, second % span, regular, boost=boost)


def _card_testing(world: World, draws: Draws, budget: int, span: int) -> TransactionArrays:
    """Tiny amounts at one online shop, seconds apart, many declined; then one large amount."""
    case = _start(world, draws, budget, span, sizes=(8, 30), median=2.5)
    gaps = np.cumsum(draws.between(1, 14, budget))
    second = case.start + gaps - case.each(gaps[case.index == 0])
    shop = case.each(world.online[draws.below(len(world.online), case.count)])
    rows = _rows(world, draws, case, second % span, case.card, boost=log(3), declined=300)
    real = case.index == case.size - 1
    tiny = draws.between(50, 400, budget)
    return replace(rows, terminal=shop, amount=np.where(real, rows.amount, tiny))


def _takeovers(world: World, draws: Draws, budget: int, span: int) -> TransactionArrays:
    """Over weeks, increasingly at another cardholder's terminals and with larger amounts."""
    case = _start(world, draws, budget, span, sizes=(12, 40))
    length = case.each(draws.between(20, 45, case.count)) * DAY
    second = case.start + (length * case.index + draws.below(length, budget)) // case.size
    progress = case.index * 1024 // case.size
    thief = case.each(draws.below(world.cards, case.count))
    regular = np.where(draws.below(1024, budget) < progress, thief, case.card)
    return _rows(world, draws, case, second % span, regular, boost=progress * log(5) >> 10)


def _start(
    world: World, draws: Draws, budget: int, span: int, *, sizes: tuple[int, int], median: float = 8.0
) -> _Campaigns:
    """Start campaigns of random sizes until they have exactly `budget` transactions."""
    size = draws.between(*sizes, budget // sizes[0] + 1)
    ends = np.cumsum(size)
    count = int(np.searchsorted(ends, budget)) + 1
    number = np.repeat(np.arange(count), size[:count])[:budget]
    delay = traffic.time_to_report(draws.below(1 << 14, count), draws.below(64, count), median=median)
    return _Campaigns(
        number=number,
        index=np.arange(budget) - (ends - size)[number],
        size=size[number],
        card=draws.below(world.cards, count)[number],
        start=((draws.bits(count) >> np.uint64(32)).astype(np.int64) * span >> 32)[number],
        delay=delay[number],
    )


def _rows(
    world: World,
    draws: Draws,
    case: _Campaigns,
    second: Ints,
    regular: Ints,
    *,
    boost: Ints | int,
    declined: int = 150,
) -> TransactionArrays:
    """Payments with the victims' cards at the terminals that the cards `regular` visit; `declined` in 1024 are declined."""
    count = len(second)
    terminal = world.favourites[regular, draws.below(FAVOURITES, count)]
    refused = draws.below(1024, count) < declined
    return TransactionArrays(
        second=second,
        card=case.card,
        terminal=terminal,
        amount=worlds.amount(world, case.card, terminal, draws.normal(count), draws.below(1024, count), boost),
        status=np.where(refused, DECLINED, APPROVED),
        scenario=np.zeros(count, dtype=np.int64),
        delay=case.delay,
    )
