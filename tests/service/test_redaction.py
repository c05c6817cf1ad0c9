"""Card numbers in free text are masked on input, so that neither journal, responses nor files contain them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.params import Params
from fraud3000.stages.score_file import score_file
from tests.service.conftest import Open
from tests.service.world import items, post

NUMBER = "4111111111111111"
TEXTS = [
    NUMBER,
    f"paid by {NUMBER}",
    "paid by 4111-1111-1111-1111, in full",
    f"{NUMBER} 5500005555555559",
    "order 4111111111111112",
]
MASKED = ["[card number]", "paid by [card number]", "paid by [card number], in full", "[card number] [card number]", TEXTS[-1]]  # fmt: skip


def holds(text: str) -> bool:
    return any(number in text for number in (NUMBER, "4111-1111-1111-1111", "5500005555555559"))


def written(newest: pl.DataFrame) -> pl.DataFrame:
    """The newest rows, the first with card numbers in a category."""
    return newest.with_columns(category=pl.Series([*TEXTS, *newest["category"][len(TEXTS) :]]))


def test_free_text_is_masked_before_it_is_stored(
    reopen: Open, newest: pl.DataFrame, logged: list[str], tmp_path: Path
) -> None:
    sent = items(written(newest))[: len(TEXTS)]
    with closing(reopen()) as service:
        client = TestClient(service.app)
        answer = post(client, {"transactions": sent}, params={"reasons": "all"})
        results = answer.json()["results"]
        kept = [client.get(f"/decisions/{one['decision_id']}").json() for one in results]
        assert [one["transaction"]["category"] for one in kept] == MASKED
        assert post(client, {"transactions": sent}, params={"reasons": "all"}).json() == answer.json(), "a retry"
        said = [answer.text, str(kept), client.get("/metrics").text, client.get("/alerts?status=all").text, *logged]
        assert [text for text in said if holds(text)] == []
    files = [file for file in (tmp_path / "service").rglob("*") if file.is_file()]
    assert (tmp_path / "service" / "journal.db") in files
    assert [file.name for file in files if holds(file.read_bytes().decode("latin-1"))] == []


def test_service_and_score_file_mask_alike(
    given: Params, reopen: Open, history: Path, newest: pl.DataFrame, tmp_path: Path
) -> None:
    rows = written(newest)
    rows.write_parquet(tmp_path / "newest.parquet")
    out = tmp_path / "out.parquet"
    score_file(str(tmp_path / "newest.parquet"), given, out=out, history=str(history), model="challenger")
    scored = pl.read_parquet(out)
    with closing(reopen()) as service:
        results = post(TestClient(service.app), {"transactions": items(rows)}).json()["results"]
    assert scored["score"].to_list() == [one["score"] for one in results]
    assert scored["transaction_id"].to_list() == [one["transaction_id"] for one in results]


@pytest.mark.parametrize("role", ["transaction_id", "terminal_id", "card_id"])
@pytest.mark.parametrize("number", [NUMBER, "order 4111_1111_1111_1111", "T378282246310005"])
def test_id_with_a_card_number_is_rejected_and_not_quoted(
    reopen: Open, newest: pl.DataFrame, role: str, number: str
) -> None:
    good, bad = items(newest)[:2]
    with closing(reopen()) as service:
        client = TestClient(service.app)
        answer = post(client, {"transactions": [good, {**bad, role: number}]})
    first, second = answer.json()["results"]
    assert first["decision"] == "approve"
    assert second["error"]["code"] == "card_number"
    assert second["error"]["message"] == f"{role}: contains a card number"
    assert number not in answer.text


def test_error_about_a_too_long_id_does_not_quote_its_card_number(reopen: Open, newest: pl.DataFrame) -> None:
    one = {**items(newest)[0], "card_id": NUMBER * 20}
    with closing(reopen()) as service:
        answer = post(TestClient(service.app), one)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("card_id: String should have at most 200 characters")
    assert NUMBER[:13] not in answer.text


def test_label_with_a_card_number_in_source_or_id_is_rejected(reopen: Open) -> None:
    label = {"transaction_id": "1", "is_fraud": True, "source": "chargeback"}
    with closing(reopen()) as service:
        client = TestClient(service.app)
        for change in ({"source": "x_4111_1111_1111_1111"}, {"transaction_id": NUMBER}):
            answer = client.post("/labels", json=label | change)
            assert answer.status_code == 422
            assert answer.json()["error"]["code"] == "card_number"
            assert not any(number in answer.text for number in (NUMBER, "4111_1111"))
