"""Daily review queue: the cards of each day by score, and card precision at k.

Cards are ranked by their best score of the day, ties by card id. A sample may be weighted: by copies of
cards (a card drawn twice is in the queue twice) or of rows.

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
    """Cards of each day in the order of review.

    Attributes
    ----------
    card_day
        Codes of card and day together, shape (queue entries,).
    card, day, copies, compromised, best
        The card, the day, the number of copies of the card, whether the card has a fraud
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
        """Return the mean over days of (compromised cards among the first k) / k; a card is counted once found, on one day only."""
        if not self.days:
            return np.nan
        caught = np.zeros(int(self.card.max(initial=-1)) + 1)
        hits = 0.0
        edges = np.searchsorted(self.day, np.arange(self.days + 1))
        for first, last in pairwise(edges.tolist()):
            card = self.card[first:last]
            left = np.maximum(self.copies[first:last] - caught[card], 0.0)
            hit = _copies_within(left, np.cumsum(left) - left, k) * self.compromised[first:last]
            caught[card] += hit
            hits += float(hit.sum())
        return hits / (k * self.days)

    def share_reviewed(self, per_day: int) -> FloatArray:
        """Return the share of each entry's copies within the daily budget; cards are not removed once reviewed."""
        before = np.cumsum(self.copies) - self.copies
        edges = np.searchsorted(self.day, np.arange(self.days))
        before = before - np.append(before, 0.0)[edges][self.day]
        return np.divide(
            _copies_within(self.copies, before, per_day),
            self.copies,
            out=np.zeros(len(self.copies)),
            where=self.copies > 0,
        )


class CardDays:
    """Cards of each day of a sample with time; if the data has no cards, each row is a card.

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
        # Rows by (day, best score, card): the rank of a card's best row is the card's position in the queue.
        ranked = np.lexsort((card, -sample.score, sample.day))
        rank = np.empty(sample.rows, dtype=np.int64)
        rank[ranked] = np.arange(sample.rows)
        self._grouped = np.lexsort((rank, card, sample.day))
        day, cards_by_row = sample.day[self._grouped], card[self._grouped]
        new = (
            np.append(True, (np.diff(day) != 0) | (np.diff(cards_by_row) != 0))
            if sample.rows
            else np.empty(0, dtype=bool)
        )
        self._starts = np.flatnonzero(new)
        self._rank = rank[self._grouped]
        self.day, self.card = day[self._starts], cards_by_row[self._starts]
        self._of_row = np.empty(sample.rows, dtype=np.int64)
        self._of_row[self._grouped] = np.cumsum(new) - 1
        self._ranked = ranked
        self._unweighted = self._build_queue(np.ones(sample.rows), np.ones(len(self._starts)))

    def queue(self, weight: FloatArray, copies: FloatArray | None) -> Queue:
        """Build the queue of each day.

        Parameters
        ----------
        weight
            Copies of each row of the sample, shape (n,); rows of weight 0 are absent.
        copies
            Copies of each card, by its code, if whole cards were drawn; else None.
        """
        if copies is not None and self.has_cards:
            return replace(self._unweighted, copies=copies[self._unweighted.card])
        each = np.ones(len(self._starts)) if self.has_cards else weight[self._grouped]
        return self._build_queue(weight, each)

    def alerted_share(self, queue: Queue, per_day: int) -> FloatArray:
        """Return the share of each row that a daily budget of cards alerts, shape (m,), m ≤ n.

        Alerted are the rows of the day's first cards that score at least the best score of the last of
        these cards, as under a threshold set for that day alone. Rows from m on score
        less than any alerted row and are left out.
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
        """Return the highest precision at k that any ranking could reach."""
        if not self._days:
            return np.nan
        return max_cards_found(self._unweighted.card, self._unweighted.day, self._unweighted.compromised, k) / (
            k * self._days
        )

    def _build_queue(self, weight: FloatArray, copies: FloatArray) -> Queue:
        if not len(self._starts):
            none = np.empty(0, dtype=np.int64)
            return Queue(none, none, none, np.empty(0), np.empty(0), np.empty(0), self._days)
        present = weight[self._grouped] > 0
        best_rank = np.minimum.reduceat(np.where(present, self._rank, len(present)), self._starts)
        is_best = np.zeros(len(present) + 1, dtype=bool)
        is_best[best_rank] = True
        best = self._ranked[np.flatnonzero(is_best[:-1])]
        line = self._of_row[best]
        compromised = np.zeros(len(self._starts))
        compromised[self._of_row[self._frauds[weight[self._frauds] > 0]]] = 1.0
        return Queue(
            line, self.card[line], self.day[line], copies[line], compromised[line], self._score[best], self._days
        )


def max_cards_found(card: IntArray, day: IntArray, compromised: FloatArray, k: int) -> int:
    """Return how many cards a perfect ranking finds if k cards are reviewed each day and a card is found once.

    A card may be found on any day it is compromised, so the count is a maximum matching of cards to
    review slots, built by augmenting paths over days. Days without an augmenting path are not searched again.

    Parameters
    ----------
    card, day, compromised
        One entry for each card and day, shape (card-days,).

    Examples
    --------
    >>> max_cards_found(np.array([0, 1, 0]), np.array([0, 0, 1]), np.array([1.0, 1.0, 1.0]), k=1)
    2
    """
    days_of: dict[int, list[int]] = defaultdict(list)
    for code, on in zip(card[compromised > 0].tolist(), day[compromised > 0].tolist(), strict=True):
        days_of[code].append(on)
    assigned: dict[int, set[int]] = defaultdict(set)
    closed: set[int] = set()
    return sum(_assign(code, days_of, assigned, closed, k) for code in days_of)


def _assign(card: int, days_of: dict[int, list[int]], assigned: dict[int, set[int]], closed: set[int], k: int) -> bool:
    """Assign the card to one of its days, moving other cards to other days if necessary; return whether it succeeds."""
    moves: dict[int, tuple[int, int | None]] = {on: (card, None) for on in days_of[card] if on not in closed}
    reached = list(moves)
    for on in reached:
        if len(assigned[on]) < k:
            _apply_moves(on, moves, assigned)
            return True
        for other in assigned[on]:
            for elsewhere in days_of[other]:
                if elsewhere not in moves and elsewhere not in closed:
                    moves[elsewhere] = (other, on)
                    reached.append(elsewhere)
    closed.update(reached)
    return False


def _apply_moves(on: int, moves: dict[int, tuple[int, int | None]], assigned: dict[int, set[int]]) -> None:
    mover, origin = moves[on]
    assigned[on].add(mover)
    while origin is not None:
        assigned[origin].remove(mover)
        target = origin
        mover, origin = moves[target]
        assigned[target].add(mover)


def _copies_within(copies: FloatArray, before: FloatArray, k: int) -> FloatArray:
    return np.clip(k - before, 0.0, copies)
