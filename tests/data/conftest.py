"""Raw files written and ingested by the tests of the data package."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from fraud3000.data.cleaning import cards, clean
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.params import ColumnMapping

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

KEY = cards.CardKey.from_secret(bytes(range(100, 132)))

COLUMNS = {"amount": "amount", "transaction_id": "id", "ts": "time", "card_id": "card", "terminal_id": "shop"}

Ingest = Callable[..., Ingested]


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    """Write a raw file (CSV text, bytes or a frame for Parquet) and ingest it by a mapping.

    The columns of `COLUMNS` are mapped as far as the content has them, unless `columns` says otherwise.
    """

    def run(content: str | bytes | pl.DataFrame, *, name: str = "raw.csv", **mapping: Any) -> Ingested:
        path = tmp_path / (name if not isinstance(content, pl.DataFrame) else "raw.parquet")
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
            there = content.columns
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            there = path.read_bytes().decode(errors="replace").split("\n", 1)[0].split(",")
        roles = {role: column for role, column in COLUMNS.items() if column in there}
        mapping["columns"] = roles | mapping.get("columns", {})
        return ingest_paths([path], **mapping)

    return run


def ingest_paths(paths: list[Path], *, optional: tuple[str, ...] = (), **mapping: Any) -> Ingested:
    return clean.ingest(
        paths,
        ColumnMapping.model_validate(mapping),
        label_delay=timedelta(days=7),
        earliest=datetime(1970, 1, 1),
        latest=datetime(2100, 1, 1),
        card_key=lambda: KEY,
        optional=optional,
    )


@pytest.fixture
def ingest_files() -> Callable[..., Ingested]:
    """Ingest files that are there already; nothing is mapped but what is said."""
    return ingest_paths
