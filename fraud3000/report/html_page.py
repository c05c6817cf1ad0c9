"""HTML report as one self-contained page, without requests to other hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fraud3000.metrics.evaluation import Evaluation
from fraud3000.report import facts
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import day, span
from fraud3000.report.metric_text import COLUMNS, metric_rows
from fraud3000.report.section import Section, TextTable
from fraud3000.report.verdict import verdict


def page(evidence: Evidence, sections: list[Section]) -> str:
    """Render the page: conclusion, evidence, limitations, facts; equal input gives equal bytes.

    Parameters
    ----------
    sections
        From `fraud3000.report.evaluation_sections.sections`; the plot of the first one is shown with the conclusion.
    """
    return _render(
        "report.html.j2",
        version=evidence.scorer.version,
        source=evidence.source,
        verdict=verdict(evidence.evaluation),
        basis=_basis(evidence.evaluation),
        caught=sections[0],
        sections=sections[1:],
        figures=TextTable(COLUMNS, metric_rows(evidence.evaluation)),
        limits=facts.limits(evidence),
        facts={
            "Data and labels": facts.data(evidence),
            "Splits": facts.splits(evidence),
            "Model": facts.model(evidence),
            "Policy": facts.policy(evidence),
            "Versions and hashes": facts.versions(evidence),
        },
    )


def what_if(section: Section, *, version: str, source: str, basis: str) -> str:
    """Render the page of `fraud3000 policy what-if`.

    Parameters
    ----------
    section
        From `fraud3000.report.what_if.section`.
    version, source
        Version of the model, and description of its data.
    basis
        Description of the evaluated rows.
    """
    return _finding(
        section,
        title=f"Fraud model {version}: policy comparison",
        kicker=f"Fraud model {version}, on {source}",
        basis=basis,
        tables={"Operating points": section.table},
    )


def delays(section: Section, weeks: TextTable, *, basis: str) -> str:
    """Render the page of `fraud3000 labels status`.

    Parameters
    ----------
    section
        From `fraud3000.report.label_delays.section`.
    weeks
        Frauds of the latest weeks, known and expected.
    basis
        Description of the data of the estimate.
    """
    tables = {
        "Share of frauds known, by days after the transaction": section.table,
        "Latest weeks: frauds known and expected": weeks,
    }
    return _finding(section, title=section.topic, kicker=section.topic, basis=basis, tables=tables)


def _finding(section: Section, *, title: str, kicker: str, basis: str, tables: Mapping[str, TextTable | None]) -> str:
    """Render a page of one plot and its tables."""
    return _render("finding.html.j2", section=section, title=title, kicker=kicker, basis=basis, tables=tables)


def _render(template: str, **values: Any) -> str:
    loader = PackageLoader("fraud3000.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def _basis(evaluation: Evaluation) -> str:
    """Describe the evaluated rows and the date of their labels."""
    span_text = f"from {span(*evaluation.test_span)}" if evaluation.test_span else "drawn at random"
    labels = f"; labels as known on {day(evaluation.label_date)}" if evaluation.label_date else ""
    return f"Evaluated on {evaluation.rows:,} transactions {span_text}, {evaluation.frauds:,} of them fraud{labels}."
