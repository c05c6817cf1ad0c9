"""Score frames of raw or clean transactions in memory, as `score-file` scores files."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from fraud3000 import durations
from fraud3000.data import frames
from fraud3000.data.cleaning import cards, clean, label_files, roles
from fraud3000.data.frames import PreparedFrames
from fraud3000.data.reading.raw_table import RawFile
from fraud3000.errors import SchemaError
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.kinds import Column
from fraud3000.labels import visibility
from fraud3000.params import LabelsFile, PrepareModelParams
from fraud3000.schema import LEDGER

if TYPE_CHECKING:
    from fraud3000.features.spec.catalogue import Catalogue
    from fraud3000.models.inference.scorer import Scorer

_OPTIONAL = ("is_fraud", "reported_at")
_LIMITS = PrepareModelParams()  # for the earliest and the latest time
_RECORDS = {"transaction_id": "transaction_id", "is_fraud": "is_fraud"}
_RECORD_OPTIONS = ("source", "reported_at", "recorded_at")


class HistoryWarning(UserWarning):
    """The history is shorter than the longest window."""


class RejectionWarning(UserWarning):
    """Rows of the history, or of a fit, were rejected."""


def score(
    scorer: Scorer, transactions: Any, history: Any = None, labels: Any = None, *, reasons: str = "alerts"
) -> Any:
    """Score transactions; see `Scorer.score`."""
    rows, back = frames.to_polars(_transactions(transactions), thing="transactions")
    _require_no_features(rows, scorer.catalogue)
    new = _clean(scorer, rows, "transactions")
    past = None if history is None else _clean(scorer, _polars(_transactions(history), "history"), "history")
    if past is not None and past.quarantined:
        listed = _reasons(past.quarantine)
        warnings.warn(
            f"{past.quarantined:,} rows of the history were rejected: {listed}", RejectionWarning, stacklevel=3
        )
    stream = _merge(scorer, new, past)
    known = [labels] if labels is not None else []
    known += [part.labels for part in (transactions, history) if isinstance(part, PreparedFrames)]
    delay = timedelta(seconds=scorer.catalogue.label_delay)
    records = [read_records(_polars(part, "labels"), stream.rows, delay) for part in known]
    ledger = visibility.merge(*(part.ledger for part in (new, past) if part is not None), *records)
    _warn_if_short(stream.rows, stream.is_new, scorer.catalogue)
    features = batch_engine.featurize(stream.rows, ledger, scorer.catalogue, output_mask=stream.is_new)
    featured = (
        stream.rows.filter(stream.is_new)
        .select("transaction_id", "amount")
        .hstack(features.drop("amount", strict=False))
    )
    return back(_in_input_order(scorer.decide_with_reasons(featured, reasons), new))


def read_records(labels: pl.DataFrame, transactions: pl.DataFrame, label_delay: timedelta) -> pl.DataFrame:
    """Read label records from a frame.

    Parameters
    ----------
    labels
        LEDGER, or the columns `transaction_id` and `is_fraud`, and if known `source`, `reported_at` and `recorded_at`.
    transactions
        TRANSACTIONS; records of other transactions are left out.

    Returns
    -------
    polars.DataFrame
        LEDGER.

    Raises
    ------
    SchemaError
        A column is missing, or a record cannot be read; the message gives the first reason.
    """
    if label_files.is_ledger(labels.schema):
        return labels.select(*LEDGER)
    optional = {name: name for name in _RECORD_OPTIONS if name in labels.columns}
    form = LabelsFile.model_validate({"input": "labels", **_RECORDS, **optional})
    numbers = pl.int_range(1, labels.height + 1, eager=True, dtype=pl.Int64).alias("source_row")
    raw = RawFile(Path("labels"), labels, numbers, label_files.NO_LINES, "labels")
    known = label_files.known_transactions(transactions.lazy())
    result = label_files.read_rows(raw, form, known, label_delay, (_LIMITS.earliest, _LIMITS.latest))
    unreadable = result.quarantine.filter(pl.col("reason") != "label_unknown_transaction")
    if unreadable.height:
        raise SchemaError(
            f"labels: {unreadable.height:,} of {labels.height:,} records cannot be read: {_reasons(unreadable)}",
            hint="Give is_fraud as 0 and 1, and times as datetimes or ISO text.",
        )
    return result.ledger


@dataclass(frozen=True)
class _Merged:
    """History and new transactions in order of arrival.

    Attributes
    ----------
    is_new
        Boolean: the rows to score.
    """

    rows: pl.DataFrame
    is_new: pl.Series


def _transactions(given: Any) -> Any:
    return given.transactions if isinstance(given, PreparedFrames) else given


def _polars(frame: Any, thing: str) -> pl.DataFrame:
    return frames.to_polars(frame, thing=thing)[0]


def _require_no_features(rows: pl.DataFrame, catalogue: Catalogue) -> None:
    computed = [feature.name for feature in catalogue.features if not isinstance(feature, Column)]
    present = [name for name in computed if name in rows.columns]
    if len(present) > len(computed) / 2:
        raise SchemaError(
            f"transactions: the rows already have features ('{present[0]}' and {len(present) - 1:,} more)",
            hint="Call scorer.decide(featured) for rows with features, or pass the transactions without them.",
        )


def _clean(scorer: Scorer, rows: pl.DataFrame, name: str) -> clean.Ingested:
    rules = roles.CleaningRules(scorer.mapping, _LIMITS.earliest, _LIMITS.latest, cards.key_from_environment, _OPTIONAL)
    delay = timedelta(seconds=scorer.catalogue.label_delay)
    with tempfile.TemporaryDirectory() as folder:
        return clean.ingest_to_disk([frames.to_table(rows, name)], rules, Path(folder), label_delay=delay).collect()


def _merge(scorer: Scorer, new: clean.Ingested, past: clean.Ingested | None) -> _Merged:
    """Combine history and new transactions; of an id in both, only the new row counts."""
    rows = new.transactions.with_columns(new=pl.lit(value=True))
    if past is not None:
        earlier = past.transactions.join(rows, on="transaction_id", how="anti")
        still_unlabelled = past.transactions.filter(~pl.col("labelled"))["transaction_id"].implode()
        unlabelled = pl.col("transaction_id").is_in(still_unlabelled) & pl.col("is_fraud").is_null()
        rows = rows.with_columns(labelled=pl.col("labelled") & ~unlabelled)
        shared = [name for name in rows.columns if name in earlier.columns]
        rows = pl.concat([earlier.select(shared).with_columns(new=pl.lit(value=False)), rows], how="diagonal")
        if scorer.mapping.columns.seq is None:
            rows = rows.sort("ts", "transaction_id") if "ts" in rows.columns else rows
            rows = rows.with_columns(seq=pl.int_range(pl.len(), dtype=pl.Int64))
    return _Merged(rows.drop("new"), rows["new"])


def _warn_if_short(rows: pl.DataFrame, is_new: pl.Series, catalogue: Catalogue) -> None:
    if not catalogue.lookback or "ts" not in rows.columns:
        return
    first: datetime = rows.filter(is_new).select(pl.col("ts").min()).item()
    earliest: datetime = rows.select(pl.col("ts").min()).item()
    reach = first - earliest
    if reach < timedelta(seconds=catalogue.lookback):
        warnings.warn(
            f"only {reach.total_seconds() / 86_400:.1f} days of history lie before the first transaction, and the longest "
            f"window needs {durations.text(catalogue.lookback)}: pass earlier transactions as history",
            HistoryWarning,
            stacklevel=4,
        )


def _in_input_order(scored: pl.DataFrame, new: clean.Ingested) -> pl.DataFrame:
    """Return one row for each input row; a rejected row has no score, but the reason in `rejected`."""
    rows = new.rows.select("source_row", pl.when(pl.col("outcome") != "quarantined").then("transaction_id"))
    placed = rows.join(scored, on="transaction_id", how="left", maintain_order="left")
    reasons = new.quarantine.select("source_row", rejected="reason")
    return placed.join(reasons, on="source_row", how="left", maintain_order="left").drop("source_row")


def _reasons(quarantine: pl.DataFrame) -> str:
    counts = quarantine["reason"].value_counts().sort("count", "reason", descending=[True, False]).head(3)
    return ", ".join(f"{reason} ({count:,})" for reason, count in counts.iter_rows())
