"""The report as one page that asks no other host for anything."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from fraud3000.report import facts
from fraud3000.report.evidence import Evidence
from fraud3000.report.section import Section
from fraud3000.report.sections import figures
from fraud3000.report.verdict import verdict
from fraud3000.report.words import day, span


def page(evidence: Evidence, sections: list[Section]) -> str:
    """Lay out the page: verdict, evidence, limits, facts; equal input gives equal bytes.

    Parameters
    ----------
    sections
        As `fraud3000.report.sections.sections` gives them; the first stands beside the verdict.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
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


def _basis(metrics: Any) -> str:
    """Say on which rows the verdict rests, and as known when."""
    when = f"from {span(*metrics['test_span'])}" if metrics["test_span"] else "drawn at random"
    known = f", labels as known on {day(metrics['label_date'])}" if metrics["label_date"] else ""
    return f"Measured on {metrics['rows']:,} transactions {when}, {metrics['frauds']:,} of them fraud{known}."
