"""The report as one page that asks no other host for anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fraud3000.report import facts
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import day, span
from fraud3000.report.section import Section, Shown
from fraud3000.report.sections import figures
from fraud3000.report.verdict import verdict


def page(evidence: Evidence, sections: list[Section]) -> str:
    """Lay out the page: verdict, evidence, limits, facts; equal input gives equal bytes.

    Parameters
    ----------
    sections
        As `fraud3000.report.sections.sections` gives them; the first stands beside the verdict.
    """
    return _laid_out(
        "report.html.j2",
        version=evidence.scorer.version,
        source=evidence.source,
        verdict=verdict(evidence.metrics),
        basis=_basis(evidence.metrics),
        caught=sections[0],
        sections=sections[1:],
        figures=figures(evidence),
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
    """Lay out the page of `fraud3000 policy what-if`.

    Parameters
    ----------
    section
        As `fraud3000.report.what_if.section` gives it.
    version, source
        Of the model, and the data it is on.
    basis
        The rows it was measured on, in words.
    """
    return _finding(
        section,
        title=f"Fraud model {version}: what if the policy were another",
        over=f"Fraud model {version}, on {source}",
        basis=basis,
        tables={"Each operating point": section.shown},
    )


def delays(section: Section, weeks: Shown, *, basis: str) -> str:
    """Lay out the page of `fraud3000 labels status`.

    Parameters
    ----------
    section
        As `fraud3000.report.label_delays.section` gives it.
    weeks
        The last weeks, known and expected.
    basis
        What it was estimated from, in words.
    """
    tables = {"Frauds known, of those that will be": section.shown, "The last weeks, as known and as expected": weeks}
    return _finding(section, title=section.topic, over=section.topic, basis=basis, tables=tables)


def _finding(section: Section, *, title: str, over: str, basis: str, tables: Mapping[str, Shown | None]) -> str:
    """One picture with the tables behind it."""
    return _laid_out("finding.html.j2", section=section, title=title, over=over, basis=basis, tables=tables)


def _laid_out(template: str, **told: Any) -> str:
    here = PackageLoader("fraud3000.report", "")
    environment = Environment(
        loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**told)


def _basis(metrics: Any) -> str:
    """Say on which rows the verdict rests, and as known when."""
    when = f"from {span(*metrics['test_span'])}" if metrics["test_span"] else "drawn at random"
    known = f", labels as known on {day(metrics['label_date'])}" if metrics["label_date"] else ""
    return f"Measured on {metrics['rows']:,} transactions {when}, {metrics['frauds']:,} of them fraud{known}."
