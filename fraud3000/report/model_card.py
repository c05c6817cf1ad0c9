"""Model card in Markdown: what a model is, its intended use, its results and its limitations.

References
----------
Mitchell et al. Model Cards for Model Reporting. Conference on Fairness, Accountability, and
Transparency, 2019.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from fraud3000.features.spec.describe import describe
from fraud3000.report import facts
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import day, plain
from fraud3000.report.metric_text import COLUMNS, metric_rows
from fraud3000.report.section import Section, TextTable
from fraud3000.report.verdict import ReportVerdict, verdict

SEGMENTS = ("amounts", "weeks", "by-")


def card(evidence: Evidence, sections: list[Section]) -> str:
    """Write the model card; every sentence is derived from a fact of the model or its evaluation.

    Parameters
    ----------
    sections
        From `fraud3000.report.evaluation_sections.sections`; the card repeats their results by segment.
    """
    scorer = evidence.scorer
    blocks = [
        f"# Fraud model {scorer.version}",
        _paragraph(verdict(evidence.evaluation)),
        "## Overview",
        " ".join(_overview(evidence)),
        "## Intended use",
        *_intended_use(evidence),
        "## Data and labels",
        _list(facts.data(evidence)),
        "### Splits",
        _list(facts.splits(evidence)),
        "## Features",
        *_features(evidence),
        "## Training",
        _list(facts.model(evidence)),
        "## Policy",
        _list(facts.policy(evidence)),
        "## Results",
        _table(TextTable(COLUMNS, metric_rows(evidence.evaluation))),
        *_segments(sections),
        "## Limitations",
        "\n".join(f"- {_plain(limit)}" for limit in facts.limits(evidence)) or "None known.",
        "## Versions and hashes",
        _list(facts.versions(evidence)),
    ]
    return plain("\n\n".join(block for block in blocks if block)) + "\n"


def summary(evidence: Evidence) -> str:
    """Describe a version in a few lines for the registry: results, data and limitations."""
    limits = "\n".join(f"- {_plain(limit)}" for limit in facts.limits(evidence))
    parts = [_paragraph(verdict(evidence.evaluation)), f"Evaluated on {evidence.source}.", limits]
    return plain("\n\n".join(part for part in parts if part))


def _paragraph(conclusion: ReportVerdict) -> str:
    bold = [f"**{_plain(sentence)}**" for sentence in (conclusion.headline, conclusion.warning) if sentence]
    others = (conclusion.budget, conclusion.baseline, conclusion.caveat)
    return " ".join([*bold, *(_plain(sentence) for sentence in others if sentence)])


def _overview(evidence: Evidence) -> Iterator[str]:
    scorer = evidence.scorer
    yield (
        f"A model ({facts.estimator(evidence)}) that estimates the probability of fraud of each card transaction"
        f" (calibration: {scorer.calibrator.method})."
    )
    as_of = evidence.evaluation.model_as_of
    yield (
        f"It was trained on what was known on {day(as_of)}."
        if as_of
        else "Its data has no time: all labels were used for training."
    )
    if scorer.policy.kind == "capacity":
        yield f"It alerts on scores at or above one threshold, set for {evidence.evaluation.policy.cards_per_day:,} cards reviewed a day."
    else:
        yield "Each transaction gets the decision with the lowest expected cost."


def _intended_use(evidence: Evidence) -> Iterator[str]:
    simulated = evidence.evaluation.split_by == "random" or "no real transactions" in evidence.source
    yield "Use it to select transactions for review."
    yield (
        "Do not use it to decline transactions or to block cards without a review: "
        + _precision(evidence)
        + " Do not use it on transactions from another source than the one below: its features, calibration and "
        "threshold come from that source."
        + (" Do not use it on real transactions before you have evaluated it on them." if simulated else "")
    )


def _precision(evidence: Evidence) -> str:
    precision = evidence.evaluation.metrics["precision"].value
    if precision is None:
        return "its precision is unknown."
    return f"of 100 alerted transactions {100 * (1 - precision):.0f} were legitimate."


def _features(evidence: Evidence) -> Iterator[str]:
    used = set(evidence.scorer.model.encoder.columns)
    families = Counter(describe(f).family for f in evidence.scorer.catalogue.features if f.name in used)
    counts = ", ".join(f"{_plain(family)} ({count})" for family, count in sorted(families.items()))
    yield f"{len(used)} features in {len(families)} families: {counts}."
    top = evidence.described_importance().head(5)
    if top.height:
        lines = [f"- {_plain(words)}: {fall:.3f}" for words, fall in top.select("words", "fall").iter_rows()]
        yield "Most important features, with the fall in average precision without each:"
        yield "\n".join(lines)


def _segments(sections: list[Section]) -> Iterator[str]:
    for section in sections:
        if section.name.startswith(SEGMENTS):
            yield f"### {_plain(section.topic)}"
            yield _plain(section.finding.rstrip(".")) + "."
            if section.table:
                yield _table(section.table)


def _list(entries: facts.Facts) -> str:
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in entries)


def _table(table: TextTable) -> str:
    columns = tuple(_plain(column) for column in table.columns)
    lines = [_row(columns), _row(("---", *["---:"] * (len(columns) - 1)))]
    return "\n".join([*lines, *(_row(tuple(_plain(cell) for cell in row)) for row in table.rows)])


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Escape Markdown: the name of a category may contain any characters."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text.replace("\n", " "))
