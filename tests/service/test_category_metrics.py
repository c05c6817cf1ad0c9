"""Categories and lost values in the service: metrics, and a warning in the log."""

from __future__ import annotations

import polars as pl
from starlette.testclient import TestClient

from tests.service.test_metrics import read, total
from tests.service.world import items, post

VALUES = "fraud3000_category_values_total"


def test_values_are_counted_by_what_the_model_knows(
    client: TestClient, newest: pl.DataFrame, logged: list[str]
) -> None:
    known, unknown, missing = items(newest)[:30], items(newest)[30:90], items(newest)[90:120]
    post(client, {"transactions": [*known, *({**one, "category": None} for one in missing)]})
    found = read(client)
    assert total(found, VALUES, column="category", value="known") == 30
    assert total(found, VALUES, column="category", value="missing") == 30
    assert total(found, VALUES, column="category", value="unknown") == 0
    assert total(found, "fraud3000_category_share_in_training", column="category", value="unknown") == 0
    post(client, {"transactions": [{**one, "category": 7995.0} for one in unknown]})
    assert total(read(client), VALUES, column="category", value="unknown") == 60
    warnings = [line for line in logged if "WARNING" in line and "column category" in line]
    assert [("are missing" in line, "are not known" in line) for line in warnings] == [(True, False), (False, True)]
    assert "7995" not in "".join(warnings)


def test_coordinates_off_the_globe_are_counted(client: TestClient, newest: pl.DataFrame) -> None:
    sent = items(newest)[:3]
    answer = post(client, {"transactions": [{**sent[0], "card_lat": 91.0}, {**sent[1], "card_lat": -1e9}, sent[2]]})
    assert answer.status_code == 200
    found = read(client)
    assert total(found, "fraud3000_lost_values_total", column="card_lat") == 2
    assert total(found, "fraud3000_lost_values_total", column="card_long") == 0
