"""Random draws and distributions in whole numbers, identical on every platform.

Floating-point functions such as `exp` differ in their last bits between builds of numpy and
processors. Therefore uniform bits come directly from one fixed generator, every distribution is a table of
integers computed with the standard library, and money and time are integers throughout. Logarithms are
natural, in units of 1/1024.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

UNIT = 1024
"""The number 1 in the fixed-point units of logarithms and standard deviations."""

_NORMAL_BITS = 14
_LARGEST_LOG = 17  # exp(17) cents is about 240,000 in major units


class Draws:
    """A stream of random bits, reproducible on every platform for the same seed, stream and order of calls."""

    def __init__(self, seed: int, *stream: int) -> None:
        self._generator = np.random.PCG64(np.random.SeedSequence([seed, *stream]))

    def bits(self, count: int) -> Bits:
        """Draw 64 random bits per item."""
        return self._generator.random_raw(count)

    def below(self, bound: int | Ints, count: int) -> Ints:
        """Draw whole numbers from 0 to bound - 1, for bounds up to 2³¹."""
        return scale(self.bits(count), 32, 32, bound)

    def between(self, low: int, high: int, count: int) -> Ints:
        """Draw whole numbers from low to high, both included."""
        return low + self.below(high - low + 1, count)

    def normal(self, count: int) -> Ints:
        """Draw from the standard normal distribution, in units of 1/1024."""
        return normal(part(self.bits(count), 0, _NORMAL_BITS))

    def order(self, count: int) -> Ints:
        """Draw a random permutation of `count` items."""
        return np.argsort(self.bits(count), kind="stable").astype(np.int64)


class Choice:
    """Weighted random choice of items by a single table look-up.

    Examples
    --------
    >>> Choice(np.array([0, 3, 1])).at(np.array([0, 2**31, 2**32 - 1], dtype=np.uint64)).tolist()
    [0, 1, 2]
    """

    def __init__(self, weights: Ints, *, slots: int = 16) -> None:
        size = slots * len(weights)
        total = max(1, int(weights.sum()))
        self._slots: Ints = np.repeat(np.arange(len(weights)), 1 + weights * size // total)

    def at(self, bits: Bits) -> Ints:
        """Look up items by 32 random bits; every item has at least one slot."""
        return self._slots[scale(bits, 0, 32, len(self._slots))]

    def draw(self, draws: Draws, count: int) -> Ints:
        return self.at(draws.bits(count) >> np.uint64(32))


def part(bits: Bits, shift: int, width: int) -> Ints:
    """Extract `width` bits of each item as a whole number."""
    return ((bits >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)


def scale(bits: Bits, shift: int, width: int, bound: int | Ints) -> Ints:
    """Extract `width` bits of each item and scale them to 0 ... bound - 1."""
    return (part(bits, shift, width) * bound) >> width


def normal(bits: Ints) -> Ints:
    """Look up the normal quantile of 14 random bits, in units of 1/1024."""
    return _normal_table()[bits]


def exp(logs: Ints, jitter: Ints) -> Ints:
    """Exponential of logarithms as whole numbers, interpolated between table entries by ten random bits.

    Examples
    --------
    >>> exp(np.array([0, 8 * UNIT]), np.array([0, 0])).tolist()
    [1, 2981]
    """
    table = _exp_table()
    index = np.clip(logs, 0, len(table) - 2)
    low = table[index]
    return low + (((table[index + 1] - low) * jitter) >> 10)


def log(value: float) -> int:
    """The logarithm of a factor in units of 1/1024."""
    return round(math.log(value) * UNIT)


@cache
def _normal_table() -> Ints:
    size = 1 << _NORMAL_BITS
    quantile = NormalDist().inv_cdf
    return np.array([round(quantile((index + 0.5) / size) * UNIT) for index in range(size)], dtype=np.int64)


@cache
def _exp_table() -> Ints:
    return np.array([round(math.exp(index / UNIT)) for index in range(_LARGEST_LOG * UNIT)], dtype=np.int64)
