"""Create the report, plots and model card of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data.storage import atomic_write
from fraud3000.errors import DataError
from fraud3000.features.spec.kinds import Column
from fraud3000.labels.splits import Boundaries
from fraud3000.metrics.evaluation import Evaluation
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.training.importance import permutation_importance
from fraud3000.models.training.training_rows import LATER, select_rows
from fraud3000.params import Params
from fraud3000.report import backtest_section, html_page, model_card
from fraud3000.report.evaluation_sections import sections
from fraud3000.report.evidence import Evidence
from fraud3000.report.section import Section
from fraud3000.stages.shared.evaluation_rows import EvaluationRows
from fraud3000.stages.shared.workspace import Workspace, read, readable, scan


@dataclass(frozen=True, eq=False)
class ReportTexts:
    """Contents of the report, the model card and the version's description in the registry."""

    page: str
    card: str
    sections: list[Section]
    description: str

    @property
    def artifacts(self) -> dict[str, str]:
        """Files that are also stored in the registry."""
        return {"reports/report.html": self.page, "reports/model-card.md": self.card}

    def write(self, report: Path, plots: Path, own_card: Path, bundle_card: Path) -> None:
        """Write the report, both copies of the model card, and each plot as SVG, PNG and CSV."""
        report.write_text(self.page, encoding="utf-8")
        for path in (own_card, bundle_card):
            path.write_text(self.card, encoding="utf-8")
        plots.mkdir()
        for section in self.sections:
            if section.picture:
                (plots / f"{section.name}.svg").write_text(section.picture.svg, encoding="utf-8")
                (plots / f"{section.name}.png").write_bytes(section.picture.png)
            if not section.data.is_empty():
                section.data.write_csv(plots / f"{section.name}.csv")


def output_paths(workspace: Workspace, version: str) -> tuple[Path, Path, Path, Path]:
    """Return the final paths of the files that `ReportTexts.write` writes."""
    return workspace.report, workspace.plots, workspace.card, workspace.bundle_card(version)


def collect_evidence(
    workspace: Workspace,
    params: Params,
    scorer: Scorer,
    rows: EvaluationRows,
    scored: pl.DataFrame,
    evaluation: Evaluation,
) -> Evidence:
    """Collect the data of the report; measures the importance of features."""
    counted = rows.counted
    labels, score = rows.is_fraud.filter(counted).to_numpy(), scored["score"].filter(counted).to_numpy()
    features = scorer.catalogue.features
    categorical = [f.column for f in features if isinstance(f, Column) and f.categorical]
    return Evidence(
        evaluation=evaluation,
        scored=scored.with_columns(rows.test[name] for name in categorical if name in rows.test.columns),
        importance=permutation_importance(
            scorer.model, rows.test.filter(counted), labels, score, seed=params.evaluate.seed
        ),
        scorer=scorer,
        evaluate=params.evaluate,
        source_name=params.prepare.source,
        boundaries=rows.boundaries,
        split_rows=_counts(workspace.features, "split", made_by="featurize"),
        refused=_counts(workspace.quarantine, "reason", made_by="prepare"),
        backtest=_backtest(workspace, scorer),
        reported_later=_reported_later(workspace, scorer, rows.boundaries),
    )


def _reported_later(workspace: Workspace, scorer: Scorer, boundaries: Boundaries) -> int:
    """Count training rows reported as fraud after training; 0 if the model was not trained on this split."""
    if boundaries.as_of is None or scorer.facts.get("as_of") != boundaries.as_of.isoformat():
        return 0
    with readable(workspace.split("train"), made_by="featurize"):
        rows = scan(workspace.split("train"), made_by="featurize")
        train = rows.select("transaction_id", "ts", "status", "labelled", "history_days").collect()
    ledger = read(workspace.labels, made_by="prepare")
    return select_rows(train, ledger, scorer.catalogue, boundaries, burn_in=True).counts[LATER]


def _backtest(workspace: Workspace, scorer: Scorer) -> Mapping[str, Any] | str | None:
    """Read the last backtest if it used this model's recipe; otherwise return how the recipes differ."""
    path = workspace.backtest / "metrics.json"
    if not path.is_file():
        return None
    try:
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        return backtest_section.recipe_difference(content, scorer.facts.get("recipe", {})) or content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", hint="Run `fraud3000 backtest` again.") from error


def _counts(path: Path, column: str, *, made_by: str) -> dict[str, int]:
    """Count the values of a column, in order of appearance; empty if the file does not exist."""
    if not path.is_file():
        return {}
    with readable(path, made_by=made_by):
        counted = pl.scan_parquet(path).group_by(column, maintain_order=True).len().collect()
    return dict(counted.iter_rows())


def render(evidence: Evidence) -> ReportTexts:
    """Render the report and the model card."""
    parts = sections(evidence)
    return ReportTexts(
        html_page.page(evidence, parts), model_card.card(evidence, parts), parts, model_card.summary(evidence)
    )


def write_page(path: Path, page: str, section: Section) -> None:
    """Write the page of one section, with its plot as SVG and PNG and its data as CSV beside it."""
    assert section.picture is not None
    paths = [path.with_suffix(ending) for ending in (".html", ".svg", ".png", ".csv")]
    with atomic_write.atomic_outputs(*paths) as (html, svg, png, csv):
        html.write_text(page, encoding="utf-8")
        svg.write_text(section.picture.svg, encoding="utf-8")
        png.write_bytes(section.picture.png)
        section.data.write_csv(csv)
