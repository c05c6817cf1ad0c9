"""`policy what-if`: simulate other decision policies on rows with known labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import polars as pl

from fraud3000 import registry
from fraud3000.errors import EmptyDataError
from fraud3000.labels import visibility
from fraud3000.models import policy_simulation
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.report import html_page, what_if
from fraud3000.report.evidence import SOURCES
from fraud3000.report.formatting import span
from fraud3000.stages.shared import report_files
from fraud3000.stages.shared.evaluation_rows import ROW_COLUMNS, label_date, require_same_features
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace, read

Split = Literal["valid", "test"]


def what_ifs(
    params: Params, *, model: str = "challenger", rows: Split = "valid", cards_per_day: Sequence[int] = ()
) -> Summary:
    """Report money, alerts, precision and friction at each operating point, with a plot; nothing is changed.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version.
    rows
        The split to simulate on: choose a policy on ``valid``, the validation rows that set the thresholds.
    cards_per_day
        Alert budgets; by default multiples of that of the params.

    Raises
    ------
    DataError
        The features are missing, or no label of these rows is known.
    ScorerError
        There is no such model, its bundle failed verification, or its features differ from those of the workspace.
    """
    workspace = Workspace.from_params(params)
    version, folder = registry.resolve(model, params.registry, workspace.root)
    scorer = Scorer.load(folder, version=version)
    require_same_features(scorer, workspace)
    scored, at = _scored(params, workspace, scorer, rows)
    points = policy_simulation.operating_points(
        scored, params.policy, policy_simulation.budgets(params.policy, cards_per_day)
    )
    decimals = scorer.mapping.amount.decimals
    section = what_if.section(points, decimals=decimals, currency=scorer.mapping.amount.currency)
    basis = _basis(scored, rows, at)
    page = html_page.what_if(section, version=version, source=SOURCES[params.prepare.source], basis=basis)
    report_files.write_page(workspace.what_if, page, section)
    return Summary(
        command="policy what-if",
        facts={"model version": version, "measured on": basis, "finding": section.finding},
        tables=(_table(scored, what_if.rows(points, decimals)),),
        outputs={"page": str(workspace.what_if), "points": str(workspace.what_if.with_suffix(".csv"))},
        next_step="set policy.threshold and policy.cards_per_day in the params, then fraud3000 train",
    )


def _scored(params: Params, workspace: Workspace, scorer: Scorer, split: Split) -> tuple[pl.DataFrame, datetime | None]:
    featured = read(workspace.split(split), made_by="featurize")
    ledger = read(workspace.labels, made_by="prepare")
    at = label_date(params.evaluate, read(workspace.transactions, made_by="prepare"), ledger)
    known = visibility.known_at(
        featured, ledger, at, label_delay=params.prepare.label_delay, precedence=params.prepare.source_precedence
    )
    if known.is_null().all():
        raise EmptyDataError(
            f"policy what-if: no label of the {split} split is known",
            hint="Labels are known after prepare.label_delay; use another split, or a later evaluate.label_date.",
        )
    columns = featured.select(name for name in ROW_COLUMNS if name in featured.columns)
    return columns.with_columns(score=pl.Series(scorer.probabilities(featured)), is_fraud=known), at


def _basis(scored: pl.DataFrame, split: Split, at: datetime | None) -> str:
    when = f", {span(scored['ts'].min(), scored['ts'].max())}" if "ts" in scored.columns else ""  # type: ignore[arg-type]
    known = f", labels as known at {at:%Y-%m-%d %H:%M} UTC" if at else ""
    name = {"valid": "validation", "test": "test"}[split]
    return f"{name}: {scored.height:,} rows, {int(scored['is_fraud'].sum()):,} frauds{when}{known}"


def _table(scored: pl.DataFrame, rows: Sequence[Sequence[str]]) -> Table:
    title = "Operating points, for a day" if "ts" in scored.columns else "Operating points, over all rows"
    columns, *shown = (tuple(row[index] for index in what_if.NARROW) for row in (what_if.COLUMNS, *rows))
    return Table(title, columns, tuple(shown))
