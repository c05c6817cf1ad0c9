"""An evaluation's report, plots and model card: gathered, told, written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.errors import DataError
from fraud3000.features.spec.declarations import Column
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.training.importance import permutation
from fraud3000.models.training.training_rows import LATER, usable
from fraud3000.params import Params
from fraud3000.report import html_page, model_card, weekly
from fraud3000.report.evidence import Evidence
from fraud3000.report.section import Section
from fraud3000.report.sections import sections
from fraud3000.stages.shared.evaluation_rows import EvaluationRows
from fraud3000.stages.shared.workspace import Workspace, read, readable, scan


@dataclass(frozen=True, eq=False)
class ReportTexts:
    """What there is to write, and what the registry shows of the version."""

    page: str
    card: str
    sections: list[Section]
    description: str

    @property
    def artifacts(self) -> dict[str, str]:
        """The files that the registry keeps too."""
        return {"reports/report.html": self.page, "reports/model-card.md": self.card}

    def write(self, report: Path, plots: Path, own_card: Path, bundle_card: Path) -> None:
        """Write the page, the model card twice, and of each picture SVG, PNG and the numbers as CSV."""
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


def places(workspace: Workspace, version: str) -> tuple[Path, Path, Path, Path]:
    """Say where `ReportTexts.write` puts its files in the end."""
    return workspace.report, workspace.plots, workspace.card, workspace.bundle_card(version)


def gather(
    workspace: Workspace,
    params: Params,
    scorer: Scorer,
    judged: EvaluationRows,
    scored: pl.DataFrame,
    metrics: Mapping[str, Any],
) -> Evidence:
    """Bring together what the report is made from; the importance of features is measured here."""
    counted = judged.counted
    labels, score = judged.is_fraud.filter(counted).to_numpy(), scored["score"].filter(counted).to_numpy()
    features = scorer.catalogue.features
    passed = [one.column for one in features if isinstance(one, Column) and one.categorical]
    return Evidence(
        metrics=metrics,
        scored=scored.with_columns(judged.test[name] for name in passed if name in judged.test.columns),
        importance=permutation(scorer.model, judged.test.filter(counted), labels, score, seed=params.evaluate.seed),
        scorer=scorer,
        params=params,
        boundaries=judged.boundaries,
        split_rows=_counts(workspace.features, "split", made_by="featurize"),
        refused=_counts(workspace.quarantine, "reason", made_by="prepare"),
        backtest=_backtest(workspace, scorer),
        reported_later=_reported_later(workspace, scorer, judged.boundaries),
    )


def _reported_later(workspace: Workspace, scorer: Scorer, boundaries: Boundaries) -> int:
    """Count the training rows that turned out to be fraud; none where the model learned from other rows than the split's."""
    if boundaries.as_of is None or scorer.facts.get("as_of") != boundaries.as_of.isoformat():
        return 0
    with readable(workspace.split("train"), made_by="featurize"):
        rows = scan(workspace.split("train"), made_by="featurize")
        train = rows.select("transaction_id", "ts", "status", "labelled", "history_days").collect()
    ledger = read(workspace.labels, made_by="prepare")
    return usable(train, ledger, scorer.catalogue, boundaries, burn_in=True).counts[LATER]


def _backtest(workspace: Workspace, scorer: Scorer) -> Mapping[str, Any] | str | None:
    """Read the last backtest, if it was of the recipe that made this model."""
    path = workspace.backtest / "metrics.json"
    if not path.is_file():
        return None
    try:
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        return weekly.recipe_difference(content, scorer.facts.get("recipe", {})) or content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", hint="Run `fraud3000 backtest` again.") from error


def _counts(path: Path, column: str, *, made_by: str) -> dict[str, int]:
    """Count the values of a column, in the order in which they come; nothing where there is no such file."""
    if not path.is_file():
        return {}
    with readable(path, made_by=made_by):
        counted = pl.scan_parquet(path).group_by(column, maintain_order=True).len().collect()
    return dict(counted.iter_rows())


def tell(evidence: Evidence) -> ReportTexts:
    """Make the page and the card."""
    told = sections(evidence)
    return ReportTexts(
        html_page.page(evidence, told), model_card.card(evidence, told), told, model_card.summary(evidence)
    )
