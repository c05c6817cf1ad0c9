"""The rows of several files as one frame, each with a place that leads back to its file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from fraud3000.data import cards
from fraud3000.data.faults import as_json, quarantine
from fraud3000.data.raw import RawFile
from fraud3000.data.roles import Cleaned
from fraud3000.errors import SchemaError
from fraud3000.schema import TRANSACTIONS

KEPT, DUPLICATE, QUARANTINED = "kept", "duplicate", "quarantined"
_MAY_DIFFER = {"seq", "currency"}


@dataclass(frozen=True)
class Batch:
    """All rows read, and what is wrong with some.

    Attributes
    ----------
    rows
        Columns of TRANSACTIONS in schema order, then passthrough; `place` UInt32 numbers all rows
        of all files in input order.
    bad
        Columns place, reason, detail: the first fault of each faulty row.
    origins
        source_file, source_row, file (its number) and row (in the raw frame), by place.
    """

    raws: Sequence[RawFile]
    hidden: Mapping[int, tuple[str, ...]]
    rows: pl.DataFrame
    bad: pl.DataFrame
    origins: pl.DataFrame

    @classmethod
    def of(cls, raws: Sequence[RawFile], cleaned: Mapping[int, Cleaned], *, one_arrival: bool) -> Batch:
        """Stack cleaned files, given by their numbers.

        seq is kept only where all of them have it, and where it is the place in one order of arrival:
        files that were prepared one by one have each its own.

        Raises
        ------
        SchemaError
            One file has a column that another lacks.
        """
        origins = pl.concat([_origins(raw, number) for number, raw in enumerate(raws)])
        _check_same_columns(raws, cleaned)
        stacked = pl.concat([part.rows for part in cleaned.values()], how="diagonal_relaxed")
        names = [name for name in dict.fromkeys((*TRANSACTIONS, *stacked.columns)) if name in stacked.columns]
        numbered = all("seq" in part.rows.columns for part in cleaned.values())
        if not numbered or (len(cleaned) > 1 and not one_arrival):
            names = [name for name in names if name != "seq"]
        first = (
            origins.group_by("file").agg(pl.len()).sort("file").select("file", pl.col("len").cum_sum() - pl.col("len"))
        )
        starts = dict(first.iter_rows())
        bad = [
            part.faults.select(place=pl.col("row") + starts.get(number, 0), reason="reason", detail="detail")
            for number, part in cleaned.items()
        ]
        hidden = {number: part.hidden for number, part in cleaned.items()}
        kinds = {"place": pl.UInt32(), "reason": pl.String(), "detail": pl.String()}
        return cls(
            raws,
            hidden,
            stacked.select(names).with_row_index("place"),
            pl.concat(
                [
                    pl.DataFrame(schema=kinds),
                    *(part.select(pl.col(name).cast(kind) for name, kind in kinds.items()) for part in bad),
                ]
            ),
            origins,
        )

    def quarantine(self, bad: pl.DataFrame) -> pl.DataFrame:
        """The QUARANTINE frame of faulty rows and of lines that are no rows, in input order."""
        ordered = bad.sort("place")
        placed = pl.concat([ordered, self.origins[ordered["place"]]], how="horizontal")
        parts = []
        for number, raw in enumerate(self.raws):
            mine = placed.filter(pl.col("file") == number)
            shown = [name for name in raw.rows.columns if name not in self.hidden.get(number, ())]
            rows = mine.with_columns(raw=as_json(raw.rows[mine["row"]].select(shown)))
            parts.append(pl.concat([rows.drop("place", "file", "row"), self._refused(number)], how="diagonal"))
        return quarantine(part.sort("source_row") for part in parts)

    def _refused(self, number: int) -> pl.DataFrame:
        """Lines that are no rows; their text is left out where any column of the file must not be seen."""
        raw = self.raws[number]
        text = pl.lit(None, dtype=pl.String) if self.hidden.get(number) else cards.mask_series(raw.refused["raw"])
        return raw.refused.with_columns(source_file=pl.lit(raw.name), raw=text)

    def outcomes(self, duplicates: pl.Series, bad: pl.Series) -> pl.DataFrame:
        """What became of each row, in input order: source_file, source_row, transaction_id, outcome."""
        outcome = (
            pl.Series("outcome", [KEPT], dtype=pl.String)
            .new_from_index(0, self.rows.height)
            .scatter(duplicates, DUPLICATE)
            .scatter(bad, QUARANTINED)
        )
        rows = self.origins.with_columns(self.rows["transaction_id"], outcome).drop("row")
        lines = [
            raw.refused.select(
                "source_row",
                source_file=pl.lit(raw.name),
                file=pl.lit(number, dtype=pl.UInt32),
                outcome=pl.lit(QUARANTINED),
            )
            for number, raw in enumerate(self.raws)
            if raw.refused.height
        ]
        everything = pl.concat([rows, *lines], how="diagonal")
        ordered = everything.sort("file", "source_row") if lines else everything
        return ordered.select("source_file", "source_row", "transaction_id", "outcome")


def _origins(raw: RawFile, number: int) -> pl.DataFrame:
    return raw.places.to_frame().select(
        source_file=pl.lit(raw.name),
        source_row="source_row",
        file=pl.lit(number, dtype=pl.UInt32),
        row=pl.int_range(pl.len(), dtype=pl.UInt32),
    )


def _check_same_columns(raws: Sequence[RawFile], cleaned: Mapping[int, Cleaned]) -> None:
    everything = {name for part in cleaned.values() for name in part.rows.columns} - _MAY_DIFFER
    for number, part in cleaned.items():
        lacking = sorted(everything - set(part.rows.columns))
        if lacking:
            raise SchemaError(
                f"{raws[number].name}: has no {', '.join(lacking)}, which other files of the same input have",
                hint="Prepare files of different kinds apart, each with its own params.",
            )
