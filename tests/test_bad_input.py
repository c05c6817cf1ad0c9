"""Bad input, as a user meets it: the installed console command in a process of its own.

Whatever is wrong, the exit code says whose turn it is, the message names the thing, what was found
and what to do, no traceback is shown, what stood in the folder is unchanged, nothing temporary is
left, and no card number appears anywhere.
"""

from __future__ import annotations

import dataclasses
import fcntl
import gzip
import hashlib
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.data.cleaning import cards
from fraud3000.data.storage import file_lock
from fraud3000.params import Params
from fraud3000.redact import passes_luhn
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.simulate import simulate
from fraud3000.stages.train import train
from tests.conftest import Once, copy_of

COMMAND = str(Path(sys.executable).with_name("fraud3000"))
PARAMS = """\
simulate: {rows: 4000, days: 60, cards: 100, terminals: 40}
prepare:
  input: in.csv
  mapping: {card_numbers: 'yes'}
  label_delay: 2d
featurize: {burn_in: 5d}
train: {estimator: logistic_regression}
evaluate: {replicates: 20}
"""
STAGES = (("prepare",), ("featurize",), ("train",), ("evaluate",))
KEY = cards.CardKey.from_secret(hashlib.sha256(b"a key of these tests").digest()).text()
SCORE = ("score-file", "in.csv", "--model", "challenger", "--cold-start")
SERVE = ("serve", "--port", "0", "--model", "challenger")
SCORE_BY_PARAMS = (*SCORE, "--params", "params.yaml")

Arguments = tuple[str, ...]


def card_number(place: int) -> str:
    body = f"4{random.Random(place).randrange(10**14):014d}"
    return next(body + str(check) for check in range(10) if passes_luhn(body + str(check)))


def environment() -> dict[str, str]:
    # coverage is measured elsewhere: here it would take half of the time, and fill the disk of a test of full disks
    dropped = ("FRAUD3000_", "MLFLOW_", "PYTHONDONTWRITEBYTECODE", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"FRAUD3000_PAN_KEY": KEY, "POLARS_MAX_THREADS": "2"}


def run(folder: Path, *arguments: str, file_size: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )


def run_stages(folder: Path, *stages: Callable[[Params], object]) -> None:
    """Run stages in a folder, in this process: what a test needs before its command needs no process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment().keys():
            patch.delenv(name)
        patch.setenv("FRAUD3000_PAN_KEY", KEY)
        patch.chdir(folder)
        params = params_files.load()
        for stage in stages:
            stage(params)


def tree(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(folder: Path) -> list[str]:
    """What a command should have taken away again; not what a test put there itself."""
    return [path.name for path in folder.rglob(".*") if path.name not in {".ignored", file_lock.NAME}]


@pytest.fixture(scope="session")
def raw(once: Once) -> Path:
    """A folder with params and a sound raw file whose cards are card numbers; no model."""

    def build(folder: Path) -> None:
        (folder / "params.yaml").write_text(PARAMS)
        run_stages(folder, lambda params: simulate(params, "in.csv"))
        rows = pl.read_csv(folder / "in.csv", infer_schema=False)
        numbers = {card: card_number(place) for place, card in enumerate(rows["card_id"].unique().sort())}
        rows.with_columns(pl.col("card_id").replace_strict(numbers)).write_csv(folder / "in.csv")

    return once("bad-input-raw", build)


@pytest.fixture(scope="session")
def trained(raw: Path, _migrated_store: Path, once: Once) -> Path:
    """The same, taken through all stages."""

    def build(folder: Path) -> None:
        copy_of(raw, folder)
        shutil.copy(_migrated_store, folder / "mlflow.db")
        run_stages(folder, prepare, featurize, train, evaluate)

    return once("bad-input-trained", build)


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing that is wrong.

    Attributes
    ----------
    damage
        Makes it wrong, in a folder of its own.
    commands
        What is run on it, each in turn; the outcome must be the same for all.
    code
        The exit code.
    says
        What the message must hold: the thing, what was found.
    trained
        Whether the folder holds a trained model.
    slow
        Whether it is left to the slow tests, the same being asked of the stage itself in the fast ones.
    file_size
        The size at which writing a file fails, in bytes.
    fixture
        What else must be there, such as an object store.
    """

    name: str
    damage: Callable[[Path], object]
    says: tuple[str, ...]
    code: int = 3
    commands: tuple[Arguments, ...] = (("prepare",), SCORE_BY_PARAMS)
    trained: bool = False
    slow: bool = False
    file_size: int | None = None
    fixture: str | None = None


def rows_of(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "in.csv", infer_schema=False)


def change(edit: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    return lambda folder: edit(rows_of(folder)).write_csv(folder / "in.csv")


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def params(addition: str) -> Callable[[Path], object]:
    return write("params.yaml", PARAMS + addition)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def folder_without_data(folder: Path) -> None:
    (folder / "in.csv").unlink()
    (folder / "in.csv").mkdir()
    (folder / "in.csv" / "notes.md").write_text("nothing here")


def truncated_parquet(folder: Path) -> None:
    rows_of(folder).write_parquet(folder / "whole.parquet")
    (folder / "in.csv").unlink()
    (folder / "in.csv").mkdir()
    content = (folder / "whole.parquet").read_bytes()
    (folder / "whole.parquet").unlink()
    (folder / "in.csv" / "cut.parquet").write_bytes(content[: len(content) // 2])


def truncated_gzip(folder: Path) -> None:
    content = gzip.compress((folder / "in.csv").read_bytes())
    (folder / "in.csv").unlink()
    (folder / "in.csv").mkdir()
    (folder / "in.csv" / "cut.csv.gz").write_bytes(content[: len(content) // 2])


def latin_1(folder: Path) -> None:
    text = (folder / "in.csv").read_text().replace("restaurant", "café")
    (folder / "in.csv").write_bytes(text.encode("latin-1"))


def semicolons(folder: Path) -> None:
    (folder / "in.csv").write_text((folder / "in.csv").read_text().replace(",", ";"))


def in_s3(uri: str) -> Callable[[Path], object]:
    """Read the input from an address."""
    return write("params.yaml", PARAMS.replace("in.csv", uri))


def published(uri: str) -> Callable[[Path], object]:
    """Publish what is prepared under a prefix."""
    return write("params.yaml", PARAMS.replace("input: in.csv", f"input: in.csv\n  publish: {uri}"))


def bundle(edit: Callable[[Path], object]) -> Callable[[Path], object]:
    """Change the bundle of version 1."""
    return lambda folder: edit(folder / "data" / "models" / "1")


def flip_a_byte(model: Path) -> None:
    path = max((path for path in model.iterdir() if path.name != "manifest.json"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unknown_contract(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"contract": 999}))


def add_a_pickle(model: Path) -> None:
    (model / "model.pkl").write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


def labels(edit: pl.Expr) -> Callable[[Path], None]:
    """Change the labels and run the stages before training."""

    def damage(folder: Path) -> None:
        change(lambda rows: rows.with_columns(is_fraud=edit, reported_at=pl.lit(None, dtype=pl.String)))(folder)
        run_stages(folder, prepare, featurize)

    return damage


def in_the_way(*places: str) -> Callable[[Path], None]:
    """Put folders where files are to be written."""

    def damage(folder: Path) -> None:
        for place in places:
            path = folder / place
            path.unlink(missing_ok=True)
            path.mkdir(parents=True)
            (path / "kept.txt").write_text("kept")

    return damage


def lock_the_registry(folder: Path) -> None:
    """By another process: this one would let go of the lock as soon as it reads the file."""
    hold = "import sqlite3, sys; c = sqlite3.connect('mlflow.db'); c.execute('BEGIN EXCLUSIVE'); print(1, flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", hold], cwd=folder, stdin=pipe, stdout=pipe)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    LOCKS.append(holder)


def lock_the_models(folder: Path) -> None:
    held = os.open(folder / "data" / "models" / file_lock.NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    LOCKS.append(held)


LOCKS: list[object] = []
"""What is held open until the tests end."""


def scored(source: str, *more: str) -> Arguments:
    return ("score-file", source, *SCORE[2:], *more)


def to_s3(uri: str) -> tuple[Arguments, ...]:
    return (("prepare",), scored("in.csv", "--out", f"{uri}scored.parquet"))


MODEL_USERS = (("evaluate",), SCORE)
EVERY_STAGE = (("simulate",), *STAGES, SCORE_BY_PARAMS)
FULL = "File too large"

CASES = [
    Case("no file", remove("in.csv"), ("in.csv", "no such file")),
    Case("empty file", write("in.csv", ""), ("in.csv", "empty")),
    Case("header only", change(lambda rows: rows.clear()), ("in.csv", "no rows")),
    Case("directory without data", folder_without_data, ("in.csv", "a folder without data files")),
    Case("truncated parquet", truncated_parquet, ("cut.parquet", "incomplete Parquet file")),
    Case("truncated gzip", truncated_gzip, ("cut.csv.gz",)),
    Case("wrong delimiter", semicolons, ("in.csv", "separated by semicolons")),
    Case("latin-1", latin_1, ("in.csv", "not UTF-8", "prepare.csv.encoding")),
    Case("missing column", change(lambda rows: rows.rename({"amount": "amuont"})), ("'amount' is missing", "'amuont'")),
    Case(
        "several missing columns",
        change(lambda rows: rows.drop("ts", "terminal_id")),
        ("column 'ts' is missing", "column 'terminal_id' is missing"),
    ),
    Case(
        "mixed currencies",
        lambda folder: (
            change(lambda rows: rows.with_columns(currency=pl.Series(["EUR", "USD"] * (rows.height // 2))))(folder),
            write("params.yaml", PARAMS.replace("'yes'", "'yes', columns: {currency: currency}, amount: {currency: EUR}"))(folder),
        ),
        ("USD", "rate"),
    ),
    Case(
        "card numbers in another column",
        change(lambda rows: rows.with_columns(memo=pl.col("card_id"))),
        ("'memo'", "holds card numbers"),
    ),
    Case("card codes", change(lambda rows: rows.with_columns(cvv=pl.lit("123"))), ("'cvv'", "sensitive")),
    Case(
        "no row can be taken",
        change(lambda rows: rows.with_columns(amount=pl.lit("n/a"))),
        ("in.csv", "all 4,000 rows", "'n/a'"),
    ),
    Case("unknown params key", params("trian: {}\n"), ("params.yaml: trian: unknown key",), 4, EVERY_STAGE),
    Case(
        "value out of range",
        params("policy: {cards_per_day: 0}\n"),
        ("policy.cards_per_day", "greater than or equal to 1, found 0"),
        4,
        EVERY_STAGE,
    ),
    Case("no input of the stage", lambda _: None, ("data/", "not found", "fraud3000"), 3, STAGES[1:]),
    Case("no model", lambda _: None, ("challenger", "train"), 5, (SCORE,)),
    Case("all labels missing", labels(pl.lit("")), ("training", "no row has a known label"), 3, (("train",),)),
    Case("one class only", labels(pl.lit("0")), ("training", "known labels are legitimate"), 3, (("train",),)),
    Case("bundle corrupt", bundle(flip_a_byte), ("models/1", "not what the manifest says"), 5, MODEL_USERS, trained=True),
    Case("bundle of an unknown contract", bundle(unknown_contract), ("models/1", "contract version 999"), 5, (("evaluate",),), trained=True, slow=True),
    Case("manifest changed", bundle(unknown_contract), ("models/1", "not the bundle that", "challenger.json"), 5, (SCORE,), trained=True, slow=True),
    Case("bundle with a pickle", bundle(add_a_pickle), ("models/1", "'model.pkl' is a pickle"), 5, MODEL_USERS, trained=True),
    Case("unknown version", lambda _: None, ("77",), 5, ((*SCORE[:-2], "77", "--cold-start"),), trained=True),
    Case("history too short", lambda _: None, ("history", "--cold-start"), 3, (SCORE[:-1],), trained=True),
    Case(
        "output unwritable",
        in_the_way("data/raw/transactions.parquet", "data/interim/transactions.parquet", "in.scored.parquet"),
        ("cannot be written",),
        7,
        (("simulate",), ("prepare",)),
    ),
    Case(
        "output unwritable after training",
        in_the_way("data/processed/features.parquet", "data/reports/metrics.json", "in.scored.parquet"),
        ("cannot be written",),
        7,
        (("featurize",), ("evaluate",), SCORE),
        trained=True,
    ),
    Case("nothing to promote", lambda _: None, ("nothing is registered here", "train"), 5, (("promote",),)),
    Case("unknown version to promote", lambda _: None, ("no version 77",), 5, (("promote", "--version", "77"),), trained=True, slow=True),
    Case("unknown model to promote", lambda _: None, ("'other'",), 5, (("promote", "--model", "other"),), trained=True, slow=True),
    Case("nothing to roll back to", lambda _: None, ("no earlier champion",), 5, (("promote", "--rollback"),), trained=True),
    Case("no champion to serve", lambda _: None, ("no champion",), 5, ((*SCORE[:-2], "champion", "--cold-start"),), trained=True, slow=True),
    Case("no model to serve", lambda _: None, ("no champion",), 5, (("serve", "--port", "0"),), trained=True, slow=True),
    Case("no history to serve with", lambda _: None, ("nowhere.csv", "no such file"), 3, ((*SERVE, "--history", "nowhere.csv"),), trained=True, slow=True),
    Case("bad history to serve with", semicolons, ("in.csv", "separated by semicolons"), 3, ((*SERVE, "--history", "in.csv"),), trained=True),
    Case("served to others without a key", lambda _: None, ("0.0.0.0", "FRAUD3000_API_KEY"), 4, ((*SERVE, "--host", "0.0.0.0"),), trained=True),
    Case("registry locked", lock_the_registry, ("registry", "locked"), 7, (("promote",), ("evaluate",)), trained=True),
    Case("registry no database", write("mlflow.db", "no database" * 99), ("registry", "not a database"), 7, (("promote",),), trained=True, slow=True),
    Case("two promotions at once", lock_the_models, ("data/models", "another promotion is running"), 7, (("promote",),), trained=True, slow=True),
    Case("disk full", lambda _: None, (FULL,), 7, (("simulate",), ("prepare",)), file_size=10_000),
    Case(
        "disk full after training",
        lambda _: None,
        ("",),
        7,
        (("featurize",), ("train",), ("evaluate",), SCORE),
        trained=True,
        file_size=10_000,
    ),
    Case(
        "no bucket to read",
        in_s3("s3://elsewhere/in.csv"),
        ("s3://elsewhere/in.csv: there is no bucket 'elsewhere'",),
        commands=(("prepare",), scored("s3://elsewhere/in.csv")),
        fixture="s3",
    ),
    Case(
        "no object",
        in_s3("s3://bank/in.csv"),
        ("s3://bank/in.csv: no such object",),
        commands=(("prepare",), scored("s3://bank/in.csv")),
        fixture="s3",
    ),
    Case(
        "reading denied",
        in_s3("s3://bank/in.csv"),
        ("s3://bank/in.csv: may not be read: access denied",),
        commands=(("prepare",), scored("s3://bank/in.csv")),
        fixture="denied_s3",
    ),
    Case(
        "no bucket to write",
        published("s3://elsewhere/"),
        ("s3://elsewhere/", "there is no bucket 'elsewhere'"),
        7,
        (*to_s3("s3://elsewhere/"), ("simulate", "--out", "s3://elsewhere/a.csv")),
        fixture="s3",
    ),
    Case(
        "writing denied",
        published("s3://bank/"),
        ("s3://bank/", "may not be written: access denied"),
        7,
        to_s3("s3://bank/"),
        fixture="denied_s3",
    ),
    Case(
        "no bucket in the address",
        in_s3("s3:///in.csv"),
        ("s3:///in.csv: it names no bucket",),
        4,
        (("prepare",), scored("s3:///in.csv")),
    ),
    Case(
        "workspace in S3",
        params("workspace: s3://bank/data\n"),
        ("workspace: must be a folder on this machine",),
        4,
        EVERY_STAGE,
    ),
]  # fmt: skip
RUNS = [
    pytest.param(case, words, id=f"{case.name}: {words[0]}", marks=[pytest.mark.slow] * (case.slow or place > 0))
    for case in CASES
    for place, words in enumerate(case.commands)
]
"""Each case with its first command in the fast tests, with the others in the slow ones."""


@pytest.mark.parametrize(("case", "arguments"), RUNS)
def test_bad_input(case: Case, arguments: Arguments, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    shutil.copytree(request.getfixturevalue("trained" if case.trained else "raw"), folder)
    if case.fixture:
        request.getfixturevalue(case.fixture)
    case.damage(folder)
    before = tree(folder)
    done = run(folder, *arguments, file_size=case.file_size)
    told = done.stdout + done.stderr
    assert done.returncode == case.code, told
    assert done.stdout == ""
    assert [words for words in case.says if words not in done.stderr] == []
    assert "Error: " in done.stderr
    assert "\nHint: " in done.stderr
    assert "Traceback" not in told
    assert tree(folder) == before
    assert leftovers(folder) == []
    assert [number for number in map(card_number, range(100)) if number in told] == []


FAULTS = {
    0: {"amount": "NaN"},
    1: {"amount": "inf"},
    2: {"amount": "99999999999999999999"},
    3: {"amount": "1.2345"},
    4: {"amount": ""},
    5: {"ts": "yesterday"},
    6: {"ts": "2199-01-01T00:00:00+0000"},
    7: {"ts": "1969-12-31T23:59:59+0000"},
    8: {"card_id": ""},
    9: {"is_fraud": "maybe"},
    10: {"status": "lost"},
    11: {"amount": "-12.50", "status": "refund"},
}
REASONS = {
    "amount_decimals": 1,
    "amount_missing": 1,
    "amount_not_finite": 2,
    "amount_too_large": 1,
    "card_id_missing": 1,
    "conflicting_duplicate": 1,
    "label_unknown_value": 1,
    "status_unknown_value": 1,
    "time_out_of_range": 2,
    "time_unreadable": 1,
}


def faulty_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Damage single rows, repeat one as it is, and use the id of another twice."""
    records = rows.to_dicts()
    for place, values in FAULTS.items():
        records[place] |= values
    twice = {**records[21], "ts": "2025-02-20T00:00:00+0000"}
    return pl.DataFrame([*records, records[20], twice], schema=rows.schema)


@pytest.mark.parametrize(
    ("arguments", "refused"), [(("prepare",), "data/interim/quarantine.parquet"), (SCORE, "in.scored.rejected.parquet")]
)
def test_faulty_rows_are_set_apart_and_the_rest_goes_on(
    arguments: Arguments, refused: str, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "world"
    shutil.copytree(trained, folder)
    change(faulty_rows)(folder)
    done = run(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    quarantine = pl.read_parquet(folder / refused)
    assert dict(sorted(quarantine["reason"].value_counts().iter_rows())) == REASONS
    facts = json.loads(done.stdout)["facts"]
    if arguments == ("prepare",):
        kept = pl.read_parquet(folder / "data/interim/transactions.parquet").height
        assert (facts["rows read"], facts["duplicates"], facts["quarantined"]) == (4_002, 1, quarantine.height)
        assert (facts["rows kept"], kept) == (4_001 - quarantine.height,) * 2
    else:
        scored = pl.read_parquet(folder / "in.scored.parquet")
        assert (facts["rows in"], facts["rows scored"], scored.height) == (4_002, *(4_002 - quarantine.height,) * 2)
        twins = scored.filter(pl.col("transaction_id") == scored["transaction_id"][-1])
        assert (twins.height, twins.unique().height) == (2, 1)
    told = done.stdout + done.stderr + quarantine.write_csv()
    assert [number for number in map(card_number, range(100)) if number in told] == []


def started(folder: Path, arguments: Arguments) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([COMMAND, *arguments], cwd=folder, env=environment(), stdout=pipe, stderr=pipe, text=True)


def held_in_mid_write(running: subprocess.Popen[str], place: Path) -> bool:
    """Stop the process while a temporary file is there: writing files this small takes a moment only."""
    while running.poll() is None:
        if any(place.glob(".*.part")):
            running.send_signal(signal.SIGSTOP)
            return any(place.glob(".*.part"))
        time.sleep(0.0005)
    return False


@pytest.mark.parametrize(
    ("arguments", "place"), [(("prepare",), "data/interim"), (("featurize",), "data/processed"), (SCORE, ".")]
)
def test_ctrl_c_in_mid_write_changes_nothing(arguments: Arguments, place: str, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    shutil.copytree(trained, folder)
    before = tree(folder)
    running = started(folder, arguments)
    assert held_in_mid_write(running, folder / place), "it was done before it could be stopped"
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGCONT)
    told, errors = running.communicate(timeout=60)
    assert (running.returncode, told) == (130, ""), errors
    assert "Traceback" not in errors
    assert tree(folder) == before
    assert leftovers(folder) == []
