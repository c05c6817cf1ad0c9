"""Leak check: detects look-ahead by changing the future of sampled rows, which must not change their features.

The future of a row x at t is every transaction at or after t, every transaction that arrived after x, and every label
record recorded at or after t. The features of each sampled row are recomputed with three other futures:

- *removed*: no future; only the earlier events of x's keys remain.
- *changed*: amounts, statuses, coordinates, keys and all other columns of future rows are different, and future label
  records are flipped. `is_fraud` of every row is flipped too, also in the past: it is the file's final label.
- *added*: more events of x's keys at t, a microsecond and the late horizon after t that arrived before x, and at,
  before and after t that arrived after x; for every event a label record at t and a microsecond later, by the most
  trusted source, with a report time long before.

The rules allow one influence of the future: the newest event of a key decides which events are too late for it. So a
future row that makes x, or an earlier event of x's keys, too late is not changed, and no added row makes one too late.
`history_days` is not checked: it counts from the first row of all keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import polars as pl

from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.base import Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification.bitwise import Bools, differ
from fraud3000.schema import APPROVED, DECLINED, LEDGER, REFUND, TIME, TRANSACTIONS

ROWS, SEED = 50, 2018

_SEQ_SPACING = 1_024  # between consecutive values of seq, so that added rows fit in between
_MICROSECOND = timedelta(microseconds=1)
_FIXED = ("transaction_id", "ts", "seq")

Future = tuple[pl.DataFrame, pl.DataFrame]
Progress = Callable[[Iterable[pl.DataFrame]], Iterable[pl.DataFrame]]


class Featurize(Protocol):
    """Interface of `batch_engine.featurize`."""

    def __call__(
        self,
        transactions: pl.DataFrame,
        ledger: pl.DataFrame,
        catalogue: Catalogue,
        *,
        output_mask: pl.Series | None = None,
    ) -> pl.DataFrame: ...


@dataclass(frozen=True)
class Leak:
    """A feature that depends on the future, with the first row that shows it."""

    feature: str
    transaction_id: str
    ts: datetime
    future: str
    was: float | bool | str | None
    became: float | bool | str | None


@dataclass(frozen=True)
class LeakCheck:
    """Result of a leak check.

    Attributes
    ----------
    rows
        Number of rows that were checked.
    futures
        Number of futures that were tried, over all rows.
    leaks
        One per leaking feature, in the order of the catalogue.
    """

    rows: int
    futures: int
    leaks: tuple[Leak, ...]


def check(
    transactions: pl.DataFrame,
    ledger: pl.DataFrame,
    catalogue: Catalogue,
    *,
    rows: int = ROWS,
    seed: int = SEED,
    featurize: Featurize = batch_engine.featurize,
    progress: Progress = iter,
) -> LeakCheck:
    """Recompute the features of sampled rows with other futures and compare them bit by bit.

    Half of the rows are sampled from those at the time of another row or out of order, the rest from all.

    Parameters
    ----------
    transactions
        TRANSACTIONS; without `ts` there is no future, so nothing is checked.
    ledger
        LEDGER.
    rows
        Largest number of rows to check.
    featurize
        The engine.
    progress
        Wraps the rows; `stages.shared.progress.track` shows how many are checked.
    """
    if "ts" not in transactions.columns or not transactions.height:
        return LeakCheck(0, 0, ())
    sample = _sample(transactions, rows, np.random.default_rng(seed))
    features = featurize(transactions, ledger, catalogue, output_mask=sample).select(catalogue.names)
    spaced = transactions.with_columns(seq=pl.col("seq").rank("ordinal").cast(pl.Int64) * _SEQ_SPACING)
    sampled = spaced.filter(sample)
    recomputed: dict[str, list[pl.DataFrame]] = {}
    for x in progress(sampled.iter_slices(1)):
        for future, (stream, records) in _RowContext.from_row(x, spaced, ledger, catalogue).futures():
            output_mask = stream["transaction_id"] == x["transaction_id"][0]
            recomputed.setdefault(future, []).append(featurize(stream, records, catalogue, output_mask=output_mask))
    leaks = [
        leak for future, results in recomputed.items() for leak in _leaks(future, sampled, features, pl.concat(results))
    ]
    first = {leak.feature: leak for leak in reversed(leaks)}
    ordered = tuple(first[name] for name in catalogue.names if name in first)
    return LeakCheck(sampled.height, sampled.height * len(recomputed), ordered)


def _leaks(future: str, sampled: pl.DataFrame, features: pl.DataFrame, recomputed: pl.DataFrame) -> Iterator[Leak]:
    """Yield the first row of each feature that a future changed."""
    for name in features.columns:
        changed = differ(features[name], recomputed[name])
        if changed.any():
            row = int(changed.argmax())
            yield Leak(
                name,
                sampled["transaction_id"][row],
                sampled["ts"][row],
                future,
                features[name][row],
                recomputed[name][row],
            )


def _sample(transactions: pl.DataFrame, rows: int, source: np.random.Generator) -> pl.Series:
    newest = pl.col("ts").sort_by("seq").cum_max().gather(pl.col("seq").rank("ordinal") - 1)
    special = (
        transactions.select(pl.col("ts").is_duplicated() | (pl.col("ts") < newest)).to_series().arg_true().to_numpy()
    )
    picked = source.permutation(special)[: rows // 2]
    others = source.permutation(np.setdiff1d(np.arange(transactions.height), picked))[: rows - len(picked)]
    mask = np.zeros(transactions.height, dtype=np.bool_)
    mask[[*picked, *others]] = True
    return pl.Series(mask)


@dataclass(frozen=True)
class _RowContext:
    """A row x, the events and label records that it may see, and its future.

    Attributes
    ----------
    past
        Earlier events of x's keys, and x.
    late_markers
        Rows of the future that make x or an event of `past` too late.
    future
        All other rows that share a key with x.
    known
        Label records of these rows that were recorded before t, in ledger order.
    later
        Label records of these rows that were recorded at t or later.
    """

    x: pl.DataFrame
    past: pl.DataFrame
    late_markers: pl.DataFrame
    future: pl.DataFrame
    known: pl.DataFrame
    later: pl.DataFrame
    catalogue: Catalogue

    @classmethod
    def from_row(cls, x: pl.DataFrame, rows: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> _RowContext:
        columns = {column for f in catalogue.features if isinstance(f, Stateful) for column in f.keys}
        is_x = pl.col("transaction_id") == x["transaction_id"][0]
        same_key = [pl.col(name) == x[name][0] for name in sorted(columns) if x[name][0] is not None]
        same_keys = rows.filter(pl.any_horizontal(is_x, *same_key))
        t, seq = x["ts"][0], x["seq"][0]
        visible = is_x | ((pl.col("ts") < t) & (pl.col("seq") < seq))
        past, future = same_keys.filter(visible), same_keys.filter(~visible)
        makes_late = pl.Series(_makes_late(past, future, catalogue.late_horizon))
        records = ledger.select(*LEDGER).join(same_keys, on="transaction_id", how="semi", maintain_order="left")
        known = pl.col("recorded_at") < t
        return cls(
            x,
            past,
            future.filter(makes_late),
            future.filter(~makes_late),
            records.filter(known),
            records.filter(~known),
            catalogue,
        )

    def futures(self) -> Iterator[tuple[str, Future]]:
        """Yield the name of each other future, and its TRANSACTIONS and LEDGER."""
        yield "removed", (pl.concat([self.past, self.late_markers]), self.known)
        yield "changed", (self._changed(), pl.concat([self.known, _flipped(self.later)]))
        yield (
            "added",
            (
                pl.concat([self.past, self.late_markers, self.future, self._added()]),
                pl.concat([self.known, self.later, self._records()]),
            ),
        )

    def _changed(self) -> pl.DataFrame:
        others = [name for name in self.future.columns if name not in _FIXED]
        swapped = [name for name in others if name not in TRANSACTIONS or name.endswith(("_id", "_lat", "_long"))]
        status = {APPROVED: DECLINED, DECLINED: REFUND, REFUND: APPROVED}
        changed = self.future.with_columns(
            pl.col(swapped).reverse(),
            amount=(LARGEST - pl.col("amount").abs()),
            status=pl.col("status").replace(status),
            labelled=~pl.col("labelled"),
        )
        label = (1 - pl.col("is_fraud").fill_null(0)).cast(pl.Int8)
        return pl.concat([self.past, self.late_markers, changed]).with_columns(is_fraud=label, reported_at=pl.col("ts"))

    def _added(self) -> pl.DataFrame:
        t, seq = self.x["ts"][0], self.x["seq"][0]
        horizon = timedelta(seconds=self.catalogue.late_horizon)
        before = [(t, seq - 3), (t + min(_MICROSECOND, horizon), seq - 2), (t + horizon, seq - 1)]
        after = [
            (t - _MICROSECOND, seq + 1),
            (t, seq + 2),
            (t + _MICROSECOND, seq + 3),
            (t - timedelta(days=1), seq + 4),
        ]
        additions = [*before, *after]
        return pl.concat([self.x] * len(additions)).with_columns(
            transaction_id=pl.lit("added ") + pl.int_range(pl.len()).cast(pl.String),
            ts=pl.Series([ts for ts, _ in additions], dtype=TIME),
            seq=pl.Series([arrival for _, arrival in additions], dtype=pl.Int64),
            amount=LARGEST - pl.col("amount").abs(),
            status=pl.lit(APPROVED),
        )

    def _records(self) -> pl.DataFrame:
        """Label records of both values for every row, at t and right after it."""
        t = self.x["ts"][0]
        source = next(iter(self.catalogue.precedence), "analyst")
        rows = pl.concat([self.past, self.future]).select("transaction_id", "ts")
        labels = [(1, t), (0, t + _MICROSECOND), (1, t + 2 * _MICROSECOND)]
        return pl.concat(
            rows.select(
                "transaction_id",
                is_fraud=pl.lit(fraud, dtype=pl.Int8),
                source=pl.lit(source),
                reported_at=pl.col("ts"),
                recorded_at=pl.lit(at, dtype=TIME),
            )
            for fraud, at in labels
        )


def _flipped(records: pl.DataFrame) -> pl.DataFrame:
    return records.with_columns(is_fraud=(1 - pl.col("is_fraud")).cast(pl.Int8))


def _makes_late(past: pl.DataFrame, future: pl.DataFrame, late_horizon: int) -> Bools:
    """True for rows of the future that arrived before a row of the past and make it too late.

    The keys are not compared, because the check changes keys of future rows.
    """
    ordered = past.sort("seq")
    earliest = np.minimum.accumulate(ordered["ts"].dt.epoch("us").to_numpy()[::-1])[::-1]
    later = np.searchsorted(ordered["seq"].to_numpy(), future["seq"].to_numpy())
    earliest_later = np.append(earliest, np.iinfo(np.int64).max)[later]
    return np.asarray(future["ts"].dt.epoch("us").to_numpy() > earliest_later + late_horizon * 1_000_000) & (
        later < len(earliest)
    )
