"""The simulated world: cards with individual habits, and terminals with positions, categories and regular customers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from fraud3000.data.simulation.draws import UNIT, Choice, Draws, Ints, log
from fraud3000.data.simulation.draws import exp as exponential
from fraud3000.params import SimulateParams

DAY = 86_400

CATEGORIES: dict[str, tuple[int, float, float]] = {
    # name: share of terminals, typical amount as a factor, spread of the amounts there
    "grocery": (24, 0.9, 0.3),
    "restaurant": (20, 0.7, 0.3),
    "fuel": (9, 1.1, 0.2),
    "transport": (8, 0.35, 0.3),
    "pharmacy": (7, 0.6, 0.3),
    "clothing": (9, 1.5, 0.35),
    "entertainment": (6, 0.9, 0.35),
    "electronics": (5, 2.4, 0.45),
    "travel": (3, 3.2, 0.45),
    "online": (9, 1.2, 0.5),
}
ONLINE = list(CATEGORIES).index("online")

FAVOURITES = 12  # terminals that a card visits
_FAVOURITE_WEIGHTS = (14, 10, 8, 6, 5, 5, 4, 3, 3, 2, 2, 2)  # in 1/64
_ONLINE_FAVOURITES = (2, 5, 9)  # indexes of favourites that are online shops anywhere in the country

_TIME_BITS = 10
_PEAKS = (  # peak hours with their heights, on working days and on days off: one pair for each daily rhythm
    (((8, 5), (12, 9), (18, 10)), ((11, 9), (15, 9), (19, 6))),
    (((10, 10), (15, 8)), ((10, 9), (14, 6))),
    (((13, 6), (20, 11)), ((14, 8), (22, 10))),
    (((1, 6), (19, 5), (23, 10)), ((2, 9), (18, 5), (23, 9))),
)
_DEGREE = 10_000  # positions are in ten-thousandths of a degree
_CITIES = 60


@dataclass(frozen=True)
class World:
    """All cards and terminals; arrays have one item per card or terminal, sorted by position.

    Attributes
    ----------
    level, spread
        Mean and spread of the logarithm of a card's amounts in minor units, in units of 1/1024.
    favourites
        Shape (cards, 12): terminals, the most visited first.
    life, shift
        The daily rhythm of a card, and by how many seconds it is shifted.
    traffic
        Relative frequency of visits to a terminal.
    """

    activity: Choice
    level: Ints
    spread: Ints
    life: Ints
    shift: Ints
    favourites: Ints
    card_position: Ints
    terminal_position: Ints
    category: Ints
    traffic: Ints
    online: Ints

    @property
    def cards(self) -> int:
        return len(self.level)

    @property
    def terminals(self) -> int:
        return len(self.category)


def build(params: SimulateParams) -> World:
    """Build cards and terminals in a country with cities."""
    draws = Draws(params.seed, 1)
    position, city = _place_terminals(draws, params.terminals)
    category = Choice(np.array([share for share, _, _ in CATEGORIES.values()])).draw(draws, params.terminals)
    popularity = _lognormal(draws, params.terminals, mean=log(1000), spread=1.1)
    home = np.sort(Choice(popularity).draw(draws, params.cards))
    weights = _lognormal(draws, params.cards, mean=log(1000), spread=0.7)
    favourites = _favourites(draws, home, city, category, popularity)
    return World(
        activity=Choice(weights),
        level=log(3_200) + (draws.normal(params.cards) * 6 // 10),
        spread=draws.between(UNIT // 8, UNIT * 4 // 10, params.cards),
        life=Choice(np.array([45, 25, 22, 8])).draw(draws, params.cards),
        shift=draws.between(-4, 4, params.cards) * 1_800,
        favourites=favourites,
        card_position=position[home] + (draws.normal(2 * params.cards).reshape(-1, 2) * 150 >> 10),
        terminal_position=position,
        category=category,
        traffic=_traffic(favourites, weights, params.terminals),
        online=_online(category),
    )


def degrees(positions: Ints) -> pl.DataFrame:
    """Convert positions to latitude and longitude in degrees."""
    return pl.DataFrame({"lat": positions[:, 0] / _DEGREE, "long": positions[:, 1] / _DEGREE})


def names(prefix: str, count: int) -> pl.Series:
    """Ids of cards or terminals: a letter and a number of seven digits."""
    return pl.select(pl.lit(prefix) + pl.int_range(1, count + 1).cast(pl.String).str.zfill(7)).to_series()


def favourite(bits: Ints) -> Ints:
    """Choose which favourite a card visits, by six random bits."""
    ranks: Ints = np.repeat(np.arange(FAVOURITES), _FAVOURITE_WEIGHTS)
    return ranks[bits]


def second_of_day(world: World, cards: Ints, off: Ints, cell: Ints, within: Ints) -> Ints:
    """Choose the second of the day at which a card pays, by 10 and 20 random bits; `off` is 1 on days off."""
    bounds = _rhythms()
    row = 2 * world.life[cards] + off
    first = bounds[row, cell]
    second = first + (((bounds[row, cell + 1] - first) * within) >> 20)
    shifted: Ints = (second + world.shift[cards]) % DAY
    return shifted


def amount(world: World, cards: Ints, terminals: Ints, noise: Ints, jitter: Ints, boost: Ints | int = 0) -> Ints:
    """Choose the amount that a card pays at a terminal, in minor units; `boost` is added to the logarithm."""
    typical, spread = _prices()
    category = world.category[terminals]
    width = world.spread[cards] + spread[category]
    logs: Ints = world.level[cards] + typical[category] + boost
    logs = logs + ((width * noise) >> 10)
    return np.maximum(exponential(logs, jitter), 50)


def _place_terminals(draws: Draws, terminals: int) -> tuple[Ints, Ints]:
    """Place terminals around city centres; terminals with close indexes are close to each other."""
    cities = max(1, min(_CITIES, terminals // 50))
    centres = np.stack([draws.between(430_000, 500_000, cities), draws.between(-10_000, 80_000, cities)], axis=1)
    sizes = np.array([1_000 // (rank + 1) for rank in range(cities)])
    city = np.sort(Choice(sizes).draw(draws, terminals))
    position = centres[city] + (draws.normal(2 * terminals).reshape(-1, 2) * 700 >> 10)
    order = np.lexsort((position[:, 1], position[:, 0] // 400, city))
    return position[order], city


def _favourites(draws: Draws, home: Ints, city: Ints, category: Ints, popularity: Ints) -> Ints:
    """Choose the more popular of two terminals near home, twelve times; some are replaced by online shops."""
    first = np.searchsorted(city, city[home], side="left")[:, None]
    last = np.searchsorted(city, city[home], side="right")[:, None] - 1
    shape = (len(home), FAVOURITES)
    size = shape[0] * shape[1]
    nearby = [
        np.clip(home[:, None] + (draws.normal(size).reshape(shape) * 25 >> 10), first, last).astype(np.int64)
        for _ in range(2)
    ]
    favourites = np.where(popularity[nearby[0]] >= popularity[nearby[1]], *nearby)
    shops = _online(category)
    shop = Choice(popularity[shops])
    for rank in _ONLINE_FAVOURITES:
        favourites[:, rank] = shops[shop.draw(draws, len(home))]
    return favourites


def _traffic(favourites: Ints, weights: Ints, terminals: int) -> Ints:
    traffic = np.zeros(terminals, dtype=np.int64)
    for rank, weight in enumerate(_FAVOURITE_WEIGHTS):
        np.add.at(traffic, favourites[:, rank], weights * weight)
    return traffic


def _online(category: Ints) -> Ints:
    online = np.flatnonzero(category == ONLINE)
    return online if len(online) else np.arange(len(category))


def _lognormal(draws: Draws, count: int, *, mean: int, spread: float) -> Ints:
    return exponential(mean + (draws.normal(count) * round(spread * UNIT) >> 10), draws.below(UNIT, count))


@cache
def _prices() -> tuple[Ints, Ints]:
    typical = np.array([log(factor) for _, factor, _ in CATEGORIES.values()], dtype=np.int64)
    spread = np.array([round(width * UNIT) for _, _, width in CATEGORIES.values()], dtype=np.int64)
    return typical, spread


@cache
def _rhythms() -> Ints:
    """Limits, in seconds of the day, of 1024 equally likely parts of the day for each rhythm."""
    return np.array([_bounds(_hourly(peaks)) for life in _PEAKS for peaks in life], dtype=np.int64)


def _hourly(peaks: tuple[tuple[int, int], ...]) -> list[int]:
    distance = [[min((hour - at) % 24, (at - hour) % 24) for at, _ in peaks] for hour in range(24)]
    return [
        2 + sum(max(0, 8 * height - 22 * far) for far, (_, height) in zip(row, peaks, strict=True)) for row in distance
    ]


def _bounds(hourly: list[int]) -> list[int]:
    cells = 1 << _TIME_BITS
    bounds, hour, before = [], 0, 0
    for cell in range(cells):
        target = cell * sum(hourly)
        while (before + hourly[hour]) * cells <= target:
            before += hourly[hour]
            hour += 1
        bounds.append(hour * 3_600 + (target - before * cells) * 3_600 // (hourly[hour] * cells))
    return [*bounds, DAY]
