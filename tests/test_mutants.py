"""Mutation tests: parity or the oracle must detect every change of one line."""

from __future__ import annotations

import pytest

from tests import mutants


def test_each_mutant_finds_its_line():
    """`applied` raises an error that names the mutant if its text is not there."""
    sources = {mutant.file: (mutants.ROOT / "fraud3000" / mutant.file).read_text("utf-8") for mutant in mutants.ALL}
    unchanged = [m.name for m in mutants.ALL if m.applied(sources[m.file]) == sources[m.file]]
    assert unchanged == []


def test_the_page_lists_every_mutant_as_caught():
    shown = mutants.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in shown if line.startswith("| ")][1:]
    assert [row.rsplit(" | ", 2)[0] for row in rows] == [f"| {mutants.table_cells(mutant)}" for mutant in mutants.ALL]
    assert all("caught" in row for row in rows)


def test_a_mutant_of_each_engine_and_one_of_shared_code_are_caught():
    verdicts = mutants.run_mutants(mutants.QUICK, rows=200, examples=10)
    assert {mutant.engine for mutant in verdicts} == {"batch", "online", "both"}
    assert [mutant.name for mutant, by in verdicts.items() if not any(by.values())] == []
    shared = next(by for mutant, by in verdicts.items() if mutant.engine == "both")
    assert shared["parity"] == 0
    assert shared["oracle"] > 0


@pytest.mark.slow
def test_every_mutant_is_caught_as_the_page_says():
    assert mutants.page(mutants.run_mutants(mutants.ALL)) == mutants.PAGE.read_text(encoding="utf-8")
