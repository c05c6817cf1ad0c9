"""`parity`: compute a file or an adversarial stream with both engines; exit code 6 if any bit differs."""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from fraud3000.data.cleaning import cards, clean, sources
from fraud3000.data.storage import locations
from fraud3000.errors import ParamsError
from fraud3000.features.spec.base import Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification import adversarial_stream, every_kind
from fraud3000.features.verification.parity import Difference, Parity, compare
from fraud3000.features.verification.stream_stats import stream_statistics
from fraud3000.params import Params
from fraud3000.schema import LEDGER
from fraud3000.stages.shared.catalogues import build_catalogue
from fraud3000.stages.shared.input_files import read_separate_labels
from fraud3000.stages.shared.progress import show_status, track
from fraud3000.stages.shared.summary import Summary, Table

ROWS, SEED = 20_000, 2018
"""Default size and seed of the built-in stream."""


def parity(params: Params, source: str | None = None, *, rows: int | None = None, seed: int | None = None) -> Summary:
    """Compare the batch and online engines on a file, or on the built-in stream.

    Parameters
    ----------
    source
        A file, glob or folder, on this machine or in S3: raw data in the mapping of the params, or TRANSACTIONS.
    rows, seed
        Size and seed of the built-in stream.

    Raises
    ------
    DataError
        The file cannot be read.
    ParamsError
        Rows or seed are stated although a file is.
    """
    if source is not None and (rows is not None or seed is not None):
        raise ParamsError("--rows and --seed apply to the built-in stream only", hint="Omit them, or omit FILE.")
    with show_status("reading" if source else "generating the stream"):
        transactions, ledger, catalogue, facts, holds = _file(params, source) if source else _stream(params, rows, seed)
    result = compare(
        transactions, ledger, catalogue, progress=partial(track, doing="comparing", rows=transactions.height)
    )
    return _summary(facts, result, catalogue, transactions, holds)


def _file(params: Params, source: str) -> tuple[pl.DataFrame, pl.DataFrame, Catalogue, dict[str, Any], dict[str, int]]:
    section = params.prepare
    with locations.fetch(source) as raw:
        ingested = clean.ingest(
            raw,
            sources.resolve(section),
            label_delay=section.label_delay,
            earliest=section.earliest,
            latest=section.latest,
            optional=("is_fraud", "reported_at"),
        )
    labels = read_separate_labels(params, ingested.transactions.lazy())
    ledger = pl.concat([ingested.ledger.select(*LEDGER), *([labels.ledger] if labels else [])])
    facts = {
        "file": source,
        "rows read": ingested.rows.height,
        "duplicates": ingested.duplicates,
        "quarantined": ingested.quarantined,
    }
    catalogue = build_catalogue(params.prepare, params.featurize, ingested.transactions)
    return ingested.transactions, ledger, catalogue, facts, stream_statistics(ingested.transactions, ledger, catalogue)


def _stream(
    params: Params, rows: int | None, seed: int | None
) -> tuple[pl.DataFrame, pl.DataFrame, Catalogue, dict[str, Any], dict[str, int]]:
    section = params.prepare
    catalogue = every_kind.build_catalogue(
        label_delay=int(section.label_delay.total_seconds()),
        late_horizon=int(params.featurize.late_horizon.total_seconds()),
        zone=params.featurize.zone,
        precedence=section.source_precedence or adversarial_stream.SOURCES,
    )
    seed = SEED if seed is None else seed
    made = adversarial_stream.generate(catalogue, rows=rows or ROWS, seed=seed)
    return made.transactions, made.ledger, catalogue, {"stream": f"built in, seed {seed}"}, made.statistics


def _summary(
    facts: dict[str, Any], result: Parity, catalogue: Catalogue, transactions: pl.DataFrame, holds: dict[str, int]
) -> Summary:
    rows = tuple((name, f"{count:,}") for name, count in holds.items())
    verdict = "every cell equal" if not result.differing_cells else f"{result.differing_cells:,} cells differ"
    return Summary(
        command="parity",
        facts={
            **facts,
            "rows": result.rows,
            "features": result.features,
            "cells": result.cells,
            "catalogue hash": catalogue.hash[:12],
            "rows that order of arrival changed": result.late,
            "batch against online": verdict,
        },
        tables=(Table("What the stream holds", ("what", "how many"), rows), *_differences(result)),
        warnings=_warnings(catalogue, transactions),
        refused=_refusal(result),
        last_line=f"parity rows={result.rows} features={result.features} cells={result.cells} "
        f"differing={result.differing_cells}",
    )


def _differences(result: Parity) -> tuple[Table, ...]:
    if not result.differing_cells:
        return ()
    worst = sorted((item for item in result.differing.items() if item[1]), key=lambda item: (-item[1], item[0]))
    equal = result.features - len(worst)
    counts = tuple((name, f"{count:,}") for name, count in worst)
    rest = ((f"the other {equal:,} features", "0"),) if equal else ()
    first = tuple(_cells(difference) for difference in result.first)
    return (
        Table("Features that differ", ("feature", "rows"), (*counts, *rest)),
        Table("First differences, in order of arrival", ("transaction", "ts", "feature", "batch", "online"), first),
    )


def _cells(difference: Difference) -> tuple[str, ...]:
    ts = f"{difference.ts:%Y-%m-%d %H:%M:%S.%f}" if difference.ts else ""
    values = (cards.mask(repr(value)) for value in (difference.batch, difference.online))
    return (cards.mask(difference.transaction_id), ts, difference.feature, *values)


def _warnings(catalogue: Catalogue, transactions: pl.DataFrame) -> tuple[str, ...]:
    if any(isinstance(feature, Stateful) for feature in catalogue.features):
        return ()
    lacks = "time" if "ts" not in transactions.columns else "cards or terminals"
    return (
        f"The data has no {lacks}, so no feature uses earlier rows; only features of the row itself were compared.",
    )


def _refusal(result: Parity) -> str | None:
    if not result.differing_cells:
        return None
    differing = [name for name, count in result.differing.items() if count]
    names = ", ".join(differing[:3]) + (f" and {len(differing) - 3:,} more" if len(differing) > 3 else "")
    return f"the engines differ in {result.differing_cells:,} of {result.cells:,} cells: {names}"
