"""The adversarial stream, and its statistics."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.features.spec import kinds
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import LabelWindow, Window
from fraud3000.features.verification import adversarial_stream, every_kind
from fraud3000.features.verification.stream_stats import stream_statistics
from fraud3000.schema import LEDGER, REQUIRED, TIME, TRANSACTIONS, check

CATALOGUE = every_kind.build_catalogue(precedence=adversarial_stream.SOURCES)


@pytest.fixture(scope="module")
def generated() -> adversarial_stream.AdversarialStream:
    return adversarial_stream.generate(CATALOGUE, rows=4_000)


def test_the_stream_depends_only_on_the_seed(generated):
    again, other = (
        adversarial_stream.generate(CATALOGUE, rows=4_000),
        adversarial_stream.generate(CATALOGUE, rows=4_000, seed=1),
    )
    assert again.transactions.equals(generated.transactions)
    assert again.ledger.equals(generated.ledger)
    assert not other.transactions.equals(generated.transactions)


def test_the_stream_has_every_id_and_seq_once(generated):
    check(generated.transactions, TRANSACTIONS, REQUIRED, thing="the stream")
    check(generated.ledger, LEDGER, LEDGER, thing="the ledger")
    assert generated.transactions.height == 4_000
    assert [generated.transactions[name].n_unique() for name in ("transaction_id", "seq")] == [4_000, 4_000]


def test_the_stream_has_every_case_of_the_rules_of_time(generated):
    expected = {
        *("declined", "refunds", "amount 0", "largest allowed amount", "without a label in the source"),
        *("card or terminal missing", "coordinate missing", "other value missing"),
        *("same time as another event of the card", "same time as another event of the terminal"),
        *("arrived after a later event of the card", "late by exactly the horizon for the card"),
        *("late beyond the horizon for the card", "late by exactly the horizon for the terminal"),
        *("duplicates, removed", "same id with other content, removed"),
        *("recorded a month or more after the label delay", "recorded before the end of the label delay"),
        *("recorded before the transaction", "records that reverse the previous one"),
        *("recorded at the time of another record of the transaction", "recorded at the time of some transaction"),
    }
    assert {name for name in expected if not generated.statistics.get(name)} == set()
    assert generated.statistics["label sources"] == 3
    assert (
        generated.statistics["window edges with an event exactly on them"] == generated.statistics["window edges"] > 50
    )


def test_a_stream_is_generated_for_any_label_delay_and_horizon():
    declared = every_kind.build_catalogue(label_delay=60, late_horizon=0)
    statistics = adversarial_stream.generate(declared, rows=500).statistics
    assert statistics["late beyond the horizon for the card"] > 0
    assert statistics["recorded before the transaction"] > 0


def test_the_catalogue_has_every_kind_of_feature_and_an_exact_variant_of_each_bucketed_window():
    assert {type(feature) for feature in CATALOGUE.features} == set(kinds.KINDS.values())
    windows = [feature for feature in CATALOGUE.features if isinstance(feature, Window)]
    assert {feature.agg for feature in windows} == {
        *("count", "sum", "mean", "max", "min", "std", "distinct", "share"),
    }
    conditions = {feature.where.how for feature in windows if feature.where}
    assert conditions == {"is", "above", "at_most", "below", "at_least"}
    assert {"terminal_count_7d_by_1h", "terminal_count_7d"} <= set(CATALOGUE.names)


def test_statistics_count_edges_ties_lateness_and_records():
    at = lambda second: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)  # noqa: E731
    rows = pl.DataFrame(
        {
            "transaction_id": ["a", "b", "c", "d"],
            "ts": [at(0), at(10), at(10), at(3)],
            "card_id": ["x", "x", "x", "x"],
            "amount": [1, 2, 0, 4],
            "status": ["approved", "declined", "refund", "approved"],
            "labelled": True,
            "seq": [0, 1, 2, 3],
        }
    ).with_columns(pl.col("ts").cast(TIME))
    ledger = pl.DataFrame(
        [
            {"transaction_id": "a", "is_fraud": 1, "source": "file", "reported_at": None, "recorded_at": at(1)},
            {"transaction_id": "a", "is_fraud": 0, "source": "file", "reported_at": None, "recorded_at": at(10)},
        ],
        schema=LEDGER,
    )
    features = (Window("card_id", "10s", "count"), LabelWindow("card_id", "5s", "rate", delay="5s"))
    assert stream_statistics(rows, ledger, Catalogue(features, label_delay=2, late_horizon=7)) == {
        "rows": 4,
        "declined": 1,
        "refunds": 1,
        "amount 0": 1,
        "cards": 1,
        "same time as another event of the card": 2,
        "arrived after a later event of the card": 1,
        "late by exactly the horizon for the card": 1,
        "window edges": 3,
        "window edges with an event exactly on them": 2,
        "pairs of row and edge with an event on the edge": 3,
        "label records": 2,
        "label sources": 1,
        "recorded before the end of the label delay": 1,
        "records that reverse the previous one": 1,
        "recorded at the time of some transaction": 1,
    }
