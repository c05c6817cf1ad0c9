"""The newest rows of the small simulated world, as they are sent to a service."""

from __future__ import annotations

from typing import Any

import polars as pl
from starlette.testclient import TestClient

NEWEST = 400
_FIELDS = [
    "transaction_id",
    "card_id",
    "terminal_id",
    "card_lat",
    "card_long",
    "terminal_lat",
    "terminal_long",
    "category",
    "status",
]


def items(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Raw simulated rows as they are sent: amounts in minor units, times with an offset."""
    sent = rows.select(
        *_FIELDS,
        amount=(pl.col("amount") * 100).round().cast(pl.Int64),
        ts=pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
    )
    return sent.to_dicts()


def post(client: TestClient, body: Any, **how: Any) -> Any:
    """Ask for scores."""
    return client.post("/score", json=body, **how)
