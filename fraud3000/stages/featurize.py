"""`featurize`: compute features from TRANSACTIONS and split the rows into train, validation and test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import polars as pl

from fraud3000 import durations
from fraud3000.data.cleaning import cards
from fraud3000.data.storage import atomic_write
from fraud3000.data.storage.spill import SLICE, read_slices
from fraud3000.errors import CheckFailed
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification import leaks
from fraud3000.labels import splits
from fraud3000.models.policy import require_columns
from fraud3000.params import Params, TrainModelParams
from fraud3000.schema import REQUIRED, TRANSACTIONS, check
from fraud3000.stages.shared.catalogues import build_catalogue
from fraud3000.stages.shared.partitioned_features import PartitionedFeatures
from fraud3000.stages.shared.progress import show_status, track
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace, read, readable, scan


def featurize(params: Params, *, check_leaks: bool = False) -> Summary:
    """Compute the features of the prepared transactions and write them with their splits.

    Parameters
    ----------
    check_leaks
        First test some rows with changed futures; write nothing if one of their features changes.

    Raises
    ------
    CheckFailed
        A feature depends on the future.
    ParamsError
        The features, policy or estimator of the params do not fit the data.
    """
    workspace = Workspace.from_params(params)
    transactions = scan(workspace.transactions, made_by="prepare")
    ledger = scan(workspace.labels, made_by="prepare")
    with readable(workspace.labels, made_by="prepare"):
        ledger.select(pl.all().max()).collect(
            engine="streaming"
        )  # fail now, not after half of the features are written
    columns = pl.DataFrame(schema=transactions.collect_schema())
    check(columns, TRANSACTIONS, REQUIRED, thing=str(workspace.transactions))
    require_columns(columns.schema, params.policy)
    catalogue = build_catalogue(params.prepare, params.featurize, columns)
    _require_estimator(params.train, catalogue)
    burn_in = params.featurize.burn_in
    burn_in = timedelta(seconds=catalogue.lookback) if burn_in is None else burn_in
    with readable(workspace.transactions, made_by="prepare"):
        split = splits.assign(
            transactions, params.featurize.split, label_delay=params.prepare.label_delay, burn_in=burn_in
        )
    leak_facts = _check_leaks(workspace, catalogue) if check_leaks else {}
    paths = [workspace.features, workspace.boundaries, workspace.catalogue, *map(workspace.split, splits.PARTS)]
    with (
        atomic_write.scratch_dir(workspace.features) as folder,
        atomic_write.atomic_outputs(*paths) as (features, bounds, declared, *parts),
    ):
        bounds.write_text(json.dumps(split.boundaries.to_dict(), indent=2), encoding="utf-8")
        declared.write_text(json.dumps(catalogue.to_dict(), indent=2), encoding="utf-8")
        atomic_write.write_pieces(_featured(workspace, ledger, catalogue, split, folder), features)
        for path, part in zip(parts, splits.PARTS, strict=True):
            with show_status(f"writing {part}"):
                atomic_write.write_parquet(pl.scan_parquet(features).filter(pl.col("split") == part), path)
    return _summary(columns, catalogue, split, workspace, leak_facts)


def _require_estimator(train: TrainModelParams, catalogue: Catalogue) -> None:
    """Refuse now the estimator params that training would refuse, and monotone constraints on unknown features."""
    from fraud3000.models.training import estimators  # slow: scikit-learn

    estimators.check(train)
    estimators.check_monotone(train.monotone, {feature.name: feature.kind for feature in catalogue.features})


def _check_leaks(workspace: Workspace, catalogue: Catalogue) -> dict[str, str]:
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    progress = partial(track, doing="changing the futures of rows", rows=min(leaks.ROWS, transactions.height))
    checked = leaks.check(transactions, ledger, catalogue, progress=progress)
    if not checked.leaks:
        return {"no leak": f"{checked.rows:,} rows, {checked.futures:,} futures"}
    first, features = checked.leaks[0], ", ".join(leak.feature for leak in checked.leaks)
    raise CheckFailed(
        f"features depend on the future: {features}. {first.feature} of transaction {cards.mask(first.transaction_id)} "
        f"at {first.ts:%Y-%m-%d %H:%M:%S.%f} is {first.was}, but {first.became} with its future {first.future}",
        hint="Nothing was written. Correct these features or leave them out with featurize.without.",
    )


def _featured(
    workspace: Workspace, ledger: pl.LazyFrame, catalogue: Catalogue, split: splits.Split, folder: Path
) -> Iterator[pl.DataFrame]:
    """Yield FEATURED with `split`, slice by slice."""
    transactions, height = scan(workspace.transactions, made_by="prepare"), sum(split.counts.values())
    carried = [name for name in batch_engine.TRANSACTION_COLUMNS if name in transactions.collect_schema()]
    features = PartitionedFeatures(catalogue, ledger, carried, height, folder)
    for rows in track(_read(workspace), "reading", rows=height):
        features.add(rows)
    history = [_history_days(transactions)] if "ts" in carried else []
    start = 0
    for rows in track(features.pieces(), "writing", rows=height):
        yield rows.select(*carried, *history, pl.exclude(*carried)).with_columns(split.split_column(rows, start))
        start += rows.height


def _read(workspace: Workspace) -> Iterator[pl.DataFrame]:
    with readable(workspace.transactions, made_by="prepare"):
        yield from read_slices(scan(workspace.transactions, made_by="prepare"), SLICE)


def _history_days(transactions: pl.LazyFrame) -> pl.Expr:
    """Days since the first transaction of the data set."""
    first = transactions.select(pl.col("ts").min()).collect(engine="streaming").item()
    since = (pl.col("ts") - first).dt.total_microseconds()
    days: pl.Expr = since / (batch_engine.SECONDS_A_DAY * 1e6)
    return days.alias("history_days")


def _summary(
    columns: pl.DataFrame, catalogue: Catalogue, split: splits.Split, workspace: Workspace, leak_facts: dict[str, str]
) -> Summary:
    boundaries = split.boundaries
    facts = {
        "rows": sum(split.counts.values()),
        "features": len(catalogue.names),
        "longest look-back": durations.text(catalogue.lookback),
        "catalogue hash": catalogue.hash[:12],
        "split by": "time" if boundaries.as_of else "random (the data has no time)",
        "model made as of": f"{boundaries.as_of:%Y-%m-%d %H:%M} UTC" if boundaries.as_of else None,
        **leak_facts,
    }
    absent = [name for name in ("ts", "card_id", "terminal_id") if name not in columns.columns]
    warnings = [f"the data has no {name}: features that need it are left out" for name in absent]
    return Summary(
        command="featurize",
        facts=facts,
        tables=(_split_table(split),),
        outputs={"features": str(workspace.features)},
        warnings=tuple(warnings),
        next_step="fraud3000 train",
    )


def _split_table(split: splits.Split) -> Table:
    rows = []
    for name, count in split.counts.items():
        span = getattr(split.boundaries, name, None)
        first, last = (f"{at:%Y-%m-%d %H:%M}" for at in span) if span else ("", "")
        rows.append((name, f"{count:,}", first, last))
    return Table("Splits, [first, last) in UTC", ("split", "rows", "first", "last"), tuple(rows))
