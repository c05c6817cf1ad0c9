"""Write a guess as a params file, with every guess visible and every doubt as a comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fraud3000 import durations
from fraud3000.data.inspection.guess import Doubt, Guess
from fraud3000.data.inspection.yaml_line import comment, inline, scalar
from fraud3000.params import CsvFormat

_ORDER = ("time", "report_time", "label", "status", "amount")


def write(
    guess: Guess, source: str, *, labels: Mapping[str, Any] | None, workspace: str, extra: Mapping[str, Any]
) -> str:
    """Return the text of a params file.

    Parameters
    ----------
    source
        `prepare.input`.
    labels
        Keys of `prepare.labels`; None if the labels are in the transactions.
    extra
        Further sections, such as `featurize`.
    """
    return "\n".join([*_head(source), *_lines(guess, source, labels, workspace, extra)]) + "\n"


def _head(source: str) -> Iterator[str]:
    yield f"# Written by `fraud3000 init` from a sample of {comment(source)}. Lines marked DECIDE state what the file alone does not settle."
    yield "# docs/params.md lists every key."
    yield ""


def _lines(
    guess: Guess, source: str, labels: Mapping[str, Any] | None, workspace: str, extra: Mapping[str, Any]
) -> Iterator[str]:
    doubts: dict[str, list[Doubt]] = {}
    for doubt in guess.doubts:
        doubts.setdefault(doubt.key, []).append(doubt)
    yield from (
        f"workspace: {scalar(workspace)}",
        "",
        "prepare:",
        f"  input: {scalar(source)}",
        f"  source: {guess.source}",
    )
    yield from _decide(doubts.pop("FRAUD3000_PAN_KEY", []), 2)
    yield f"  label_delay: {durations.text(int(guess.label_delay.total_seconds()))}"
    yield from _decide(doubts.pop("prepare.label_delay", []), 2)
    if guess.form is not None and (form := changed(guess.form)):
        yield f"  csv: {inline(form)}"
    if guess.source == "custom":
        yield "  mapping:"
        yield from _mapping(guess, doubts)
    sections = {"  labels": labels} if labels is not None else {}
    yield from (line for name, section in sections.items() for line in _plain_section(name, section))
    yield from (line for left in doubts.values() for line in _decide(left, 2))
    yield from (line for name, section in extra.items() for line in ("", *_plain_section(name, section)))


def _plain_section(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}:"
    indent = " " * (2 + len(name) - len(name.lstrip()))
    yield from (f"{indent}{key}: {inline(value)}" for key, value in content.items())


def _mapping(guess: Guess, doubts: dict[str, list[Doubt]]) -> Iterator[str]:
    yield "    columns:"
    for role, names in guess.roles.items():
        yield f"      {role}: {inline(names)}"
        yield from _decide(doubts.pop(f"prepare.mapping.columns.{role}", []), 6)
    for key in [key for key in doubts if key.startswith("prepare.mapping.columns.")]:
        yield from _decide(doubts.pop(key), 6)
    for key in ("numeric", "categorical"):
        if key in guess.mapping:
            yield f"    {key}: {inline(guess.mapping[key])}"
    yield from _dropped(guess)
    for key in _ORDER:
        yield from _section(key, guess.mapping.get(key), doubts)


def _dropped(guess: Guess) -> Iterator[str]:
    names = guess.mapping.get("drop", ())
    if not names:
        return
    reasons = {column.name: column.reason for column in guess.columns}
    yield "    drop:"
    for name in names:
        yield f"      - {scalar(name)}" + (f"  # {reasons[name]}" if reasons.get(name) else "")


def _section(key: str, content: Any, doubts: dict[str, list[Doubt]]) -> Iterator[str]:
    here = [
        doubt
        for name in list(doubts)
        if name == f"prepare.mapping.{key}" or name.startswith(f"prepare.mapping.{key}.")
        for doubt in doubts.pop(name)
    ]
    if content:
        yield f"    {key}:"
        for name, value in content.items():
            yield f"      {name}: {inline(value)}"
    elif any(doubt.line for doubt in here):
        yield f"    {key}: {{}}"
    yield from _decide(here, 6)


def _decide(doubts: Sequence[Doubt], indent: int) -> Iterator[str]:
    for doubt in doubts:
        yield f"{' ' * indent}# DECIDE: {comment(doubt.text)}"
        if doubt.line:
            yield f"{' ' * indent}# {comment(doubt.line)}"


def changed(form: CsvFormat) -> dict[str, Any]:
    """Return the keys of a format that differ from the defaults."""
    default = CsvFormat().model_dump()
    changed = {key: value for key, value in form.model_dump().items() if value != default[key]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in changed.items()}
