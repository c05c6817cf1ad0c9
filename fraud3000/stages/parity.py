"""A file, or a stream made to break engines, through both engines: the same to the bit, or exit code 6."""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from fraud3000.data.cleaning import cards, clean, sources
from fraud3000.data.storage import locations
from fraud3000.errors import ParamsError
from fraud3000.features.spec.declarations import Catalogue, Stateful
from fraud3000.features.verification import adversarial_stream, every_kind
from fraud3000.features.verification.parity import Difference, Parity, compare
from fraud3000.features.verification.stream_stats import census
from fraud3000.params import Params
from fraud3000.schema import LEDGER
from fraud3000.stages.prepare import labels_of_their_own
from fraud3000.stages.shared.catalogues import build_catalogue
from fraud3000.stages.shared.progress import show_status, track
from fraud3000.stages.shared.summary import Summary, Table

ROWS, SEED = 20_000, 2018
"""Of the built-in stream."""


def parity(params: Params, source: str | None = None, *, rows: int | None = None, seed: int | None = None) -> Summary:
    """Compare the engines on a file, or without one on the built-in stream.

    Parameters
    ----------
    source
        A file, glob or folder, here or in S3, raw in the mapping of the params or already TRANSACTIONS.
    rows, seed
        Of the built-in stream.

    Raises
    ------
    DataError
        The file cannot be read.
    ParamsError
        Rows or seed for a file.
    """
    if source is not None and (rows is not None or seed is not None):
        raise ParamsError("--rows and --seed are of the built-in stream", hint="Leave them out, or leave out FILE.")
    with show_status("reading" if source else "making the stream"):
        transactions, ledger, catalogue, facts, holds = _file(params, source) if source else _stream(params, rows, seed)
    found = compare(
        transactions, ledger, catalogue, progress=partial(track, doing="comparing", rows=transactions.height)
    )
    return _summary(facts, found, catalogue, transactions, holds)


def _file(params: Params, source: str) -> tuple[pl.DataFrame, pl.DataFrame, Catalogue, dict[str, Any], dict[str, int]]:
    section = params.prepare
    with locations.fetched(source) as raw:
        taken = clean.ingest(
            raw,
            sources.resolve(section),
            label_delay=section.label_delay,
            earliest=section.earliest,
            latest=section.latest,
            optional=("is_fraud", "reported_at"),
        )
    told = labels_of_their_own(params, taken.transactions.lazy())
    ledger = pl.concat([taken.ledger.select(*LEDGER), *([told.ledger] if told else [])])
    facts = {
        "file": source,
        "rows read": taken.rows.height,
        "duplicates": taken.duplicates,
        "quarantined": taken.quarantined,
    }
    catalogue = build_catalogue(params, taken.transactions)
    return taken.transactions, ledger, catalogue, facts, census(taken.transactions, ledger, catalogue)


def _stream(
    params: Params, rows: int | None, seed: int | None
) -> tuple[pl.DataFrame, pl.DataFrame, Catalogue, dict[str, Any], dict[str, int]]:
    section = params.prepare
    catalogue = every_kind.catalogue(
        label_delay=int(section.label_delay.total_seconds()),
        late_horizon=int(params.featurize.late_horizon.total_seconds()),
        zone=params.featurize.zone,
        precedence=section.source_precedence or adversarial_stream.SOURCES,
    )
    seed = SEED if seed is None else seed
    made = adversarial_stream.stream(catalogue, rows=rows or ROWS, seed=seed)
    return made.transactions, made.ledger, catalogue, {"stream": f"built in, seed {seed}"}, made.holds


def _summary(
    facts: dict[str, Any], found: Parity, catalogue: Catalogue, transactions: pl.DataFrame, holds: dict[str, int]
) -> Summary:
    rows = tuple((name, f"{count:,}") for name, count in holds.items())
    verdict = "every cell equal" if not found.differing_cells else f"{found.differing_cells:,} cells differ"
    return Summary(
        command="parity",
        facts={
            **facts,
            "rows": found.rows,
            "features": found.features,
            "cells": found.cells,
            "catalogue hash": catalogue.hash[:12],
            "rows that order of arrival changed": found.late,
            "batch against online": verdict,
        },
        tables=(Table("What the stream holds", ("what", "how many"), rows), *_differences(found)),
        warnings=_warnings(catalogue, transactions),
        refused=_refusal(found),
        last_line=f"parity rows={found.rows} features={found.features} cells={found.cells} "
        f"differing={found.differing_cells}",
    )


def _differences(found: Parity) -> tuple[Table, ...]:
    if not found.differing_cells:
        return ()
    worst = sorted((item for item in found.differing.items() if item[1]), key=lambda item: (-item[1], item[0]))
    equal = found.features - len(worst)
    counts = tuple((name, f"{count:,}") for name, count in worst)
    rest = ((f"the other {equal:,} features", "0"),) if equal else ()
    first = tuple(_shown(one) for one in found.first)
    return (
        Table("Features that differ", ("feature", "rows"), (*counts, *rest)),
        Table("The first of them, in order of arrival", ("transaction", "ts", "feature", "batch", "online"), first),
    )


def _shown(one: Difference) -> tuple[str, ...]:
    ts = f"{one.ts:%Y-%m-%d %H:%M:%S.%f}" if one.ts else ""
    return (cards.mask(one.transaction_id), ts, one.feature, *(cards.mask(repr(v)) for v in (one.batch, one.online)))


def _warnings(catalogue: Catalogue, transactions: pl.DataFrame) -> tuple[str, ...]:
    if any(isinstance(feature, Stateful) for feature in catalogue.features):
        return ()
    lacks = "time" if "ts" not in transactions.columns else "cards or terminals"
    return (f"The data has no {lacks}: no feature looks back, so only columns of the row itself were compared.",)


def _refusal(found: Parity) -> str | None:
    if not found.differing_cells:
        return None
    differing = [name for name, count in found.differing.items() if count]
    named = ", ".join(differing[:3]) + (f" and {len(differing) - 3:,} more" if len(differing) > 3 else "")
    return f"the engines differ in {found.differing_cells:,} of {found.cells:,} cells: {named}"
