"""Which rows a model learns from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.errors import DataError, EmptyDataError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column
from fraud3000.labels.splits import Boundaries
from fraud3000.models.training.training_rows import require_both_classes, select_rows
from fraud3000.schema import LEDGER

CATALOGUE = Catalogue(features=(Column("amount"),), label_delay=7 * 86_400)


def day(number):
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number - 1)


BOUNDARIES = Boundaries((day(1), day(20)), (day(27), day(30)), (day(37), day(40)), day(37), timedelta(days=3))


def split_of(**columns):
    rows = {"status": "approved", "labelled": True, "amount": 100, "history_days": 9.0}
    return pl.DataFrame({**rows, **columns})


def ledger_of(*records):
    return pl.DataFrame([("file", at, at, *record) for at, *record in records], orient="row", schema={
        "source": pl.String, "reported_at": LEDGER["reported_at"], "recorded_at": LEDGER["recorded_at"],
        "transaction_id": pl.String, "is_fraud": pl.Int8}).select(*LEDGER)  # fmt: skip


def test_every_row_is_accounted_for():
    split = split_of(
        transaction_id=["early", "refund", "declined", "fraud", "late", "honest", "young"],
        ts=[day(2), day(9), day(9), day(9), day(9), day(9), day(33)],
        status=["approved", "refund", "declined", "approved", "approved", "approved", "approved"],
        history_days=[1.0, 8.0, 8.0, 8.0, 8.0, 8.0, 32.0],
    )
    ledger = ledger_of((day(16), "fraud", 1), (day(60), "late", 1))
    rows = select_rows(split, ledger, CATALOGUE, BOUNDARIES, burn_in=True)
    assert rows.counts == {
        "rows": 7,
        "history too short": 1,
        "refunds": 1,
        "label unknown": 2,
        "legitimate": 2,
        "fraud": 1,
        "presumed legitimate": 2,
        "reported as fraud later": 1,
    }
    known, labels = rows.known
    assert dict(zip(known["transaction_id"], labels.tolist(), strict=True)) == {"fraud": 1, "late": 0, "honest": 0}


def test_burn_in_and_time_may_be_absent():
    split = split_of(transaction_id=["a", "b"], history_days=[0.0, 9.0], ts=[day(1), day(9)])
    assert select_rows(split, ledger_of(), CATALOGUE, BOUNDARIES, burn_in=False).featured.height == 2
    timeless = split.drop("ts", "history_days")
    ledger = ledger_of((None, "a", 1))
    rows = select_rows(timeless, ledger, CATALOGUE, Boundaries(), burn_in=True)
    assert rows.is_fraud.to_list() == [1, 0]
    assert rows.counts["reported as fraud later"] == 0
    assert rows.counts["presumed legitimate"] == 1


@pytest.mark.parametrize(
    ("changes", "records", "kind", "message"),
    [
        ({"history_days": 1.0}, [], EmptyDataError, "no rows left to learn from .2 rows, 2 history too short"),
        ({"status": "declined"}, [], EmptyDataError, "no row has a known label"),
        ({}, [], DataError, "all 2 known labels are legitimate, none is fraud"),
        ({}, [(day(16), "a", 1), (day(16), "b", 1)], DataError, "all 2 known labels are fraud, none is legitimate"),
    ],
)
def test_rows_no_model_can_learn_from_are_refused(changes, records, kind, message):
    split = split_of(transaction_id=["a", "b"], ts=[day(9), day(9)], **changes)
    with pytest.raises(kind, match=message):
        require_both_classes(select_rows(split, ledger_of(*records), CATALOGUE, BOUNDARIES, burn_in=True))
