"""Check a mapping on a sample of a file: every fault of every role, each with the key to change and a value for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data.cleaning import cards, column_types, roles, sensitive
from fraud3000.data.cleaning.row_errors import Rejections, RowError
from fraud3000.data.inspection import meanings, params_text, time_guess
from fraud3000.data.inspection.sample import Sample, take
from fraud3000.data.inspection.yaml_line import inline
from fraud3000.data.reading.columns import ColumnLayout, resolve
from fraud3000.data.reading.raw_table import RawFile
from fraud3000.errors import DataError, FraudError, ParamsError, SchemaError, nearest
from fraud3000.params import ColumnMapping, ColumnRoles, CsvFormat, TimeFormat

LARGE = 0.01
"""Share of the rows from which the errors of a role count as a role that cannot be read."""

_ROLE_OF_CODE = {"time": "ts", "label": "is_fraud", "ragged": "file", "conflicting": "transaction_id"}
_KEY_OF_ROLE = {
    "ts": "prepare.mapping.time",
    "is_fraud": "prepare.mapping.label",
    "status": "prepare.mapping.status",
    "reported_at": "prepare.mapping.report_time",
    "currency": "prepare.mapping.amount.rates",
    "amount": "prepare.csv.decimal",
    "file": "prepare.csv",
}
_MOST_VALUES = 60  # of a column whose values can be listed
_NUMBER_COLUMNS = ("card_lat", "card_long", "terminal_lat", "terminal_long")


@dataclass(frozen=True)
class Fault:
    """One kind of fault of one role.

    Attributes
    ----------
    role
        The role, a passthrough column, or ``file``.
    problem
        The reason code with which rows are rejected, or what is wrong with the whole column.
    rows
        Number of the sampled rows that have it; None if the whole role has it.
    share
        Share of the sampled rows.
    example
        A value, card numbers masked.
    key, value
        The key of the params to change, and a value for it; the value is empty if none can be proposed.
    unreadable
        True if the role cannot be read, so that `prepare` would stop or lose many rows.
    """

    role: str
    problem: str
    rows: int | None
    share: float
    example: str
    key: str
    value: str
    unreadable: bool

    @property
    def change(self) -> str:
        """What to change, as a sentence."""
        if self.value:
            return f"{self.role}: set {self.key}: {self.value}"
        return f"{self.role}: change {self.key} ({self.problem})."

    def within(self, section: str) -> Fault:
        """Return the fault with its key in another section, whose columns are keys of their own."""
        key = self.key.replace("prepare.mapping.columns.", f"{section}.").replace(
            "prepare.mapping.report_time", f"{section}.time"
        )
        return replace(
            self, key=key.replace("prepare.mapping.", f"{section}.").replace("prepare.csv", f"{section}.csv")
        )


@dataclass(frozen=True)
class MappingCheck:
    """Result of `check`.

    Attributes
    ----------
    rows
        Number of sampled rows.
    faults
        The faults, the most frequent first.
    rejections
        Rows that would be rejected, among frauds and among other rows.
    """

    rows: int
    faults: tuple[Fault, ...]
    rejections: Rejections


def check(path: Path, rules: roles.CleaningRules, folder: Path) -> MappingCheck:
    """Read a sample of a raw file by a mapping and collect all faults.

    Parameters
    ----------
    rules
        The mapping, with `csv` as the params state it.
    folder
        Where parts of the file are copied.

    Raises
    ------
    DataError
        The file cannot be read, is not a data file, or is empty.
    """
    guessed = take(path, folder / "guessed")
    sample, faults = _in_stated_format(path, rules.mapping, guessed, folder)
    rules = replace(rules, mapping=rules.mapping.model_copy(update={"csv": sample.form or CsvFormat()}))
    layout, found = _layout(sample, rules.mapping)
    faults += found
    numbers = pl.int_range(1, sample.rows.height + 1, eager=True, dtype=pl.Int64).alias("source_row")
    raw = RawFile(path, sample.rows, numbers, pl.DataFrame(), str(path))
    errors = roles.find_errors(raw, layout, rules)
    suggest = _Suggestions(sample, layout, guessed.form)
    faults += [_whole(role, error, suggest) for role, error in errors.whole.items()]
    faults += _row_faults(errors, sample, suggest)
    faults += _passthrough_faults(errors, sample, layout)
    rejections = _rejections(errors, sample.rows.height)
    return MappingCheck(sample.rows.height, tuple(sorted(faults, key=lambda fault: -fault.share)), rejections)


def _in_stated_format(path: Path, mapping: ColumnMapping, guessed: Sample, folder: Path) -> tuple[Sample, list[Fault]]:
    """Sample a file in the format that the params state; in the guessed one if no mapped column is found that way."""
    if guessed.form is None:
        return guessed, []
    stated = take(path, folder / "stated", mapping.csv)
    wrong = _missing(stated, mapping) - _missing(guessed, mapping)
    changed = inline(params_text.changed(guessed.form))
    if not wrong:
        return stated, list(_text_faults(stated, changed))
    seen = ", ".join(stated.rows.columns[:2])[:40]
    return guessed, [Fault("file", "columns not found", None, 1.0, seen, "prepare.csv", changed, unreadable=True)]


def _text_faults(sample: Sample, proposed: str) -> Iterator[Fault]:
    """Yield faults of the lines of a text file: another number of fields, characters that cannot be decoded."""
    lines = max(1, sample.ragged + sample.rows.height)
    if sample.ragged:
        share = sample.ragged / lines
        yield Fault("file", "wrong number of fields", sample.ragged, share, "", "prepare.csv", proposed, share > LARGE)
    replaced = sample.rows.filter(pl.any_horizontal(pl.all().str.contains("\ufffd", literal=True)))
    if replaced.height:
        share = replaced.height / lines
        key = "prepare.csv.encoding"
        yield Fault("file", "not in the stated encoding", replaced.height, share, "", key, proposed, share > LARGE)


def _missing(sample: Sample, mapping: ColumnMapping) -> set[str]:
    _, faults = _layout(sample, mapping)
    return {fault.role for fault in faults if fault.problem.startswith("column")}


def _layout(sample: Sample, mapping: ColumnMapping) -> tuple[ColumnLayout, list[Fault]]:
    """Find the columns of all roles; roles whose columns are missing or cannot be read are left out and reported."""
    faults: list[Fault] = []
    while True:
        stated = tuple(ColumnRoles.model_fields)
        try:
            layout = resolve(sample.rows.columns, mapping, thing=str(sample.path), optional=stated)
        except SchemaError as error:
            if not error.missing:
                raise
            faults += [_missing_column(name, mapping, sample.rows.columns) for name in error.missing]
            mapping = _without(mapping, error.missing)
            continue
        break
    for role, names in mapping.columns.model_dump().items():
        if names is not None and role not in layout.roles:
            name = names if isinstance(names, str) else names[0]
            faults.append(_missing_column(name, mapping, sample.rows.columns, role))
    faults += list(_forbidden(sample, layout))
    readable = {}
    for role, names in layout.roles.items():
        try:
            column_types.check_roles(sample.rows.schema, {role: names}, thing=role)
        except SchemaError as error:
            faults.append(_fault_of_error(role, error, f"prepare.mapping.columns.{role}"))
        else:
            readable[role] = names
    return replace(layout, roles=readable), faults


def _missing_column(name: str, mapping: ColumnMapping, columns: list[str], role: str | None = None) -> Fault:
    """Return the fault of a column that is missing; without a role, find the one that names it."""
    if role is None:
        stated = mapping.columns.model_dump()
        role = next((role for role, names in stated.items() if names == name or name in (names or ())), None)
    passed_through = "numeric" if name in mapping.numeric else "categorical"
    key = f"prepare.mapping.{passed_through}" if role is None else f"prepare.mapping.columns.{role}"
    problem, near = f"column '{name}' is missing", nearest(name, columns)[:60]
    return Fault(role or name, problem, None, 1.0, near, key, "", unreadable=True)


def _without(mapping: ColumnMapping, names: tuple[str, ...]) -> ColumnMapping:
    left = {
        role: None if isinstance(parts, (list, tuple)) and set(parts) & set(names) else parts
        for role, parts in mapping.columns.model_dump().items()
    }
    return mapping.model_copy(
        update={
            "columns": ColumnRoles.model_validate(
                {role: None if parts in names else parts for role, parts in left.items()}
            ),
            "numeric": tuple(name for name in mapping.numeric if name not in names),
            "categorical": tuple(name for name in mapping.categorical if name not in names),
        }
    )


def _forbidden(sample: Sample, layout: ColumnLayout) -> Iterator[Fault]:
    """Yield faults of columns that must not be stored."""
    try:
        sensitive.refuse(column_types.as_plain(sample.rows.lazy()), layout, thing="file")
    except DataError as error:
        yield _fault_of_error("file", error, "prepare.mapping.drop")


def _fault_of_error(role: str, error: FraudError, key: str, value: str = "") -> Fault:
    text = error.message.split(": ", 1)[-1]
    return Fault(role, text, None, 1.0, "", key, value, unreadable=True)


def _whole(role: str, error: FraudError, suggest: _Suggestions) -> Fault:
    key, value = suggest.change(role)
    if isinstance(error, ParamsError) and error.message.startswith("prepare."):
        key = error.message.split(":", 1)[0]
    return _fault_of_error(role, error, key, value)


def _row_faults(errors: roles.RoleErrors, sample: Sample, suggest: _Suggestions) -> Iterator[Fault]:
    height = max(1, sample.rows.height)
    for error in (*errors.rows, *_conflicts(errors.columns)):
        if not len(error.rows):
            continue
        role = _role_of(error.code)
        share = len(error.rows) / height
        key, value = suggest.change(role, error.code)
        example = cards.mask(error.details[0])[:60]
        yield Fault(role, error.code, len(error.rows), share, example, key, value, share > LARGE)


def _role_of(code: str) -> str:
    """The role that a reason code belongs to.

    Examples
    --------
    >>> _role_of("time_unreadable"), _role_of("card_id_missing"), _role_of("amount_too_large")
    ('ts', 'card_id', 'amount')
    """
    for role in ColumnRoles.model_fields:
        if code.startswith(role):
            return role
    return _ROLE_OF_CODE.get(code.split("_", 1)[0], code.split("_", 1)[0])


def _conflicts(columns: dict[str, pl.Series]) -> Iterator[RowError]:
    """Yield the rows of the sample that share their id with a row of other content."""
    if "transaction_id" not in columns:
        return
    rows = pl.DataFrame(columns).with_row_index("row").unique(list(columns), keep="first", maintain_order=True)
    again = rows.filter(~pl.col("transaction_id").is_first_distinct() & pl.col("transaction_id").is_not_null())
    if again.height:
        details = pl.select(pl.lit("another row has id ") + pl.lit(again["transaction_id"])).to_series()
        yield RowError("conflicting_duplicate", again["row"], details)


def _passthrough_faults(errors: roles.RoleErrors, sample: Sample, layout: ColumnLayout) -> Iterator[Fault]:
    """Yield columns with values that become null."""
    for name, count in errors.nulled.items():
        if not count:
            continue
        share = count / max(1, sample.rows.height)
        if name == "reported_at":
            parts = [sample.rows[raw] for raw in layout.roles[name]]
            key, value = "prepare.mapping.report_time", _time_text(parts)
            share = count / max(1, parts[0].drop_nulls().len())
        elif name in _NUMBER_COLUMNS:
            key, value = f"prepare.mapping.columns.{name}", "null"
        else:
            key, value = "prepare.mapping.categorical", f"[…, {layout.numeric.get(name, name)}]"
        raw = layout.roles.get(name, (layout.numeric.get(name, name),))[0]
        yield Fault(name, "value_unreadable", count, share, _odd_value(sample.rows[raw]), key, value, share > 0.5)


def _odd_value(values: pl.Series) -> str:
    """An example of a value that is not a plain number; empty if there is none."""
    text = values.drop_nulls().cast(pl.String, strict=False)
    odd = text.filter(text.cast(pl.Float64, strict=False).is_null())
    return cards.mask(str(odd[0]))[:40] if len(odd) else ""


def _rejections(errors: roles.RoleErrors, height: int) -> Rejections:
    rejected = pl.Series("rejected", [False], dtype=pl.Boolean).new_from_index(0, height)
    for error in errors.rows:
        if len(error.rows):
            rejected = rejected.scatter(error.rows, True)
    label = errors.columns.get("is_fraud")
    fraud = (label == 1).fill_null(value=False) if label is not None else pl.Series([False]).new_from_index(0, height)
    frauds = int(fraud.sum())
    rejected_frauds = int((fraud & rejected).sum())
    return Rejections(frauds, rejected_frauds, height - frauds, int(rejected.sum()) - rejected_frauds)


class _Suggestions:
    """Proposes for a role the key to change and a value, from the values in the sample."""

    def __init__(self, sample: Sample, layout: ColumnLayout, guessed: CsvFormat | None) -> None:
        self._sample, self._layout, self._guessed = sample, layout, guessed

    def change(self, role: str, code: str = "") -> tuple[str, str]:
        """Return a key of the params, and a value for it; the value is empty if none can be proposed."""
        if code == "time_out_of_range":
            return "prepare.earliest", ""
        if code.endswith("_card_number"):
            return "prepare.mapping.card_like_ids", inline([role])
        if code == "currency_no_rate":
            return _KEY_OF_ROLE["currency"], ""
        key = _KEY_OF_ROLE.get(role, f"prepare.mapping.columns.{role}")
        proposals = {"ts": self._time, "is_fraud": self._label, "status": self._status, "amount": self._amount}
        return key, proposals[role]() if role in proposals and role in self._layout.roles else ""

    def _parts(self, role: str) -> list[pl.Series]:
        return [self._sample.rows[name] for name in self._layout.roles[role]]

    def _time(self) -> str:
        return _time_text(self._parts("ts"))

    def _label(self) -> str:
        values = self._parts("is_fraud")[0]
        folded = values.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase()
        counts = folded.fill_null("").value_counts(sort=True)
        distinct: list[str] = [value for value in counts[counts.columns[0]].to_list() if value]
        if len(distinct) > _MOST_VALUES:
            return ""
        form, _ = meanings.label_format(distinct, blank="" in counts[counts.columns[0]].to_list())
        return inline(form)

    def _status(self) -> str:
        values = self._parts("status")[0].cast(pl.String, strict=False)
        distinct = values.drop_nulls().unique().to_list()
        form, _ = meanings.status_format(distinct, blank=values.null_count() > 0)
        return inline(form) if len(distinct) <= _MOST_VALUES else ""

    def _amount(self) -> str:
        form = self._sample.form
        if form is None or self._guessed is None or self._guessed.decimal == form.decimal:
            return ""
        return inline(self._guessed.decimal)


def _time_text(parts: list[pl.Series]) -> str:
    found = time_guess.guess(parts)
    return "" if found is None else inline(_changed_time(found.form))


def _changed_time(form: TimeFormat) -> dict[str, Any]:
    return form.model_dump(mode="json", exclude_defaults=True) or {"format": "iso"}
