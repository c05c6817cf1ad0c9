"""Summaries as text on a terminal and in a pipe, as JSON, and as HTML in a notebook."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest

from fraud3000.cli import output
from fraud3000.stages.shared.summary import Summary, Table

OUTCOME = Summary(
    "evaluate",
    {"rows": 1754155, "share of fraud": 0.0083712, "found": True, "dates": ("2018-08-08", None), "splits": {"test": 5}},
    tables=(
        Table(
            "What the model catches",
            ("metric", "value", "interval"),
            (("average precision", "0.661", "0.640 to 0.682"), ("savings " + "x" * 120, "-1,203.50", "")),
        ),
    ),
    outputs={"metrics": "data/reports/metrics.json"},
    warnings=("March has no labels, so figures that include it are of no use; " * 3,),
    next_step="fraud3000 score-file FILE",
)

ARGUMENTS = {field.name: getattr(OUTCOME, field.name) for field in fields(OUTCOME)}
PROGRAM = f"""
import sys
from fraud3000.cli import output
from fraud3000.stages.shared.summary import Summary, Table
output.summary(Summary(**{ARGUMENTS!r}))
"""


def printed(capsys: pytest.CaptureFixture[str], **how: Any) -> str:
    output.summary(OUTCOME, **how)
    return capsys.readouterr().out


def test_in_a_pipe_plain_text_of_at_most_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys)
    assert "\x1b" not in told
    assert max(map(len, told.splitlines())) <= output.WIDTH
    assert told.splitlines()[:6] == [
        "evaluate",
        "  rows            1,754,155",
        "  share of fraud  0.008371",
        "  found           yes",
        "  dates           2018-08-08, -",
        "  splits          test 5",
    ]
    assert told.endswith("\nNext: fraud3000 score-file FILE\n")


def test_tables_align_numbers_right_and_cut_what_is_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    title, header, first, second = printed(capsys).split("\n\n")[1].splitlines()
    assert title == "What the model catches"
    assert first.index("0.661") + 5 == second.index("-1,203.50") + 9 == header.index("value") + 5
    assert "x…" in second


def test_str_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{OUTCOME}\n" == printed(capsys)


def test_repr_is_one_short_line() -> None:
    assert repr(OUTCOME) == "<Summary of evaluate: 5 facts, 1 table, 1 output, 1 warning>"
    assert "a check failed" in repr(replace(OUTCOME, refused="no better"))


def test_html_is_escaped_and_needs_nothing_else() -> None:
    hostile = replace(OUTCOME, facts={"<script>": "a & b"}, next_step="fraud3000 <b>", warnings=("<img src=x>",))
    html = hostile._repr_html_()
    assert not re.findall(r"<(?:script|img|b|link|style)\b|https?:|src=[^x]", html)
    assert '<th scope="row">&lt;script&gt;</th><td>a &amp; b</td>' in html
    assert "<p>Warning: &lt;img src=x&gt;</p>" in html
    assert html.count("<table>") == 3


@pytest.mark.parametrize("form", [str, lambda summary: summary._repr_html_()])
def test_card_numbers_are_masked_however_it_is_shown(form: Any) -> None:
    assert "4111" not in form(replace(OUTCOME, facts={"4111111111111111": "4111 1111 1111 1111"}))


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, as_json=True))
    assert document["facts"]["rows"] == 1754155
    assert document["tables"][0]["columns"] == ["metric", "value", "interval"]


def on_a_terminal(**environment: str) -> str:
    """Run the program with a real pseudo-terminal as stdout."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=theirs, env={**kept, "TERM": "xterm", **environment}
    )
    os.close(theirs)
    told = b""
    while chunk := _read(ours):
        told += chunk
    os.close(ours)
    assert running.wait() == 0
    return told.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that the other end is closed
        return b""


def test_a_terminal_gets_colour_and_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    told = on_a_terminal()
    assert "\x1b[33mWarning: March" in told
    assert re.sub(r"\x1b\[[0-9;]*m", "", told) == printed(capsys)


def test_no_color_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_a_terminal(NO_COLOR="1") == printed(capsys)


def test_a_reader_that_went_away_is_no_fault() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("output.summary(", "sys.stdin.read(); output.summary(")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    running.stdout.close()
    running.stdout = None
    _, errors = running.communicate(b"")
    assert (running.returncode, errors) == (0, b"")
