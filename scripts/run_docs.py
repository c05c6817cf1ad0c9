"""Run the examples of a docs page and compare their output; with --write, update the page.

A page is one or more bash sessions, each in its own folder, with the project's environment on PATH:

- ```` ```console ````: lines that begin with ``$ `` are run (with an open quote or a backslash at the end they continue
  in the next line); the lines after it are the expected output, including stderr. ``...`` matches anything, as in a doctest.
- ```` ```yaml file=params.yaml ````, with any language: the block is written to that file before the next command.
- ```` ```console notest reason="takes a day" ````: shown, not run. Without a reason it is refused.
- ``<!-- new session -->``: what follows is another session. The next two marks hold for the session they are in.
- ``<!-- files: params.yaml scripts -->``: files and folders of the project that the folder holds from the start.
- ``<!-- slow -->``: the session is run by the slow tests.

A command must succeed, unless the next one is ``echo $?``. Background processes are stopped at the end of the session.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 1_800
"""Timeout of a session in seconds."""
_LOGGED = re.compile(r"^[0-9]{2}:[0-9]{2}:[0-9]{2} (.+) seconds=[0-9.]+$", re.MULTILINE)
"""A log line, which begins with the time and ends with the duration."""

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILES = re.compile(r"^<!-- files: (.+?) -->$", re.MULTILINE)
_NEW = re.compile(r"^(?=<!-- new session -->$)", re.MULTILINE)
_END = "\x1e"
_SETTINGS = ("FRAUD3000_", "MLFLOW_", "AWS_", "DVC_", "GIT_", "PYTHON")
"""Prefixes of environment variables that are removed, because a reader does not have them."""


@dataclass(frozen=True)
class Block:
    """Fenced block of a page.

    Attributes
    ----------
    language, attributes
        Parts of its info string; an attribute without a value has an empty text.
    body
        Text of the block.
    start, end
        Offsets of the body in the page.
    """

    language: str
    attributes: dict[str, str]
    body: str
    start: int
    end: int

    @property
    def runs(self) -> bool:
        return self.language == "console" and "notest" not in self.attributes


@dataclass(frozen=True)
class Example:
    """Command of a page, its expected output, and its output once it ran.

    Attributes
    ----------
    status
        Exit code; None if the session ended before.
    """

    command: str
    expected: str
    found: str = ""
    status: int | None = None

    @property
    def matches(self) -> bool:
        return _matches(self.expected, self.found)


def blocks(page: str) -> list[Block]:
    r"""Find the fenced blocks of a page.

    Raises
    ------
    ValueError
        A block is not run and gives no reason.

    Examples
    --------
    >>> [found] = blocks('```console notest reason="takes a day"\n$ make bench\n```\n')
    >>> found.language, found.attributes["reason"], found.runs
    ('console', 'takes a day', False)
    """
    found = []
    for match in _FENCE.finditer(page):
        language, *words = shlex.split(match["info"]) or [""]
        attributes = {name: value for name, _, value in (word.partition("=") for word in words)}
        if "notest" in attributes and not attributes.get("reason"):
            raise ValueError(f"a block is not run and gives no reason: {match['body'].splitlines()[0]}")
        found.append(Block(language, attributes, match["body"], match.start("body"), match.end("body")))
    return found


def examples(body: str) -> list[Example]:
    r"""Split a console block into commands and their expected outputs.

    Examples
    --------
    >>> [(one.command, one.expected) for one in examples("$ echo 1 \\\n  2\n1 2\n$ true\n")]
    [('echo 1 \\\n  2', '1 2\n'), ('true', '')]
    """
    found: list[Example] = []
    lines = iter(body.splitlines())
    for line in lines:
        if line.startswith("$ "):
            found.append(Example(_whole(line[2:], lines), ""))
        elif found:
            found[-1] = replace(found[-1], expected=found[-1].expected + line.rstrip() + "\n")
        else:
            raise ValueError(f"a console block begins with what a command prints: {line}")
    return found


def sessions(page: str) -> list[str]:
    r"""Split a page into its sessions; joined, they are the page.

    Examples
    --------
    >>> sessions("# One\n<!-- new session -->\n# Two\n")
    ['# One\n', '<!-- new session -->\n# Two\n']
    """
    return _NEW.split(page)


def run(session: str) -> list[Example]:
    """Run the commands of a session in order, and return them with their outputs."""
    wanted = [example for block in blocks(session) if block.runs for example in examples(block.body)]
    if not wanted:
        return []
    with tempfile.TemporaryDirectory(prefix="page-") as place:
        folder = Path(place).resolve() / "page"
        _fill(folder, session)
        printed = _session(_script(blocks(session)), folder)
    parts = re.split(f"{_END}([0-9]+){_END}", printed.replace(str(folder), "..."))
    told = itertools.zip_longest(parts[::2], (int(status) for status in parts[1::2]))
    ends = itertools.chain(told, itertools.repeat(("", None)))
    return [
        replace(one, found=_stripped(text), status=status) for one, (text, status) in zip(wanted, ends, strict=False)
    ]


def problems(ran: Sequence[Example]) -> Iterator[str]:
    """Describe the commands whose output or exit code differs from the page."""
    for place, example in enumerate(ran):
        asked = place + 1 < len(ran) and ran[place + 1].command == "echo $?"
        if example.status is None:
            yield f"$ {example.command}\n(the session ended before)"
        elif example.status and not asked:
            yield f"$ {example.command}\n(exit code {example.status})\n{example.found}"
        elif not example.matches:
            yield f"$ {example.command}\n--- as shown\n{example.expected}--- as printed\n{example.found}"


def written(session: str, ran: Iterable[Example]) -> str:
    """Insert the outputs of commands into the text of the session; text that still matches stays, with its ``...``."""
    results = iter(ran)
    parts, at = [], 0
    for block in blocks(session):
        if block.runs:
            shown = "".join(f"$ {one.command}\n{_shown(one)}" for one in (next(results) for _ in examples(block.body)))
            parts += [session[at : block.start], shown]
            at = block.end
    return "".join([*parts, session[at:]])


def _whole(command: str, more: Iterator[str]) -> str:
    """Append lines while a quote is open or the last line ends with a backslash."""
    while True:
        try:
            shlex.split(command, comments=True)
        except ValueError as error:
            following = next(more, None)
            if following is None:
                raise ValueError(f"a command does not end: {command}") from error
            command += "\n" + following
        else:
            return command


def is_slow(session: str) -> bool:
    """Return whether the session is run by the slow tests."""
    return bool(re.search(r"^<!-- slow -->$", session, re.MULTILINE))


def _shown(example: Example) -> str:
    """Return the output; what differs in every run, and lines that match an expected line with ``...``, become ``...``."""
    if example.matches:
        return example.expected
    elided = [line for line in example.expected.splitlines() if "..." in line and line.strip(". ")]
    found = _LOGGED.sub(r"... \1 ...", example.found)
    lines = (next((old for old in elided if _matches(old, line)), line) for line in found.splitlines())
    return "".join(line + "\n" for line in lines)


def _stripped(text: str) -> str:
    """Strip trailing spaces of lines, which are invisible."""
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def _matches(expected: str, found: str) -> bool:
    return doctest.OutputChecker().check_output(expected, found, doctest.ELLIPSIS)


def _fill(folder: Path, session: str) -> None:
    folder.mkdir()
    for name in (name for listed in _FILES.findall(session) for name in listed.split()):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)


def _script(found: Iterable[Block]) -> str:
    """Return the session as one script that prints each command's exit code between two markers."""
    lines = ["page=$PWD"]
    for block in found:
        if block.runs:
            for example in examples(block.body):
                mark = f"printf '{_END}%s{_END}' \"$status\""
                lines += [example.command, f'status=$?; {mark}; (exit "$status")']
        elif "file" in block.attributes:
            target = f'"$page"/{shlex.quote(block.attributes["file"])}'
            lines += [f"mkdir -p \"$(dirname {target})\" && cat > {target} <<'{_END}'", block.body + _END]
    return "\n".join(lines) + "\n"


def _session(script: str, folder: Path) -> str:
    """Run a script in its own process group, and stop the group afterwards."""
    place = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    place |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
    }
    file = folder.parent / "page.sh"
    file.write_text(script, encoding="utf-8")
    printed = folder.parent / "printed"
    with printed.open("wb") as output:
        session = subprocess.Popen(
            ["bash", "--noprofile", "--norc", str(file)],
            cwd=folder,
            env=place,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            session.wait(timeout=LONGEST)
        finally:
            _stop(session)
    return printed.read_text(encoding="utf-8", errors="replace").replace(f"{file}: ", "")


def _stop(session: subprocess.Popen[bytes]) -> None:
    """Terminate the remaining processes of a session, then kill them."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session.pid, signal.SIGTERM)
        for _ in range(100):
            session.poll()
            os.killpg(session.pid, 0)
            time.sleep(0.1)
        os.killpg(session.pid, signal.SIGKILL)
    session.wait()


def main() -> int:
    """Check or update the pages given as arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="Update the pages with the output of the commands.")
    parser.add_argument("pages", nargs="+", type=Path)
    asked = parser.parse_args()
    failed = 0
    for path in asked.pages:
        parts = sessions(path.read_text(encoding="utf-8"))
        for place, session in enumerate(parts):
            ran = run(session)
            if asked.write and None not in {one.status for one in ran}:
                parts[place] = written(session, ran)
                ran = [replace(one, expected=_shown(one)) for one in ran]
                path.write_text("".join(parts), encoding="utf-8")
            for problem in problems(ran):
                failed += 1
                print(f"{path}: {problem}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
