"""Bodies that no service should take, by what is wrong with them; the same ones each time.

Each is sent to `/score` or to `/labels`. Those of a family are made of one good transaction or label record.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

JSON, LINES = "application/json", "application/x-ndjson"

CARDS = (
    "4222222222222", "30569309025904", "378282246310005", "4111111111111111", "5500005555555559", "4111 1111 1111 1111",
    "4111-1111-1111-1111", "4111.1111.1111.1111", "630495000000000006", "6304950000000000018",
)  # fmt: skip
"""Numbers of 13 to 19 digits that pass Luhn; none of them is a real card's."""

GOOD: dict[str, dict[str, Any]] = {
    "/score": {
        "transaction_id": "bad-1",
        "ts": "2025-06-01T12:00:00Z",
        "card_id": "C0000042",
        "terminal_id": "T0000007",
        "amount": 4890,
        "status": "approved",
        "card_lat": 48.85,
        "card_long": 2.35,
        "category": "online",
    },
    "/labels": {
        "transaction_id": "bad-1",
        "is_fraud": True,
        "source": "chargeback",
        "reported_at": "2025-06-20T00:00:00Z",
    },
}
NEEDED = {"/score": ("transaction_id", "ts", "card_id", "terminal_id", "amount"), "/labels": ("transaction_id", "is_fraud", "source")}  # fmt: skip
MANY = {"/score": "transactions", "/labels": "labels"}
MOMENTS, PLACES = ("ts", "reported_at", "recorded_at"), ("card_lat", "card_long", "terminal_lat", "terminal_long")


@dataclass(frozen=True)
class Bad:
    """A request that must be refused.

    Attributes
    ----------
    family
        What is wrong with it.
    to
        The path that it is sent to.
    """

    family: str
    to: str
    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": JSON})


Made = Iterator[bytes | tuple[bytes, dict[str, str]]]
"""Bodies, as JSON or with the headers that they come with."""

_FAMILIES: dict[str, Callable[[str], Made]] = {}


@cache
def corpus() -> list[Bad]:
    """All of them; built once in a process."""
    return [
        Bad(name, to, made) if isinstance(made, bytes) else Bad(name, to, *made)
        for name, family in _FAMILIES.items()
        for to in GOOD
        for made in family(to)
    ]


def family(make: Callable[[str], Made]) -> Callable[[str], Made]:
    _FAMILIES[make.__name__] = make
    return make


def text(one: Any) -> bytes:
    return json.dumps(one).encode()


def with_raw(to: str, name: str, value: str) -> bytes:
    """The good item with a field's value as it is written."""
    return json.dumps({**GOOD[to], name: "@@"}).replace('"@@"', value).encode()


def each_way(to: str, item: bytes) -> Made:
    """An item alone, in a list, and on a line."""
    yield item
    yield b'{"%s": [%s]}' % (MANY[to].encode(), item)
    yield item + b"\n", {"content-type": LINES}


@family
def cut(to: str) -> Made:
    """JSON that ends too early, at every place."""
    for whole in (text(GOOD[to]), text({MANY[to]: [GOOD[to]]})):
        for end in range(len(whole)):
            yield whole[:end]


@family
def odd_bytes(to: str) -> Made:
    """A byte that has no place in JSON, at every place."""
    whole = text(GOOD[to])
    for odd in (b"\x00", b"\xff", b"\xc3"):
        for place in range(len(whole) + 1):
            yield whole[:place] + odd + whole[place:]


@family
def encodings(to: str) -> Made:
    """Other encodings than UTF-8, and UTF-8 that is none."""
    whole = json.dumps({**GOOD[to], "transaction_id": "é€😀"}, ensure_ascii=False)
    for encoding in (
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "utf-8-sig",
    ):
        yield whole.encode(encoding)
    for encoding in ("latin-1", "cp037"):
        yield json.dumps({**GOOD[to], "transaction_id": "é"}, ensure_ascii=False).encode(encoding)
    for name in GOOD[to]:
        for escaped in ("\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800", "\\ud83d\\u0041", "\\u12", "\\x41", "\\'"):
            yield with_raw(to, name, f'"{escaped}"')
        for odd in (
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\x80",
            b"\xfe\xff",
        ):
            yield with_raw(to, name, '"@"').replace(b"@", odd)
        for control in (*range(0x20),):
            yield with_raw(to, name, f'"{chr(control)}"')


@family
def numbers(to: str) -> Made:
    """Numbers that are none in JSON, in every field."""
    for name in GOOD[to]:
        for odd in ("NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "0x10", "01", "+1", ".5", "1.", "--1", "1e", "1e+", "1_000", "1 000", "١", "1" * 4301, "-" + "1" * 100_000):  # fmt: skip
            yield with_raw(to, name, odd)


@family
def large_numbers(to: str) -> Made:
    """Numbers that no field has room for."""
    for name in GOOD[to]:
        for large in ("1e400", "-1e400", "1e999999999999", "9" * 30, "9" * 4300, "-" + "9" * 4300):
            if name not in PLACES or "e" in large or len(large) > 400:
                yield with_raw(to, name, large)


@family
def wrong_types(to: str) -> Made:
    """Every field with what it cannot be."""
    anything: list[Any] = [[], {}, [1], {"a": 1}, [[]], [None], {"$ne": None}, {"": {}}]
    for name in GOOD[to]:
        wrong = [*anything, *_WRONG[_kind(name)]]
        for value in wrong:
            yield from each_way(to, text({**GOOD[to], name: value}))


_WRONG: dict[str, list[Any]] = {
    "id": [None, True, False, 0, 1, -1, 1.5, 1e300, "", " ", "\t\n", "\u00a0", "x" * 201, "é" * 1_000, "x" * 100_000],
    "moment": [True, 0, 1533686474, 1533686474000, 1.5, -1, "", "now", "2025", "2025-06-01", "12:00", "2025-06-01T12:00:00",
               "2025-06-01 12:00:00", "1533686474", "2025-13-01T00:00:00Z", "2025-02-30T00:00:00Z", "2025-06-01T24:00:00Z",
               "2025-06-01T12:60:00Z", "2025-06-01T12:00:60Z", "2025-06-01T12:00:00+25:00", "2025-06-01T12:00:00Zulu",
               "2025-06-01T12:00:00 Europe/Paris", "+002025-06-01T12:00:00Z", "-2025-06-01T12:00:00Z", "٢٠٢٥-06-01T12:00:00Z",
               "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
               "2099-01-01T00:00:00Z", "Sun, 01 Jun 2025 12:00:00 GMT", "P1D", "2025-W22-7", "2" * 100_000],
    "amount": [None, True, False, "", "1", "48.90", "1e3", 48.9, 1.0, 1e3, 10**13 + 1, -(10**13) - 1, 2**63, 2**64, 10**30],
    "place": [True, "", "48.85", "north"],
    "status": [None, True, 0, "", "Approved", "approved ", "fraud", "chargeback", "\u0000"],
    "flag": [None, 0, 1, 2, 1.0, "", "true", "True", "yes", "1"],
    "source": [None, True, 0, "", " ", "charge back", "_x", "-x", "é", "a" * 41, "a\u0000", "a\n", "a/b", "a;b", "a'b"],
    "text": [2**63, -(2**63), "x" * 1_001, "1 " * 100_000],
}  # fmt: skip


def _kind(name: str) -> str:
    if name in MOMENTS:
        return "moment"
    if name in PLACES:
        return "place"
    return {"amount": "amount", "status": "status", "is_fraud": "flag", "source": "source", "category": "text"}.get(
        name, "id"
    )


@family
def missing(to: str) -> Made:
    """Items without what they need."""
    for name in NEEDED[to]:
        yield from each_way(to, text({key: value for key, value in GOOD[to].items() if key != name}))
        yield text({name: GOOD[to][name]})


@family
def unknown_fields(to: str) -> Made:
    """Fields that there are not."""
    names = ["", " ", "amount ", " amount", "Amount", "AMOUNT", "amount\u0000", "am\u00adount", "аmount", "is_frauds", "ts[]", "ts.x",
             "$where", "__proto__", "constructor", "__class__", "__init__", "model_config", "self", "results", "error", "a" * 10_000,
             "é", "😀", "\u202e", "\ufeff", "\u2028", "\\", '"', "'", "../../etc/passwd", "x\r\nSet-Cookie: a=b"]  # fmt: skip
    for name in (*names, *INJECTIONS):
        yield from each_way(to, text({**GOOD[to], name: 1}))
    yield text({**GOOD[to], **{f"x{number}": number for number in range(1_000)}})
    yield text({f"x{number}": number for number in range(200_000)})


INJECTIONS = (
    "' OR '1'='1", "'; DROP TABLE entries; --", '"; DELETE FROM alerts; --', "1; PRAGMA writable_schema=1", "x') UNION SELECT body FROM entries --",
    "${jndi:ldap://x/y}", "{{7*7}}", "{0.__class__}", "%s%s%n", "$(reboot)", "`reboot`", "| cat /etc/passwd", "<script>alert(1)</script>",
    "x\r\nX-Injected: 1", "x\nX-Injected: 1", "\x1b[2J", "%0d%0aX-Injected:%201", "=cmd|' /C calc'!A0", "../../../../etc/passwd",
)  # fmt: skip


@family
def injections(to: str) -> Made:
    """Text that means something to others, where no free text is taken."""
    for name in GOOD[to]:
        if _kind(name) not in ("id", "text"):
            for injected in INJECTIONS:
                yield text({**GOOD[to], name: injected})
    for injected in INJECTIONS:
        yield injected.encode()
        yield text(injected)


@family
def twice(to: str) -> Made:
    """A key that comes twice in an object, also where it is written otherwise the second time."""
    whole = text(GOOD[to])
    for name, value in GOOD[to].items():
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
        for key in (f'"{name}":', f'"{name}" :', f'"{name}"\n\t:', f'"{escaped}":'):
            for again in (json.dumps(value), '"\\":"', '":"', "null"):
                yield whole[:-1] + f", {key} {again}}}".encode()
        yield from each_way(to, f'{{"{name}": {json.dumps(value)}, '.encode() + whole[1:])
    many = f'"{MANY[to]}": {json.dumps([GOOD[to]])}'
    yield f"{{{many}, {many}}}".encode()
    yield f'{{"{MANY[to]}": [], {many}}}'.encode()


@family
def depth(to: str) -> Made:
    """Lists and objects in one another."""
    for deep in (2, 10, 100, 199, 200, 201, 1_000, 9_000, 100_000):
        for opening, closing in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
            nested = opening * deep + "1" + closing * deep
            yield nested.encode()
            yield (opening * deep).encode()
            for name in (*list(GOOD[to])[:2], MANY[to]):
                yield with_raw(to, name, nested)


@family
def containers(to: str) -> Made:
    """JSON that holds no items."""
    for odd in (
        "",
        " ",
        "\n",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.5",
        '""',
        '"x"',
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "[null]",
        "{}{}",
        "{},{}",
        "[1,2",
    ):
        yield odd.encode()
        yield odd.encode(), {"content-type": LINES}
        yield f'{{"{MANY[to]}": {odd or "[], "}}}'.encode()
        yield f'{{"{MANY[to]}": [{odd}]}}'.encode()
    for more in ('"more": 1', '"deadline_ms": 5', f'"{MANY[to][:-1]}": {{}}', '"": null'):
        yield f'{{"{MANY[to]}": {json.dumps([GOOD[to]])}, {more}}}'.encode()
    for quoted in ("'", "“", "`"):
        yield text(GOOD[to]).decode().replace('"', quoted).encode()
    for comment in ("// x\n", "/* x */", "# x\n", "<!-- x -->", ")]}',\n"):
        yield comment.encode() + text(GOOD[to])
        yield text(GOOD[to]) + comment.encode()
    for before, after in (
        ("{", "["),
        ("}", "]"),
        ("}", "}}"),
        (",", ";"),
        (",", ",,"),
        (":", "="),
        (":", "::"),
        ('"', '""'),
    ):
        yield text(GOOD[to]).replace(before.encode(), after.encode())


@family
def lines(to: str) -> Made:
    """JSON lines that are none."""
    one = text(GOOD[to])
    for content in (
        one + b",\n" + one, b"[" + one + b"]", one + one, one + b"\r" + one, one + b"\n{", one + b"\n]", one + b"\nnull", one + b"\n[]",
        one + b"\n1", b"\xef\xbb\xbf" + one, one + b"\n\xff", one + b"\n\x00", b"\n" * 1_000, b" \n \n", b"\r\n", b"\n" * 30_000 + one,
        one.replace(b", ", b",\n"), b"\x1e" + one, one + b"\n# end", b"data: " + one, b'{"%s": [%s]}' % (MANY[to].encode(), one),
        one.decode().encode("utf-16"), b"{}\n" * 10_001, one[:-1] + b"\n}",
    ):  # fmt: skip
        yield content, {"content-type": LINES}


@family
def sizes(to: str) -> Made:
    """More than is read."""
    many = MANY[to].encode()
    yield b" " * (16 * 1024**2 + 1)
    yield b'{"%s": [' % many + b"[]," * 2_000_000 + b"[]]}"
    yield b'{"%s": [' % many + b"{}," * 30_000 + b"{}]}"
    yield b'{"%s": [' % many + b"{}," * 10_000 + b"{}]}"
    yield b'{"%s": [' % many + b"1," * 500_000 + b"1]}"
    yield with_raw(to, "transaction_id", '"' + "x" * 5_000_000 + '"')
    yield with_raw(to, "transaction_id", '"' + "\\u0041" * 500_000 + '"')
    yield text({**GOOD[to], "x" * 5_000_000: 1})
    yield text({MANY[to]: [{"x" * 1_000: 1}] * 5_000})


@family
def content_types(to: str) -> Made:
    """A good body of another kind than is read, as it says."""
    whole = text(GOOD[to])
    for kind in (
        "", "json", "text/json", "text/plain", "text/html", "text/xml", "application/xml", "application/jsonx", "application/json5",
        "application/ld+json", "application/vnd.api+json", "application/problem+json", "application/octet-stream", "image/png", "*/*",
        "application/*", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x",
        "application/json, application/json", "application/json, text/plain", "application/json charset=utf-8", "application/json;",
        "application/json; charset=utf-16", "application/json; charset=latin-1", "application/json; charset=", "application/json; boundary=x",
        "application/json; charset=utf-8; charset=utf-16", "application/x-ndjson; charset=utf-16", "application/jsonl", "application/json\x01",
        "a" * 5_000, "application/json; x=" + "y" * 5_000, *CARDS, *(injected for injected in INJECTIONS if injected.isprintable()),
    ):  # fmt: skip
        yield whole, {"content-type": kind}
    yield whole, {}
    for encoding in ("gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "x", "identity, gzip", CARDS[3]):
        yield whole, {"content-type": JSON, "content-encoding": encoding}
        yield gzip.compress(whole, mtime=0), {"content-type": JSON, "content-encoding": encoding}
    yield gzip.compress(whole, mtime=0)
    yield from (b"transaction_id=1&amount=5", b"--x\r\n\r\n1\r\n--x--", b"<a/>", b"a: 1\n")


@family
def card_numbers(to: str) -> Made:
    """Card numbers where none belongs; nothing of them may be said again."""
    whole = text(GOOD[to])
    for number in CARDS:
        for said in (number, f"card {number}.", f"{'x' * 30}{number}", f"{'x' * 35} {number} {number}"):
            for name in GOOD[to]:
                if _kind(name) not in ("id", "text"):
                    yield text({**GOOD[to], name: said})
            yield text({**GOOD[to], said: said})
            yield text({said: 1})
            yield said.encode()
            yield text(said)
            yield b'{"%s": 1, "%s": 2}' % (said.encode(), said.encode())
            yield whole[:-1], {"content-type": JSON, "x-request-id": said}
            yield whole[:-1], {"content-type": f"text/{said}"}
        if number.isdigit():
            for name in NEEDED[to]:
                if name != "amount" or len(number) > 13:
                    yield with_raw(to, name, number)
                yield with_raw(to, name, f"[{number}]")
                yield with_raw(to, name, f"{number}.0")
