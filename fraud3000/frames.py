"""`prepare_frame` and `featurize_frame`: what the commands of these names do, for frames in memory."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from fraud3000 import params as params_files
from fraud3000.data import frames
from fraud3000.data.cleaning import cards, clean, prepared, roles, sources
from fraud3000.data.frames import PreparedFrames
from fraud3000.data.inspection import params_text
from fraud3000.data.inspection.guess import guess
from fraud3000.data.inspection.sample import Sample
from fraud3000.errors import ParamsError
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels import visibility
from fraud3000.models.inference.frame_scoring import read_records
from fraud3000.params import Params, PrepareModelParams
from fraud3000.schema import TRANSACTIONS
from fraud3000.stages.shared.catalogues import build_catalogue

__all__ = ["PreparedFrames", "featurize_frame", "guess_params", "prepare_frame"]

_SAMPLED = 20_000  # rows from which a mapping is guessed


def prepare_frame(frame: Any, params: Params | None = None, *, labels: Any = None) -> PreparedFrames:
    """Clean a frame of raw transactions, as `fraud3000 prepare` cleans a file.

    Parameters
    ----------
    frame
        A polars, pandas or pyarrow frame of raw transactions.
    params
        Their section ``prepare`` states the mapping. Without params the mapping is guessed, as `fraud3000 init` guesses it,
        and `PreparedFrames.text` is the params file that states it.
    labels
        Label records with `transaction_id` and `is_fraud`, and if known `source`, `reported_at` and `recorded_at`.

    Returns
    -------
    PreparedFrames
        TRANSACTIONS, LEDGER and QUARANTINE, of the same kind as `frame`.

    Raises
    ------
    DataError
        The mapping does not fit the columns, or no row can be read.
    ParamsError
        The argument is not a frame, or its mapping cannot be guessed.

    Examples
    --------
    >>> import fraud3000, polars as pl
    >>> raw = pl.DataFrame({"Time": ["2024-05-01 10:00:00", "?"], "Card": ["a", "b"], "Value": [12.5, 3.0]})
    >>> params = fraud3000.parse_params({"prepare": {"source": "custom", "mapping": {
    ...     "columns": {"ts": "Time", "card_id": "Card", "amount": "Value"}}}})
    >>> fraud3000.prepare_frame(raw, params)
    <PreparedFrames: 1 transactions, 0 label records, 1 quarantined rows>
    """
    rows, back = frames.to_polars(frame, thing="transactions")
    settings, text = (params, None) if params is not None else guess_params(rows)
    cleaned = _clean(rows, settings)
    ledger = cleaned.ledger
    if labels is not None:
        records = _records(labels, cleaned.transactions, settings)
        ledger = visibility.merge(ledger, records).unique(keep="last", maintain_order=True)
    return PreparedFrames(back(cleaned.transactions), back(ledger), back(cleaned.quarantine), settings, text)


def featurize_frame(
    transactions: Any, params: Params | None = None, *, labels: Any = None, catalogue: Catalogue | None = None
) -> Any:
    """Compute the features of transactions as of the time they happened, as `fraud3000 featurize` does.

    Parameters
    ----------
    transactions
        What `prepare_frame` returned, or a polars, pandas or pyarrow frame of TRANSACTIONS or of raw transactions.
    params
        Their sections ``prepare`` and ``featurize``; by default those with which `prepare_frame` read the frame.
    labels
        Label records, as for `prepare_frame`.
    catalogue
        The features to compute, such as ``scorer.catalogue``; by default the features that the params declare.

    Returns
    -------
    frame
        FEATURED, of the same kind: one row for each transaction.

    Raises
    ------
    DataError, ParamsError
        As `prepare_frame`; or a feature that the params declare is not possible.
    """
    given = (
        transactions if isinstance(transactions, PreparedFrames) else prepare_frame(transactions, params, labels=labels)
    )
    settings = params or given.params
    rows, back = frames.to_polars(given.transactions, thing="transactions")
    ledger = frames.to_polars(given.labels, thing="labels")[0]
    if catalogue is None:
        catalogue = build_catalogue(settings.prepare, settings.featurize, rows.clear())
    if labels is not None and given is transactions:
        ledger = visibility.merge(ledger, _records(labels, rows, settings))
    return back(batch_engine.assemble(rows, ledger, catalogue))


def _records(labels: Any, transactions: pl.DataFrame, params: Params) -> pl.DataFrame:
    return read_records(frames.to_polars(labels, thing="labels")[0], transactions, params.prepare.label_delay)


def guess_params(rows: pl.DataFrame) -> tuple[Params, str | None]:
    """Guess the mapping of raw rows; the columns of TRANSACTIONS need no guess.

    Returns
    -------
    tuple
        The params, and the text of the params file that states them; None for TRANSACTIONS.

    Raises
    ------
    ParamsError
        A doubt must be settled first.
    """
    if prepared.is_prepared(rows.schema):
        passed = {name: kind for name, kind in rows.schema.items() if name not in TRANSACTIONS}
        numeric = [name for name, kind in passed.items() if kind != pl.String]
        categorical = [name for name, kind in passed.items() if kind == pl.String]
        mapping = {"columns": {"amount": "amount"}, "numeric": numeric, "categorical": categorical}
        return params_files.parse({"prepare": {"source": "custom", "mapping": mapping}}), None
    sample = rows if rows.height <= _SAMPLED else rows.gather_every(rows.height // _SAMPLED)
    found = guess(Sample(Path("transactions"), sample, None, 0, sample.height == rows.height))
    if found.blocked:
        listed = " ".join(doubt.text for doubt in found.blocked)
        raise ParamsError(
            f"transactions: the mapping cannot be guessed. {listed}",
            hint="Pass params that state it: fraud3000.parse_params({'prepare': {'source': 'custom', 'mapping': ...}}).",
        )
    text = params_text.write(found, "transactions", labels=None, workspace="data", extra={})
    return params_files.parse(yaml.safe_load(text)), text


def _clean(rows: pl.DataFrame, params: Params) -> clean.Ingested:
    section: PrepareModelParams = params.prepare
    rules = roles.CleaningRules(sources.resolve(section), section.earliest, section.latest, cards.key_from_environment)
    delay: timedelta = section.label_delay
    with tempfile.TemporaryDirectory() as folder:
        table = frames.to_table(rows, "transactions")
        return clean.ingest_to_disk([table], rules, Path(folder), label_delay=delay).collect()
