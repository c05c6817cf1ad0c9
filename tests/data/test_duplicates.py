from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.data.cleaning.clean import Ingested

Ingest = Callable[..., Ingested]

LABEL = {"columns": {"is_fraud": "label"}}
HEADER = "id,time,amount,card,label"
DAY = "2024-01-0"
T1 = datetime(2024, 1, 1, tzinfo=UTC)


def csv(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def outcomes(ingested: Ingested) -> list[str]:
    return ingested.rows["outcome"].to_list()


def test_a_row_sent_again_counts_once(ingest: Ingest) -> None:
    ingested = ingest(csv(f"a,{DAY}1,5,c,0", f"b,{DAY}2,5,c,0", f"a,{DAY}1,5.00,c,0"), **LABEL)
    assert outcomes(ingested) == ["kept", "kept", "duplicate"]
    assert ingested.rows["transaction_id"].to_list() == ["a", "b", "a"]
    assert ingested.transactions["transaction_id"].to_list() == ["a", "b"]
    assert ingested.ledger.is_empty()


def test_a_row_sent_again_with_a_chargeback_tells_the_ledger(ingest: Ingest) -> None:
    ingested = ingest(csv(f"a,{DAY}1,5,c,0", f"a,{DAY}1,5,c,1"), **LABEL)
    assert (ingested.kept, ingested.duplicates) == (1, 1)
    assert ingested.transactions["is_fraud"].to_list() == [0]
    week_later = T1 + timedelta(days=7)
    assert ingested.ledger.rows() == [("a", 1, "file", None, week_later)]


def test_the_order_of_lines_with_different_labels_does_not_matter(ingest: Ingest) -> None:
    lines = [f"a,{DAY}1,5,c,1", f"a,{DAY}1,5,c,0", f"a,{DAY}1,5,c,"]
    there, back = ingest(csv(*lines), **LABEL), ingest(csv(*lines[::-1]), **LABEL)
    assert there.transactions.equals(back.transactions)
    assert there.ledger.equals(back.ledger)


def test_reports_of_the_same_transaction_all_become_records(ingest: Ingest) -> None:
    header = "id,time,amount,card,label,reported"
    lines = [f"a,{DAY}1,5,c,1,2024-02-01", f"a,{DAY}1,5,c,0,2024-03-01"]
    ingested = ingest(csv(*lines, header=header), columns={"is_fraud": "label", "reported_at": "reported"})
    first, second = datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    assert ingested.ledger.rows() == [("a", 1, "file", first, first), ("a", 0, "file", second, second)]


def test_a_label_for_a_row_without_one_becomes_a_record(ingest: Ingest) -> None:
    ingested = ingest(csv(f"a,{DAY}1,5,c,", f"a,{DAY}1,5,c,0"), **LABEL)
    assert ingested.transactions["labelled"].to_list() == [False]
    assert ingested.ledger["is_fraud"].to_list() == [0]


@pytest.mark.parametrize("other", [f"a,{DAY}1,6,c,0", f"a,{DAY}2,5,c,0", f"a,{DAY}1,5,d,0"])
def test_an_id_with_other_content_is_a_conflict(ingest: Ingest, other: str) -> None:
    ingested = ingest(csv(f"a,{DAY}1,5,c,0", other, f"b,{DAY}1,1,c,0"), **LABEL)
    assert outcomes(ingested) == ["kept", "quarantined", "kept"]
    assert ingested.quarantine.select("source_row", "reason").rows() == [(2, "conflicting_duplicate")]


def test_the_first_by_arrival_stays(ingest: Ingest) -> None:
    header = "id,time,amount,card,label,n"
    lines = [f"a,{DAY}1,5,c,0,9", f"a,{DAY}1,6,c,0,3", f"a,{DAY}1,6,c,0,4"]
    ingested = ingest(csv(*lines, header=header), columns={"is_fraud": "label", "seq": "n"})
    assert outcomes(ingested) == ["quarantined", "kept", "duplicate"]
    assert ingested.transactions.select("amount", "seq").rows() == [(600, 3)]


def test_without_arrival_numbers_the_first_by_time_then_content_stays(ingest: Ingest) -> None:
    ingested = ingest(csv(f"a,{DAY}2,1,c,0", f"a,{DAY}1,6,c,0", f"a,{DAY}1,6,b,0"), **LABEL)
    assert outcomes(ingested) == ["quarantined", "quarantined", "kept"]


def test_a_place_in_the_order_of_arrival_belongs_to_one_transaction(ingest: Ingest) -> None:
    header = "id,time,amount,card,label,n"
    lines = [f"b,{DAY}2,5,c,0,1", f"a,{DAY}1,5,c,0,1", f"c,{DAY}1,5,c,0,x"]
    ingested = ingest(csv(*lines, header=header), columns={"is_fraud": "label", "seq": "n"})
    assert ingested.transactions["transaction_id"].to_list() == ["a"]
    assert ingested.quarantine["reason"].to_list() == ["seq_taken", "seq_unreadable"]


def test_a_row_that_repeats_one_whose_place_is_taken_stands_for_itself(ingest: Ingest) -> None:
    header = "id,time,amount,card,label,n"
    lines = [f"a,{DAY}1,5,c,0,1", f"b,{DAY}2,5,c,0,1", f"b,{DAY}2,5,c,0,2", f"b,{DAY}2,5,c,0,3", f"a,{DAY}1,5,c,0,1"]
    ingested = ingest(csv(*lines, header=header), columns={"is_fraud": "label", "seq": "n"})
    assert outcomes(ingested) == ["kept", "quarantined", "kept", "duplicate", "duplicate"]
    assert ingested.transactions.select("transaction_id", "seq").rows() == [("a", 1), ("b", 2)]


def test_a_refused_row_takes_no_id(ingest: Ingest) -> None:
    ingested = ingest(csv(f"a,{DAY}1,oops,c,0", f"a,{DAY}1,5,c,0"), **LABEL)
    assert outcomes(ingested) == ["quarantined", "kept"]


def test_arrival_follows_time_then_id_then_content(ingest: Ingest) -> None:
    ingested = ingest(csv(f"b,{DAY}2,5,c,0", f"a,{DAY}2,5,c,0", f"c,{DAY}1,5,c,0"), **LABEL)
    assert ingested.transactions.select("transaction_id", "seq").rows() == [("c", 0), ("a", 1), ("b", 2)]


def test_nulls_in_content_are_equal(ingest: Ingest) -> None:
    header = "id,time,amount,card,v"
    ingested = ingest(csv(f"a,{DAY}1,5,c,", f"a,{DAY}1,5,c,", header=header), numeric=["v"])
    assert (ingested.kept, ingested.duplicates) == (1, 1)


def test_rows_without_ids_are_never_duplicates(ingest: Ingest) -> None:
    lines = [f"{DAY}1,5,c"] * 12
    ingested = ingest(csv(*lines, header="time,amount,card"))
    assert ingested.kept == 12
    stem = ingested.transactions["transaction_id"].str.split("-").list.first().unique().item()
    assert len(stem) == 12
    assert set(ingested.transactions["transaction_id"]) == {f"{stem}-{number}" for number in range(1, 13)}


def test_frames_are_not_changed(ingest: Ingest) -> None:
    frame = pl.DataFrame({"id": ["a", "a"], "amount": [1.5, 1.5]})
    before = frame.clone()
    ingest(frame)
    assert frame.equals(before)
