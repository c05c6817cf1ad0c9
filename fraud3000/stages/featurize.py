"""TRANSACTIONS to FEATURED, cut into train, validation and test."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

import polars as pl

from fraud3000 import durations, splits
from fraud3000.data import cards, outputs
from fraud3000.errors import CheckFailed
from fraud3000.features import batch, leaks
from fraud3000.features.catalogue import default
from fraud3000.features.declaring import declare
from fraud3000.features.spec import Catalogue
from fraud3000.params import Params
from fraud3000.schema import REQUIRED, TRANSACTIONS, check
from fraud3000.stages.progress import track
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.workspace import Workspace, read


def featurize(params: Params, *, check_leaks: bool = False) -> Summary:
    """Read interim transactions and labels; write processed features and their splits.

    Parameters
    ----------
    check_leaks
        Give some rows other futures first, and write nothing if a feature of theirs changes.

    Raises
    ------
    CheckFailed
        A feature sees the future.
    """
    workspace = Workspace.of(params)
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    check(transactions, TRANSACTIONS, REQUIRED, thing=str(workspace.transactions))
    catalogue = build_catalogue(params, transactions)
    burn_in = params.featurize.burn_in
    burn_in = timedelta(seconds=catalogue.longest) if burn_in is None else burn_in
    split, boundaries = splits.assign(
        transactions, params.featurize.split, label_delay=params.prepare.label_delay, burn_in=burn_in
    )
    proved = _without_leaks(transactions, ledger, catalogue) if check_leaks else {}
    featured = batch.assemble(transactions, ledger, catalogue).with_columns(split)
    paths = [workspace.features, workspace.boundaries, workspace.catalogue, *map(workspace.split, splits.PARTS)]
    with outputs.whole(*paths) as (features, bounds, declared, *cut):
        featured.write_parquet(features)
        bounds.write_text(json.dumps(boundaries.to_dict(), indent=2), encoding="utf-8")
        declared.write_text(json.dumps(catalogue.to_dict(), indent=2), encoding="utf-8")
        for path, part in zip(cut, splits.PARTS, strict=True):
            featured.filter(pl.col("split") == part).write_parquet(path)
    return _summary(featured, catalogue, boundaries, workspace, proved)


def _without_leaks(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> dict[str, str]:
    progress = partial(track, doing="giving rows other futures", rows=min(leaks.ROWS, transactions.height))
    checked = leaks.check(transactions, ledger, catalogue, progress=progress)
    if not checked.leaks:
        return {"no leak": f"{checked.rows:,} rows, {checked.futures:,} futures"}
    first, named = checked.leaks[0], ", ".join(leak.feature for leak in checked.leaks)
    raise CheckFailed(
        f"features see the future: {named}. {first.feature} of transaction {cards.mask(first.transaction_id)} at "
        f"{first.ts:%Y-%m-%d %H:%M:%S.%f} is {first.was}, and {first.became} with its future {first.future}",
        hint="Nothing was written. No model trained on these features would be worth what its figures say.",
    )


def build_catalogue(params: Params, transactions: pl.DataFrame) -> Catalogue:
    """The catalogue for what the data set has, with the features that the params declare.

    Passthrough columns are told by their type.
    """
    passed = {name: kind for name, kind in transactions.schema.items() if name not in TRANSACTIONS}
    catalogue = default(
        transactions.columns,
        numeric=[name for name, kind in passed.items() if kind != pl.String],
        categorical=[name for name, kind in passed.items() if kind == pl.String],
        label_delay=int(params.prepare.label_delay.total_seconds()),
        late_horizon=int(params.featurize.late_horizon.total_seconds()),
        zone=params.featurize.zone,
        precedence=params.prepare.source_precedence,
    )
    return declare(catalogue, params.featurize.features, params.featurize.without, transactions.schema)


def _summary(
    featured: pl.DataFrame,
    catalogue: Catalogue,
    boundaries: splits.Boundaries,
    workspace: Workspace,
    proved: dict[str, str],
) -> Summary:
    facts = {
        "rows": featured.height,
        "features": len(catalogue.names),
        "longest look-back": durations.text(catalogue.longest),
        "catalogue hash": catalogue.hash[:12],
        "split by": "time" if boundaries.as_of else "random (the data has no time)",
        "model made as of": f"{boundaries.as_of:%Y-%m-%d %H:%M} UTC" if boundaries.as_of else None,
        **proved,
    }
    absent = [name for name in ("ts", "card_id", "terminal_id") if name not in featured.columns]
    warnings = [f"no {name} in the data: the features that need it are left out" for name in absent]
    return Summary(
        command="featurize",
        facts=facts,
        tables=(_split_table(featured, boundaries),),
        outputs={"features": str(workspace.features)},
        warnings=tuple(warnings),
        next_step="fraud3000 train",
    )


def _split_table(featured: pl.DataFrame, boundaries: splits.Boundaries) -> Table:
    rows = []
    for name, count in splits.counts(featured["split"]).items():
        span = getattr(boundaries, name, None)
        first, last = (f"{at:%Y-%m-%d %H:%M}" for at in span) if span else ("", "")
        rows.append((name, f"{count:,}", first, last))
    return Table("Splits, [first, last) in UTC", ("split", "rows", "first", "last"), tuple(rows))
