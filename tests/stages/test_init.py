"""`init` finds the mapping of exports whose truth is known, and the chain from there to an evaluation works."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
import yaml

from fraud3000 import params as params_files
from fraud3000.data.cleaning import cards
from fraud3000.errors import DataError, ParamsError
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.featurize import featurize
from fraud3000.stages.init import init
from fraud3000.stages.prepare import prepare
from fraud3000.stages.train import train
from tests.conftest import Console
from tests.stages import exports

MADE = exports.rows()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cards.VARIABLE, cards.new_key().text())
    return tmp_path


@pytest.mark.parametrize("name", exports.ALL)
def test_every_export_is_mapped_and_prepared_without_loss(folder: Path, name: str) -> None:
    export = exports.ALL[name]
    init(exports.write(export, folder, MADE))
    written = Path("params.yaml").read_text(encoding="utf-8")
    for line, answer in export.answers.items():
        assert line in written
        written = written.replace(line, answer)
    Path("params.yaml").write_text(written, encoding="utf-8")
    found = yaml.safe_load(written)["prepare"]["mapping"]["columns"]
    assert {role: column for role, column in found.items() if role in export.roles} == dict(export.roles)
    prepared = prepare(params_files.load())
    assert [prepared.facts[fact] for fact in ("rows read", "rows kept", "quarantined")] == [len(MADE), len(MADE), 0]
    assert prepared.facts["frauds"] == exports.frauds(MADE)
    amounts = pl.read_parquet("data/interim/transactions.parquet")["amount"]
    assert amounts.abs().sum() == sum(row["cents"] for row in MADE)
    first = pl.read_parquet("data/interim/transactions.parquet")["ts"].min()
    assert abs((first - MADE[0]["ts"]).total_seconds()) < 3 * 3600  # local times are read as UTC


def test_an_export_goes_through_to_an_evaluation(folder: Path) -> None:
    init(exports.write(exports.ALL["German, separate date and time"], folder, MADE))
    params = params_files.load()
    for stage in (prepare, featurize, train):
        stage(params)
    rows = evaluate(params).facts["test rows"]
    assert not rows.startswith("0 measured")


def test_an_existing_params_file_is_not_overwritten(folder: Path) -> None:
    Path("params.yaml").write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"params\.yaml: exists and is not overwritten"):
        init(exports.write(exports.ALL["American, months first"], folder, MADE))
    assert Path("params.yaml").read_text(encoding="utf-8") == "seed: 1\n"


def test_a_file_without_amounts_is_refused(folder: Path) -> None:
    Path("notes.csv").write_text("name,text\na,hello\nb,there\n", encoding="utf-8")
    with pytest.raises(DataError, match="these are no transactions"):
        init(["notes.csv"])
    assert not Path("params.yaml").exists()


def test_a_day_with_other_columns_is_named(folder: Path) -> None:
    export = exports.ALL["American, months first"]
    (folder / "days").mkdir()
    for day in range(5):
        exports.write(export, folder / "days", MADE[day * 100 : day * 100 + 100], f"{day}.csv")
    odd = (folder / "days" / "3.csv").read_text(encoding="utf-8").replace("Merchant Name", "Shop")
    (folder / "days" / "3.csv").write_text(odd, encoding="utf-8")
    assert any("3.csv has other columns" in warning for warning in init(["days"]).warnings)


def test_codes_and_numbers_of_rows_are_told_apart(folder: Path) -> None:
    done = init(exports.write(exports.ALL["German, separate date and time"], folder, MADE))
    uses = {row[0]: row[1] for row in done.tables[0].rows}
    assert (uses["MCC"], uses["Verwendungszweck"], uses["Währung"]) == ("categorical", "drop", "drop")


def test_secrets_and_persons_are_dropped(folder: Path) -> None:
    rows = "".join(f"t{n},2024-01-{1 + n % 28:02} 10:00,{n % 9},{n},{n % 2},123,Ann\n" for n in range(200))
    Path("a.csv").write_text(f"id,time,card,amount,fraud,cvv2,first_name\n{rows}", encoding="utf-8")
    init(["a.csv"])
    dropped = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["prepare"]["mapping"]["drop"]
    assert {"cvv2", "first_name"} <= set(dropped)


def test_a_large_file_is_sampled_at_its_head_middle_and_tail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fraud3000.data.inspection import sample

    monkeypatch.setattr(sample, "CHUNK", 50_000)
    [name] = exports.write(exports.ALL["American, months first"], folder, MADE)
    taken = sample.take(Path(name), folder / "spool")
    assert not taken.whole
    assert taken.ragged == 0
    dates = taken.rows["Transaction Date"]
    assert (dates[0][:2], dates[-1][:2]) == ("01", "04")


@pytest.mark.parametrize("name", ["handbook", "sparkov", "tabformer", "ulb"])
def test_published_data_sets_are_known(folder: Path, name: str) -> None:
    if "FRAUD3000_DATASETS" not in os.environ:
        pytest.skip("FRAUD3000_DATASETS is not set")
    files = {
        "handbook": "handbook_transactions",
        "sparkov": "sparkov_kaggle_slice",
        "tabformer": "tabformer_user0",
        "ulb": "ulb_creditcard_head",
    }
    init([Path(os.environ["FRAUD3000_DATASETS"]) / f"{files[name]}.parquet"])
    assert params_files.load().prepare.source == name


def test_prepare_guesses_the_mapping_of_a_file_and_prints_it(folder: Path, console: Console) -> None:
    exports.write(exports.ALL["American, months first"], folder, MADE)
    done = console("prepare", "export.csv")
    assert done.returncode == 0, done.stderr
    assert "  source: custom" in done.stdout
    assert "rows kept       6,000" in done.stdout
    assert not Path("params.yaml").exists()
    text = done.stdout[: done.stdout.index("\nprepare\n")]
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert console("prepare").returncode == 0


@pytest.mark.parametrize(("name", "code"), [("two labels", 3), ("American, months first", 0)])
def test_a_doubt_that_must_be_settled_has_an_exit_code(folder: Path, console: Console, name: str, code: int) -> None:
    done = console("init", *exports.write(exports.ALL[name], folder, MADE), "--yes", "--out", "found.yaml")
    assert done.returncode == code
    assert ("not everything could be guessed" in done.stderr) == (code == 3)
    assert Path("found.yaml").exists()
    assert done.stdout.startswith("init\n")


def test_prepare_guesses_nothing_that_would_be_dangerous(folder: Path, console: Console) -> None:
    exports.write(exports.ALL["two labels"], folder, MADE)
    done = console("prepare", "export.csv")
    assert done.returncode == 4
    assert "Which column is the label: 'fraud_flag', 'is_fraud'?" in done.stderr.replace("\n  ", " ")


def test_a_mapping_of_the_params_holds_for_the_file_named(folder: Path, console: Console) -> None:
    exports.write(exports.ALL["American, months first"], folder, MADE)
    init(["export.csv"])
    Path("export.csv").rename("other.csv")
    done = console("prepare", "other.csv")
    assert (done.returncode, "source: custom" in done.stdout) == (0, False)


@pytest.mark.parametrize("command", ["prepare", "featurize", "train", "evaluate", "backtest"])
def test_in_an_empty_folder_every_command_says_how_to_begin(folder: Path, console: Console, command: str) -> None:
    done = console(command)
    assert done.returncode in {3, 5}
    assert "fraud3000 init FILE" in done.stderr.replace("\n  ", " ")
    assert "fraud3000 simulate" in done.stderr.replace("\n  ", " ")


BAD = {
    "blank": b"\n\n\n",
    "zeros": b"\x00" * 1000,
    "one line": b"id;amount;fraud\n",
    "no name": b",amount\n1,2\n3,4\n",
    "names twice": b"amount,amount,id\n1,2,3\n4,5,6\n",
    "open quote": b'a,b,amount\n"x,1,2\ny,2,3\n',
    "UTF-16 without a mark": "id,amount\n1,2\n3,4\n".encode("utf-16-le"),
    "all empty": b"id,amount,is_fraud\n,,\n,,\n",
    "5,000 columns": b",".join(b"c%d" % n for n in range(5_000)) + b"\n" + b"\n".join([b",".join([b"1"] * 5_000)] * 20),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_export_is_refused(folder: Path, name: str) -> None:
    Path("a.csv").write_bytes(BAD[name])
    with pytest.raises(DataError):
        init(["a.csv"])


def test_lines_with_another_separator_are_counted(folder: Path) -> None:
    [name] = exports.write(exports.ALL["German, separate date and time"], folder, MADE)
    lines = Path(name).read_bytes().split(b"\r\n")
    Path(name).write_bytes(b"\r\n".join([*lines[:4_000], *(line.replace(b";", b"|") for line in lines[4_000:])]))
    assert any("inspected lines have another number of fields" in one for one in init([name]).warnings)


def test_names_of_columns_cannot_add_lines_to_the_params(folder: Path) -> None:
    header = "id,time,amount,note\x85workspace: elsewhere,fraud"
    rows = "".join(f"t{n},2024-01-{1 + n % 28:02} 10:00,{n / 7:.2f},x,{int(n % 9 == 0)}\n" for n in range(100))
    Path("a.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    init(["a.csv"])
    assert params_files.load().workspace == "data"
