"""Guess the format of a CSV file from parts of its text: encoding, separator, quotes, header, footer, decimal sign."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from fraud3000.params import CsvFormat

_SEPARATORS = (",", ";", "\t", "|", "^", "~")
_UNDEFINED_IN_CP1252 = set(b"\x81\x8d\x8f\x90\x9d")
_LINES = 2_000  # lines from which the separator is guessed
_MOST_ABOVE = 30  # lines above the header
_MOST_BELOW = 5  # lines below the last row
_NOTE = re.compile(r"sep=(.)", re.IGNORECASE)
_COMMA = re.compile(r"^[-+(]?\s*(?:[0-9]{1,3}(?:[. '\u00a0\u202f\u2019][0-9]{3})*|[0-9]+),[0-9]+\)?-?$")
_POINT = re.compile(r"^[-+(]?\s*(?:[0-9]{1,3}(?:[, '\u00a0\u202f\u2019][0-9]{3})*|[0-9]+)\.[0-9]+\)?-?$")
_GROUPED = re.compile(r"[0-9]([., '\u00a0\u202f\u2019])[0-9]{3}(?:[^0-9]|$)")
_NUMBER = re.compile(r"^[-+]?[0-9][0-9.,:/ -]*$")
_TOTAL = re.compile(
    r"^\W*(?:grand )?(?:total|totals|sum|summe|gesamt|somme|suma|totale|totaal|rows|records|zeilen|end)\b",
    re.IGNORECASE,
)


def guess(chunks: Sequence[bytes]) -> CsvFormat:
    """Guess the format from the beginning of a file and, if it is long, from parts of its middle and its end."""
    encoding = _encoding(chunks)
    texts = [decoded(chunk, encoding) for chunk in chunks]
    lines = _lines(texts[0])[: _LINES + _MOST_ABOVE]
    note = _NOTE.fullmatch(lines[0].strip('"\ufeff ')) if lines else None
    separator = note[1] if note else _separator(lines)
    quote = _quote(lines, separator)
    comment = "#" if any(line.startswith("#") for line in lines) else ""
    rows = [_fields(line, separator, quote) for line in lines]
    skip = _skip(rows, lines, comment, noted=note is not None)
    usable = [
        row for row, line in zip(rows[skip:], lines[skip:], strict=True) if line.strip() and not _is(line, comment)
    ]
    header = _is_header(usable)
    width = len(usable[0]) if usable else 1
    footer = _footer(_lines(texts[-1]), separator, quote, width)
    body = usable[1:] if header else usable
    decimal, thousands = _signs(body)
    found = {"decimal": decimal, "thousands": thousands, "encoding": encoding, "quote": quote, "comment": comment}
    return CsvFormat.model_validate({**found, "separator": separator, "skip": skip, "header": header, "footer": footer})


def parse(chunks: Sequence[bytes], form: CsvFormat) -> tuple[pl.DataFrame, int]:
    """Parse the sampled text by a format; returns rows as text, and the number of lines with another number of fields."""
    lines = list(_body_lines(chunks, form))
    records = [row for row in _reader(lines, form.separator, form.quote) if row]
    names = records.pop(0) if form.header and records else []
    width = len(names) if form.header else Counter(map(len, records)).most_common(1)[0][0]
    if not form.header:
        names = [f"column_{number}" for number in range(1, width + 1)]
    whole = [row for row in records if len(row) == width]
    unique = _unique(names)
    columns = zip(*whole, strict=True) if whole else [[]] * width
    frame = pl.DataFrame(
        {name: pl.Series(values, dtype=pl.String) for name, values in zip(unique, columns, strict=True)}
    )
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all())), len(records) - len(whole)


def whole_lines(chunk: bytes, place: int, count: int, whole: bool) -> list[bytes]:
    """The lines of a part of a file, without those that its ends cut."""
    lines = chunk.splitlines()
    first = 1 if place else 0
    last = len(lines) if whole or (place == count - 1 and count > 1) else -1
    return lines[first:last]


def decoded(chunk: bytes, encoding: str) -> str:
    """Decode a part of a file; characters that its ends cut are replaced."""
    return chunk.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")


def _encoding(chunks: Sequence[bytes]) -> str:
    head = chunks[0]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for chunk in chunks:
        try:
            chunk.decode("utf-8")
        except UnicodeDecodeError as error:
            if 4 < error.start < len(chunk) - 4:
                return "latin-1" if _UNDEFINED_IN_CP1252 & set(b"".join(chunks)) else "cp1252"
    return "utf-8"


def _separator(lines: Sequence[str]) -> str:
    """The sign that divides most lines into the same number of fields, at least two; else a comma."""

    def score(sign: str) -> tuple[float, int]:
        widths = Counter(len(_fields(line, sign, '"')) for line in lines if line.strip())
        width, count = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]), default=(1, 0))
        return (count / max(1, sum(widths.values())), width) if width > 1 else (0.0, 1)

    scores = {sign: score(sign) for sign in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda sign: (round(scores[sign][0], 1), scores[sign][1]))
    return best if scores[best][1] > 1 else ","


def _quote(lines: Sequence[str], separator: str) -> str:
    single = sum(
        bool(re.search(rf"(?:^|{re.escape(separator)})'[^']*'(?:{re.escape(separator)}|$)", line)) for line in lines
    )
    double = sum('"' in line for line in lines)
    return "'" if single > len(lines) // 4 and not double else '"'


def _skip(rows: Sequence[Sequence[str]], lines: Sequence[str], comment: str, *, noted: bool) -> int:
    """The number of lines above the header: those before the first line as wide as most lines."""
    widths = Counter(len(row) for row, line in zip(rows, lines, strict=True) if line.strip() and not _is(line, comment))
    if not widths:
        return 0
    usual = widths.most_common(1)[0][0]
    wide = (n for n, row in enumerate(rows[:_MOST_ABOVE]) if len(row) == usual and sum(map(bool, row)) > usual // 2)
    first = next(wide, 0)
    above = [line for line in lines[:first] if line.strip() and not _is(line, comment)]
    return first if above or noted else 0


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: no field of it is a number, and its names differ."""
    if not rows:
        return True
    first = [field.strip() for field in rows[0]]
    named = [field for field in first if field]
    if any(_NUMBER.match(field) for field in named) or len(set(named)) < len(named):
        return False
    if not any(any(_NUMBER.match(field.strip()) for field in row) for row in rows[1:50]):
        return True
    return not any(field in {"true", "false"} for field in map(str.lower, named))


def _footer(lines: Sequence[str], separator: str, quote: str, width: int) -> int:
    """The number of lines at the end that are narrower than rows, or begin with a word for a total."""
    lines = lines[-_MOST_BELOW - 1 :]
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    count = 0
    for line in reversed(lines):
        fields = _fields(line, separator, quote)
        if not line.strip() or (len(fields) != width and count < _MOST_BELOW) or _TOTAL.match(line):
            count += 1
        else:
            break
    return count if count <= _MOST_BELOW and count < len(lines) else 0


def _signs(rows: Sequence[Sequence[str]]) -> tuple[str, str | None]:
    """Decimal sign, and sign between thousands if it is unusual."""
    fields = [field.strip() for row in rows for field in row]
    comma = Counter(field for field in fields if _COMMA.match(field))
    point = Counter(field for field in fields if _POINT.match(field))
    # 1,234 and 1.234 may be thousands: they count only with another number of digits behind the sign
    commas = sum(count for field, count in comma.items() if not re.search(r",[0-9]{3}\)?-?$", field))
    points = sum(count for field, count in point.items() if not re.search(r"\.[0-9]{3}\)?-?$", field))
    decimal = "," if commas > points else "."
    groups = Counter(sign for field in (comma if decimal == "," else point) for sign in _GROUPED.findall(field))
    sign = {"\u2019": "'", "\u00a0": " ", "\u202f": " "}.get(*[groups.most_common(1)[0][0]] * 2) if groups else None
    usual = "." if decimal == "," else ","
    return decimal, (sign if sign in {" ", "'"} and sign != usual else None)


def _body_lines(chunks: Sequence[bytes], form: CsvFormat) -> Iterator[str]:
    """Lines of all parts, without those that are no rows, and without those that the ends of a part cut."""
    last = len(chunks) - 1
    for place, chunk in enumerate(chunks):
        lines = [f"{line}\n" for line in _lines(decoded(chunk, form.encoding))]
        lines = lines[form.skip :] if place == 0 else lines[1:]
        if place < last:
            lines = lines[:-1]
        elif form.footer:
            while lines and not lines[-1].strip():
                lines.pop()
            lines = lines[: -form.footer]
        yield from (line for line in lines if not _is(line, form.comment))


def _lines(text: str) -> list[str]:
    """Lines without their ends; unlike `str.splitlines`, control characters such as U+0085 end none."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _is(line: str, comment: str) -> bool:
    return bool(comment) and line.startswith(comment)


def _fields(line: str, separator: str, quote: str) -> list[str]:
    return next(_reader([line], separator, quote), [])


def _reader(lines: Iterable[str], separator: str, quote: str) -> Iterator[list[str]]:
    if not quote:
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=separator, quotechar=quote)


def _unique(names: Sequence[str]) -> list[str]:
    """Names as the project's reader gives them; a repeated name gets its number."""
    seen: Counter[str] = Counter()
    result = []
    for number, name in enumerate(names, start=1):
        plain = name or ("" if number == 1 else f"column_{number}")
        seen[plain] += 1
        result.append(plain if seen[plain] == 1 else f"{plain} ({number})")
    return result
