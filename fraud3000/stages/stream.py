"""History and input as one stream of transactions, read one span of time after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.features.spec import Catalogue, Stateful
from fraud3000.schema import LEDGER, TIME, TRANSACTIONS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SECOND = 1_000_000


@dataclass(frozen=True)
class Timed:
    """Rows on disk in order of time, of which some may not count.

    Attributes
    ----------
    rows
        Columns of TRANSACTIONS, sorted by ts.
    counts
        Whether each row counts.
    """

    rows: pl.LazyFrame
    counts: Bools

    @cached_property
    def ts(self) -> Ints:
        """Event times in microseconds."""
        return self.column("ts").dt.epoch("us").to_numpy()

    def column(self, name: str) -> pl.Series:
        return self.rows.select(name).collect().to_series()

    def between(self, since: int, until: int) -> pl.DataFrame:
        """Rows that count with ts in [since, until), in microseconds."""
        first, last = np.searchsorted(self.ts, [since, until])
        counts = pl.Series(self.counts[first:last])
        return self.rows.slice(int(first), int(last - first)).collect().filter(counts)


@dataclass(frozen=True)
class Stream:
    """Transactions before those to be scored, and these, with what was recorded about both.

    Attributes
    ----------
    before
        The history's rows; those whose id the input has too do not count.
    new
        The input's rows, with `place`.
    unlabelled
        By place: the row stays without a label, as it came before.
    ledger
        LEDGER of both.
    numbered
        Whether seq is the recorded order of arrival; else it follows from ts and id.
    """

    before: Timed | None
    new: Timed
    unlabelled: Bools
    ledger: pl.LazyFrame
    numbered: bool

    def slices(self, catalogue: Catalogue, size: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Transactions and ledger from which the features of about `size` new rows come out as from all at once.

        A window looks no further back than the catalogue's span. What else a feature depends on is
        whether a row came too late for its key, which is told by the newest event that the key had
        seen before: such events are there too, though they lie after the slice.

        Yields
        ------
        tuple
            TRANSACTIONS with `place`, which is null for rows that are not to be answered, and LEDGER.
        """
        if "ts" not in self.new.rows.collect_schema():
            for start in range(0, len(self.new.counts), size):
                yield self._labelled(self.new.rows.slice(start, size).collect()), pl.DataFrame(schema=LEDGER)
            return
        late, ts = _Late.of(self, catalogue), self.new.ts
        edges = np.append(np.unique(ts[::size]), ts[-1] + 1)
        for first, until in pairwise(edges):
            yield self._slice(int(first) - catalogue.span * _SECOND, int(first), int(until), late)

    def _slice(self, since: int, first: int, until: int, late: _Late) -> tuple[pl.DataFrame, pl.DataFrame]:
        rows = self.between(since, until)
        answered = pl.lit(rows["ts"].dt.epoch("us") >= first)
        rows = rows.with_columns(place=pl.when(answered).then("place"))
        rows = pl.concat([rows, late.witnesses(since, until)], how="diagonal")
        return rows, self._records(rows)

    def between(self, since: int, until: int) -> pl.DataFrame:
        """All rows that count with ts in [since, until), numbered by time and id where arrival is not recorded."""
        rows = self._labelled(self.new.between(since, until))
        if self.before is None:
            return rows
        before = self.before.between(since, until)
        shared = [name for name in rows.columns if name in before.columns]
        together = pl.concat([before.select(shared), rows], how="diagonal")
        if self.numbered:
            return together
        place = pl.struct("ts", "transaction_id").rank("ordinal").cast(TRANSACTIONS["seq"]) - 1
        return together.with_columns(seq=place)

    def _labelled(self, rows: pl.DataFrame) -> pl.DataFrame:
        stay = pl.Series(self.unlabelled[rows["place"].to_numpy()])
        return rows.with_columns(labelled=pl.col("labelled") & ~stay)

    def _records(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The label records of some rows, in ledger order."""
        ids = rows.lazy().select("transaction_id")
        mine = self.ledger.with_row_index("record").join(ids, on="transaction_id", how="semi").sort("record")
        return mine.select(*LEDGER).collect()

    def arrivals(self, *names: str) -> pl.DataFrame:
        """Some columns of all rows that count: history, then input."""
        parts = [part for part in (self.before, self.new) if part is not None]
        read = [part.rows.select(names).collect().filter(pl.Series(part.counts)) for part in parts]
        return pl.concat(read)


@dataclass(frozen=True)
class _Late:
    """Rows that may have come too late for a key, and the newest event that the key had seen before each.

    Attributes
    ----------
    pairs
        ts and seq of each such row, and `newest_ts` and `newest_seq` of the event.
    events
        These events, as they stand in the stream.
    """

    pairs: pl.DataFrame
    events: pl.DataFrame

    @classmethod
    def of(cls, stream: Stream, catalogue: Catalogue) -> _Late:
        kinds = {"ts": TIME, "seq": pl.Int64(), "newest_ts": TIME, "newest_seq": pl.Int64()}
        nothing = cls(pl.DataFrame(schema=kinds), pl.DataFrame())
        if not (stream.numbered or stream.before is None):
            return nothing
        clock = stream.arrivals("ts", "seq")
        ordered = clock if clock["ts"].is_sorted() else clock.sort("ts", "seq")
        if (ordered["seq"].diff() > 0).all():
            return nothing
        horizon = catalogue.late_horizon * _SECOND
        behind = clock.sort("seq").select("seq", by=_behind(pl.col("ts").cum_max().shift(1)))
        suspects = behind.filter(pl.col("by") > horizon)["seq"]
        if suspects.is_empty():
            return nothing
        keys = {feature.keys for feature in catalogue.features if isinstance(feature, Stateful)}
        pairs = pl.concat([nothing.pairs, *(_newest_before(stream, key, suspects, horizon) for key in sorted(keys))])
        return cls(pairs, _events(stream, pairs["newest_seq"].unique()))

    def witnesses(self, since: int, until: int) -> pl.DataFrame:
        """Events from `until` on by which rows in [since, until) are too late; not to be answered themselves."""
        ts, newest = (pl.col(name).dt.epoch("us") for name in ("ts", "newest_ts"))
        needed = self.pairs.filter((ts >= since) & (ts < until) & (newest >= until))["newest_seq"]
        if needed.is_empty():
            return pl.DataFrame()
        return self.events.filter(pl.col("seq").is_in(needed.implode()))


def _behind(newest: pl.Expr) -> pl.Expr:
    return (newest - pl.col("ts")).dt.total_microseconds()


def _newest_before(stream: Stream, key: tuple[str, ...], suspects: pl.Series, horizon: int) -> pl.DataFrame:
    """For each suspect that is too late for a key: the event that says so."""
    rows = stream.arrivals("ts", "seq", *key).drop_nulls(key).sort("seq")
    newest = pl.when(pl.col("ts") == pl.col("ts").cum_max().over(key)).then("seq")
    seen = rows.with_columns(newest_seq=newest).with_columns(pl.col("newest_seq").forward_fill().over(key))
    seen = seen.with_columns(
        newest_seq=pl.col("newest_seq").shift(1).over(key), newest_ts=pl.col("ts").cum_max().shift(1).over(key)
    )
    late = seen.filter(pl.col("seq").is_in(suspects.implode()) & (_behind(pl.col("newest_ts")) > horizon))
    return late.select("ts", "seq", "newest_ts", "newest_seq")


def _events(stream: Stream, seqs: pl.Series) -> pl.DataFrame:
    wanted = pl.col("seq").is_in(seqs.implode())
    new = stream.new.rows.filter(wanted).collect().with_columns(place=pl.lit(None, dtype=pl.UInt32))
    if stream.before is None:
        return new
    keep = pl.Series(stream.before.counts).to_frame("counts").lazy()
    before = pl.concat([stream.before.rows, keep], how="horizontal").filter(wanted & pl.col("counts")).collect()
    shared = [name for name in new.columns if name in before.columns]
    return pl.concat([before.select(shared), new], how="diagonal")
