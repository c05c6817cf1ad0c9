import base64
import hashlib
import hmac
import itertools
import json
import re
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000 import redact
from fraud3000.data.cleaning import cards
from fraud3000.errors import ParamsError
from fraud3000.stages import keys

VISA = "4111111111111111"
NUMBERS = [VISA, "5500005555555559", "340000000000009", "6011000000000004", "6304000000000000", "4222222222222"]
KEY = cards.CardKey.from_secret(hashlib.sha256(b"a key for tests").digest())


def numbers(count: int, seed: int = 7) -> list[str]:
    """Sixteen-digit numbers whose check digit is right."""
    bodies = [f"4{body:014d}" for body in np.random.default_rng(seed).integers(0, 10**14, count)]
    return [next(f"{body}{digit}" for digit in range(10) if redact.passes_luhn(f"{body}{digit}")) for body in bodies]


COSTLY = [
    unit * 16_000
    for unit in (
        "0 1 2 3 4 5 6 7 8 9 ",
        "4",
        "62",
        "4 - ",
        "4111111111111111",
        "4 4 4 4 4 4 4 4 4 4 4 4 x ",
        "1          ",
        "4\\u00a0",
        "5:",
        "٤",
    )
]


def seconds(text: str) -> float:
    """The processor time of masking a text, the least of several."""
    times = []
    for _ in range(5):
        start = time.process_time()
        redact.mask(text)
        times.append(time.process_time() - start)
    return max(min(times), 1e-5)


def plain_search(text: str) -> Iterator[bool]:
    """The rule as it is written, for ASCII text: every window of the digits of every run, one by one."""
    for run in re.finditer(r"\d(?:[^0-9A-Za-z]{0,3}\d)*", text):
        places = [place for place, sign in enumerate(run[0]) if sign.isdigit()]
        for first, length in itertools.product(range(len(places)), range(13, 20)):
            window = places[first : first + length]
            digits = "".join(run[0][place] for place in window)
            if len(window) < length or length not in redact.lengths(digits[:4]) or not check_digit(digits):
                continue
            between = run[0][window[0] : window[-1] + 1]
            groups = tuple(map(len, re.findall(r"\d+", between)))
            beside = run[0][: window[0]][-1:] + run[0][window[-1] + 1 :][:1]
            usual = {"37": 15, "34": 15, "30": 14, "36": 14, "38": 14, "39": 14}.get(digits[:2], 16)
            yield not any(map(str.isdigit, beside)) or (
                (length == usual or (length == 19 and digits[:2] in {"62", "81"}))
                and groups in {(length,), (4, 6, 4), (4, 6, 5), (4, 4, 4, 4), (4, 4, 4, 4, 3)}
            )


def check_digit(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


class TestMask:
    @pytest.mark.parametrize("number", NUMBERS)
    def test_plain(self, number: str) -> None:
        assert redact.mask(f"card {number}!") == "card [card number]!"

    @pytest.mark.parametrize(
        "gap", [" ", "-", ".", "\u00a0", "\u2007", "\u202f", "\u2011", "\u2013", "\u200b", "\u3000", "  ", " - ", "\t"]
    )
    def test_separated(self, gap: str) -> None:
        assert redact.mask(gap.join(["4111", "1111", "1111", "1111"])) == redact.MASKED

    def test_digit_by_digit(self) -> None:
        assert redact.mask(" ".join(VISA)) == redact.MASKED

    def test_fullwidth_digits(self) -> None:
        assert redact.mask("".join(chr(0xFF10 + int(digit)) for digit in VISA)) == redact.MASKED

    @pytest.mark.parametrize("ascii_only", [True, False])
    def test_inside_json(self, ascii_only: bool) -> None:
        text = json.dumps(
            {"a": VISA, "b": [f"x{VISA}y", "4111\u00a01111\u20111111 1111"], "c": 5}, ensure_ascii=ascii_only
        )
        masked = redact.mask(text)
        assert json.loads(masked) == {"a": "[card number]", "b": ["x[card number]y", "[card number]"], "c": 5}

    @pytest.mark.parametrize(
        "text", [f"12 {VISA}", f"{VISA} 2026", f"{VISA}-{NUMBERS[1]}", f"1.{VISA}.00 7", f"00 {VISA} 11 12 2030 4"]
    )
    def test_beside_other_numbers(self, text: str) -> None:
        assert VISA not in redact.mask(text)
        assert redact.MASKED in redact.mask(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "rows=1754155 cards=4990 seconds=1.3",
            "2018-04-01 00:00:31.123456 | INFO",
            "2018-04-01T00:00:31Z",
            "amount 1234567.89",
            "4111111111111112",
            "4111-1111-1111-1112",
            "0" * 16,
            "1522540800000004",  # passes Luhn, but no issuer's numbers begin so
            "4111111111",
            "12:41:11 11:11:11 11:11 11",
            "30/03/2018 23:59:59",
            "4111    1111    1111    1111",
            "4111 x 1111 x 1111 x 1111",
        ],
    )
    def test_left_alone(self, text: str) -> None:
        assert redact.mask(text) == text

    @given(st.text(max_size=40), st.sampled_from(NUMBERS), st.text(max_size=40))
    def test_never_leaves_a_number_behind(self, before: str, number: str, after: str) -> None:
        alone = (before[-1:] + after[:1]).isdecimal() or before[-1:].isdecimal() or after[:1].isdecimal()
        assert alone or number not in redact.mask(before + number + after)

    @given(st.text(alphabet="0123456789 -.x", max_size=60))
    def test_masking_twice_changes_nothing(self, text: str) -> None:
        once = redact.mask(text)
        assert redact.mask(once) == once

    @pytest.mark.parametrize("gap", ["_", "/", ",", "\n", "\r\n", ", ", "|", ":", ";", "*", "#", "'", "%20", "\\n"])
    def test_any_separator(self, gap: str) -> None:
        assert redact.mask(gap.join(["4111", "1111", "1111", "1111"])) == redact.MASKED
        assert redact.mask(gap.join(["3400", "000000", "00009"])) == redact.MASKED
        assert redact.mask(gap.join(["4000", "0000", "0000", "0000", "006"])) == redact.MASKED

    @pytest.mark.parametrize(("before", "after"), [("12", "34"), ("2018", ""), ("", "0000"), ("0" * 30, "0" * 30)])
    @pytest.mark.parametrize("number", [VISA, "4111 1111 1111 1111", "5500_0055_5555_5559", "340000000000009"])
    def test_inside_longer_digits(self, before: str, number: str, after: str) -> None:
        masked = redact.mask(before + number + after)
        assert redact.MASKED in masked
        assert number not in masked

    @given(st.text(alphabet="0123456789 -.x", max_size=60))
    def test_masks_what_a_plain_search_finds(self, text: str) -> None:
        assert (redact.mask(text) != text) == any(plain_search(text))

    @pytest.mark.parametrize("text", COSTLY, ids=lambda text: text[:12])
    def test_the_cost_is_linear_and_bounded(self, text: str) -> None:
        quarter, whole, plain = text[:4_000], text[:16_000], ("food and drink " * 2_000)[:16_000]
        assert seconds(whole) < 12 * seconds(quarter), "sixteen times as long where it is quadratic"
        assert seconds(whole) < 1_000 * seconds(plain), "some 200 times as long, and 5,000 before"

    def test_series(self) -> None:
        texts = pl.Series("raw", [VISA, None, "596", f"a {VISA}", VISA])
        assert cards.mask_series(texts).to_list() == [redact.MASKED, None, "596", f"a {redact.MASKED}", redact.MASKED]
        assert cards.mask_series(pl.Series(["a"])).to_list() == ["a"]


class TestKey:
    def test_made_keys_are_read_back(self) -> None:
        text = keys.pan()
        key = cards.load_key({cards.VARIABLE: f" {text}\n"})
        assert key.text() == text
        assert keys.pan() != text
        assert "secret" not in repr(key)

    @pytest.mark.parametrize(
        ("secret", "problem"),
        [
            (b"short and weak", "14 bytes"),
            (bytes(32), "not random"),
            (b"ab" * 16, "not random"),
            (bytes(range(32)), "not random"),
            (b"correct horse battery staple, 1234567890", "not random"),
        ],
    )
    def test_weak(self, secret: bytes, problem: str) -> None:
        text = cards.CardKey.from_secret(secret).text()
        with pytest.raises(ParamsError, match=problem) as caught:
            cards.load_key({cards.VARIABLE: text})
        assert text.split(".")[1] not in str(caught.value)
        assert "fraud3000 keys pan" in str(caught.value)

    @pytest.mark.parametrize("text", ["hunter2", "k12345678.", "k12345678.ab!c", "k12345678.A", f"x.{KEY.text()}"])
    def test_not_a_key(self, text: str) -> None:
        with pytest.raises(ParamsError, match="not a key") as caught:
            cards.load_key({cards.VARIABLE: text})
        assert text not in str(caught.value)

    @pytest.mark.parametrize(("environ", "found"), [({}, "not set"), ({cards.VARIABLE: " "}, "empty")])
    def test_none(self, environ: dict[str, str], found: str) -> None:
        with pytest.raises(ParamsError, match=found):
            cards.load_key(environ)

    def test_damaged(self) -> None:
        other = cards.new_key().text()
        with pytest.raises(ParamsError, match="damaged"):
            cards.load_key({cards.VARIABLE: KEY.key_id + other[9:]})


class TestHash:
    def test_is_hmac_sha256_of_the_digits(self) -> None:
        digest = hmac.new(KEY.secret, VISA.encode(), hashlib.sha256).digest()
        wanted = f"{KEY.key_id}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
        written = [
            "4111 1111 1111 1111",
            VISA,
            "4111-1111-1111-1111",
            f" {VISA} ",
            "4111\u00a01111\u00a01111\u00a01111",
        ]
        assert cards.hash_cards(pl.Series(written), KEY).to_list() == [wanted] * 5
        assert cards.hash_cards(pl.Series([int(VISA)]), KEY).to_list() == [wanted]
        assert cards.hash_cards(pl.Series([float(VISA)]), KEY).to_list() == [wanted]

    def test_every_value_is_replaced_and_stays_apart(self) -> None:
        values = pl.Series("card_id", ["-4111111111111111", VISA, "596", "unknown", None, "", "5-96"])
        hashed = cards.hash_cards(values, KEY)
        assert hashed.name == "card_id"
        assert hashed.null_count() == 2
        assert hashed.drop_nulls().n_unique() == 5
        assert hashed.drop_nulls().str.starts_with(KEY.key_id + ".").all()
        assert not any(value in "".join(hashed.drop_nulls()) for value in (VISA, "unknown"))

    def test_hashing_twice_changes_nothing(self) -> None:
        once = cards.hash_cards(pl.Series(NUMBERS), KEY)
        assert cards.hash_cards(once, KEY).equals(once)

    def test_another_key_gives_other_hashes(self) -> None:
        series = pl.Series(NUMBERS)
        assert not (cards.hash_cards(series, KEY) == cards.hash_cards(series, cards.new_key())).any()

    def test_an_empty_column(self) -> None:
        assert cards.hash_cards(pl.Series([], dtype=pl.String), KEY).len() == 0


class TestDetection:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 500])
    def test_card_numbers(self, count: int) -> None:
        series = pl.Series(numbers(count))
        assert cards.looks_like_card_numbers(series)
        assert cards.looks_like_card_numbers(series.cast(pl.Int64))
        assert cards.looks_like_card_numbers(series.cast(pl.Float64))
        assert cards.looks_like_card_numbers(series.str.replace("^(....)(....)(....)", "$1 $2-$3."))

    def test_a_minority_of_typing_errors_does_not_hide_them(self) -> None:
        assert cards.looks_like_card_numbers(pl.Series([*numbers(6), "4111111111111112", "4111111111111113"]))

    def test_a_card_column_may_hold_other_things(self) -> None:
        values = pl.Series([*numbers(5), *(f"token{place}" for place in range(100))])
        assert cards.holds_card_numbers(values)
        assert not cards.looks_like_card_numbers(values)

    @pytest.mark.parametrize(
        "values",
        [
            pl.Series(range(10_000)),
            pl.Series([-int(number) for number in NUMBERS]),
            pl.Series(NUMBERS).str.replace("^", "-"),
            pl.Series(np.random.default_rng(1).integers(-(2**63), 2**63, 5_000)),
            pl.Series(np.random.default_rng(2).integers(10**11, 10**16, 5_000)),
            pl.Series(range(1_522_540_800_000, 1_522_540_810_000)),
            pl.Series([1_522_540_800_000_000 + 1_000_000 * place for place in range(5_000)]),
            pl.Series([f"T{number}" for number in NUMBERS]),
            pl.Series(["0000000000000000"]),
            pl.Series([f"{place:012d}" for place in range(5_000)]),
            pl.Series(["1522540800004"]),
            pl.Series([None, ""], dtype=pl.String),
            pl.Series([], dtype=pl.String),
            pl.Series([1.5, 57.16, float("nan"), float("inf")]),
            pl.Series([[1], [2]]),
            pl.Series([number + "0" * 8 for number in NUMBERS]),
        ],
    )
    def test_ids_do_not_trigger_it(self, values: pl.Series) -> None:
        assert not cards.looks_like_card_numbers(values)
        assert not cards.holds_card_numbers(values)

    @given(st.lists(st.from_regex(r"[0-9]{11,19}", fullmatch=True), min_size=4, max_size=30, unique=True))
    def test_agrees_with_the_check_digit_rule(self, values: list[str]) -> None:
        passing = sum(redact.passes_luhn(value) for value in values)
        assert cards.looks_like_card_numbers(pl.Series(values)) == (2 * passing > len(values))
