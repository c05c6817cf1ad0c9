"""No feature sees the future: rows are given other futures, and their features must stay as they were.

The future of a row x at t is every transaction at or after t, every transaction that came in after x, and every label
record made at or after t. Each sampled row gets three other futures:

- *removed*: none of it is there; only the earlier events of x's keys are.
- *changed*: amounts, statuses, places, keys and all other columns of these rows are others, label records say the
  opposite. So does `is_fraud` of every row, past ones too: it is what the file said in the end.
- *added*: more events of x's keys at t, a microsecond and the late horizon after it that came in before x, and at,
  before and after t that came in after x; for every event a record at t and a microsecond later, by the most
  trusted source, with a report time long before.

One thing of the future may speak by contract: the newest event of a key tells who is too late for it. So a row of the
future by which x, or an earlier event of x's keys, is too late stays as it is, and no row is added that makes one too late.
Only `history_days` is not looked at: it counts from the first row of all, of whatever key.
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

_APART = 1_024  # between two places of arrival, for rows that are put in between
_TICK = timedelta(microseconds=1)
_FIXED = ("transaction_id", "ts", "seq")

Future = tuple[pl.DataFrame, pl.DataFrame]
Progress = Callable[[Iterable[pl.DataFrame]], Iterable[pl.DataFrame]]


class Featurize(Protocol):
    """What `batch.featurize` is."""

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
    """A feature that another future changed, by the first row that shows it."""

    feature: str
    transaction_id: str
    ts: datetime
    future: str
    was: float | bool | str | None
    became: float | bool | str | None


@dataclass(frozen=True)
class LeakCheck:
    """What a check found.

    Attributes
    ----------
    rows
        Rows whose features were looked at.
    futures
        Other futures that they were given.
    leaks
        One for each leaking feature, in the order of the catalogue.
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
    """Give some rows other futures and compare their features bit by bit.

    Half of the rows are drawn among those at the time of another row or out of order, the rest among all.

    Parameters
    ----------
    transactions
        TRANSACTIONS; data without time has no future, so there is nothing to check.
    ledger
        LEDGER.
    rows
        How many rows to look at, at most.
    featurize
        The engine.
    progress
        Hands out the rows one by one; `stages.progress.track` shows how many are done.
    """
    if "ts" not in transactions.columns or not transactions.height:
        return LeakCheck(0, 0, ())
    chosen = _chosen(transactions, rows, np.random.default_rng(seed))
    given = featurize(transactions, ledger, catalogue, output_mask=chosen).select(catalogue.names)
    spaced = transactions.with_columns(seq=pl.col("seq").rank("ordinal").cast(pl.Int64) * _APART)
    sampled = spaced.filter(chosen)
    found: dict[str, list[pl.DataFrame]] = {}
    for x in progress(sampled.iter_slices(1)):
        for told, (stream, records) in _Moment.of(x, spaced, ledger, catalogue).futures():
            output_mask = stream["transaction_id"] == x["transaction_id"][0]
            found.setdefault(told, []).append(featurize(stream, records, catalogue, output_mask=output_mask))
    leaks = [leak for told, answers in found.items() for leak in _leaks(told, sampled, given, pl.concat(answers))]
    first = {leak.feature: leak for leak in reversed(leaks)}
    named = tuple(first[name] for name in catalogue.names if name in first)
    return LeakCheck(sampled.height, sampled.height * len(found), named)


def _leaks(told: str, sampled: pl.DataFrame, given: pl.DataFrame, found: pl.DataFrame) -> Iterator[Leak]:
    """The first row of each feature that another future changed."""
    for name in given.columns:
        changed = differ(given[name], found[name])
        if changed.any():
            row = int(changed.argmax())
            yield Leak(
                name, sampled["transaction_id"][row], sampled["ts"][row], told, given[name][row], found[name][row]
            )


def _chosen(transactions: pl.DataFrame, rows: int, source: np.random.Generator) -> pl.Series:
    newest = pl.col("ts").sort_by("seq").cum_max().gather(pl.col("seq").rank("ordinal") - 1)
    odd = transactions.select(pl.col("ts").is_duplicated() | (pl.col("ts") < newest)).to_series().arg_true().to_numpy()
    picked = source.permutation(odd)[: rows // 2]
    rest = source.permutation(np.setdiff1d(np.arange(transactions.height), picked))[: rows - len(picked)]
    chosen = np.zeros(transactions.height, dtype=np.bool_)
    chosen[[*picked, *rest]] = True
    return pl.Series(chosen)


@dataclass(frozen=True)
class _Moment:
    """A row x, what it may see, and its future.

    Attributes
    ----------
    past
        Earlier events of x's keys, and x.
    told
        Rows of the future that say who is too late.
    future
        All others that share a key with x.
    known
        Label records of these rows made before t, in ledger order.
    later
        Those made at t or after.
    """

    x: pl.DataFrame
    past: pl.DataFrame
    told: pl.DataFrame
    future: pl.DataFrame
    known: pl.DataFrame
    later: pl.DataFrame
    catalogue: Catalogue

    @classmethod
    def of(cls, x: pl.DataFrame, rows: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> _Moment:
        columns = {column for f in catalogue.features if isinstance(f, Stateful) for column in f.keys}
        is_x = pl.col("transaction_id") == x["transaction_id"][0]
        same_key = [pl.col(name) == x[name][0] for name in sorted(columns) if x[name][0] is not None]
        of_keys = rows.filter(pl.any_horizontal(is_x, *same_key))
        t, seq = x["ts"][0], x["seq"][0]
        seen = is_x | ((pl.col("ts") < t) & (pl.col("seq") < seq))
        past, future = of_keys.filter(seen), of_keys.filter(~seen)
        tells = pl.Series(_tells_who_is_late(past, future, catalogue.late_horizon))
        records = ledger.select(*LEDGER).join(of_keys, on="transaction_id", how="semi", maintain_order="left")
        known = pl.col("recorded_at") < t
        return cls(
            x,
            past,
            future.filter(tells),
            future.filter(~tells),
            records.filter(known),
            records.filter(~known),
            catalogue,
        )

    def futures(self) -> Iterator[tuple[str, Future]]:
        """Each other future by its name, as TRANSACTIONS and LEDGER."""
        yield "removed", (pl.concat([self.past, self.told]), self.known)
        yield "changed", (self._changed(), pl.concat([self.known, _opposite(self.later)]))
        yield (
            "added",
            (
                pl.concat([self.past, self.told, self.future, self._added()]),
                pl.concat([self.known, self.later, self._records()]),
            ),
        )

    def _changed(self) -> pl.DataFrame:
        others = [name for name in self.future.columns if name not in _FIXED]
        passed = [name for name in others if name not in TRANSACTIONS or name.endswith(("_id", "_lat", "_long"))]
        status = {APPROVED: DECLINED, DECLINED: REFUND, REFUND: APPROVED}
        changed = self.future.with_columns(
            pl.col(passed).reverse(),
            amount=(LARGEST - pl.col("amount").abs()),
            status=pl.col("status").replace(status),
            labelled=~pl.col("labelled"),
        )
        said = (1 - pl.col("is_fraud").fill_null(0)).cast(pl.Int8)
        return pl.concat([self.past, self.told, changed]).with_columns(is_fraud=said, reported_at=pl.col("ts"))

    def _added(self) -> pl.DataFrame:
        t, seq = self.x["ts"][0], self.x["seq"][0]
        horizon = timedelta(seconds=self.catalogue.late_horizon)
        before = [(t, seq - 3), (t + min(_TICK, horizon), seq - 2), (t + horizon, seq - 1)]
        after = [(t - _TICK, seq + 1), (t, seq + 2), (t + _TICK, seq + 3), (t - timedelta(days=1), seq + 4)]
        moments = [*before, *after]
        return pl.concat([self.x] * len(moments)).with_columns(
            transaction_id=pl.lit("added ") + pl.int_range(pl.len()).cast(pl.String),
            ts=pl.Series([ts for ts, _ in moments], dtype=TIME),
            seq=pl.Series([place for _, place in moments], dtype=pl.Int64),
            amount=LARGEST - pl.col("amount").abs(),
            status=pl.lit(APPROVED),
        )

    def _records(self) -> pl.DataFrame:
        """Both answers for every row, at t and right after it."""
        t = self.x["ts"][0]
        source = next(iter(self.catalogue.precedence), "analyst")
        rows = pl.concat([self.past, self.future]).select("transaction_id", "ts")
        answers = [(1, t), (0, t + _TICK), (1, t + 2 * _TICK)]
        return pl.concat(
            rows.select(
                "transaction_id",
                is_fraud=pl.lit(fraud, dtype=pl.Int8),
                source=pl.lit(source),
                reported_at=pl.col("ts"),
                recorded_at=pl.lit(at, dtype=TIME),
            )
            for fraud, at in answers
        )


def _opposite(records: pl.DataFrame) -> pl.DataFrame:
    return records.with_columns(is_fraud=(1 - pl.col("is_fraud")).cast(pl.Int8))


def _tells_who_is_late(past: pl.DataFrame, future: pl.DataFrame, late_horizon: int) -> Bools:
    """Which rows of the future came in before a row of the past that is too late beside them.

    Whether they share that row's key is not asked: rows of the future may change keys.
    """
    ordered = past.sort("seq")
    earliest = np.minimum.accumulate(ordered["ts"].dt.epoch("us").to_numpy()[::-1])[::-1]
    later = np.searchsorted(ordered["seq"].to_numpy(), future["seq"].to_numpy())
    of_later = np.append(earliest, np.iinfo(np.int64).max)[later]
    return np.asarray(future["ts"].dt.epoch("us").to_numpy() > of_later + late_horizon * 1_000_000) & (
        later < len(earliest)
    )
