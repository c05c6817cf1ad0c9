"""`prepare --check` lists every fault of a mapping at once, and what it proposes makes the file readable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import polars as pl
import pytest
import yaml

from fraud3000 import params as params_files
from fraud3000.stages import prepare as stage
from tests.conftest import Console

COLUMNS = {"amount": "Betrag", "ts": "Zeit", "card_id": "Karte", "is_fraud": "Betrug", "status": "Antwort"}


def write_export(path: Path, change: Callable[[dict[str, str]], None] = lambda row: None) -> None:
    random = Random(5)
    lines = ["Zeit;Karte;Betrag;Antwort;Betrug;Meldung"]
    for number in range(2_000):
        fraud = number % 40 == 0
        row = {
            "Zeit": f"{1 + number // 80:02}.01.2026 {number % 24:02}:15:00",
            "Karte": f"C{random.randrange(200)}",
            "Betrag": f"{random.randrange(1, 900)},{random.randrange(100):02}",
            "Antwort": random.choice(["00"] * 9 + ["51"]),
            "Betrug": "J" if fraud else "N",
            "Meldung": "28.01.2026" if fraud else "",
        }
        change(row)
        lines.append(";".join(row.values()))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def params_of(path: Path, mapping: dict[str, object], **section: object) -> Path:
    prepare = {"input": str(path), "source": "custom", "mapping": mapping, **section}
    params = path.with_name("params.yaml")
    params.write_text(yaml.safe_dump({"workspace": str(path.parent / "data"), "prepare": prepare}), encoding="utf-8")
    return params


def test_every_fault_is_listed_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    write_export(tmp_path / "export.csv")
    params = params_of(tmp_path / "export.csv", {"columns": {**COLUMNS, "terminal_id": "Haendler"}})
    summary, error = stage.check(params_files.load(params))
    faults = {row[0]: row[1] for row in summary.tables[0].rows}
    assert faults == {
        "file": "columns not found",
        "terminal_id": "column 'Haendler' is missing",
        "ts": "time_unreadable",
        "status": "status_unknown_value",
        "is_fraud": "label_unknown_value",
    }
    assert error is not None
    assert error.exit_code == 3
    assert str(error).startswith(f"{tmp_path / 'export.csv'}: cannot be read by the mapping: file, is_fraud, status")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.csv", "params.yaml"]


def test_the_proposed_values_make_the_file_readable(tmp_path: Path) -> None:
    write_export(tmp_path / "export.csv")
    params = params_of(tmp_path / "export.csv", {"columns": {**COLUMNS, "reported_at": "Meldung"}})
    summary, _ = stage.check(params_files.load(params))
    written = yaml.safe_load(params.read_text(encoding="utf-8"))
    for sentence in summary.warnings:
        key, _, value = sentence.partition(": set ")[2].partition(": ")
        section = written
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = yaml.safe_load(value)
    params.write_text(yaml.safe_dump(written), encoding="utf-8")
    summary, error = stage.check(params_files.load(params))
    assert (summary.tables, error) == ((), None)
    prepared = stage.prepare(params_files.load(params))
    assert [prepared.facts[fact] for fact in ("rows kept", "quarantined", "frauds")] == [2_000, 0, 50]
    assert pl.read_parquet(tmp_path / "data/interim/labels.parquet")["reported_at"].null_count() == 0


READABLE = {
    "columns": COLUMNS,
    "time": {"format": "%d.%m.%Y %H:%M:%S"},
    "label": {"fraud": ["j"], "legitimate": ["n"]},
    "status": {"approved": ["00"], "declined": ["51"]},
}
CSV = {"separator": ";", "decimal": ","}


def test_few_faults_are_listed_with_their_share_and_do_not_stop(tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    write_export(export, lambda row: row.update(Betrag="?") if row["Zeit"].startswith("02.01.2026 05") else None)
    summary, error = stage.check(params_files.load(params_of(export, READABLE, csv=CSV)))
    assert [row[:3] for row in summary.tables[0].rows] == [("amount", "amount_unreadable", "0.15%")]
    assert error is None


def test_rejections_that_depend_on_the_label_stop(tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    write_export(export, lambda row: row.update(Betrag="storniert") if row["Betrug"] == "J" else None)
    summary, error = stage.check(params_files.load(params_of(export, READABLE, csv=CSV)))
    assert error is not None
    assert "50 of 50 frauds were rejected (100.0%), but only 0 of 1,950 other rows (0.0%)" in error.message
    assert summary.facts["frauds in the sample"] == 50


@pytest.mark.parametrize(
    ("header", "row", "fault"),
    [
        ("Zeit;Karte;Betrag;Antwort;Betrug;cvv", ";123", "authentication data"),
        ("Zeit;Karte;Betrag;Antwort;Betrug;Beleg", ";4111111111111111", "card numbers"),
    ],
)
def test_columns_that_must_not_be_stored_are_faults(tmp_path: Path, header: str, row: str, fault: str) -> None:
    line = "02.01.2026 05:15:00;C{};1,00;00;N" + row
    text = "\n".join([header, *(line.format(number) for number in range(60))])
    (tmp_path / "export.csv").write_text(text, encoding="utf-8")
    summary, error = stage.check(params_files.load(params_of(tmp_path / "export.csv", READABLE, csv=CSV)))
    assert any(fault in row[1] for row in summary.tables[0].rows)
    assert error is not None
    assert "4111111111111111" not in str(summary) + str(error)


def test_label_files_are_checked_too(tmp_path: Path) -> None:
    write_export(tmp_path / "export.csv")
    (tmp_path / "cases.csv").write_text("beleg,gemeldet\n1,02.01.2026\n2,03.01.2026\n", encoding="utf-8")
    labels = {"input": str(tmp_path / "cases.csv"), "transaction_id": "nr", "is_fraud": None, "reported_at": "gemeldet"}
    params = params_of(tmp_path / "export.csv", READABLE, csv=CSV, labels=labels)
    summary, error = stage.check(params_files.load(params))
    assert error is not None
    assert [row[:3] for row in summary.tables[0].rows] == [
        ("transaction_id", "column 'nr' is missing", "100.00%"),
        ("reported_at", "value_unreadable", "100.00%"),
    ]
    assert 'reported_at: set prepare.labels.time: {format: "%d.%m.%Y"}' in summary.warnings


def test_the_command_exits_with_3_after_its_summary(console: Console, tmp_path: Path) -> None:
    write_export(tmp_path / "export.csv")
    params_of(tmp_path / "export.csv", {"columns": COLUMNS})
    ran = console("prepare", "--check", "--json")
    assert ran.returncode == 3
    assert json.loads(ran.stdout)["facts"]["faults"] == 4
    params_of(tmp_path / "export.csv", READABLE, csv=CSV)
    assert console("prepare", "--check").returncode == 0
