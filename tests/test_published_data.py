"""The published data sets through every stage, with nothing but their params files."""

import json
import os
from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.data.cleaning import cards
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.score_file import score_file
from fraud3000.stages.train import train

PARAMS = Path(__file__).parents[1] / "params"
ROWS = {
    "sparkov": (13_614, 0),
    "tabformer": (19_963, 0),
    "ulb": (7_972, 1),
    "handbook-p1": (1_754_155, 0),
    "handbook-p2": (1_754_155, 0),
}


def chain(name: str, place: Path) -> tuple[dict, pl.DataFrame]:
    """From the raw file to metrics and to the whole file's scores."""
    if not os.environ.get("FRAUD3000_DATASETS"):
        pytest.skip("FRAUD3000_DATASETS is not set: it names the folder of the published data sets")
    params = params_files.load(PARAMS / f"{name}.yaml")
    if not Path(params.prepare.input).exists():
        pytest.skip(f"FRAUD3000_DATASETS has no {Path(params.prepare.input).name}")
    for stage in (prepare, featurize, train, evaluate):
        stage(params)
    score_file(params.prepare.input, params, out=place / "all.parquet", model="challenger", cold_start=True)
    metrics = json.loads((Path(params.workspace) / "reports" / "metrics.json").read_text())
    return metrics, pl.read_parquet(place / "all.parquet")


@pytest.mark.parametrize("name", ["sparkov", "tabformer", "ulb"])
def test_small_files_need_no_code(own_store, monkeypatch, name):
    monkeypatch.setenv(cards.VARIABLE, cards.new_key().text())
    metrics, scored = chain(name, own_store)
    kept, refused = ROWS[name]
    assert scored.height == kept
    assert pl.read_parquet(own_store / "all.rejected.parquet").height == refused
    assert metrics["metrics"]["average_precision"]["value"] is not None
    if name == "ulb":
        assert metrics["metrics"]["card_precision_at_100"]["value"] is None
        assert "no cards" in metrics["metrics"]["card_precision_at_100"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision", "in_100_cards"), [("handbook-p1", 0.71, 0.296), ("handbook-p2", 0.73, 0.3)]
)
def test_the_handbook_is_beyond_the_published_figures(own_store, name, precision, in_100_cards):
    metrics, scored = chain(name, own_store)
    assert scored.height == ROWS[name][0]
    assert (metrics["rows"], metrics["frauds"]) == (58_264, 385)
    assert metrics["metrics"]["average_precision"]["value"] >= precision
    assert metrics["metrics"]["card_precision_at_100"]["value"] >= in_100_cards
    assert metrics["metrics"]["card_precision_at_100"]["ceiling"] == pytest.approx(0.397, abs=0.001)
