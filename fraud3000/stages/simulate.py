"""`simulate`: write a raw file of simulated transactions."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from loguru import logger

from fraud3000.data.simulation.simulate import simulate as simulated
from fraud3000.data.storage import locations
from fraud3000.errors import ParamsError
from fraud3000.params import Params
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".ndjson", ".jsonl")
_ROW_GROUP = 250_000


def simulate(params: Params, out: Path | str | None = None) -> Summary:
    """Simulate transactions and write them to `raw/transactions.parquet` in the workspace, or to `out`.

    Parameters
    ----------
    out
        A file, on this machine or in S3, that ends in `.parquet`, `.csv`, `.csv.gz`, `.ndjson` or `.jsonl`.

    Raises
    ------
    ParamsError
        `out` has another ending.
    UnavailableError
        The file cannot be written.
    """
    path = locations.parse(out or Workspace.from_params(params).raw)
    if not path.name.endswith(_SUFFIXES):
        raise ParamsError(
            f"{path}: this file type cannot be written", hint=f"Use one of the endings {', '.join(_SUFFIXES)}."
        )
    locations.require_writable(path)
    logger.info("simulating rows={} days={}", params.simulate.rows, params.simulate.days)
    transactions = simulated(params.simulate)
    with locations.atomic_outputs(path) as (part,):
        _write(transactions, part, path.name)
    return _summary(transactions, path)


def _write(transactions: pl.DataFrame, part: Path, name: str) -> None:
    if name.endswith(".parquet"):
        transactions.write_parquet(part, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP)
    elif name.endswith(".gz"):
        transactions.write_csv(part, compression="gzip", check_extension=False)
    elif name.endswith(".csv"):
        transactions.write_csv(part)
    else:
        transactions.write_ndjson(part)


def _summary(transactions: pl.DataFrame, path: locations.Location) -> Summary:
    frauds = transactions.filter(pl.col("is_fraud") == 1)
    scenarios = frauds.group_by("fraud_scenario").agg(pl.len(), pl.col("amount").sum()).sort("fraud_scenario")
    return Summary(
        command="simulate",
        facts={
            "rows": transactions.height,
            "cards": transactions["card_id"].n_unique(),
            "terminals": transactions["terminal_id"].n_unique(),
            "first": str(transactions["ts"].min()),
            "last": str(transactions["ts"].max()),
            "frauds": frauds.height,
            "fraud_share": round(frauds.height / transactions.height, 6),
            "declined": transactions.filter(pl.col("status") == "declined").height,
            "refunds": transactions.filter(pl.col("status") == "refund").height,
        },
        tables=(
            Table(
                "Frauds by scenario",
                ("scenario", "transactions", "amount"),
                tuple((name, f"{rows:,}", f"{amount:,.2f}") for name, rows, amount in scenarios.iter_rows()),
            ),
        ),
        outputs={"transactions": str(path)},
        next_step="fraud3000 prepare",
    )
