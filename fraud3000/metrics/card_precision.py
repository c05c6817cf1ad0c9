"""The reviewers' day: which cards stand in the queue, and which of them are compromised.

Cards queue by their best score of the day, ties by card id. A sample may be weighted: by copies of
cards (a card drawn twice stands in the queue twice) or of rows.

References
----------
Le Borgne, Siblini, Lebichot, Bontempi. Reproducible Machine Learning for Credit Card Fraud
Detection: Practical Handbook, 2022, chapter 4 (Card Precision top-k).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fraud3000.metrics.scored_arrays import FloatArray, IntArray, ScoredArrays


@dataclass(frozen=True, eq=False)
class Queue:
    """Cards of each day in the order in which they would be reviewed.

    Attributes
    ----------
    card_day
        Codes of card and day together, shape (places in the queue,).
    card, day, copies, compromised, best
        The card, the day, how many copies of the card stand there, whether a fraud of the card lies
        on that day, and its best score; same shape.
    days
        Number of days.
    """

    card_day: IntArray
    card: IntArray
    day: IntArray
    copies: FloatArray
    compromised: FloatArray
    best: FloatArray
    days: int

    def precision_at(self, k: int) -> float:
        """Give the mean over days of (compromised cards among the first k) / k; found cards leave for good."""
        if not self.days:
            return np.nan
        found = np.zeros(int(self.card.max(initial=-1)) + 1)
        hits = 0.0
        edges = np.searchsorted(self.day, np.arange(self.days + 1))
        for first, last in pairwise(edges.tolist()):
            card = self.card[first:last]
            left = np.maximum(self.copies[first:last] - found[card], 0.0)
            taken = _first(left, np.cumsum(left) - left, k) * self.compromised[first:last]
            found[card] += taken
            hits += float(taken.sum())
        return hits / (k * self.days)

    def share_reviewed(self, per_day: int) -> FloatArray:
        """Give the share of each place's copies that fits a day's budget; nobody leaves for good."""
        before = np.cumsum(self.copies) - self.copies
        edges = np.searchsorted(self.day, np.arange(self.days))
        before = before - np.append(before, 0.0)[edges][self.day]
        return np.divide(
            _first(self.copies, before, per_day), self.copies, out=np.zeros(len(self.copies)), where=self.copies > 0
        )


class CardDays:
    """The cards of each day of a sample with time; rows stand for cards where there are none.

    Parameters
    ----------
    sample
        Rows with ``day``.
    """

    def __init__(self, sample: ScoredArrays) -> None:
        if sample.day is None:
            raise ValueError("card days need a sample with time")
        self._score, self._falling = sample.score, -sample.score
        self._frauds, self._days = np.flatnonzero(sample.fraud), sample.days
        self.has_cards = "card" in sample.keys
        card = sample.keys.get("card", np.arange(sample.rows))
        # Rows by (day, best score, card): a row's rank here is its claim to a place in the queue.
        ranked = np.lexsort((card, -sample.score, sample.day))
        rank = np.empty(sample.rows, dtype=np.int64)
        rank[ranked] = np.arange(sample.rows)
        self._grouped = np.lexsort((rank, card, sample.day))
        day, held = sample.day[self._grouped], card[self._grouped]
        new = np.append(True, (np.diff(day) != 0) | (np.diff(held) != 0)) if sample.rows else np.empty(0, dtype=bool)
        self._starts = np.flatnonzero(new)
        self._rank = rank[self._grouped]
        self.day, self.card = day[self._starts], held[self._starts]
        self._of_row = np.empty(sample.rows, dtype=np.int64)
        self._of_row[self._grouped] = np.cumsum(new) - 1
        self._ranked = ranked
        self._whole = self._line(np.ones(sample.rows), np.ones(len(self._starts)))

    def queue(self, weight: FloatArray, copies: FloatArray | None) -> Queue:
        """Line up the cards of each day.

        Parameters
        ----------
        weight
            Copies of each row of the sample, shape (n,); a row of weight 0 is not there.
        copies
            Copies of each card, by its code, where whole cards were drawn; None where not.
        """
        if copies is not None and self.has_cards:
            return replace(self._whole, copies=copies[self._whole.card])
        each = np.ones(len(self._starts)) if self.has_cards else weight[self._grouped]
        return self._line(weight, each)

    def alerted_share(self, queue: Queue, per_day: int) -> FloatArray:
        """Give the share of each row that a daily budget of cards alerts, shape (m,), m ≤ n.

        The rows of the day's first cards that score at least as much as the last of them does at
        its best: what a threshold set for that day alone would alert. Rows from m on, which score
        less than any alerted row, are left out.
        """
        taken = queue.share_reviewed(per_day)
        inside = taken > 0
        share = np.zeros(len(self._starts))
        share[queue.card_day[inside]] = taken[inside]
        edge = np.full(self._days, np.inf)
        np.minimum.at(edge, queue.day[inside], queue.best[inside])
        reach = int(np.searchsorted(self._falling, -edge.min(initial=np.inf), side="right"))
        card_day = self._of_row[:reach]
        return share[card_day] * (self._score[:reach] >= edge[self.day[card_day]])

    def ceiling(self, k: int) -> float:
        """Give the highest precision at k that anyone could reach by the same rule."""
        if not self._days:
            return np.nan
        return max_cards_found(self._whole.card, self._whole.day, self._whole.compromised, k) / (k * self._days)

    def _line(self, weight: FloatArray, copies: FloatArray) -> Queue:
        if not len(self._starts):
            none = np.empty(0, dtype=np.int64)
            return Queue(none, none, none, np.empty(0), np.empty(0), np.empty(0), self._days)
        there = weight[self._grouped] > 0
        claim = np.minimum.reduceat(np.where(there, self._rank, len(there)), self._starts)
        stands = np.zeros(len(there) + 1, dtype=bool)
        stands[claim] = True
        best = self._ranked[np.flatnonzero(stands[:-1])]
        line = self._of_row[best]
        compromised = np.zeros(len(self._starts))
        compromised[self._of_row[self._frauds[weight[self._frauds] > 0]]] = 1.0
        return Queue(
            line, self.card[line], self.day[line], copies[line], compromised[line], self._score[best], self._days
        )


def max_cards_found(card: IntArray, day: IntArray, compromised: FloatArray, k: int) -> int:
    """Count the cards that an oracle finds when each day has k places and a card is found once.

    A card may be found on any day it is compromised, so the count is a maximum matching of cards to
    places; it grows by augmenting paths over days. Days from which none leads on stay closed.

    Parameters
    ----------
    card, day, compromised
        One entry for each card and day, shape (card-days,).

    Examples
    --------
    >>> max_cards_found(np.array([0, 1, 0]), np.array([0, 0, 1]), np.array([1.0, 1.0, 1.0]), k=1)
    2
    """
    chances: dict[int, list[int]] = defaultdict(list)
    for one, on in zip(card[compromised > 0].tolist(), day[compromised > 0].tolist(), strict=True):
        chances[one].append(on)
    placed: dict[int, set[int]] = defaultdict(set)
    closed: set[int] = set()
    return sum(_place(one, chances, placed, closed, k) for one in chances)


def _place(card: int, chances: dict[int, list[int]], placed: dict[int, set[int]], closed: set[int], k: int) -> bool:
    """Find the card a place, if need be by moving others to another of their days."""
    came: dict[int, tuple[int, int | None]] = {on: (card, None) for on in chances[card] if on not in closed}
    reached = list(came)
    for on in reached:
        if len(placed[on]) < k:
            _shift(on, came, placed)
            return True
        for other in placed[on]:
            for elsewhere in chances[other]:
                if elsewhere not in came and elsewhere not in closed:
                    came[elsewhere] = (other, on)
                    reached.append(elsewhere)
    closed.update(reached)
    return False


def _shift(on: int, came: dict[int, tuple[int, int | None]], placed: dict[int, set[int]]) -> None:
    mover, origin = came[on]
    placed[on].add(mover)
    while origin is not None:
        placed[origin].remove(mover)
        target = origin
        mover, origin = came[target]
        placed[target].add(mover)


def _first(copies: FloatArray, before: FloatArray, k: int) -> FloatArray:
    return np.clip(k - before, 0.0, copies)
