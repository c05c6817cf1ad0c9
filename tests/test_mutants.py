"""Engines with one line changed: the proofs must notice."""

from __future__ import annotations

import pytest

from tests import mutants


@pytest.mark.parametrize("mutant", mutants.ALL, ids=lambda mutant: mutant.name)
def test_the_line_is_there_to_be_changed(mutant):
    source = (mutants.ROOT / "fraud3000" / mutant.file).read_text(encoding="utf-8")
    assert mutant.applied(source) != source


def test_the_page_tells_of_every_change_and_that_each_is_caught():
    shown = mutants.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in shown if line.startswith("| ")][1:]
    assert [row.rsplit(" | ", 2)[0] for row in rows] == [f"| {mutants.told(mutant)}" for mutant in mutants.ALL]
    assert all("caught" in row for row in rows)


def test_a_change_in_either_engine_and_one_in_both_are_caught():
    verdicts = mutants.judged(mutants.QUICK, rows=200, examples=10)
    assert {mutant.engine for mutant in verdicts} == {"batch", "online", "both"}
    assert [mutant.name for mutant, by in verdicts.items() if not any(by.values())] == []
    shared = next(by for mutant, by in verdicts.items() if mutant.engine == "both")
    assert shared["parity"] == 0
    assert shared["oracle"] > 0


@pytest.mark.slow
def test_every_change_is_caught_as_the_page_says():
    assert mutants.page(mutants.judged(mutants.ALL)) == mutants.PAGE.read_text(encoding="utf-8")
