"""The docs say what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

import fraud3000
from fraud3000 import cli, errors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "ARCHITECTURE", "SECURITY")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
TOP = get_command(cli.app).commands  # type: ignore[attr-defined]
COMMANDS = {name: command for name, command in TOP.items() if not hasattr(command, "commands")}
COMMANDS |= {f"{group} {name}": sub for group, of in TOP.items() for name, sub in getattr(of, "commands", {}).items()}
CODE = re.compile(r"```[^\n`]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("script", ["generate_docs.py", "draw_time.py"])
def test_what_make_docs_writes_is_fresh(script: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_has_help_with_a_runnable_example_and_a_place_in_the_docs() -> None:
    listed = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert len(COMMANDS) > 20
    assert [f"{name}: {problem}" for name in COMMANDS for problem in command_problems(name, listed)] == []


def command_problems(name: str, listed: str) -> Iterator[str]:
    command = COMMANDS[name]
    if not command.help:
        yield "has no help"
    if without := [option.name for option in command.params if not getattr(option, "help", None)]:
        yield f"options without help: {without}"
    example = command.epilog.split("\n")[-1].strip()
    if f"fraud3000 {name}" not in example:
        yield f"its example is of another command: {example}"
    if f"## fraud3000 {name}\n" not in listed:
        yield "is not in docs/cli.md"
    known = {flag for option in command.params for flag in option.opts}
    if unknown := set(re.findall(r"--[a-z-]+", example)) - known:
        yield f"unknown options in its example: {unknown}"
    if name != "keys pan" and not {"--params", "--json", "-v"} <= known:
        yield "lacks --params, --json or -v"


def test_commands_and_targets_named_in_the_docs_exist() -> None:
    assert [f"{page.name}: {name}" for page in PAGES for name in unknown_names(page)] == []


def unknown_names(page: Path) -> list[str]:
    """Commands and targets in the code of a page that do not exist."""
    code = "\n".join("".join(found) for found in CODE.findall(page.read_text(encoding="utf-8")))
    named = set(re.findall(r"fraud3000 ((?:keys )?[a-z]+(?:-[a-z]+)?)(?=\s|\)|$)", code))
    targets = set(re.findall(r"^\s*make ([a-z-]+)", code, re.MULTILINE)) - set(TARGETS)
    return [name for name in named if name not in COMMANDS and name not in TOP] + [f"make {name}" for name in targets]


def test_links_lead_somewhere() -> None:
    links = [
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 100
    assert [
        f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()
    ] == []


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_in_links_exist() -> None:
    links = [
        (page, path, anchor)
        for page in PAGES
        for path, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 10
    assert [
        f"{page.name}: {path}#{anchor}"
        for page, path, anchor in links
        if anchor not in anchors((page.parent / path).resolve() if path else page)
    ] == []


def test_every_rule_of_time_names_tests_that_there_are() -> None:
    rules = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    told = [line for line in rules.splitlines() if line.startswith("Tests: ")]
    assert len(told) == len(re.findall(r"^\*\*", rules, re.MULTILINE))
    named = [re.findall(r"`(\S+?)::(\S+?)`", line) for line in told]
    assert all(named)
    there = {path: (ROOT / path).read_text(encoding="utf-8") for tests in named for path, _ in tests}
    assert [test for tests in named for path, test in tests if f"def {test}(" not in there[path]] == []


def test_the_index_of_decisions_is_complete() -> None:
    folder = ROOT / "docs" / "adr"
    lines = []
    for path in sorted(folder.glob("[0-9]*.md"))[1:]:  # the first is the template
        number, title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").split(". ", 1)
        assert int(number) == int(path.name[:4])
        lines.append(f"- {path.name[:4]} [{title}]({path.name})")
    listed = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in listed if line.startswith("- ")] == lines


def test_every_decision_has_a_status() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    status = re.compile(r"^Status: (Accepted|Superseded by )", re.MULTILINE)
    assert len(pages) > 10
    assert [page.name for page in pages if not status.search(page.read_text(encoding="utf-8"))] == []


def test_readme_names_every_command_and_exit_code() -> None:
    assert [name for name in COMMANDS if name not in README] == []
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert [code for code in codes | {0, 2, 130} if not re.search(rf"^\| {code} \|", README, re.MULTILINE)] == []


def test_the_newest_change_is_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == fraud3000.__version__
