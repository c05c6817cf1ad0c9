"""The model card states facts, and only those that there are."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from fraud3000.models.policy import Policy
from fraud3000.report.formatting import plain
from fraud3000.report.model_card import card, summary
from fraud3000.report.sections import sections


@pytest.fixture(scope="module")
def text(make):
    evidence = make()
    return card(evidence, sections(evidence))


def test_it_has_the_chapters_of_a_model_card_in_order(text):
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "What it is", "Use", "Data and labels", "Features", "Training", "Policy", "Results", "Limits", "Versions and hashes",
    ]  # fmt: skip
    assert text.startswith("# Fraud model 7\n\n**With ")


def test_every_figure_and_hash_is_in_it(text, make):
    metrics = make().metrics
    recall = metrics["metrics"]["recall"]
    assert f"| recall | {recall['value']:.3f} | {recall['low']:.3f} – {recall['high']:.3f} |" in text
    for name in ("bundle_sha256", "data_fingerprint", "catalogue_hash", "rows_sha256"):
        assert metrics[name] in text
    assert "refused by prepare: 3 no amount" in text
    assert "### By category" in text
    assert "### By amount" in text


def test_blanks_are_plain_and_tables_even(text):
    assert plain(text) == text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1


def test_limits_come_from_facts(make, scored):
    assert "The transactions are simulated" in summary(make())
    timeless = make(scored.drop("ts", "card_id", "terminal_id"))
    said = card(timeless, sections(timeless))
    assert "The split is random since the data has no time" in said
    assert "drawn by row" in said
    assert "nothing" in said  # a feature that was left out
    assert "none: the data has no time" in said


def test_a_cost_policy_is_told_as_one(make, scorer):
    evidence = make(scorer=replace(scorer, policy=Policy("cost", None, review_cost=700)))
    said = card(evidence, sections(evidence))
    assert "the decision that is expected to cost least" in said
    assert "cost of a review: 7" in said
    assert "price of a review beyond its cost: 0" in said


def test_hostile_names_do_not_become_markup(make, scored):
    hostile = scored.with_columns(
        category=pl.when(pl.col("category") == "food").then(pl.lit("[x](y)|<b>*\n")).otherwise("category")
    )
    evidence = make(hostile)
    said = card(evidence, sections(evidence))
    assert r"\[x\](y)\|\<b\>\*" in said


def test_a_card_without_any_known_fraud_says_so(make, scored):
    evidence = make(scored.with_columns(is_fraud=pl.lit(0)))
    said = card(evidence, sections(evidence))
    assert "There is no verdict: no known fraud." in said
