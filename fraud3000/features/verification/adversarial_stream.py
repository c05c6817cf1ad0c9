"""Generates an adversarial stream: few keys with every case that the rules of time distinguish."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.data.cleaning import duplicates
from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification import every_kind
from fraud3000.features.verification.stream_stats import SECOND, stream_statistics, window_edges
from fraud3000.labels import visibility
from fraud3000.schema import APPROVED, DECLINED, REFUND, TIME

Ints = NDArray[np.int64]

SOURCES = ("analyst", "chargeback", visibility.FILE_SOURCE)
"""Label sources of the stream, the most trusted first."""

_START = datetime(2024, 2, 1, tzinfo=UTC)  # the clocks of Europe change within the first two months
_COUNTRIES = ("DE", "ES", "FR", "IT", "PT", "US")


@dataclass(frozen=True)
class AdversarialStream:
    """A generated stream.

    Attributes
    ----------
    transactions
        TRANSACTIONS with all roles, a numeric column `risk` and a text column `country`; not in order of time.
    ledger
        LEDGER.
    statistics
        Number of cases in it, counted from the data.
    """

    transactions: pl.DataFrame
    ledger: pl.DataFrame
    statistics: dict[str, int]


def generate(catalogue: Catalogue, *, rows: int = 20_000, seed: int = 2018) -> AdversarialStream:
    """Generate transactions and their label records; the result depends only on the arguments.

    Every window of the catalogue has events exactly on its edges and a microsecond before them. Some rows
    are sent twice, or again with another label or amount; they are resolved by the rule for duplicates in raw files,
    so that each transaction occurs once and the second label is a record.

    Parameters
    ----------
    catalogue
        Its windows, label delay and late horizon define the cases.
    """
    source = np.random.default_rng(seed)
    generator = _StreamGenerator(source, catalogue, rows)
    base = generator.background(rows - rows // 8)
    late = generator.too_late(base, rows // 40)
    background = base.with_columns(labelled_at=pl.lit(None, pl.Int64))
    events = pl.concat([background, late, generator.on_edges(background, late, rows // 8 - late.height)])
    arrived = _in_arrival_order(generator.with_resent_rows(generator.with_all_columns(events)))
    content = [name for name in arrived.columns if name not in ("labelled_at", "again")]
    resolved = duplicates.deduplicate(arrived, content)
    delay = timedelta(seconds=catalogue.label_delay)
    ledger = visibility.merge(
        visibility.ledger_from_rows(resolved.first_rows, delay),
        duplicates.differing_labels(resolved.first_rows, resolved.duplicates, delay),
        generator.records(resolved.first_rows),
    )
    transactions = resolved.first_rows.select(content)
    statistics = {
        **stream_statistics(transactions, ledger, catalogue),
        "duplicates, removed": resolved.duplicates.height,
        "same id with other content, removed": resolved.conflicts.height,
    }
    return AdversarialStream(transactions, ledger, statistics)


@dataclass(frozen=True)
class _StreamGenerator:
    """Draws the parts of a stream; times are in microseconds."""

    source: np.random.Generator
    catalogue: Catalogue
    rows: int

    @property
    def horizon(self) -> int:
        return self.catalogue.late_horizon * SECOND

    def background(self, count: int) -> pl.DataFrame:
        """Draw the time, arrival, card and terminal of ordinary events."""
        first = int(_START.timestamp()) * SECOND
        span = 2 * max(self.catalogue.retention, 86_400) * SECOND
        ts = first + self.source.integers(0, span, count)
        grid = self.source.choice([1, SECOND, 60 * SECOND, 3_600 * SECOND, 21_600 * SECOND], count)
        ts -= ts % grid
        card, terminal = self._keys(count, 8 + self.rows // 400), self._keys(count, 4 + self.rows // 1_000)
        follows = np.flatnonzero(self.source.random(count) < 0.25)
        leader = self.source.integers(0, count, len(follows))
        steps = [0, 0, 1, SECOND, 60 * SECOND, 599 * SECOND, 3_600 * SECOND, 86_400 * SECOND]
        ts[follows] = ts[leader] + self.source.choice(steps, len(follows))
        card[follows] = card[leader]
        same_place = follows[self.source.random(len(follows)) < 0.5]
        terminal[same_place] = terminal[leader[np.isin(follows, same_place)]]
        columns = {"ts": ts, "arrival": ts + self._lags(count), "after": self.source.integers(0, 8, count)}
        return pl.DataFrame({**columns, "card": card, "terminal": terminal})

    def _keys(self, count: int, keys: int) -> Ints:
        """Draw keys from a power law: a few have most of the events, the last have one in months."""
        weights = 1 / np.arange(1, keys + 1) ** 1.2
        return self.source.choice(keys, count, p=weights / weights.sum())

    def _lags(self, count: int) -> Ints:
        """Draw the time between an event and its arrival."""
        kind = self.source.choice(5, count, p=[0.86, 0.06, 0.05, 0.02, 0.01])
        drawn = self.source.random(count)
        minutes, within = drawn * 600 * SECOND, drawn * self.horizon
        too_late, early = self.horizon + drawn * 5 * 86_400 * SECOND, -drawn * 2 * self.horizon
        return np.choose(kind, [np.zeros(count), minutes, within, too_late, early]).astype(np.int64)

    def on_edges(self, base: pl.DataFrame, late: pl.DataFrame, count: int) -> pl.DataFrame:
        """Add events of the keys of some rows x on each edge of each window of x, and a microsecond before it.

        Every other x is late by exactly the horizon, so that a store must still have its events. A third of the events
        that are not too late for their keys arrive right after x. `labelled_at` is the time of the event's label record:
        a microsecond before t, at t or a microsecond after it.
        """
        all_edges = sorted(window_edges(self.catalogue.features))
        at_horizon = late.filter(pl.col("after") == _AT_HORIZON)
        shuffled = [rows[self.source.permutation(rows.height)].with_row_index("turn") for rows in (base, at_horizon)]
        candidates = pl.concat(shuffled).sort("turn", maintain_order=True)
        first_full_window = int(base["ts"].to_numpy().min()) + self.catalogue.retention * SECOND
        events: list[tuple[int, ...]] = []
        for x in candidates.filter(pl.col("ts") > first_full_window).iter_rows(named=True):
            times = sorted(
                {_floor(x["ts"] - offset, bucket) - early for offset, bucket in all_edges for early in (0, 1)}
            )
            for number, time in enumerate(times):
                after_x = x["ts"] - time <= self.horizon and (number + x["turn"]) % 3 == 0
                arrival = x["arrival"] if after_x else time
                events.append((time, arrival, 20, x["card"], x["terminal"], x["ts"] + number % 3 - 1))
            if len(events) >= count:
                break
        return pl.DataFrame(events[:count], schema=_EDGE_COLUMNS, orient="row")

    def too_late(self, base: pl.DataFrame, count: int) -> pl.DataFrame:
        """Add events of the keys of some rows that arrive right after, late by exactly the horizon and a microsecond more."""
        sampled = base[self.source.integers(0, base.height, count // 2 + 1)]
        parts = [
            sampled.with_columns(
                ts=pl.col("ts") - self.horizon - extra, after=_AT_HORIZON + extra, labelled_at=pl.lit(None, pl.Int64)
            )
            for extra in (0, 1)
        ]
        return pl.concat(
            part.select(pl.col(name).cast(kind) for name, kind in _EDGE_COLUMNS.items()) for part in parts
        )[:count]

    def with_all_columns(self, base: pl.DataFrame) -> pl.DataFrame:
        """Add the other columns of TRANSACTIONS except seq; keeps `arrival`, `after` and `labelled_at`."""
        count, draw = base.height, self.source.random
        status = self.source.choice([APPROVED, DECLINED, REFUND], count, p=[0.84, 0.1, 0.06])
        amount = np.exp(self.source.normal(8, 1.5, count)).astype(np.int64)
        amount = np.select(
            [draw(count) < fraction for fraction in (0.01, 0.02, 0.04)], [0, LARGEST, every_kind.LIMIT], amount
        )
        label = self.source.choice([1, 0, -1], count, p=[0.12, 0.83, 0.05])
        reported = base["ts"].to_numpy() + (draw(count) * 60 * 86_400 * SECOND).astype(np.int64)
        card_place, terminal_place = (
            _coordinates(base["card"].to_numpy()),
            _coordinates(base["terminal"].to_numpy() + 1_000),
        )
        ids = self.source.permutation(count)
        columns = {
            "transaction_id": pl.Series([f"{number:07}" for number in ids]),
            "ts": base["ts"].cast(TIME),
            "card_id": self._with_nulls(("c" + base["card"].cast(pl.String)), 0.02),
            "terminal_id": self._with_nulls(("t" + base["terminal"].cast(pl.String)), 0.02),
            "amount": np.where(status == REFUND, -amount, amount),
            "status": status,
            "is_fraud": pl.Series(label, dtype=pl.Int8).set(pl.Series(label < 0), None),
            "reported_at": self._with_nulls(pl.Series(reported).cast(TIME), 0.6).set(pl.Series(label < 0), None),
            "labelled": label >= 0,
            "card_lat": self._with_nulls(card_place[0], 0.03),
            "card_long": self._with_nulls(card_place[1], 0.03),
            "terminal_lat": self._with_nulls(terminal_place[0], 0.03),
            "terminal_long": self._with_nulls(terminal_place[1], 0.03),
            "risk": self._with_nulls(self._risk(count), 0.05),
            "country": self._with_nulls(pl.Series(self.source.choice(_COUNTRIES, count)), 0.05),
        }
        return pl.DataFrame(columns).hstack(base.select("arrival", "after", "labelled_at"))

    def _risk(self, count: int) -> pl.Series:
        odd = [0.0, -0.0, 0.25, 1e9, -1e9, 1.1e9, 0.00004, 0.00006]
        drawn = self.source.normal(0.3, 1, count)
        return pl.Series(np.where(self.source.random(count) < 0.2, self.source.choice(odd, count), drawn))

    def _with_nulls(self, values: pl.Series, missing: float) -> pl.Series:
        return values.set(pl.Series(self.source.random(len(values)) < missing), None)

    def with_resent_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add duplicates of some rows: unchanged, with another label, or with another amount."""
        sampled = rows[self.source.choice(rows.height, rows.height // 40, replace=False)]
        third = sampled.height // 3
        later = pl.col("arrival") + pl.Series(self.source.integers(1, 3 * 86_400 * SECOND, sampled.height))
        again = sampled.with_columns(arrival=later, labelled_at=pl.lit(None, pl.Int64))
        flipped = again[third : 2 * third].with_columns(is_fraud=(1 - pl.col("is_fraud").fill_null(0)).cast(pl.Int8))
        other = again[2 * third :].with_columns(amount=pl.col("amount") + 1)
        return pl.concat([rows, again[:third], flipped, other])

    def records(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Draw label records of other sources than the file: chargebacks, reversals, second opinions; shuffled."""
        edge_records = rows.drop_nulls("labelled_at").select(
            "transaction_id", "labelled_at", is_fraud=pl.int_range(pl.len()) % 4 != 3, source=pl.lit("chargeback")
        )
        sampled = rows[self.source.choice(rows.height, rows.height // 6, replace=False)]
        at = sampled["ts"].dt.epoch("us").to_numpy()
        delay, count = self.catalogue.label_delay * SECOND, sampled.height
        day = 86_400 * SECOND
        charged_at = at + delay + (self.source.random(count) * 60 * day).astype(np.int64)
        case = self.source.choice(5, count)
        reversed_at = charged_at + self.source.choice([0, 1, day, 20 * day], count)
        early_at = at + self.source.choice([-day, 0, delay // 2, delay], count)
        cases = [
            (case < 5, charged_at, 1, "chargeback"),
            (case == 1, reversed_at, 0, "chargeback"),
            (case == 2, charged_at, 0, "analyst"),
            (case == 3, early_at, 1, "analyst"),
            (case == 4, charged_at, 0, "chargeback"),
        ]
        parts = [
            sampled.select(
                "transaction_id",
                labelled_at=pl.Series(recorded_at),
                is_fraud=pl.lit(value=bool(fraud)),
                source=pl.lit(source_name),
            ).filter(pl.Series(selected))
            for selected, recorded_at, fraud, source_name in cases
        ]
        records = pl.concat([edge_records, *parts])
        reported = pl.col("labelled_at") - pl.Series(self.source.integers(0, 3, records.height)) * day
        ledger = records.select(
            "transaction_id",
            pl.col("is_fraud").cast(pl.Int8),
            "source",
            reported_at=pl.when(pl.Series(self.source.random(records.height) < 0.7)).then(reported).cast(TIME),
            recorded_at=pl.col("labelled_at").cast(TIME),
        )
        return ledger[self.source.permutation(ledger.height)]


_AT_HORIZON = 10  # `after` of rows that are late by exactly the horizon; ordinary events have lower values
_EDGE_COLUMNS = dict.fromkeys(("ts", "arrival", "after", "card", "terminal", "labelled_at"), pl.Int64)


def _floor(time: int, bucket: int) -> int:
    return time - time % bucket


def _coordinates(keys: Ints) -> tuple[pl.Series, pl.Series]:
    """Coordinates of keys; some are at the poles and the date line."""
    lat = np.select([keys % 11 == 3, keys % 11 == 4], [90.0, -90.0], 45 + keys * 7_919 % 1_000 / 100)
    long = np.select([keys % 13 == 5, keys % 13 == 6], [180.0, -180.0], keys * 104_729 % 2_000 / 100)
    return pl.Series(lat), pl.Series(long)


def _in_arrival_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by arrival and number them in `seq`."""
    ordered = rows.sort("arrival", "after", "transaction_id", maintain_order=True).drop("arrival", "after")
    seq = pl.int_range(ordered.height, eager=True, dtype=pl.Int64).alias("seq")
    return ordered.insert_column(ordered.columns.index("labelled") + 1, seq)
