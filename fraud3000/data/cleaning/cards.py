"""Find card numbers in columns and replace them by keyed hashes.

No card number leaves prepare, neither in a frame nor in a file nor in a message. `fraud3000.redact` states the rule and
masks card numbers in text; it is separate so that logs can use it without this module.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from secrets import token_bytes

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000 import secrets
from fraud3000.errors import ParamsError
from fraud3000.redact import MAYBE, find_in_id, lengths, mask

__all__ = [
    "VARIABLE",
    "CardKey",
    "are_hashes",
    "contain_hashes",
    "find_in_ids",
    "hash_cards",
    "holds_card_numbers",
    "is_long_number",
    "key_from_environment",
    "key_ids",
    "load_key",
    "looks_like_card_numbers",
    "mask",
    "mask_series",
    "new_key",
    "pass_by_chance",
    "refused_ids",
    "with_card_numbers",
    "without_card_numbers",
]

VARIABLE = "FRAUD3000_PAN_KEY"

_SECRET_BYTES = 32
_KEY = re.compile(r"(k[0-9a-f]{8})\.([A-Za-z0-9_-]+)")
_HASH = r"k[0-9a-f]{8}\.[A-Za-z0-9_-]{43}"
_HASHED = rf"^{_HASH}$"
_BLANK = "\\t \u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff"
_DASH = "\\-.\u00ad\u2010-\u2015\u2212"
_ESCAPED = r"\\t|\\u(?:00a0|00ad|20[0-6][0-9a-fA-F]|2212|3000|feff|FEFF)"  # escapes in JSON
GAP = rf"(?:[{_BLANK}{_DASH}]|{_ESCAPED}){{1,3}}"
"""Separators between digits that do not change a card number's hash: blanks, dashes and dots of all kinds."""

_NUMBER = rf"^[0-9](?:(?:{GAP})?[0-9]){{10,18}}$"
_EXPONENT = r"^[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{2}$"
_LETTER = r"\p{L}"
_ONLY_DIGITS = "^[0-9]{13,19}$"
_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint8)
_ENOUGH = 20  # with fewer numbers, the share that passes Luhn is not evidence
_FORMS = np.zeros((10_000, 20), dtype=np.bool_)
"""Whether an issuer has card numbers with these first four digits (row) and this length (column)."""
for _prefix in range(10_000):
    _FORMS[_prefix, list(lengths(f"{_prefix:04d}"))] = True

_SHORTEST = 10**12  # the smallest number of thirteen digits
_FEW = 4  # fewer card-like values than this may well all pass Luhn by chance


@dataclass(frozen=True)
class CardKey:
    """Secret key for hashing card numbers, with the public key id that its hashes begin with.

    The id is derived from the secret, so a mistyped key is detected, and hashes under an old key can be
    distinguished from hashes under a new key.
    """

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> CardKey:
        return cls("k" + hmac.digest(secret, b"key id", hashlib.sha256).hex()[:8], secret)

    def names(self, values: pl.Series) -> pl.Series:
        """Replace card numbers by their hashes under this key; see `hash_cards`."""
        return hash_cards(values, self)

    def text(self) -> str:
        """The key in the form of the environment variable."""
        return f"{self.key_id}.{_encode(self.secret)}"


def new_key() -> CardKey:
    """Generate a key with the operating system's random source."""
    return CardKey.from_secret(token_bytes(_SECRET_BYTES))


def load_key(environ: Mapping[str, str], variable: str = VARIABLE) -> CardKey:
    """Read the card-number key from `FRAUD3000_PAN_KEY`, or from the file that `FRAUD3000_PAN_KEY_FILE` names.

    Raises
    ------
    ParamsError
        The key is not set, or is not of the form that `fraud3000 keys pan` generates. The message never
        contains the key.

    Examples
    --------
    >>> load_key({})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: FRAUD3000_PAN_KEY: not set, but card numbers must be hashed with a secret key
    Hint: Generate a key once with `fraud3000 keys pan`, store it safely, and set FRAUD3000_PAN_KEY to it.
    """
    text = (secrets.read_secret(environ, variable) or "").strip()
    if not text:
        state = "empty" if variable in environ else "not set"
        raise _bad_key(variable, f"{state}, but card numbers must be hashed with a secret key")
    match = _KEY.fullmatch(text)
    decoded = _decode(match[2]) if match else None
    if match is None or decoded is None:
        raise _bad_key(variable, "not a key: expected a key id, a dot and a base64url secret")
    if len(decoded) < _SECRET_BYTES:
        raise _bad_key(variable, f"too weak: its secret has {len(decoded)} bytes, fewer than {_SECRET_BYTES}")
    if _guessable(decoded):
        raise _bad_key(variable, "too weak: its secret is not random")
    key = CardKey.from_secret(decoded)
    if key.key_id != match[1]:
        raise _bad_key(variable, "damaged: the key id does not match the secret")
    return key


def key_from_environment() -> CardKey:
    """Read the card-number key from the environment of this process; see `load_key`."""
    return load_key(os.environ)


def hash_cards(values: pl.Series, key: CardKey) -> pl.Series:
    """Replace every value of a card column by `key_id.` + base64url(HMAC-SHA-256(key, digits)).

    Blanks, dashes and dots inside a card number do not change its hash. Blank values become null.
    Values that are already such hashes are not changed.

    Parameters
    ----------
    values
        Card numbers as text or integers.

    Returns
    -------
    pl.Series
        String, as long as `values`.

    Examples
    --------
    >>> key = CardKey.from_secret(bytes(range(100, 132)))
    >>> hashed = hash_cards(pl.Series(["4111 1111 1111 1111", "4111111111111111"]), key)
    >>> hashed.n_unique(), hashed[0][:10]
    (1, 'k959e5af4.')
    """
    text = _text(values)
    distinct = text.drop_nulls().unique()
    digits = _digits_of(distinct)
    hashes = [
        value
        if re.fullmatch(_HASHED, value)
        else f"{key.key_id}.{_encode(hmac.digest(key.secret, plain.encode(), 'sha256'))}"
        for value, plain in zip(distinct, digits, strict=True)
    ]
    return text.replace_strict(distinct, pl.Series(hashes, dtype=pl.String), default=None, return_dtype=pl.String)


def holds_card_numbers(values: pl.Series) -> bool:
    """Whether a column of card ids contains card numbers: most of its values of 11 to 19 digits pass Luhn.

    One in ten random numbers passes, so fewer than four such values must all pass and begin with 2 to 6,
    as card numbers of the large networks do. Negative, shorter and longer numbers never count.

    Examples
    --------
    >>> holds_card_numbers(pl.Series(["4111-1111-1111-1111", "unknown"]))
    True
    >>> holds_card_numbers(pl.Series([596, 4961, 17, -4111111111111111]))
    False
    """
    return _most_pass(_card_like(_text(values).drop_nulls().unique()))


def are_hashes(values: pl.Series) -> bool:
    """Whether every value is a hash by `hash_cards`; false if there are no values.

    Examples
    --------
    >>> are_hashes(pl.Series(["596", "4961"]))
    False
    """
    known = values.drop_nulls()
    return bool(len(known) and known.cast(pl.String).str.contains(_HASHED).all())


def contain_hashes(values: pl.Series) -> bool:
    """Whether any value is or contains a hash by `hash_cards`.

    Examples
    --------
    >>> contain_hashes(pl.Series(["7_k959e5af4." + 43 * "A"])), contain_hashes(pl.Series(["7_596"]))
    (True, False)
    """
    return bool(values.cast(pl.String).str.contains(_HASH).any())


def key_ids(values: pl.Series) -> set[str]:
    """The ids of the keys with which a column of cards was hashed.

    Examples
    --------
    >>> key_ids(pl.Series(["k959e5af4." + 43 * "A", "596"]))
    {'k959e5af4'}
    """
    return set(values.cast(pl.String).str.extract(f"({_HASH})").drop_nulls().str.slice(0, 9).unique())


def looks_like_card_numbers(values: pl.Series) -> bool:
    """Whether most distinct values of a column are card numbers, by `holds_card_numbers` or by the rule for ids.

    Numbers may have zero decimals or an exponent.

    Examples
    --------
    >>> looks_like_card_numbers(pl.Series(["4111111111111111", "5500005555555559"]))
    True
    >>> looks_like_card_numbers(pl.Series(["4111111111111111", "lost", "found"]))
    False
    """
    distinct = _without_fraction(values).drop_nulls().unique()
    card_like = _card_like(distinct)
    if 2 * len(card_like) > len(distinct) and _most_pass(card_like):
        return True
    matches = find_in_ids(distinct.filter(~distinct.str.contains(_LETTER)))
    return 2 * int(matches["passes"].sum()) > len(distinct)


def is_long_number(texts: pl.Expr) -> pl.Expr:
    """Whether each text consists of 11 digits or more and separators.

    Examples
    --------
    >>> texts = pl.Series(["4111-1111-1111-1111", "41111 x", "4.111111111111111E+15"]).to_frame("text")
    >>> texts.select(is_long_number(pl.col("text"))).rows()
    [(True,), (False,), (True,)]
    """
    numbers = texts.str.strip_chars()
    return (
        numbers.str.contains(_NUMBER)
        | numbers.str.contains(_EXPONENT)
        | (numbers.str.contains(MAYBE) & ~numbers.str.contains(_LETTER))
    )


def mask_series(texts: pl.Series) -> pl.Series:
    """Mask the card numbers in every text of a column.

    Examples
    --------
    >>> mask_series(pl.Series(["card 4111111111111111", None, "596"])).to_list()
    ['card [card number]', None, '596']
    """
    suspect = with_card_numbers(texts)
    if suspect.is_empty():
        return texts
    return texts.replace(suspect, pl.Series([mask(text) for text in suspect], dtype=pl.String))


def find_in_ids(ids: pl.Series) -> pl.DataFrame:
    """Find the distinct ids that contain a number with the form of a card number; see `fraud3000.redact.find_in_id`.

    Returns
    -------
    pl.DataFrame
        id String, passes Boolean: whether such a number passes the Luhn check.

    Examples
    --------
    >>> find_in_ids(pl.Series(["4111111111111111", "4111-1111-1111-1112", "596"])).sort("id").rows()
    [('4111-1111-1111-1112', False), ('4111111111111111', True)]
    """
    distinct = ids.filter(ids.str.contains(MAYBE)).unique()
    plain = distinct.str.contains(_ONLY_DIGITS)
    digits = distinct.filter(plain)
    prefixes = digits.str.slice(0, 4).cast(pl.Int64).to_numpy()
    digits = digits.filter(pl.Series(_FORMS[prefixes, digits.str.len_chars().to_numpy()], dtype=pl.Boolean))
    matches = [(text, find_in_id(text)) for text in distinct.filter(~plain)]
    rows = [(text, match.passes) for text, match in matches if match.has_form]
    others = pl.DataFrame(rows, schema={"id": pl.String, "passes": pl.Boolean}, orient="row")
    passes = pl.Series(_luhn(digits) if len(digits) else [], dtype=pl.Boolean)
    return pl.concat([pl.DataFrame({"id": digits, "passes": passes}), others])


def pass_by_chance(matches: pl.DataFrame) -> bool:
    """Whether no more ids pass Luhn than random numbers would: at most a tenth plus three standard deviations.

    Parameters
    ----------
    matches
        Result of `find_in_ids`.

    Examples
    --------
    >>> pass_by_chance(find_in_ids(pl.Series(range(4 * 10**15, 4 * 10**15 + 500)).cast(pl.String)))
    True
    >>> pass_by_chance(find_in_ids(pl.Series(["4111111111111111"])))
    False
    """
    count, passing = matches.height, int(matches["passes"].sum())
    return count >= _ENOUGH and passing <= 0.1 * count + 3 * math.sqrt(0.09 * count)


def refused_ids(matches: pl.DataFrame, *, accepted: bool | None) -> pl.Series:
    """The ids of a column that must be rejected because they contain a card number.

    Parameters
    ----------
    matches
        Result of `find_in_ids`.
    accepted
        Whether ids of the column look like card numbers by chance; None decides by `pass_by_chance`.
    """
    by_chance = pass_by_chance(matches) if accepted is None else accepted
    return matches.filter(pl.col("passes") & (not by_chance))["id"]


def with_card_numbers(texts: pl.Series) -> pl.Series:
    """The distinct texts that contain card numbers.

    Examples
    --------
    >>> with_card_numbers(pl.Series(["chargeback", "call_4111_1111_1111_1111"])).to_list()
    ['call_4111_1111_1111_1111']
    """
    suspect = texts.filter(texts.str.contains(MAYBE)).unique()
    return pl.Series([text for text in suspect if mask(text) != text], dtype=pl.String)


def without_card_numbers(values: pl.Series) -> pl.Series:
    """Replace numbers that are card numbers by null; the sign is ignored.

    Parameters
    ----------
    values
        Int128, or null.

    Examples
    --------
    >>> without_card_numbers(pl.Series([4111111111111111, 4111111111111112], dtype=pl.Int128)).to_list()
    [None, 4111111111111112]
    """
    large = values.abs() >= _SHORTEST
    if not large.any():
        return values
    text = values.abs().cast(pl.String).set(~large.fill_null(value=False), None)
    stray = find_in_ids(text).filter("passes")["id"]
    return values.set(text.is_in(stray.implode()).fill_null(value=False), None)


def _most_pass(card_like: pl.Series) -> bool:
    count = len(card_like)
    if count == 0:
        return False
    passing = _luhn(card_like)
    if count < _FEW:
        return bool(passing.all()) and bool(card_like.str.contains("^[2-6]").all())
    return 2 * int(passing.sum()) > count


def _luhn(digits: pl.Series) -> npt.NDArray[np.bool_]:
    """Luhn check of all numbers at once; leading zeros, up to 19 digits, do not change the result."""
    padded = digits.str.zfill(19).str.join("").item().encode()
    matrix = np.frombuffer(padded, dtype=np.uint8).reshape(-1, 19) - ord("0")
    total = np.zeros(len(matrix), dtype=np.uint8)
    for column in range(19):
        total += _DOUBLED[matrix[:, column]] if column % 2 else matrix[:, column]
    return np.asarray(total % 10 == 0)


def _card_like(distinct: pl.Series) -> pl.Series:
    """The values of 11 to 19 digits, without separators."""
    return distinct.filter(distinct.str.contains(_NUMBER)).str.replace_all(GAP, "").unique()


def _digits_of(distinct: pl.Series) -> pl.Series:
    numbers = distinct.str.contains(_NUMBER)
    return distinct.str.replace_all(GAP, "").zip_with(numbers, distinct)


def _text(values: pl.Series) -> pl.Series:
    """Convert a column to text: whole floats as integers, blanks and nested values as null."""
    if values.dtype.is_nested():
        return pl.Series([None] * len(values), dtype=pl.String)
    if values.dtype.is_float():
        whole = (values.abs() < 2.0**53) & (values == values.round())
        text = values.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, values.cast(pl.String))
    else:
        text = values.cast(pl.String)
    stripped = text.str.strip_chars()
    return stripped.zip_with(stripped != "", pl.Series([None], dtype=pl.String))


def _without_fraction(values: pl.Series) -> pl.Series:
    """Convert a column to text as `_text` does, with zero decimals removed and exponents written out."""
    if values.dtype.is_decimal():
        return _text(values.cast(pl.Int128, strict=False))
    text = _text(values)
    if values.dtype != pl.String:
        return text
    whole = text.str.replace(r"^([0-9]+)\.0*$", "$1")
    spelled = text.set(~text.str.contains(_EXPONENT).fill_null(value=False), None)
    return spelled.cast(pl.Float64, strict=False).cast(pl.Int128, strict=False).cast(pl.String).fill_null(whole)


def _guessable(secret: bytes) -> bool:
    """Whether a secret is very unlikely to be random: few distinct bytes or steps, or only printable characters."""
    steps = {(after - before) % 256 for before, after in pairwise(secret)}
    printable = all(0x20 <= byte < 0x7F for byte in secret)
    return len(set(secret)) < 16 or len(steps) < 12 or printable


def _bad_key(variable: str, problem: str) -> ParamsError:
    return ParamsError(
        f"{variable}: {problem}",
        hint=f"Generate a key once with `fraud3000 keys pan`, store it safely, and set {variable} to it.",
    )


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return raw
