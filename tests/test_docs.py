"""The docs say what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
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
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("script", ["generate_docs.py", "draw_time.py"])
def test_what_make_docs_writes_is_fresh(script: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_a_runnable_example_and_a_place_in_the_docs(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert all(getattr(option, "help", None) for option in command.params)
    example = command.epilog.split("\n")[-1].strip()
    assert f"fraud3000 {name}" in example
    assert f"## fraud3000 {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    known = {flag for option in command.params for flag in option.opts}
    assert set(re.findall(r"--[a-z-]+", example)) <= known


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "keys pan"])
def test_every_stage_takes_params_json_and_v(name: str) -> None:
    flags = {flag for option in COMMANDS[name].params for flag in option.opts}
    assert {"--params", "--json", "-v"} <= flags


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_targets_named_in_the_docs_exist(page: Path) -> None:
    code = "\n".join("".join(found) for found in CODE.findall(page.read_text(encoding="utf-8")))
    named = set(re.findall(r"fraud3000 ((?:keys )?[a-z]+(?:-[a-z]+)?)(?=\s|\)|$)", code))
    assert {name for name in named if name not in COMMANDS and name not in TOP} == set()
    assert set(re.findall(r"^\s*make ([a-z-]+)", code, re.MULTILINE)) <= set(TARGETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_in_links_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    targets = [((page.parent / path if path else page), anchor) for path, anchor in links]
    assert [f"{path.name}#{anchor}" for path, anchor in targets if anchor not in anchors(path)] == []


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


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")), ids=lambda path: path.name)
def test_every_decision_has_a_status(path: Path) -> None:
    assert re.search(r"^Status: (Accepted|Superseded by )", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_readme_names_every_command_and_exit_code() -> None:
    assert [name for name in COMMANDS if name not in README] == []
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert [code for code in codes | {0, 2, 130} if not re.search(rf"^\| {code} \|", README, re.MULTILINE)] == []


def test_the_newest_change_is_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == fraud3000.__version__
