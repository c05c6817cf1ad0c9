"""Guess the mapping of a raw file: format, role of each column, formats of times, labels, statuses and amounts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl

from fraud3000.data import target_leakage
from fraud3000.data.cleaning import amounts, cards, missing, sources, value_mapping
from fraud3000.data.inspection import meanings, time_guess, words
from fraud3000.data.inspection.sample import Sample
from fraud3000.data.inspection.yaml_line import scalar
from fraud3000.data.reading import number_text, times
from fraud3000.params import AmountFormat, ColumnMapping, CsvFormat, LabelFormat, TimeFormat
from fraud3000.redact import passes_luhn

LEAST = 0.5
"""Score from which a column may have a role."""
_NEAR = 0.15  # two columns whose scores for the label differ by less are told apart by nobody but the user
_MOST_CATEGORIES = 250
_LONG_TEXT = 30
_RARE = 0.35  # largest share of the rarer values of a label
_MOST, _NEARLY_ALL = 0.8, 0.95
_SMALL = 50  # rows below which repetition says nothing
_MOST_STATUSES = 60
_DELAYS_IN_SPAN = 15
"""The label delay may be this fraction of the time span: the split loses it three times."""
_DEFAULT_DELAY = timedelta(days=7)


@dataclass(frozen=True)
class ColumnGuess:
    """One column: what it is taken for, and how sure that is.

    Attributes
    ----------
    use
        A role, ``numeric``, ``categorical`` or ``drop``.
    readable
        Share of the sampled values that can be read by the guess.
    confidence
        ``high``, ``medium`` or ``low``.
    reason
        Why it is dropped or in doubt; may be empty.
    """

    name: str
    use: str
    sample: str
    readable: float
    confidence: str
    reason: str = ""


@dataclass(frozen=True)
class Doubt:
    """A decision that the file alone does not settle.

    Attributes
    ----------
    key
        The key of the params that states the decision.
    text
        What to decide.
    line
        A YAML line that states the other choice; written as a comment.
    blocks
        True if a wrong guess would be dangerous, so that nothing is guessed.
    """

    key: str
    text: str
    line: str = ""
    blocks: bool = False


@dataclass
class Guess:
    """The mapping of a file, column by column, with what is in doubt.

    Attributes
    ----------
    source
        `prepare.source`: a known data set, whose mapping needs no statement, or ``custom``.
    """

    source: str = "custom"
    columns: list[ColumnGuess] = field(default_factory=list)
    mapping: dict[str, Any] = field(default_factory=dict)
    form: CsvFormat | None = None
    label_delay: timedelta = _DEFAULT_DELAY
    doubts: list[Doubt] = field(default_factory=list)
    span: timedelta | None = None
    rows: int = 0

    @property
    def roles(self) -> dict[str, Any]:
        """Role to the name or names of its columns."""
        return dict(self.mapping.get("columns", {}))

    @property
    def blocked(self) -> list[Doubt]:
        return [doubt for doubt in self.doubts if doubt.blocks]


def guess(sample: Sample) -> Guess:
    """Guess the mapping of a file of transactions.

    Parameters
    ----------
    sample
        Rows of the file; the guess does not look further.
    """
    for name, mapping in sources.SOURCES.items():
        if name != "custom" and _is_known(sample, mapping):
            return _known(sample, name, mapping)
    return _Guesser(sample).run()


def _is_known(sample: Sample, mapping: ColumnMapping) -> bool:
    """Whether a file has every column that a known data set maps or drops."""
    mapped = [name for names in _columns(mapping).values() for name in ([names] if isinstance(names, str) else names)]
    return set(sample.rows.columns) >= {*mapped, *mapping.numeric, *mapping.drop}


def _columns(mapping: ColumnMapping) -> dict[str, Any]:
    return {role: names for role, names in mapping.columns.model_dump().items() if names is not None}


def _known(sample: Sample, name: str, mapping: ColumnMapping) -> Guess:
    uses = {
        column: role
        for role, names in _columns(mapping).items()
        for column in ([names] if isinstance(names, str) else names)
    }
    uses |= dict.fromkeys(mapping.numeric, "numeric") | dict.fromkeys(mapping.categorical, "categorical")
    found = Guess(source=name, rows=sample.rows.height, mapping={"columns": _columns(mapping)})
    for column in sample.rows.columns:
        text = _present(sample.rows[column])
        shown = cards.mask(str(text[0]))[:24] if len(text) else ""
        found.columns.append(ColumnGuess(column, uses.get(column, "drop"), shown, 1.0, "high", f"known: {name}"))
    if mapping.columns.ts is not None:
        ts = times.read(
            [sample.rows[column] for column, role in uses.items() if role == "ts"], mapping.time
        ).drop_nulls()
        first, last = ts.min(), ts.max()
        found.span = last - first if len(ts) else None  # type: ignore[operator,assignment]
        found.mapping["time"] = mapping.time.model_dump()
    if mapping.card_numbers == "yes":
        found.doubts.append(_pan_key(str(mapping.columns.card_id)))
    if mapping.columns.reported_at is None:
        found.doubts.append(_NO_REPORTS)
    return found


def _pan_key(name: str) -> Doubt:
    return Doubt(
        "FRAUD3000_PAN_KEY",
        f"'{name}' contains card numbers, which are stored as keyed hashes: set a key first,"
        " `export FRAUD3000_PAN_KEY=$(fraud3000 keys pan)`.",
    )


_NO_REPORTS = Doubt(
    "prepare.label_delay",
    "No column states when a fraud was reported: state after how long no report means legitimate.",
    "label_delay: 30d",
)


def is_labels_file(sample: Sample) -> bool:
    """Whether a file has label records and no transactions: an id or a card, and no column of amounts."""
    guesser = _Guesser(sample)
    best = guesser.scores("amount")
    return not any(score >= LEAST for _, score in best)


class _Guesser:
    """Collects the guess role by role; a column that has a role is not considered for others."""

    def __init__(self, sample: Sample) -> None:
        self.sample, self.rows = sample, sample.rows
        self.form = sample.form or CsvFormat()
        self.names = {name: words.normalised(name) for name in self.rows.columns}
        self.text = {name: _present(self.rows[name]) for name in self.rows.columns}
        self.taken: set[str] = set()
        self.guess = Guess(form=sample.form, rows=self.rows.height)
        self.uses: dict[str, ColumnGuess] = {}

    def run(self) -> Guess:
        columns: dict[str, Any] = {}
        self.guess.mapping["columns"] = columns
        self._drop_secrets()
        self._label(columns)
        self._times(columns)
        self._amount(columns)
        self._card(columns)
        for role in ("terminal_id", "transaction_id"):
            self._id(role, columns)
        self._status(columns)
        self._currency(columns)
        for role in ("card_lat", "card_long", "terminal_lat", "terminal_long"):
            self._coordinate(role, columns)
        self._reported(columns)
        self._rest()
        self.guess.columns = [self.uses[name] for name in self.rows.columns]
        return self.guess

    # Helpers

    def scores(self, role: str) -> list[tuple[str, float]]:
        """Columns that may have a role, the surest first."""
        found = []
        for name in self.rows.columns:
            if name not in self.taken:
                by_name = words.strength(role, self.names[name])
                fit = self._fit(role, name)
                if fit > 0 and (by_name > 0 or fit > 1):
                    found.append((name, round(min(1.0, by_name * min(fit, 1.0) + max(0.0, fit - 1.0)), 3)))
        return sorted(found, key=lambda pair: -pair[1])

    def _fit(self, role: str, name: str) -> float:
        """How well the values fit a role: 0 not at all, 1 well; more if they show it without the name."""
        text = self.text[name]
        if not len(text):
            return 0.0
        if role in {"card_id", "terminal_id"}:
            return self._key_fit(text, is_card=role == "card_id")
        return {
            "amount": lambda: self._amount_fit(name),
            "is_fraud": lambda: self._label_fit(text),
            "transaction_id": lambda: self._unique_fit(text),
            "seq": lambda: self._unique_fit(text),
            "currency": lambda: meanings.currency_fit(text),
            "status": lambda: meanings.status_fit(text) if text.n_unique() <= _MOST_STATUSES else 0.0,
        }.get(role, lambda: self._degrees_fit(text, 90.0 if role.endswith("lat") else 180.0))()

    def _key_fit(self, text: pl.Series, *, is_card: bool) -> float:
        distinct, present = text.n_unique(), len(text)
        if is_card and _luhn_share(text) > _MOST and distinct < present:
            return 1.6
        recurs = distinct < 0.9 * present or self.rows.height < _SMALL
        return 1.0 if distinct > 1 and recurs else 0.3

    def _amount_fit(self, name: str) -> float:
        varied = self.text[name].n_unique() > 10 or self.rows.height < _SMALL
        return 1.0 if varied and self._amounts_readable(name) >= _MOST else 0.0

    def _unique_fit(self, text: pl.Series) -> float:
        return float(text.n_unique() > 0.99 * len(text) and len(text) > 0.99 * self.rows.height)

    def _degrees_fit(self, text: pl.Series, limit: float) -> float:
        numbers = number_text.without_groups(text, self.form).cast(pl.Float64, strict=False)
        return float(_share(numbers.abs() <= limit) > _NEARLY_ALL and text.n_unique() > 2)

    def _label_fit(self, text: pl.Series) -> float:
        distinct = text.n_unique()
        if distinct > 6:
            return 0.0
        folded = text.str.strip_chars().str.to_lowercase()
        counts = folded.value_counts(sort=True)
        known = meanings.label_values(counts[text.name].to_list() if text.name in counts.columns else [])
        rare = (counts["count"][0] / max(1, self.rows.height)) if distinct == 1 else 1 - counts["count"][0] / len(text)
        if distinct > 1 and known is None and rare > _RARE:
            return 0.0
        return 1.0 if rare <= _RARE else 0.6

    def _amounts_readable(self, name: str) -> float:
        values = self.rows[name]
        if values.dtype != pl.String and not values.dtype.is_numeric():
            return 0.0
        numbers = values.drop_nulls().head(5_000)
        if numbers.dtype == pl.String and _share(numbers.str.contains(r"^0[0-9]")) > 0.3:
            return 0.0  # a code
        read, _ = amounts.read(numbers, AmountFormat(decimals=4), self.form)
        return float(1 - read.null_count() / max(1, len(numbers)))

    def _take(self, name: str, use: str, readable: float, score: float, reason: str = "") -> None:
        confidence = "high" if score >= 0.85 else "medium" if score >= 0.65 else "low"
        shown = self.text[name][0] if len(self.text[name]) else ""
        sample = cards.mask(str(shown))[:24]
        self.uses[name] = ColumnGuess(name, use, sample, readable, confidence, reason)
        self.taken.add(name)

    def _doubt(self, key: str, text: str, line: str = "", *, blocks: bool = False) -> None:
        self.guess.doubts.append(Doubt(key, text, line, blocks))

    # Roles

    def _drop_secrets(self) -> None:
        for name, plain in self.names.items():
            if words.SECRET.fullmatch(plain):
                self._take(name, "drop", 1.0, 1.0, "authentication data of cards, which must not be stored")
            elif words.ANSWER.fullmatch(plain):
                self._take(name, "drop", 1.0, 0.9, "known only once a fraud is")

    def _label(self, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores("is_fraud") if score >= LEAST]
        if len(scored) > 1 and scored[0][1] - scored[1][1] < _NEAR:
            listed = ", ".join(f"'{name}'" for name, score in scored if scored[0][1] - score < _NEAR)
            self._doubt(
                "prepare.mapping.columns.is_fraud",
                f"Which column is the label: {listed}? The others must be dropped, since they give it away.",
                f"is_fraud: {scalar(scored[0][0])}",
                blocks=True,
            )
            for name, _ in scored:
                self._take(name, "drop", 1.0, 0.4, "may be the label")
            return
        if not scored:
            return
        name, score = scored[0]
        values = self.text[name].str.strip_chars().str.to_lowercase().value_counts(sort=True)
        meaning_of: list[str] = values[values.columns[0]].to_list()
        form, sure = meanings.label_format(
            meaning_of, blank=self.rows[name].null_count() > 0 or len(self.text[name]) < self.rows.height
        )
        columns["is_fraud"] = name
        if form:
            self.guess.mapping["label"] = form
        read, _, _ = value_mapping.read_labels(self.rows[name], LabelFormat.model_validate(form))
        if not sure:
            self._doubt(
                "prepare.mapping.label",
                f"Do the values of '{name}' mean this? Found: {', '.join(map(repr, meaning_of))}.",
            )
        readable = 1 - read.null_count() / max(1, self.rows.height) if "" not in form.get("unlabelled", ()) else 1.0
        self._take(name, "is_fraud", readable, score if sure else min(score, 0.6))

    def _times(self, columns: dict[str, Any]) -> None:
        reports = {name for name in self.names if words.strength("reported_at", self.names[name]) >= 1.0}
        candidates: list[tuple[float, tuple[str, ...], time_guess.TimeGuess]] = []
        for name in self.rows.columns:
            if name in self.taken or name in reports:
                continue
            by_name = words.strength("ts", self.names[name])
            found = time_guess.guess([self.rows[name]]) if by_name or not self.rows[name].dtype.is_numeric() else None
            if found is None or found.readable < 0.8 or self.rows[name].null_count() > 0.2 * self.rows.height:
                continue
            score = 0.55 * by_name + 0.25 * found.has_clock + 0.2 * (self.rows[name].n_unique() > 1)
            candidates.append((score, (name,), found))
            if not found.has_clock and (clock := self._clock_beside(name)):
                both = time_guess.guess([self.rows[name], self.rows[clock]])
                if both is not None and both.readable >= 0.8:
                    candidates.append((0.55 * max(by_name, 0.9) + 0.45, (name, clock), both))
        if not candidates:
            return
        score, names, found = max(candidates, key=lambda one: one[0])
        if score < 0.35:
            return
        columns["ts"] = names[0] if len(names) == 1 else list(names)
        zone = self._time_format("time", found, names)
        for name in names:
            self._take(name, "ts", found.readable, score)
        if zone:
            self._doubt("prepare.mapping.time.zone", "Times have no offset and are read as UTC.", "zone: Europe/Berlin")
        ts = times.read([self.rows[name] for name in names], found.form).drop_nulls()
        first, last = ts.min(), ts.max()
        self.guess.span = last - first if len(ts) else None  # type: ignore[operator,assignment]

    def _clock_beside(self, name: str) -> str | None:
        """The column with the time of day that belongs to a column of dates: the nearest one."""
        order = self.rows.columns
        near = sorted((abs(order.index(other) - order.index(name)), other) for other in order if other != name)
        for _, other in near:
            text = self.text[other].head(500)
            if (
                words.CLOCK.fullmatch(self.names[other])
                and len(text)
                and bool(text.str.contains(time_guess.CLOCK.pattern).all())
            ):
                return other
        return None

    def _time_format(self, section: str, found: time_guess.TimeGuess, names: Sequence[str]) -> bool:
        """State the format of a time column; returns whether its times have no offset."""
        stated = found.form.format
        if stated != "iso":
            self.guess.mapping[section] = {"format": stated}
        if found.other is not None:
            self._doubt(
                f"prepare.mapping.{section}.format",
                f"In '{names[0]}', day and month may be swapped: both formats read every value.",
                f'format: "{found.other}"',
            )
        values = self.rows[names[0]]
        aware = isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None
        offset = values.dtype == pl.String and bool(
            values.drop_nulls().head(100).str.contains(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$").all()
        )
        return not (aware or offset or stated.startswith("epoch"))

    def _amount(self, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores("amount") if score >= LEAST]
        if not scored:
            self._doubt(
                "prepare.mapping.columns.amount", "No column looks like an amount.", "amount: COLUMN", blocks=True
            )
            return
        name, score = scored[0]
        if len(scored) > 1 and scored[1][1] == score:
            listed = ", ".join(f"'{other}'" for other, value in scored if value == score)
            self._doubt(
                "prepare.mapping.columns.amount",
                f"Which is the amount of the transaction: {listed}?",
                f"amount: {scalar(scored[1][0])}",
            )
        columns["amount"] = name
        form: dict[str, Any] = {}
        plain = number_text.with_points(self.text[name], self.form)
        fractions = plain.str.extract(r"\.([0-9]+)\D*$").drop_nulls().str.len_chars()
        if re.search(r"(minor|cents?|pence|rappen)$", self.names[name]):
            form["unit"] = "minor"
        elif not len(fractions) and self.rows[name].dtype != pl.Float64:
            median = plain.str.replace_all(r"[^0-9]", "").cast(pl.Float64, strict=False).median()
            if isinstance(median, float) and median >= 500:
                self._doubt(
                    "prepare.mapping.amount.unit", f"'{name}' has whole numbers: read as major units.", "unit: minor"
                )
        elif len(fractions) and _share(fractions == 3) > 0.5:
            form["decimals"] = 3
        if form:
            self.guess.mapping["amount"] = form
        self._take(name, "amount", self._amounts_readable(name), score)

    def _card(self, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores("card_id") if score >= LEAST]
        if not scored:
            return
        name, score = scored[0]
        columns["card_id"] = name
        self._take(name, "card_id", 1.0, score)
        if not words.strength("card_id", self.names[name]) >= 0.9 and _luhn_share(self.text[name]) < 0.8:
            self._doubt(
                "prepare.mapping.columns.card_id",
                f"'{name}' stands for the card: one per customer is enough.",
                "card_id: null",
            )
        if _luhn_share(self.text[name]) > 0.8:
            self.guess.doubts.append(_pan_key(name))

    def _id(self, role: str, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores(role) if score >= LEAST]
        if scored:
            columns[role] = scored[0][0]
            self._take(scored[0][0], role, 1.0, scored[0][1])

    def _status(self, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores("status") if score >= LEAST]
        if not scored:
            return
        name, score = scored[0]
        form, unknown = meanings.status_format(
            self.text[name].unique().to_list(), blank=len(self.text[name]) < self.rows.height
        )
        columns["status"] = name
        self.guess.mapping["status"] = form
        if unknown:
            listed = ", ".join(repr(value) for value in unknown[:8])
            self._doubt(
                "prepare.mapping.status",
                f"What do these values of '{name}' mean? Read as {form.get('otherwise')}: {listed}.",
                "otherwise: approved",
            )
        self._take(name, "status", 1.0, score if not unknown else 0.6)

    def _currency(self, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores("currency") if score >= LEAST]
        if not scored:
            return
        name, score = scored[0]
        codes = self.text[name].str.strip_chars().str.to_uppercase().value_counts(sort=True)
        found = codes[codes.columns[0]].to_list()
        base = meanings.CURRENCIES[found[0]]
        form = self.guess.mapping.setdefault("amount", {})
        if (decimals := meanings.DECIMALS.get(base)) is not None and form.get("unit") != "minor":
            form["decimals"] = decimals
        form["currency"] = base
        if len(found) == 1:
            self._take(name, "drop", 1.0, score, f"always {found[0]}")
            return
        columns["currency"] = name
        others = ", ".join(found[1:6])
        rates = ", ".join(f'{code}: [{{since: 2000-01-01, rate: "1.00"}}]' for code in found[1:])
        self._doubt(
            "prepare.mapping.amount.rates",
            f"State rates of {others} in {base}; rows without a rate are rejected.",
            f"rates: {{{rates}}}",
            blocks=True,
        )
        self._take(name, "currency", 1.0, score)

    def _coordinate(self, role: str, columns: dict[str, Any]) -> None:
        scored = [(name, score) for name, score in self.scores(role) if score >= 0.9]
        if scored:
            columns[role] = scored[0][0]
            self._take(scored[0][0], role, 1.0, scored[0][1])

    def _reported(self, columns: dict[str, Any]) -> None:
        """Report times; a column of them that is set for few rows is also the label if there is no other."""
        for name in self.rows.columns:
            by_name = words.strength("reported_at", self.names[name])
            if name in self.taken or by_name == 0 or not len(self.text[name]):
                continue
            found = time_guess.guess([_present_in_place(self.rows[name])])
            if found is None or found.readable < 0.5:
                continue
            share = len(self.text[name]) / self.rows.height
            if "is_fraud" not in columns and not self.guess.blocked:
                if share > _RARE:
                    continue
                columns["is_fraud"] = name
                self.guess.mapping["label"] = {
                    "legitimate": sorted(missing.WORDS),
                    "unlabelled": [],
                    "fraud": [],
                    "otherwise": "fraud",
                }
                self._doubt(
                    "prepare.mapping.columns.is_fraud",
                    f"A row with a date in '{name}' counts as fraud, a row without one as legitimate.",
                    "is_fraud: COLUMN",
                )
            columns["reported_at"] = name
            if found.form != self._ts_form():
                self.guess.mapping["report_time"] = {"format": found.form.format}
                if found.other is not None:
                    self._time_format("report_time", found, [name])
            self._take(name, "reported_at", found.readable, by_name)
            self._delay(columns, found)
            return
        self.guess.doubts.append(_NO_REPORTS)

    def _ts_form(self) -> TimeFormat:
        return TimeFormat.model_validate(self.guess.mapping.get("time", {}))

    def _delay(self, columns: dict[str, Any], found: time_guess.TimeGuess) -> None:
        """The label delay that covers 95 % of the sampled reports."""
        if "ts" not in columns:
            return
        names = [columns["ts"]] if isinstance(columns["ts"], str) else columns["ts"]
        ts = times.read([self.rows[name] for name in names], self._ts_form())
        reported = times.read([_present_in_place(self.rows[columns["reported_at"]])], found.form)
        days = ((reported - ts).dt.total_seconds() / 86_400).drop_nulls()
        late = days.filter(days >= 0).quantile(0.95)
        if late is None:
            return
        delay = timedelta(days=max(1, math.ceil(late)))
        most = timedelta(days=max(1, (self.guess.span or delay).days // _DELAYS_IN_SPAN))
        self.guess.label_delay = min(delay, most)
        if most < delay:
            self._doubt(
                "prepare.label_delay",
                f"95 % of the frauds were reported within {delay.days}d. The data are too short for such a delay, so"
                f" frauds reported after {most.days}d count as legitimate until then.",
                f"label_delay: {delay.days}d",
            )

    def _rest(self) -> None:
        """Numbers, categories, and columns to drop, of those without a role."""
        label = self._label_of_rows()
        numeric: list[str] = []
        categorical: list[str] = []
        drop = [name for name, use in self.uses.items() if use.use == "drop"]
        for name in self.rows.columns:
            if name in self.taken:
                continue
            use, reason = self._other_use(name, label)
            {"numeric": numeric, "categorical": categorical, "drop": drop}[use].append(name)
            self._take(
                name,
                use,
                self._readable_as(name, use),
                0.7 if use != "drop" or reason.startswith(("empty", "person")) else 0.6,
                reason,
            )
        for key, names in (("numeric", numeric), ("categorical", categorical), ("drop", drop)):
            if names:
                self.guess.mapping[key] = names

    def _readable_as(self, name: str, use: str) -> float:
        if use != "numeric" or self.rows[name].dtype != pl.String or not len(self.text[name]):
            return 1.0
        numbers = (
            number_text.without_groups(self.text[name], self.form).str.strip_chars().cast(pl.Float64, strict=False)
        )
        return 1 - numbers.null_count() / len(numbers)

    def _other_use(self, name: str, label: pl.Series | None) -> tuple[str, str]:
        """Return the use of a column without a role, and the reason if it is dropped."""
        reason = self._reason_to_drop(name, label)
        if reason:
            return "drop", reason
        text, distinct = self.text[name], self.text[name].n_unique()
        if self._is_category(name):
            return ("categorical", "") if distinct <= 20 * _MOST_CATEGORIES else ("drop", "too many values")
        if self._is_number(name):
            row_number = distinct > 0.9 * len(text) and _are_whole(text) and len(text) > 2 * _SMALL
            return ("drop", "a number for each row") if row_number else ("numeric", "")
        if words.FREE_TEXT.fullmatch(self.names[name]) or float(text.str.len_chars().mean() or 0) > _LONG_TEXT:  # type: ignore[arg-type]
            return "drop", "free text"
        if time_guess.guess([self.rows[name]]) is not None:
            return "drop", "another time"
        few = distinct <= _MOST_CATEGORIES or distinct <= 0.2 * len(text)
        return ("categorical", "") if few else ("drop", "too many values for a category")

    def _reason_to_drop(self, name: str, label: pl.Series | None) -> str:
        """Why a column must not be an input; empty if it may."""
        text, plain = self.text[name], self.names[name]
        checks = (
            ("empty", lambda: not len(text)),
            ("always the same", lambda: text.n_unique() == 1 and len(text) == self.rows.height),
            ("personal data", lambda: words.PERSONAL.fullmatch(plain)),
            ("card numbers", lambda: cards.holds_card_numbers(text) or _luhn_share(text) > _MOST),
            ("number of the row", lambda: not name or plain in {"unnamed_0", "index", "row", "row_number"}),
            ("a report of fraud", lambda: words.strength("reported_at", plain)),
            ("gives the label away", lambda: label is not None and target_leakage.leak_reason(self.rows[name], label)),
        )
        return next((reason for reason, holds in checks if holds()), "")

    def _is_category(self, name: str) -> bool:
        plain = self.names[name]
        named = words.CATEGORY.fullmatch(plain) or words.strength("currency", plain)
        return bool(named or words.strength("status", plain) >= 0.9 or self.rows[name].dtype == pl.Boolean)

    def _is_number(self, name: str) -> bool:
        if self.rows[name].dtype != pl.String:
            return self.rows[name].dtype.is_numeric()
        return self._readable_as(name, "numeric") > _NEARLY_ALL and not _is_code(self.text[name])

    def _label_of_rows(self) -> pl.Series | None:
        name = self.guess.roles.get("is_fraud")
        if name is None:
            return None
        read, _, _ = value_mapping.read_labels(
            self.rows[name], LabelFormat.model_validate(self.guess.mapping.get("label", {}))
        )
        return read


def _present(values: pl.Series) -> pl.Series:
    """The values as text, without missing ones."""
    text = (
        (values.dt.to_string("iso") if values.dtype.is_temporal() else values.cast(pl.String, strict=False))
        if values.dtype != pl.String
        else values
    )
    return text.filter(~missing.are_missing(text))


def _present_in_place(values: pl.Series) -> pl.Series:
    if values.dtype != pl.String:
        return values
    return values.set(missing.are_missing(values), None)


def _luhn_share(text: pl.Series) -> float:
    """Share of values with 13 to 19 digits that pass the check digit; 0 unless nearly all have such a length."""
    digits = text.head(500).str.replace_all(r"[ -]", "")
    long = digits.filter(digits.str.contains(r"^[0-9]{13,19}$"))
    if not len(text) or len(long) < 0.9 * len(digits):
        return 0.0
    return sum(passes_luhn(one) for one in long) / len(long)


def _share(flags: pl.Series) -> float:
    return float(flags.mean() or 0.0)  # type: ignore[arg-type]


def _is_code(text: pl.Series) -> bool:
    """Whether numbers are codes: of one length, some with leading zeros."""
    return bool(text.str.contains(r"^0[0-9]+$").any()) and text.str.len_chars().n_unique() == 1


def _are_whole(text: pl.Series) -> bool:
    return bool(text.head(1_000).str.contains(r"^[0-9]+$").all())
