"""The command line: parsing, help, and exit codes that no stage decides."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fraud3000
from fraud3000 import cli

Console = Callable[..., subprocess.CompletedProcess[str]]


def test_version(console: Console) -> None:
    done = console("--version")
    assert (done.returncode, done.stdout) == (0, f"fraud3000 {fraud3000.__version__}\n")


def test_python_m_is_the_same_command(console: Console) -> None:
    done = subprocess.run([sys.executable, "-m", "fraud3000", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == console("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "No such command 'predict'"),
        (["prepare", "--fast"], "No such option: --fast"),
        (["score-file"], "Missing argument 'IN'"),
        (["score-file", "a.csv", "--reasons", "some"], "'some' is not one of"),
        (["simulate", "--rows", "0"], "Invalid value for '--rows': Input should be greater than or equal to 1"),
    ],
)
def test_usage_errors_exit_with_2(console: Console, arguments: list[str], message: str) -> None:
    done = console(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_command_the_help(console: Console) -> None:
    done = console()
    assert done.returncode == 2
    assert "score-file" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["simulate", "prepare", "featurize", "train", "evaluate"])
def test_unknown_params_file_exits_with_4(console: Console, command: str) -> None:
    done = console(command, "--params", "none.yaml", "--json")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "Error: none.yaml: cannot be read (No such file or directory)\nHint: Name a params file that exists.\n"
    )


def test_a_stage_without_its_input_exits_with_3(console: Console, tmp_path: Path) -> None:
    done = console("featurize")
    assert done.returncode == 3
    assert "data/interim/transactions.parquet: not found" in done.stderr
    assert "Hint: Begin with `fraud3000 init FILE`" in done.stderr
    assert not any(tmp_path.iterdir())
    (tmp_path / "data" / "interim").mkdir(parents=True)
    assert "Hint: Run `fraud3000 prepare` first" in console("featurize").stderr


def test_summary_on_stdout_and_records_on_stderr(console: Console) -> None:
    done = console("simulate", "--rows", 200, "--days", 20, "--cards", 10, "--terminals", 5, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["command"] == "simulate"
    assert "simulate done" in done.stderr
    told = console("simulate", "--rows", 200, "--days", 20, "--cards", 10, "--terminals", 5, "--out", "other.parquet")
    assert told.stdout.startswith("simulate\n")
    assert "\x1b" not in told.stdout + told.stderr


def test_log_records_as_json(console: Console) -> None:
    environment = {**os.environ, "FRAUD3000_LOG_FORMAT": "json"}
    done = console("simulate", "--rows", 200, "--days", 20, "--cards", 10, "--terminals", 5, env=environment)
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()]


def test_a_new_card_key_each_time(console: Console) -> None:
    first, second = console("keys", "pan").stdout, console("keys", "pan").stdout
    assert first != second
    assert re.fullmatch(r"[\w.-]{40,}\n", first)


BUG = """
import sys
from fraud3000 import __main__, cli

@cli.app.command()
def broken():
    card = "4111111111111111"
    raise RuntimeError(f"no idea what {card} is")

sys.argv = ["fraud3000", "broken"]
sys.exit(__main__.main())
"""


def test_our_own_bug_exits_with_1_and_keeps_the_traceback_without_locals() -> None:
    done = subprocess.run([sys.executable, "-c", BUG], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "RuntimeError: no idea what [card number] is" in done.stderr
    assert done.stderr.endswith("please report it with the lines above.\n")
    assert "4111" not in done.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_mid_write_leaves_nothing(console_command: str, tmp_path: Path, sent: int, code: int) -> None:
    raw = tmp_path / "data" / "raw"
    command = [console_command, "simulate", "--rows", "3000000"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not any(raw.glob(".*")):
        time.sleep(0.005)
    running.send_signal(sent)
    told, errors = running.communicate(timeout=60)
    assert (running.returncode, told) == (code, "")
    assert "Traceback" not in errors
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_bodies_of_commands_stay_short() -> None:
    """A command parses, calls one stage, prints: what grows beyond that belongs into a stage."""
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in _command_modules()]
    functions = [node for module in modules for node in module.body if isinstance(node, ast.FunctionDef)]
    bodies = {
        node.name: [part for part in node.body if not isinstance(part, ast.Expr) or not _is_text(part)]
        for node in functions
    }
    lengths = {name: body[-1].end_lineno - body[0].lineno + 1 for name, body in bodies.items() if body}
    assert {name: length for name, length in lengths.items() if length > 15} == {}


def _command_modules() -> list[Path]:
    return [Path(module.__file__) for name in cli.__all__ if hasattr(module := getattr(cli, name), "__file__")]


def _is_text(part: ast.Expr) -> bool:
    return isinstance(part.value, ast.Constant)


def test_help_lists_every_command_in_a_group_with_its_whole_summary(console: Console) -> None:
    from typer.main import get_command

    from fraud3000.cli.app import GROUPS, app

    text = console("--help").stdout
    listed = [name for names in GROUPS.values() for name in names]
    assert sorted(listed) == sorted(get_command(app).commands)  # type: ignore[attr-defined]
    assert [title for title in GROUPS if f"\n{title}:\n" not in text] == []
    assert [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage")] == []
