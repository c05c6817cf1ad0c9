"""Long work leaves turns to others, and long bodies are read as short ones are."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from fraud3000.service.http import json_pieces
from fraud3000.service.http.json_pieces import Malformed, TooLong
from fraud3000.service.http.time_slices import Slices
from fraud3000.stages.serve import Service
from tests.service.world import items, post

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='"\\{}[],: ax\n\u20ac', max_size=12),
    lambda value: st.lists(value, max_size=3) | st.dictionaries(st.text(alphabet='"\\[{x', max_size=3), value, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@given(st.lists(OBJECTS, min_size=1, max_size=60), st.sampled_from([None, 1]), st.booleans())
def test_pieces_of_a_list_join_to_the_list(content: list[Any], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps({"labels": content}, indent=indent, ensure_ascii=ascii_only).encode()
    found = json_pieces.head(text)
    assert found is not None
    assert found[0] == b'"labels"'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "_MIN_PIECE", 20)
        pieces = [json.loads(piece) for piece in json_pieces.pieces(text, found[1])]
    assert [item for piece in pieces for item in piece] == content
    assert len(content) < 60 or len(pieces) > 3


def pieces_of(text: bytes) -> list[Any]:
    return [json.loads(piece) for piece in json_pieces.pieces(text, 6)]


@pytest.mark.parametrize("end", [b"", b"]", b"]}x", b'], "b": 1}', b"} }", b"]}{}", b'{"a": 1}]}', b" 5]}", b"]]}"])
def test_list_with_a_wrong_end_is_malformed(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "_MIN_PIECE", 1)
    with pytest.raises(Malformed, match=r"byte 1[4-6]"):
        pieces_of(b'{"a":[{"a": 1}' + end)


@pytest.mark.parametrize("item", [b"1,", b'"",', b"[[", b"{", b'{"a":', b'"', b'"\\"', b" ", b'{"a":"\\"'])
def test_unterminated_item_is_too_long_in_linear_time(item: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(TooLong):
        pieces_of(b'{"a":[' + item * (16 * 1024**2 // len(item)))
    assert time.process_time() - begin < 5


def test_other_tasks_run_between_slices() -> None:
    def busy() -> Iterator[int]:
        for number in range(100):
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            yield number

    async def main() -> tuple[list[list[int]], int]:
        slices, turns, done = Slices(), 0, False

        async def other() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        found = await asyncio.gather(slices.collect(busy()), slices.collect(busy()))
        done = True
        await beside
        return list(found), turns

    found, turns = asyncio.run(main())
    assert found == [list(range(100))] * 2
    assert turns > 10


def test_error_in_a_slice_reaches_the_caller_and_releases_the_lock() -> None:
    def failing(seconds: float) -> Iterator[int]:
        for number in (1, 2, 0):
            time.sleep(seconds)
            yield 1 // number

    async def main() -> list[int]:
        slices = Slices()
        for seconds in (0.0, 0.01):  # in the first slice, and in a later one
            with pytest.raises(ZeroDivisionError):
                await slices.collect(failing(seconds))
        return await slices.collect([1, 2])

    assert asyncio.run(main()) == [1, 2]


def long(newest: pl.DataFrame, many: int = 400) -> list[dict[str, Any]]:
    """Transactions with enough text that the body is parsed in pieces."""
    return [{**item, "category": "x" * 900} for item in items(newest)[:many]]


def test_long_body_gets_the_results_of_its_parts(client: TestClient, newest: pl.DataFrame) -> None:
    sent = long(newest)
    assert len(json.dumps(sent)) > json_pieces.MAX_BYTES
    whole = post(client, {"transactions": sent})
    assert whole.status_code == 200
    lines = "\n".join(map(json.dumps, sent))
    by_line = client.post("/score", content=lines, headers={"Content-Type": "application/x-ndjson"})
    parts = [post(client, {"transactions": sent[at : at + 100]}).json()["results"] for at in range(0, 400, 100)]
    assert whole.json()["results"] == [result for part in parts for result in part]
    assert [json.loads(line)["decision_id"] for line in by_line.text.splitlines()] == [
        result["decision_id"] for result in whole.json()["results"]
    ]


def test_each_invalid_item_of_a_long_body_has_its_own_error(client: TestClient, newest: pl.DataFrame) -> None:
    sent = long(newest)
    sent[7]["amount"], sent[300]["card_id"] = [1, [2]], {"a": {}}
    results = post(client, {"transactions": sent}).json()["results"]
    assert [place for place, result in enumerate(results) if "error" in result] == [7, 300]
    assert {results[place]["error"]["code"] for place in (7, 300)} == {"invalid_transaction"}


CHANGES = {
    "a comma too many": (b"}]}", b"},]}", "not_json"),
    "a comma too few": (b"},", b"}", "not_json"),
    "no end": (b"]}", b"", "not_json"),
    "another key": (b"]}", b'], "more": 1}', "not_json"),
    "a key twice": (b'"card_id"', b'"card_id": "1", "card_id"', "duplicate_key"),
    "a number for an item": (b'"transactions": [', b'"transactions": [5, ', "no_transactions"),
    "another name": (b'"transactions"', b'"transaction"', "too_large"),
    "no list": (b'"transactions": [', b'"transactions": {"a": [', "too_large"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_malformed_long_body_is_rejected(
    opened: Service, client: TestClient, newest: pl.DataFrame, change: str
) -> None:
    old, new, code = CHANGES[change]
    body = json.dumps({"transactions": long(newest)}).encode()
    changed = new.join(body.rsplit(old, 1))
    refused = client.post("/score", content=changed, headers={"Content-Type": "application/json"})
    assert (refused.json()["error"]["code"], refused.status_code) == (code, 413 if code == "too_large" else 422)
    assert opened.contents.journal.last == 0


@pytest.mark.parametrize(
    ("content", "kind"), [
        (b"\n".join([b"[" + b"[]," * 20 + b"[]]"] * 1_000), "application/x-ndjson"),
        (b'{"transactions": [' + b'{"a": {}},' * 10_001 + b"{}]}", "application/json"),
        (b"\n" * 20_001, "application/x-ndjson"),
        (b'{"a": "' + b"x" * 300_000 + b'"}\n', "application/x-ndjson"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "application/json"),
        (b'{"transactions": [{' + b",".join(b'"k%d": 1' % n for n in range(5_000)) + b"}" + b" " * 300_000 + b"]}", "application/json"),
        (b"{" + b",".join(b'"k%d": 1' % n for n in range(5_000)) + b"}", "application/x-ndjson"),
    ],
)  # fmt: skip
def test_limits_apply_to_the_whole_body(client: TestClient, content: bytes, kind: str) -> None:
    refused = client.post("/score", content=content, headers={"Content-Type": kind})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
