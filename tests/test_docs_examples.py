"""Every command that a page shows does what the page says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from scripts import run_docs

ROOT = Path(__file__).parents[1]
GENERATED = {"cli.md", "schema.md", "features.md", "params.md", "benchmarks.md"}
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
SESSIONS = {
    f"{name}: {title[1] if (title := re.search(r'^#+ (.+)$', session, re.MULTILINE)) else ''}": session
    for name, page in sorted(PAGES.items())
    for session in run_docs.sessions(page)
    if any(block.runs for block in run_docs.blocks(session))
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * run_docs.is_slow(session)) for name, session in SESSIONS.items()],
)
def test_a_session_does_what_it_shows(name: str) -> None:
    found = list(run_docs.problems(run_docs.run(SESSIONS[name])))
    assert not found, "\n".join(found)  # all of it, however long


def test_commands_stand_in_blocks_that_are_run() -> None:
    written = [name for name in PAGES if Path(name).name not in GENERATED]
    others = [
        (name, block) for name in written for block in run_docs.blocks(PAGES[name]) if block.language != "console"
    ]
    assert [
        f"{name}: {line}"
        for name, block in others
        for line in block.body.splitlines()
        if re.match(r"(\$ |fraud3000 [a-z]|make [a-z])", line)
    ] == []


def test_what_is_elided_may_be_of_any_width() -> None:
    """A longer figure takes spaces away: leave one."""
    assert [(name, line) for name, page in PAGES.items() for line in re.findall(r".*\.\.\. {2,}\S.*", page)] == []


def test_the_runner_does_what_its_own_examples_show() -> None:
    assert doctest.testmod(run_docs).failed == 0


def test_one_session_carries_exports_files_and_exit_codes() -> None:
    page = """
```yaml file=sub/params.yaml
seed: 7
```
```console
$ export SEED=$(cat sub/params.yaml)
$ echo "$SEED," \\
    "said"
seed: 7, said
$ echo 'two

lines'
two

lines
$ false
$ echo $?
1
$ date
... 20...
$ sleep 600 &
```
"""
    assert list(run_docs.problems(run_docs.run(page))) == []


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("$ echo 1\n2\n", "--- as shown\n2\n--- as printed\n1\n"),
        ("$ echo 1\n1\n1\n", "--- as shown\n1\n1\n--- as printed\n1\n"),
        ("$ false\n", "(exit code 1)"),
        ("$ exit 3\n$ echo 1\n1\n", "(the session ended before)"),
    ],
)
def test_what_is_not_as_shown_is_told(shown: str, told: str) -> None:
    assert told in next(run_docs.problems(run_docs.run(f"```console\n{shown}```\n")))


def test_files_of_the_project_are_there_where_the_page_asks_for_them() -> None:
    page = "<!-- files: params.yaml params -->\n```console\n$ ls params.yaml params/ulb.yaml\nparams.yaml\nparams/ulb.yaml\n```\n"
    assert list(run_docs.problems(run_docs.run(page))) == []


def test_what_is_printed_is_written_into_the_page_but_for_what_was_elided() -> None:
    page = "# Page\n```console\n$ echo 10; echo 21 s\n1\n2... s\n$ echo a\n...\n```\nEnd\n"
    once = run_docs.written(page, run_docs.run(page))
    assert once == "# Page\n```console\n$ echo 10; echo 21 s\n10\n2... s\n$ echo a\n...\n```\nEnd\n"


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("```console notest\n$ make bench\n```\n", "gives no reason: \\$ make bench"),
        ("```console\n1\n```\n", "begins with what a command prints: 1"),
        ("```console\n$ echo 'a\n```\n", "does not end: echo 'a"),
    ],
)
def test_a_page_that_cannot_be_run_is_refused(page: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run_docs.run(page)


def test_a_session_has_its_own_folder_and_marks() -> None:
    page = "# Page\n```console\n$ touch a\n```\n<!-- new session -->\n<!-- slow -->\n```console\n$ ls\n```\n"
    first, second = run_docs.sessions(page)
    assert (run_docs.is_slow(first), run_docs.is_slow(second)) == (False, True)
    assert list(run_docs.problems([*run_docs.run(first), *run_docs.run(second)])) == []


REASON = re.compile(r'RowError\.\w+\(\s*f?"([a-z_]+)"|(?:reason=pl\.lit\(|place, )"([a-z_]+_[a-z_]+)"')


def test_the_guide_names_every_reason_of_quarantine() -> None:
    named = set(re.findall(r"`([a-z_]+)`", PAGES["docs/mapping.md"].partition("## Quarantine reasons")[2]))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "fraud3000" / "data").rglob("*.py"))
    reasons = {one or other for one, other in REASON.findall(code)} - {"a", "b"}
    assert len(reasons) > 10
    assert reasons - named == set()
