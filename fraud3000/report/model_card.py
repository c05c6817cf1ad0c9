"""The model card: what a model is, for what it may be used, and how well it does, in Markdown.

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
from fraud3000.report.section import Section, Shown
from fraud3000.report.sections import figures
from fraud3000.report.verdict import verdict

SEGMENTS = ("amounts", "weeks", "by-")


def card(evidence: Evidence, sections: list[Section]) -> str:
    """Write the model card; every sentence follows from a fact of the model or its evaluation.

    Parameters
    ----------
    sections
        As `fraud3000.report.sections.sections` gives them: results by segment are taken from there.
    """
    scorer = evidence.scorer
    blocks = [
        f"# Fraud model {scorer.version}",
        _paragraph(verdict(evidence.metrics)),
        "## What it is",
        " ".join(_what(evidence)),
        "## Use",
        *_use(evidence),
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
        _table(figures(evidence)),
        *_segments(sections),
        "## Limits",
        "\n".join(f"- {_plain(limit)}" for limit in facts.limits(evidence)) or "None on record.",
        "## Versions and hashes",
        _list(facts.versions(evidence)),
    ]
    return plain("\n\n".join(block for block in blocks if block)) + "\n"


def summary(evidence: Evidence) -> str:
    """Say in a few lines what a registry shows of a version: the verdict, the data, what limits it."""
    limits = "\n".join(f"- {_plain(limit)}" for limit in facts.limits(evidence))
    told = [_paragraph(verdict(evidence.metrics)), f"Evaluated on {evidence.source}.", limits]
    return plain("\n\n".join(part for part in told if part))


def _paragraph(said: object) -> str:
    parts = [getattr(said, name) for name in ("headline", "bad", "budget", "against", "doubt")]
    bold = [f"**{_plain(part)}**" if place < 2 else _plain(part) for place, part in enumerate(parts) if part]
    return " ".join(bold)


def _what(evidence: Evidence) -> Iterator[str]:
    scorer = evidence.scorer
    yield (
        f"A model by {facts.estimator(evidence)} that gives each card transaction a probability of fraud"
        f" (calibration: {scorer.calibrator.method})."
    )
    as_of = scorer.facts.get("as_of")
    yield (
        f"It was made with what was known on {day(as_of)}." if as_of else "Its data has no time: every label was known."
    )
    if scorer.policy.kind == "capacity":
        yield f"A transaction is alerted from one threshold on, set for {evidence.params.policy.cards_per_day:,} cards reviewed a day."
    else:
        yield "Each transaction gets the decision that is expected to cost least."


def _use(evidence: Evidence) -> Iterator[str]:
    simulated = evidence.metrics["split_by"] == "random" or "no real transactions" in evidence.source
    yield "Intended use: to choose the transactions that reviewers look at."
    yield (
        "It is not made to decline a transaction or to block a card unseen: "
        + _precision(evidence)
        + " It is not made for transactions of another source than the one below, since its features, calibration and "
        "threshold come from that."
        + (" It must not be used on real transactions before it is evaluated on them." if simulated else "")
    )


def _precision(evidence: Evidence) -> str:
    precision = evidence.metrics["metrics"]["precision"]["value"]
    if precision is None:
        return "how many of its alerts are false is not known."
    return f"of 100 alerted transactions {100 * (1 - precision):.0f} were legitimate."


def _features(evidence: Evidence) -> Iterator[str]:
    used = set(evidence.scorer.model.encoder.columns)
    families = Counter(describe(f).family for f in evidence.scorer.catalogue.features if f.name in used)
    told = ", ".join(f"{_plain(family)} ({count})" for family, count in sorted(families.items()))
    yield f"{len(used)} features in {len(families)} families: {told}."
    top = evidence.told_importance().head(5)
    if top.height:
        lines = [f"- {_plain(words)}: {fall:.3f}" for words, fall in top.select("words", "fall").iter_rows()]
        yield "Average precision falls most without these:"
        yield "\n".join(lines)


def _segments(sections: list[Section]) -> Iterator[str]:
    for section in sections:
        if section.name.startswith(SEGMENTS):
            yield f"### {_plain(section.topic)}"
            yield _plain(section.finding.rstrip(".")) + "."
            if section.shown:
                yield _table(section.shown)


def _list(entries: facts.Facts) -> str:
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in entries)


def _table(shown: Shown) -> str:
    columns = tuple(_plain(column) for column in shown.columns)
    lines = [_row(columns), _row(("---", *["---:"] * (len(columns) - 1)))]
    return "\n".join([*lines, *(_row(tuple(_plain(cell) for cell in row)) for row in shown.rows)])


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Keep a text from being read as markup: a category may bear any name."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text.replace("\n", " "))
