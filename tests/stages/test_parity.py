"""The parity command: on files of every layout, on the stream of its own, and when the engines differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fraud3000 import params as params_files
from fraud3000.cli import output
from fraud3000.data.cleaning import cards
from fraud3000.errors import DataError, ParamsError
from fraud3000.features.verification.parity import Difference
from fraud3000.stages.parity import _cells, parity
from fraud3000.stages.prepare import prepare

PARAMS = Path(__file__).parents[2] / "params"

RAW = """\
id,when,card,shop,amount,fraud,reported
1,2024-01-01T00:00:00,c1,t1,1.00,0,
2,2024-01-01T00:10:00,c1,t1,2.00,1,2024-01-20T00:00:00
3,2024-01-01T00:10:00,c1,t2,3.00,0,
3,2024-01-01T00:10:00,c1,t2,3.00,1,2024-01-12T00:00:00
4,2024-02-01T00:00:00,c1,t1,4.00,0,
4,2024-02-01T00:00:00,c1,t1,5.00,0,
5,2024-02-02,,t2,6.00,0,
"""
MAPPED = """\
prepare:
  source: custom
  mapping:
    columns: {transaction_id: id, ts: when, card_id: card, terminal_id: shop, amount: amount, is_fraud: fraud,
      reported_at: reported}
    time: {format: "%Y-%m-%dT%H:%M:%S"}
"""


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a raw file and the params for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(RAW, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(MAPPED, encoding="utf-8")
    return tmp_path


def test_a_raw_file_is_read_in_its_mapping_and_all_rows_are_told(raw):
    told = parity(params_files.load(), "in.csv")
    expected = {"file": "in.csv", "rows read": 7, "duplicates": 1, "quarantined": 2, "rows": 4}
    assert {name: told.facts[name] for name in expected} == expected
    assert told.last_line == f"parity rows=4 features={told.facts['features']} cells={told.facts['cells']} differing=0"
    held = dict(told.tables[0].rows)
    assert (held["label records"], held["same time as another event of the card"]) == ("2", "2")
    assert told.refused is None


def test_prepared_transactions_give_what_their_raw_file_gives(raw):
    params = params_files.load()
    prepare(params.model_copy(update={"prepare": params.prepare.model_copy(update={"input": "in.csv"})}))
    told = parity(params, "data/interim/transactions.parquet")
    assert told.last_line == parity(params, "in.csv").last_line


def test_label_records_of_a_file_of_their_own_are_told_to_both_engines(raw):
    (raw / "labels.csv").write_text("transaction_id,is_fraud\n1,1\n", encoding="utf-8")
    with (raw / "params.yaml").open("a", encoding="utf-8") as params:
        params.write("  labels: {input: labels.csv}\n")
    told = parity(params_files.load(), "in.csv")
    assert dict(told.tables[0].rows)["label records"] == "3"
    assert told.refused is None


def test_data_without_time_has_no_feature_that_looks_back_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("id,amount,fraud\n1,1.00,0\n2,2.00,1\n", encoding="utf-8")
    mapping = {"columns": {"transaction_id": "id", "amount": "amount", "is_fraud": "fraud"}}
    params = params_files.parse({"prepare": {"source": "custom", "mapping": mapping}})
    told = parity(params, "in.csv")
    assert told.last_line == "parity rows=2 features=1 cells=2 differing=0"
    assert "no time" in told.warnings[0]


def test_the_last_line_is_for_scripts_and_json_is_one_document(raw, capsys):
    told = parity(params_files.load(), rows=200, seed=3)
    output.summary(told)
    printed = capsys.readouterr().out
    features = told.facts["features"]
    assert printed.splitlines()[-1] == f"parity rows=200 features={features} cells={200 * features} differing=0"
    assert "Features that differ" not in printed
    assert "window edges with an event exactly on them" in printed
    output.summary(told, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["facts"]["rows"], document["last_line"]) == (200, printed.splitlines()[-1])


BROKEN = """\
import sys
from functools import partial
from fraud3000.features.batch import batch_engine
from fraud3000.stages import parity
def wrong(*given):
    made = batch_engine.featurize(*given)
    return made.with_columns(made["card_amount_sum_7d"] + 1, made["card_amount_max_7d"].fill_null(0.0))
parity.compare = partial(parity.compare, featurize=wrong)
from fraud3000.__main__ import main
sys.exit(main())
"""


def test_engines_that_differ_exit_with_6_after_telling_where(raw):
    command = [sys.executable, "-c", BROKEN, "parity", "in.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=raw)
    assert done.returncode == 6, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].endswith("differing=6")
    table = lines[lines.index("Features that differ") :]
    assert [line.split() for line in table[2:4]] == [["card_amount_sum_7d", "4"], ["card_amount_max_7d", "2"]]
    assert table[4].split()[-2:] == ["features", "0"]
    assert any("card_amount_sum_7d" in line and "1.0" in line and "0.0" in line for line in table[5:])
    assert "the engines differ in 6 of" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.csv", None, DataError, "none.csv"),
        ("in.csv", "id;whatever\n", DataError, "in.csv"),
        ("in.parquet", "no parquet", DataError, "in.parquet"),
        ("in.csv", RAW.replace("card,", "kard,"), DataError, "column 'card' is missing"),
        ("in.csv", RAW.splitlines()[0] + "\n", DataError, "no rows"),
    ],
)
def test_bad_input_is_told_by_its_name(raw, name, content, error, message):
    if content is not None:
        (raw / name).write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        parity(params_files.load(), name)


def test_sizes_of_the_built_in_stream_are_refused_for_a_file(raw):
    with pytest.raises(ParamsError, match="built-in stream"):
        parity(params_files.load(), "in.csv", seed=1)


def published(name: str) -> params_files.Params:
    if not os.environ.get("FRAUD3000_DATASETS"):
        pytest.skip("FRAUD3000_DATASETS is not set: it names the folder of the published data sets")
    params = params_files.load(PARAMS / f"{name}.yaml")
    if not Path(params.prepare.input).exists():
        pytest.skip(f"FRAUD3000_DATASETS has no {Path(params.prepare.input).name}")
    return params


@pytest.mark.parametrize("name", ["sparkov", "tabformer", "ulb"])
def test_published_files_are_equal_cell_by_cell(tmp_path, monkeypatch, name):
    params = published(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cards.VARIABLE, cards.new_key().text())
    told = parity(params, params.prepare.input)
    assert told.facts["batch against online"] == "every cell equal"
    assert told.facts["rows"] + told.facts["duplicates"] + told.facts["quarantined"] == told.facts["rows read"]
    assert bool(told.warnings) == (name == "ulb")


@pytest.mark.slow
def test_the_handbook_is_equal_cell_by_cell(tmp_path, monkeypatch):
    params = published("handbook-p1")
    monkeypatch.chdir(tmp_path)
    told = parity(params, params.prepare.input)
    assert (told.facts["rows"], told.refused) == (1_754_155, None)


def test_card_numbers_are_shown_neither_as_ids_nor_as_values():
    number = "4111111111111111"
    assert number not in " ".join(_cells(Difference(number, None, "memo", f"card {number}", None)))
