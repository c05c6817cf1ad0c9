"""A stream made to break engines: few keys, and on them everything that the rules of time speak of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.data.cleaning import duplicates
from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.features.verification import every_kind
from fraud3000.features.verification.stream_stats import SECOND, census, edges
from fraud3000.labels import visibility
from fraud3000.schema import APPROVED, DECLINED, REFUND, TIME

Ints = NDArray[np.int64]

SOURCES = ("analyst", "chargeback", visibility.FILE_SOURCE)
"""Label sources of the stream, the most trusted first."""

_START = datetime(2024, 2, 1, tzinfo=UTC)  # the clocks of Europe change within the first two months
_COUNTRIES = ("DE", "ES", "FR", "IT", "PT", "US")


@dataclass(frozen=True)
class AdversarialStream:
    """The stream.

    Attributes
    ----------
    transactions
        TRANSACTIONS with all roles, a numeric column `risk` and a text column `country`; not in order of time.
    ledger
        LEDGER.
    holds
        What is in it, and how often: counted, not intended.
    """

    transactions: pl.DataFrame
    ledger: pl.DataFrame
    holds: dict[str, int]


def stream(declared: Catalogue, *, rows: int = 20_000, seed: int = 2018) -> AdversarialStream:
    """Make so many transactions and their label records, the same ones for the same seed.

    Every window of the catalogue has events exactly on its edges and a microsecond before them. Some rows
    are sent twice, or again with another label or amount; they meet the rule for duplicates that raw files
    meet, so that each transaction is there once and the second label is a record.

    Parameters
    ----------
    declared
        Whose edges, label delay and late horizon it is made for.
    """
    source = np.random.default_rng(seed)
    maker = _Maker(source, declared, rows)
    placed = maker.background(rows - rows // 8)
    late = maker.too_late(placed, rows // 40)
    background = placed.with_columns(told_at=pl.lit(None, pl.Int64))
    told = pl.concat([background, late, maker.on_edges(background, late, rows // 8 - late.height)])
    arrived = _arrived(maker.sent_again(maker.described(told)))
    content = [name for name in arrived.columns if name not in ("told_at", "again")]
    settled = duplicates.deduplicate(arrived, content)
    delay = timedelta(seconds=declared.label_delay)
    ledger = visibility.merge(
        visibility.ledger_from_rows(settled.first_rows, delay),
        duplicates.differing_labels(settled.first_rows, settled.duplicates, delay),
        maker.records(settled.first_rows),
    )
    transactions = settled.first_rows.select(content)
    holds = {
        **census(transactions, ledger, declared),
        "sent again, once in the stream": settled.duplicates.height,
        "with the id of another, left out": settled.conflicts.height,
    }
    return AdversarialStream(transactions, ledger, holds)


@dataclass(frozen=True)
class _Maker:
    """Draws the parts of a stream; times are microseconds."""

    source: np.random.Generator
    declared: Catalogue
    rows: int

    @property
    def horizon(self) -> int:
        return self.declared.late_horizon * SECOND

    def background(self, count: int) -> pl.DataFrame:
        """When events are, when they come in, and of which card and terminal."""
        first = int(_START.timestamp()) * SECOND
        span = 2 * max(self.declared.span, 86_400) * SECOND
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
        """A few keys have most of the events; the last have one in months."""
        weights = 1 / np.arange(1, keys + 1) ** 1.2
        return self.source.choice(keys, count, p=weights / weights.sum())

    def _lags(self, count: int) -> Ints:
        """How long after its time an event comes in."""
        kind = self.source.choice(5, count, p=[0.86, 0.06, 0.05, 0.02, 0.01])
        drawn = self.source.random(count)
        minutes, within = drawn * 600 * SECOND, drawn * self.horizon
        beyond, early = self.horizon + drawn * 5 * 86_400 * SECOND, -drawn * 2 * self.horizon
        return np.choose(kind, [np.zeros(count), minutes, within, beyond, early]).astype(np.int64)

    def on_edges(self, placed: pl.DataFrame, late: pl.DataFrame, count: int) -> pl.DataFrame:
        """For some rows x: events of the same keys on each edge of each window of x, and just before it.

        Every other x is as late as may be: a store must not have forgotten its events. A third of the events that
        would be in time for their keys come in right after x. `told_at` is when the event is labelled: a microsecond
        before t, at t or a microsecond after it.
        """
        every = sorted(edges(self.declared.features))
        exactly = late.filter(pl.col("after") == _EXACTLY)
        either = [rows[self.source.permutation(rows.height)].with_row_index("turn") for rows in (placed, exactly)]
        chosen = pl.concat(either).sort("turn", maintain_order=True)
        begun = int(placed["ts"].to_numpy().min()) + self.declared.span * SECOND
        found: list[tuple[int, ...]] = []
        for x in chosen.filter(pl.col("ts") > begun).iter_rows(named=True):
            moments = sorted({_floor(x["ts"] - back, bucket) - before for back, bucket in every for before in (0, 1)})
            for number, moment in enumerate(moments):
                after_x = x["ts"] - moment <= self.horizon and (number + x["turn"]) % 3 == 0
                arrival = x["arrival"] if after_x else moment
                found.append((moment, arrival, 20, x["card"], x["terminal"], x["ts"] + number % 3 - 1))
            if len(found) >= count:
                break
        return pl.DataFrame(found[:count], schema=_PLANTED, orient="row")

    def too_late(self, placed: pl.DataFrame, count: int) -> pl.DataFrame:
        """For some rows: events of the same keys that come in right after, exactly the horizon late and a microsecond more."""
        chosen = placed[self.source.integers(0, placed.height, count // 2 + 1)]
        parts = [
            chosen.with_columns(
                ts=pl.col("ts") - self.horizon - more, after=_EXACTLY + more, told_at=pl.lit(None, pl.Int64)
            )
            for more in (0, 1)
        ]
        return pl.concat(part.select(pl.col(name).cast(kind) for name, kind in _PLANTED.items()) for part in parts)[
            :count
        ]

    def described(self, placed: pl.DataFrame) -> pl.DataFrame:
        """TRANSACTIONS without seq, with all that stands beside time and keys, and `arrival`, `after` and `told_at`."""
        count, draw = placed.height, self.source.random
        status = self.source.choice([APPROVED, DECLINED, REFUND], count, p=[0.84, 0.1, 0.06])
        amount = np.exp(self.source.normal(8, 1.5, count)).astype(np.int64)
        amount = np.select(
            [draw(count) < share for share in (0.01, 0.02, 0.04)], [0, LARGEST, every_kind.LIMIT], amount
        )
        says = self.source.choice([1, 0, -1], count, p=[0.12, 0.83, 0.05])
        reported = placed["ts"].to_numpy() + (draw(count) * 60 * 86_400 * SECOND).astype(np.int64)
        home, place = _places(placed["card"].to_numpy()), _places(placed["terminal"].to_numpy() + 1_000)
        ids = self.source.permutation(count)
        columns = {
            "transaction_id": pl.Series([f"{number:07}" for number in ids]),
            "ts": placed["ts"].cast(TIME),
            "card_id": self._some(("c" + placed["card"].cast(pl.String)), 0.02),
            "terminal_id": self._some(("t" + placed["terminal"].cast(pl.String)), 0.02),
            "amount": np.where(status == REFUND, -amount, amount),
            "status": status,
            "is_fraud": pl.Series(says, dtype=pl.Int8).set(pl.Series(says < 0), None),
            "reported_at": self._some(pl.Series(reported).cast(TIME), 0.6).set(pl.Series(says < 0), None),
            "labelled": says >= 0,
            "card_lat": self._some(home[0], 0.03),
            "card_long": self._some(home[1], 0.03),
            "terminal_lat": self._some(place[0], 0.03),
            "terminal_long": self._some(place[1], 0.03),
            "risk": self._some(self._risk(count), 0.05),
            "country": self._some(pl.Series(self.source.choice(_COUNTRIES, count)), 0.05),
        }
        return pl.DataFrame(columns).hstack(placed.select("arrival", "after", "told_at"))

    def _risk(self, count: int) -> pl.Series:
        odd = [0.0, -0.0, 0.25, 1e9, -1e9, 1.1e9, 0.00004, 0.00006]
        drawn = self.source.normal(0.3, 1, count)
        return pl.Series(np.where(self.source.random(count) < 0.2, self.source.choice(odd, count), drawn))

    def _some(self, values: pl.Series, missing: float) -> pl.Series:
        return values.set(pl.Series(self.source.random(len(values)) < missing), None)

    def sent_again(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Some rows come again: as they were, with another label, or with another amount."""
        chosen = rows[self.source.choice(rows.height, rows.height // 40, replace=False)]
        third = chosen.height // 3
        later = pl.col("arrival") + pl.Series(self.source.integers(1, 3 * 86_400 * SECOND, chosen.height))
        again = chosen.with_columns(arrival=later, told_at=pl.lit(None, pl.Int64))
        flipped = again[third : 2 * third].with_columns(is_fraud=(1 - pl.col("is_fraud").fill_null(0)).cast(pl.Int8))
        other = again[2 * third :].with_columns(amount=pl.col("amount") + 1)
        return pl.concat([rows, again[:third], flipped, other])

    def records(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Records of other sources than the file: chargebacks, reversals, second opinions; in no order."""
        planted = rows.drop_nulls("told_at").select(
            "transaction_id", "told_at", is_fraud=pl.int_range(pl.len()) % 4 != 3, source=pl.lit("chargeback")
        )
        disputed = rows[self.source.choice(rows.height, rows.height // 6, replace=False)]
        at = disputed["ts"].dt.epoch("us").to_numpy()
        delay, count = self.declared.label_delay * SECOND, disputed.height
        day = 86_400 * SECOND
        charged = at + delay + (self.source.random(count) * 60 * day).astype(np.int64)
        kind = self.source.choice(5, count)
        reversed_ = charged + self.source.choice([0, 1, day, 20 * day], count)
        early = at + self.source.choice([-day, 0, delay // 2, delay], count)
        spoken = [
            (kind < 5, charged, 1, "chargeback"),
            (kind == 1, reversed_, 0, "chargeback"),
            (kind == 2, charged, 0, "analyst"),
            (kind == 3, early, 1, "analyst"),
            (kind == 4, charged, 0, "chargeback"),
        ]
        parts = [
            disputed.select(
                "transaction_id", told_at=pl.Series(told), is_fraud=pl.lit(value=bool(fraud)), source=pl.lit(who)
            ).filter(pl.Series(asked))
            for asked, told, fraud, who in spoken
        ]
        records = pl.concat([planted, *parts])
        reported = pl.col("told_at") - pl.Series(self.source.integers(0, 3, records.height)) * day
        ledger = records.select(
            "transaction_id",
            pl.col("is_fraud").cast(pl.Int8),
            "source",
            reported_at=pl.when(pl.Series(self.source.random(records.height) < 0.7)).then(reported).cast(TIME),
            recorded_at=pl.col("told_at").cast(TIME),
        )
        return ledger[self.source.permutation(ledger.height)]


_EXACTLY = 10  # `after` of rows that are exactly the horizon late; the background's lie below
_PLANTED = dict.fromkeys(("ts", "arrival", "after", "card", "terminal", "told_at"), pl.Int64)


def _floor(moment: int, bucket: int) -> int:
    return moment - moment % bucket


def _places(keys: Ints) -> tuple[pl.Series, pl.Series]:
    """Where keys are: poles and the date line among them."""
    lat = np.select([keys % 11 == 3, keys % 11 == 4], [90.0, -90.0], 45 + keys * 7_919 % 1_000 / 100)
    long = np.select([keys % 13 == 5, keys % 13 == 6], [180.0, -180.0], keys * 104_729 % 2_000 / 100)
    return pl.Series(lat), pl.Series(long)


def _arrived(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order in which they come in, numbered by it."""
    ordered = rows.sort("arrival", "after", "transaction_id", maintain_order=True).drop("arrival", "after")
    seq = pl.int_range(ordered.height, eager=True, dtype=pl.Int64).alias("seq")
    return ordered.insert_column(ordered.columns.index("labelled") + 1, seq)
