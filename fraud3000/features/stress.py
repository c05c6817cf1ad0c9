"""A stream made to break engines: few keys, and on them everything that the rules of time speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000 import durations, labels
from fraud3000.data import duplicates
from fraud3000.data.amounts import LARGEST
from fraud3000.features import catalogue as catalogues
from fraud3000.features.spec import (
    Catalogue,
    Condition,
    Feature,
    FromLast,
    LabelWindow,
    NotSeen,
    SinceLast,
    Stateful,
    Versus,
    Window,
)
from fraud3000.schema import APPROVED, DECLINED, LEDGER, REFUND, TIME, TRANSACTIONS

Ints = NDArray[np.int64]

SOURCES = ("analyst", "chargeback", labels.FILE_SOURCE)
"""Label sources of the stream, the most trusted first."""

_START = datetime(2024, 2, 1, tzinfo=UTC)  # the clocks of Europe change within the first two months
_SECOND = 1_000_000
_PAIR = ("card_id", "terminal_id")
_COUNTRIES = ("DE", "ES", "FR", "IT", "PT", "US")


@dataclass(frozen=True)
class Stress:
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


def catalogue(
    *,
    label_delay: int = 604_800,
    late_horizon: int = 86_400,
    zone: str = "Europe/Paris",
    precedence: Sequence[str] = SOURCES,
) -> Catalogue:
    """The default catalogue, and beside it every kind of feature that it lacks.

    Examples
    --------
    >>> len(catalogue().names) > 100
    True
    """
    default = catalogues.default(
        [*TRANSACTIONS],
        numeric=["risk"],
        categorical=["country"],
        label_delay=label_delay,
        late_horizon=late_horizon,
        zone=zone,
        precedence=precedence,
    )
    every = (*default.features, *_lacking(durations.text(label_delay)), *_twins(default))
    return replace(default, features=tuple({feature.name: feature for feature in every}.values()))


def _lacking(label_delay: str) -> list[Feature]:
    aggregates = ("count", "sum", "mean", "max", "min", "std")
    conditions = (
        Condition("country", "is", ("FR", "US")),
        Condition("status", "is", (DECLINED,)),
        Condition("status", "is", (REFUND, APPROVED)),
        Condition("amount", "above", (5_000,)),
        Condition("amount", "at_most", (0,)),
        Condition("risk", "below", (0.25,)),
        Condition("risk", "at_least", (0.25,)),
    )
    return [
        *(Window("card_id", "7d", agg, column="risk") for agg in aggregates[1:]),
        *(Window("terminal_id", "1d", agg, column="risk", bucket="1h") for agg in aggregates[1:]),
        *(Window("card_id", "2d", agg, delay="1d") for agg in aggregates),
        *(Window("card_id", "2d", agg, delay="90m", bucket="1h") for agg in aggregates),
        *(Window("card_id", "7d", agg, where=one) for agg in ("count", "share", "sum") for one in conditions),
        *(Window("terminal_id", "1d", agg, where=one, bucket="5m") for agg in ("share", "max") for one in conditions),
        *(Window(_PAIR, "30d", agg) for agg in ("mean", "std", "max")),
        Window("card_id", "30d", "distinct", column="country", cap=3),
        Window("card_id", "7d", "distinct", column="country", delay="1d", where=conditions[3]),
        Window("terminal_id", "7d", "distinct", column="card_id", bucket="6h"),
        *(Versus("card_id", "30d", how, column="risk") for how in ("ratio", "zscore")),
        *(Versus("terminal_id", "7d", how, bucket="1h") for how in ("ratio", "zscore")),
        Versus("card_id", "7d", "zscore", where=conditions[0]),
        *(SinceLast(key, "1h") for key in ("card_id", "terminal_id", _PAIR)),
        SinceLast("card_id", "30d", where=conditions[1]),
        NotSeen("card_id", "1d"),
        NotSeen(_PAIR, "7d", where=conditions[0]),
        *(FromLast("terminal_id", "1d", how) for how in ("distance", "speed")),
        *(
            LabelWindow(key, "7d", agg, delay=delay, prior=0.02, strength=5.0)
            for key in ("card_id", "terminal_id", _PAIR)
            for delay in (label_delay, _longer(label_delay))
            for agg in ("frauds", "labelled", "rate", "smoothed")
        ),
        LabelWindow("card_id", "30d", "rate", delay=label_delay, where=conditions[3]),
    ]


def _longer(delay: str) -> str:
    return durations.text(durations.seconds(delay) + 3 * 86_400)


def _twins(default: Catalogue) -> list[Feature]:
    """Each bucketed window of a catalogue as an exact one, and each exact one as a bucketed one where it may be."""
    stateful = [feature for feature in default.features if isinstance(feature, Window | LabelWindow | Versus)]
    exact = [replace(feature, bucket=None) for feature in stateful if feature.bucket]
    return [*exact, *(replace(feature, bucket="10m") for feature in stateful if not feature.bucket)]


def stream(declared: Catalogue, *, rows: int = 20_000, seed: int = 2018) -> Stress:
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
    planted = pl.concat([maker.on_edges(placed, rows // 8 - rows // 40), maker.too_late(placed, rows // 40)])
    told = pl.concat([placed.with_columns(told_at=pl.lit(None, pl.Int64)), planted])
    arrived = _arrived(maker.sent_again(maker.described(told)))
    content = [name for name in arrived.columns if name not in ("told_at", "again")]
    settled = duplicates.settle(arrived, content)
    delay = timedelta(seconds=declared.label_delay)
    ledger = labels.merge(
        labels.ledger_of(settled.kept, delay),
        duplicates.differing_labels(settled.kept, settled.duplicates, delay),
        maker.records(settled.kept),
    )
    transactions = settled.kept.select(content)
    holds = {
        **_holds(transactions, declared),
        **_recorded(transactions, ledger, declared),
        "rows sent again, once in the stream": settled.duplicates.height,
        "rows with the id of another, left out": settled.conflicts.height,
    }
    return Stress(transactions, ledger, holds)


@dataclass(frozen=True)
class _Maker:
    """Draws the parts of a stream; times are microseconds."""

    source: np.random.Generator
    declared: Catalogue
    rows: int

    @property
    def horizon(self) -> int:
        return self.declared.late_horizon * _SECOND

    def background(self, count: int) -> pl.DataFrame:
        """When events are, when they come in, and of which card and terminal."""
        first = int(_START.timestamp()) * _SECOND
        span = 2 * max(self.declared.span, 86_400) * _SECOND
        ts = first + self.source.integers(0, span, count)
        grid = self.source.choice([1, _SECOND, 60 * _SECOND, 3_600 * _SECOND, 21_600 * _SECOND], count)
        ts -= ts % grid
        card, terminal = self._keys(count, 8 + self.rows // 400), self._keys(count, 4 + self.rows // 1_000)
        follows = np.flatnonzero(self.source.random(count) < 0.25)
        leader = self.source.integers(0, count, len(follows))
        steps = [0, 0, 1, _SECOND, 60 * _SECOND, 599 * _SECOND, 3_600 * _SECOND, 86_400 * _SECOND]
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
        minutes, within = drawn * 600 * _SECOND, drawn * self.horizon
        beyond, early = self.horizon + drawn * 5 * 86_400 * _SECOND, -drawn * 2 * self.horizon
        return np.choose(kind, [np.zeros(count), minutes, within, beyond, early]).astype(np.int64)

    def on_edges(self, placed: pl.DataFrame, count: int) -> pl.DataFrame:
        """For some rows x: events of the same keys on each edge of each window of x, and just before it.

        `told_at` is when the event is labelled: a microsecond before t, at t or a microsecond after it.
        """
        edges = sorted(_edges(self.declared))
        late_enough = placed.filter(pl.col("ts") > pl.col("ts").min() + self.declared.span * _SECOND)
        order = self.source.permutation(late_enough.height)
        found: list[tuple[int, ...]] = []
        for x in (late_enough.row(int(place), named=True) for place in order):
            moments = sorted({_floor(x["ts"] - back, bucket) - before for back, bucket in edges for before in (0, 1)})
            for number, moment in enumerate(moments):
                found.append((moment, moment, 9, x["card"], x["terminal"], x["ts"] + number % 3 - 1))
            if len(found) >= count:
                break
        return pl.DataFrame(found[:count], schema=_PLANTED, orient="row")

    def too_late(self, placed: pl.DataFrame, count: int) -> pl.DataFrame:
        """For some rows: events of the same keys that come in right after, exactly the horizon late and a microsecond more."""
        chosen = placed[self.source.integers(0, placed.height, count // 2 + 1)]
        parts = [
            chosen.with_columns(ts=pl.col("ts") - self.horizon - more, after=10 + more, told_at=pl.lit(None, pl.Int64))
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
        amount = np.select([draw(count) < 0.01, draw(count) < 0.02], [0, LARGEST], amount)
        says = self.source.choice([1, 0, -1], count, p=[0.12, 0.83, 0.05])
        reported = placed["ts"].to_numpy() + (draw(count) * 60 * 86_400 * _SECOND).astype(np.int64)
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
        later = pl.col("arrival") + pl.Series(self.source.integers(1, 3 * 86_400 * _SECOND, chosen.height))
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
        delay, count = self.declared.label_delay * _SECOND, disputed.height
        day = 86_400 * _SECOND
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


_PLANTED = {name: pl.Int64 for name in ("ts", "arrival", "after", "card", "terminal", "told_at")}


def _floor(moment: int, bucket: int) -> int:
    return moment - moment % bucket


def _edges(declared: Catalogue) -> set[tuple[int, int]]:
    """How far back windows begin and end, and the buckets they are cut to, 1 where to none."""
    found = set()
    for feature in declared.features:
        if isinstance(feature, Stateful):
            bucket = durations.seconds(feature.bucket) * _SECOND if feature.bucket else 1
            delay = durations.seconds(feature.delay) * _SECOND
            found |= {(delay + durations.seconds(feature.length) * _SECOND, bucket), (delay, bucket)}
    return found


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


def _holds(rows: pl.DataFrame, declared: Catalogue) -> dict[str, int]:
    by_card = rows.drop_nulls("card_id").sort("seq")
    behind = (pl.col("ts").cum_max().shift(1).over("card_id") - pl.col("ts")).dt.total_microseconds()
    late, horizon = by_card.select(behind).to_series(), declared.late_horizon * _SECOND
    on_edge = [_pairs(rows, feature, back, bucket) for feature, back, bucket in _every_edge(declared)]
    count = {
        "rows": rows.height,
        "cards": rows["card_id"].n_unique(),
        "terminals": rows["terminal_id"].n_unique(),
        "rows at the time of another of their card": by_card.filter(pl.struct("card_id", "ts").is_duplicated()).height,
        "rows after a later one of their card": int((late > 0).sum()),
        "exactly the horizon late": int((late == horizon).sum()),
        "beyond the horizon": int((late > horizon).sum()),
        "edges of windows": len(on_edge),
        "edges with an event on them": sum(found > 0 for found in on_edge),
        "events on an edge of another's window": sum(on_edge),
    }
    odd = {
        DECLINED: pl.col("status") == DECLINED,
        "refunds": pl.col("status") == REFUND,
        "without a card or terminal": pl.any_horizontal(pl.col("card_id", "terminal_id").is_null()),
        "without a coordinate": pl.any_horizontal(pl.col("^.*_(lat|long)$").is_null()),
        "without risk or country": pl.any_horizontal(pl.col("risk", "country").is_null()),
        "of the amount 0": pl.col("amount") == 0,
        "of the largest amount": pl.col("amount").abs() == LARGEST,
        "without a label from their source": ~pl.col("labelled"),
    }
    return count | {name: rows.filter(which).height for name, which in odd.items()}


def _every_edge(declared: Catalogue) -> list[tuple[tuple[str, ...], int, int]]:
    stateful = [feature for feature in declared.features if isinstance(feature, Stateful)]
    return sorted({(f.keys, *edge) for f in stateful for edge in _edges(replace(declared, features=(f,)))})


def _pairs(rows: pl.DataFrame, key: tuple[str, ...], back: int, bucket: int) -> int:
    """How many events stand exactly where a window of some other row of their key begins or ends."""
    events = rows.drop_nulls(key).select(*key, "seq", moment=pl.col("ts").dt.epoch("us"))
    edges = events.with_columns(moment=(pl.col("moment") - back) // bucket * bucket)
    return events.join(edges, on=[*key, "moment"]).filter(pl.col("seq") < pl.col("seq_right")).height


def _recorded(rows: pl.DataFrame, ledger: pl.DataFrame, declared: Catalogue) -> dict[str, int]:
    of_row = ledger.join(rows.select("transaction_id", "ts", "seq"), on="transaction_id")
    mature = pl.col("ts") + timedelta(seconds=declared.label_delay)
    before = pl.col("is_fraud").shift(1).over("transaction_id", order_by="recorded_at")
    return {
        "label records": ledger.height,
        "sources": ledger["source"].n_unique(),
        "recorded a month after the label delay or later": of_row.filter(
            pl.col("recorded_at") > mature + timedelta(days=30)
        ).height,
        "recorded before the label delay is over": of_row.filter(pl.col("recorded_at") < mature).height,
        "recorded before the transaction": of_row.filter(pl.col("recorded_at") < pl.col("ts")).height,
        "that take back the one before": of_row.filter(before != pl.col("is_fraud")).height,
        "at the moment of another of the same transaction": of_row.filter(
            pl.struct("transaction_id", "recorded_at").is_duplicated()
        ).height,
        "at the time of a transaction": ledger.join(rows, left_on="recorded_at", right_on="ts", how="semi").height,
    }
