"""`init`: inspect raw files, guess how they map to transactions, and write a params file with every guess."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from fraud3000 import durations
from fraud3000.data.inspection import params_text
from fraud3000.data.inspection.guess import Doubt, Guess, guess, is_labels_file
from fraud3000.data.inspection.sample import Sample, take
from fraud3000.data.reading import files, times
from fraud3000.data.storage import atomic_write
from fraud3000.errors import DataError, ParamsError
from fraud3000.params import Params, PrepareModelParams, TimeFormat, parse
from fraud3000.stages.shared.summary import Summary, Table

_LONGEST_WINDOW = timedelta(days=90)  # of the default features
_BUDGET = 0.01  # share of a day's cards that the stated alert budget reviews


@dataclass(frozen=True)
class Inspection:
    """The guess of a set of files, and the params file that states it.

    Attributes
    ----------
    text
        Content of the params file.
    odd
        Files whose columns differ from those of the first file.
    """

    source: str
    guess: Guess
    text: str
    odd: tuple[str, ...] = ()

    def summary(self, written: Path | None) -> Summary:
        """Return the guess as tables, with doubts as warnings."""
        found = self.guess
        columns = tuple(
            (one.name, one.use, one.sample, f"{one.readable:.2%}", one.confidence, one.reason) for one in found.columns
        )
        frauds = "label" if "is_fraud" in found.roles else "labels in another file or none"
        return Summary(
            command="init",
            facts={
                "input": self.source,
                "rows inspected": found.rows,
                "time span": durations.text(int(found.span.total_seconds()) // 86_400 * 86_400) if found.span else None,
                "label delay": durations.text(int(found.label_delay.total_seconds())),
                "label": found.roles.get("is_fraud", frauds),
            },
            tables=(Table("Columns", ("column", "read as", "sample", "readable", "confidence", "note"), columns),),
            outputs={"params": str(written)} if written else {},
            warnings=(
                *(f"Decide {doubt.key}: {doubt.text}" for doubt in found.doubts),
                *(f"{name} has other columns than the first file." for name in self.odd),
            ),
            next_step=f"fraud3000 prepare --params {written}" if written else None,
        )

    def require_settled(self, written: Path) -> None:
        """Raise an error if a doubt must be settled before the params file can be used.

        Raises
        ------
        DataError
            Names what to decide.
        """
        if self.guess.blocked:
            listed = " ".join(doubt.text for doubt in self.guess.blocked)
            raise DataError(
                f"{self.source}: not everything could be guessed. {listed}",
                hint=f"Decide what {written} marks with DECIDE.",
            )


def init(sources: Sequence[Path | str], out: Path | str = "params.yaml", *, workspace: str = "data") -> Summary:
    """Inspect raw files and write a params file with every guess and every doubt.

    Parameters
    ----------
    sources
        Files, globs or folders with transactions; one of them may have only label records.
    out
        The params file to write; it must not exist.

    Raises
    ------
    DataError
        No file has transactions, or a file cannot be read.
    ParamsError
        The params file exists.
    """
    target = Path(out)
    require_free(target)
    return write(inspect(sources, workspace=workspace), target)


def require_free(target: Path) -> None:
    """Raise an error if the params file exists.

    Raises
    ------
    ParamsError
        It does; it is never overwritten.
    """
    if target.exists():
        raise ParamsError(f"{target}: exists and is not overwritten", hint="Name another file with --out.")


def write(inspection: Inspection, target: Path) -> Summary:
    """Write the params file of an inspection."""
    with atomic_write.atomic_outputs(target) as (part,):
        part.write_text(inspection.text, encoding="utf-8")
    return inspection.summary(target)


def with_guess(params: Params, source: str) -> tuple[Params, str | None]:
    """Return params whose input is a file; without a mapping in the params, with the guessed one and its params file.

    Raises
    ------
    ParamsError
        A doubt must be settled first.
    """
    section = params.prepare
    if section.source != PrepareModelParams().source or section.mapping:
        return params.model_copy(update={"prepare": section.model_copy(update={"input": source})}), None
    inspection = inspect([source], workspace=params.workspace)
    if inspection.guess.blocked:
        listed = " ".join(doubt.text for doubt in inspection.guess.blocked)
        raise ParamsError(
            f"{source}: its mapping cannot be guessed. {listed}",
            hint=f"Run `fraud3000 init {source}`, and decide what the params file marks with DECIDE.",
        )
    guessed = parse(yaml.safe_load(inspection.text))
    return params.model_copy(update={"prepare": guessed.prepare}), inspection.text


def inspect(sources: Sequence[Path | str], *, workspace: str = "data") -> Inspection:
    """Inspect raw files; writes nothing."""
    if not sources:
        raise ParamsError("init: no file is named", hint="Name your export: fraud3000 init export.csv")
    with tempfile.TemporaryDirectory(prefix="fraud3000-init-") as folder:
        found: list[tuple[str, list[Path], Sample]] = []
        for number, source in enumerate(map(str, sources)):
            paths = files.discover(source)
            found.append((source, paths, take(paths[0], Path(folder) / str(number))))
        label_files = [one for one in found if is_labels_file(one[2])]
        transactions = [one for one in found if one not in label_files]
        if not transactions:
            ragged = _ragged(found[0][2])
            raise DataError(
                f"{sources[0]}: no column looks like an amount, so these are no transactions{f'; {ragged}' if ragged else ''}",
                hint="Name the file with the transactions, or write the mapping by hand: docs/mapping.md.",
            )
        source, paths, sample = transactions[0]
        guessed = guess(sample)
        if ragged := _ragged(sample):
            guessed.doubts.append(Doubt("prepare.csv", f"In '{source}', {ragged}. These rows will be quarantined."))
        labels = _labels_section(label_files, guessed) if label_files else None
        odd = _odd_files(paths, sample, Path(folder) / "odd")
    text = params_text.write(guessed, source, labels=labels, workspace=workspace, extra=_extra(guessed, sample))
    return Inspection(source, guessed, text, odd)


def _ragged(sample: Sample) -> str:
    """Describe lines with another number of fields than the header; empty if there are none."""
    if not sample.ragged:
        return ""
    lines = sample.ragged + sample.rows.height
    return f"{sample.ragged:,} of {lines:,} inspected lines have another number of fields than the header"


def _labels_section(found: Sequence[tuple[str, list[Path], Sample]], guessed: Guess) -> dict[str, Any]:
    """State how a file of label records is read, and drop the doubts that it settles."""
    source, _, sample = found[0]
    labels = guess(sample)
    roles = labels.roles
    key = roles.get("transaction_id") or next(iter(sample.rows.columns))
    section: dict[str, Any] = {"input": source, "transaction_id": key, "is_fraud": roles.get("is_fraud")}
    if roles.get("reported_at") == section["is_fraud"]:
        section["is_fraud"] = None
    if "label" in labels.mapping and section["is_fraud"] is not None:
        section["label"] = labels.mapping["label"]
    reported = roles.get("reported_at") or roles.get("ts")
    if isinstance(reported, str):
        section["reported_at"] = reported
        form = labels.mapping.get("report_time") or labels.mapping.get("time")
        if form:
            section["time"] = form
    if labels.form is not None and (form := params_text.changed(labels.form)):
        section["csv"] = form
    guessed.doubts = [one for one in guessed.doubts if one.key != "prepare.label_delay" and not one.blocks]
    return section


def _odd_files(paths: Sequence[Path], sample: Sample, folder: Path) -> tuple[str, ...]:
    """Files of the same input whose columns differ."""
    expected = set(sample.rows.columns)
    odd = []
    for number, path in enumerate(paths[1:]):
        try:
            columns = set(take(path, folder / str(number)).rows.columns)
        except DataError:
            columns = set()
        if columns != expected:
            odd.append(str(path))
    return tuple(odd)


def _extra(guessed: Guess, sample: Sample) -> dict[str, dict[str, Any]]:
    """Burn-in and alert budget that fit the data."""
    roles = guessed.roles
    if "ts" not in roles:
        return {"featurize": {"split": {"by": "random"}}, "policy": {"threshold": "cost"}}
    extra: dict[str, dict[str, Any]] = {}
    if guessed.span is not None and guessed.span < 3 * (_LONGEST_WINDOW + guessed.label_delay):
        extra["featurize"] = {"burn_in": f"{max(0, math.floor(guessed.span / timedelta(days=1) / 6))}d"}
    if sample.whole:
        extra["policy"] = {"cards_per_day": max(1, round(_BUDGET * _per_day(guessed, sample)))}
    return extra


def _per_day(guessed: Guess, sample: Sample) -> float:
    """Mean number of cards of a day; of transactions if there are no cards."""
    rows, parts = sample.rows, {role: _names(names) for role, names in guessed.roles.items()}
    form = TimeFormat.model_validate(guessed.mapping.get("time", {}))
    days = times.read([rows[name] for name in parts["ts"]], form).dt.date().alias("day")
    numbers = rows.select(card=pl.struct(parts["card_id"]).hash() if "card_id" in parts else pl.int_range(pl.len()))
    counted = numbers.with_columns(days).drop_nulls().unique().group_by("day").len()
    return float(counted["len"].mean() or 0.0)  # type: ignore[arg-type]


def _names(stated: str | Sequence[str]) -> list[str]:
    return [stated] if isinstance(stated, str) else list(stated)
