"""Simulate card transactions with fraud: realistic enough for training, identical on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl

from fraud3000.data.simulation import scenarios, traffic, world
from fraud3000.data.simulation.draws import Draws, Ints
from fraud3000.data.simulation.traffic import TransactionArrays
from fraud3000.data.simulation.world import DAY, World
from fraud3000.params import SimulateParams
from fraud3000.schema import TIME

START = datetime(2025, 1, 1, tzinfo=UTC)

SIMULATED: dict[str, pl.DataType] = {
    "transaction_id": pl.String(),
    "ts": TIME,
    "card_id": pl.String(),
    "terminal_id": pl.String(),
    "amount": pl.Float64(),  # major units with two decimals, negative for refunds
    "is_fraud": pl.Int8(),
    "reported_at": TIME,  # null for legitimate transactions
    "status": pl.String(),  # approved, declined or refund
    "category": pl.String(),  # the terminal's merchant category
    "card_lat": pl.Float64(),  # degrees; the cardholder's home
    "card_long": pl.Float64(),
    "terminal_lat": pl.Float64(),
    "terminal_long": pl.Float64(),
    "fraud_scenario": pl.String(),  # reveals the label, so later stages refuse it as an input
}

_STATUS = pl.Series(["approved", "declined", "refund"])
_BLOCK = 500_000  # transactions simulated at a time


def simulate(params: SimulateParams) -> pl.DataFrame:
    """Simulate card transactions, in time order, with frauds and their reports.

    Each card has its own home, amounts, hours and favourite terminals. Frauds are amount outliers,
    compromised terminals, stolen cards, card testing within seconds and slow account takeover; together
    less than one in a hundred transactions. The same params give the same frame on every supported version
    of Python and numpy.

    Parameters
    ----------
    params
        `rows` is exact; `days` from 2025-01-01, with the same traffic in every week.

    Returns
    -------
    pl.DataFrame
        Columns of `SIMULATED`; about 170 bytes per row.

    Examples
    --------
    >>> frame = simulate(SimulateParams(rows=1_000, days=30, cards=50, terminals=20, seed=1))
    >>> frame.height, frame["ts"].is_sorted(), frame["transaction_id"].n_unique()
    (1000, True, 1000)
    """
    return pl.concat(blocks(params), rechunk=False)


def blocks(params: SimulateParams) -> Iterator[pl.DataFrame]:
    """Simulate whole days at a time, so that working memory does not grow with the rows."""
    simulated = world.build(params)
    tables = _Tables(simulated)
    number = 0
    for rows in _days_of_traffic(params, simulated):
        yield tables.frame(rows, number)
        number += len(rows)


def _days_of_traffic(params: SimulateParams, simulated: World) -> Iterator[TransactionArrays]:
    span = params.days * DAY
    inserted = scenarios.campaigns(simulated, params.seed, params.rows, span)
    skimmed = scenarios.compromise(simulated, Draws(params.seed, 3), span)
    per_day = np.array(traffic.per_day(params.rows - len(inserted), params.days))
    draws = Draws(params.seed, 4)
    for first, last in _spans(per_day):
        days = np.repeat(np.arange(first, last), per_day[first:last])
        ordinary = traffic.ordinary_payments(simulated, draws, days, skimmed)
        begin, end = np.searchsorted(inserted.second, [first * DAY, last * DAY])
        yield TransactionArrays.join(ordinary, inserted.take(slice(begin, end)))


def _spans(per_day: Ints) -> Iterator[tuple[int, int]]:
    """Divide the days into spans of about half a million transactions."""
    block = np.cumsum(per_day) // _BLOCK
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(per_day)]
    yield from pairwise(edges)


class _Tables:
    """Lookup tables: ids, categories and coordinates of cards and terminals."""

    def __init__(self, simulated: World) -> None:
        self._cards = world.names("C", simulated.cards)
        self._terminals = world.names("T", simulated.terminals)
        self._categories = pl.Series(list(world.CATEGORIES)).gather(simulated.category)
        self._homes = world.degrees(simulated.card_position)
        self._positions = world.degrees(simulated.terminal_position)

    def frame(self, rows: TransactionArrays, number: int) -> pl.DataFrame:
        fraud = rows.scenario > 0
        ts = _times(rows.second)
        columns = {
            "transaction_id": _running_ids(number, len(rows)),
            "ts": ts,
            "card_id": self._cards.gather(rows.card),
            "terminal_id": self._terminals.gather(rows.terminal),
            "amount": pl.Series(rows.amount / 100),
            "is_fraud": pl.Series(fraud.astype(np.int8)),
            "reported_at": _times(rows.second + rows.delay).set(pl.Series(~fraud), None),
            "status": _STATUS.gather(rows.status),
            "category": self._categories.gather(rows.terminal),
            "card_lat": self._homes["lat"].gather(rows.card),
            "card_long": self._homes["long"].gather(rows.card),
            "terminal_lat": self._positions["lat"].gather(rows.terminal),
            "terminal_long": self._positions["long"].gather(rows.terminal),
            "fraud_scenario": pl.Series(scenarios.NAMES, dtype=pl.String).gather(rows.scenario),
        }
        return pl.DataFrame(columns, schema=SIMULATED)


def _times(seconds: Ints) -> pl.Series:
    return pl.Series((seconds + int(START.timestamp())) * 1_000_000).cast(TIME)


def _running_ids(number: int, count: int) -> pl.Series:
    running = pl.int_range(number + 1, number + count + 1)
    return pl.select(pl.lit("S") + running.cast(pl.String).str.zfill(9)).to_series()
