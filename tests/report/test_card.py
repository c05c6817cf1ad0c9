"""The model card contains the facts of a model and its evaluation."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from fraud3000.models.policy import Policy
from fraud3000.report.evaluation_sections import sections
from fraud3000.report.formatting import plain
from fraud3000.report.model_card import card, summary


@pytest.fixture(scope="module")
def text(make):
    evidence = make()
    return card(evidence, sections(evidence))


def test_has_the_sections_of_a_model_card_in_order(text):
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Overview", "Intended use", "Data and labels", "Features", "Training", "Policy", "Results", "Limitations",
        "Versions and hashes",
    ]  # fmt: skip
    assert text.startswith("# Fraud model 7\n\n**With ")


def test_contains_every_metric_and_hash(text, make):
    evaluation = make().evaluation
    recall = evaluation.metrics["recall"]
    assert f"| recall | {recall.value:.3f} | {recall.low:.3f} – {recall.high:.3f} |" in text
    for name in ("bundle_sha256", "data_fingerprint", "catalogue_hash", "rows_sha256"):
        assert getattr(evaluation, name) in text
    assert "quarantined by prepare: 3 no amount" in text
    assert "### By category" in text
    assert "### By amount" in text


def test_spaces_are_plain_and_table_rows_have_equal_lengths(text):
    assert plain(text) == text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1


def test_limitations_come_from_facts(make, scored):
    assert "The transactions are simulated" in summary(make())
    timeless = make(scored.drop("ts", "card_id", "terminal_id"))
    text = card(timeless, sections(timeless))
    assert "The split is random because the data has no time" in text
    assert "drawn by row" in text
    assert "nothing" in text  # a feature that is not used
    assert "none (the data has no time)" in text


def test_describes_a_cost_policy(make, scorer):
    evidence = make(scorer=replace(scorer, policy=Policy("cost", None, review_cost=700)))
    text = card(evidence, sections(evidence))
    assert "the decision with the lowest expected cost" in text
    assert "cost of a review: 7" in text
    assert "shadow price of a review: 0" in text


def test_escapes_category_names(make, scored):
    hostile = scored.with_columns(
        category=pl.when(pl.col("category") == "food").then(pl.lit("[x](y)|<b>*\n")).otherwise("category")
    )
    evidence = make(hostile)
    text = card(evidence, sections(evidence))
    assert r"\[x\](y)\|\<b\>\*" in text


def test_states_that_no_fraud_is_known(make, scored):
    evidence = make(scored.with_columns(is_fraud=pl.lit(0)))
    text = card(evidence, sections(evidence))
    assert "The model cannot be evaluated: no known fraud." in text
