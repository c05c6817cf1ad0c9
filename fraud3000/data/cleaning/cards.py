"""Card numbers: found by their check digits, replaced by keyed hashes.

A card number never leaves prepare: not in a frame, not in a file, not in a message. The text
side of this lives in `fraud3000.redact`, with the rule, so that logs can use it too.
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
from fraud3000.redact import MAYBE, in_id, lengths, mask

__all__ = [
    "VARIABLE",
    "CardKey",
    "are_hashes",
    "hash_cards",
    "hold_hashes",
    "holds_card_numbers",
    "in_ids",
    "key_ids",
    "key_of_environment",
    "load_key",
    "looks_like_card_numbers",
    "made_as_number",
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
_ESCAPED = r"\\t|\\u(?:00a0|00ad|20[0-6][0-9a-fA-F]|2212|3000|feff|FEFF)"  # as JSON writes them
GAP = rf"(?:[{_BLANK}{_DASH}]|{_ESCAPED}){{1,3}}"
"""What does not change a card number's hash: blanks, dashes and dots of all sorts between its digits."""

_NUMBER = rf"^[0-9](?:(?:{GAP})?[0-9]){{10,18}}$"
_EXPONENT = r"^[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{2}$"
_LETTER = r"\p{L}"
_ONLY_DIGITS = "^[0-9]{13,19}$"
_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint8)
_ENOUGH = 20  # of fewer numbers, what share passes by chance is no evidence
_FORMS = np.zeros((10_000, 20), dtype=np.bool_)
"""By the first four digits and the length of a number: whether an issuer has such card numbers."""
for _prefix in range(10_000):
    _FORMS[_prefix, list(lengths(f"{_prefix:04d}"))] = True

_SHORTEST = 10**12  # a number of thirteen digits
_FEW = 4  # fewer card-like values than this pass Luhn by chance too easily


@dataclass(frozen=True)
class CardKey:
    """A secret for hashing card numbers, and the public name that its hashes begin with.

    The name follows from the secret, so a mistyped key is noticed, and hashes under an old key
    can be told from those under a new one.
    """

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> CardKey:
        return cls("k" + hmac.digest(secret, b"key id", hashlib.sha256).hex()[:8], secret)

    def names(self, values: pl.Series) -> pl.Series:
        """What cards are called under this key, as `hash_cards` says."""
        return hash_cards(values, self)

    def text(self) -> str:
        """Write the key as the environment variable holds it."""
        return f"{self.key_id}.{_encode(self.secret)}"


def new_key() -> CardKey:
    """Make a key from the operating system's random source."""
    return CardKey.of(token_bytes(_SECRET_BYTES))


def load_key(environ: Mapping[str, str], variable: str = VARIABLE) -> CardKey:
    """Read the card key from `FRAUD3000_PAN_KEY`, or from the file that `FRAUD3000_PAN_KEY_FILE` names.

    Raises
    ------
    ParamsError
        There is none, or it is not one that `fraud3000 keys pan` would make. The key itself is
        never part of the message.

    Examples
    --------
    >>> load_key({})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: FRAUD3000_PAN_KEY: not set, but card numbers must be hashed with a secret key
    Hint: Make a key once with `fraud3000 keys pan`, keep it, and set FRAUD3000_PAN_KEY to it.
    """
    text = (secrets.secret(environ, variable) or "").strip()
    if not text:
        found = "empty" if variable in environ else "not set"
        raise _bad_key(variable, f"{found}, but card numbers must be hashed with a secret key")
    match = _KEY.fullmatch(text)
    decoded = _decode(match[2]) if match else None
    if match is None or decoded is None:
        raise _bad_key(variable, "not a key: it has no key id, a dot and a base64url secret")
    if len(decoded) < _SECRET_BYTES:
        raise _bad_key(variable, f"too weak: its secret has {len(decoded)} bytes, fewer than {_SECRET_BYTES}")
    if _guessable(decoded):
        raise _bad_key(variable, "too weak: its secret is not random")
    key = CardKey.of(decoded)
    if key.key_id != match[1]:
        raise _bad_key(variable, "damaged: its id and its secret do not belong together")
    return key


def key_of_environment() -> CardKey:
    """The card key of this process, as `load_key` reads it."""
    return load_key(os.environ)


def hash_cards(values: pl.Series, key: CardKey) -> pl.Series:
    """Replace every value of a card column by `key_id.` + base64url(HMAC-SHA-256(key, digits)).

    Blanks, dashes and dots inside a card number do not change its hash. Blank values become
    null. What already is such a hash stays as it is.

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
    >>> key = CardKey.of(bytes(range(100, 132)))
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
    """Tell whether a column of card ids holds card numbers: most of its 11-19-digit values pass Luhn.

    Of random digits one in ten passes, so fewer than four such values must all pass and begin as
    card numbers of the large networks do (2 to 6). Signed, shorter and longer numbers never count.

    Examples
    --------
    >>> holds_card_numbers(pl.Series(["4111-1111-1111-1111", "unknown"]))
    True
    >>> holds_card_numbers(pl.Series([596, 4961, 17, -4111111111111111]))
    False
    """
    return _most_pass(_card_like(_text(values).drop_nulls().unique()))


def are_hashes(values: pl.Series) -> bool:
    """Tell whether every value is what `hash_cards` makes; false for no values at all.

    Examples
    --------
    >>> are_hashes(pl.Series(["596", "4961"]))
    False
    """
    known = values.drop_nulls()
    return bool(len(known) and known.cast(pl.String).str.contains(_HASHED).all())


def hold_hashes(values: pl.Series) -> bool:
    """Tell whether any value is, or has as a part, what `hash_cards` makes.

    Examples
    --------
    >>> hold_hashes(pl.Series(["7_k959e5af4." + 43 * "A"])), hold_hashes(pl.Series(["7_596"]))
    (True, False)
    """
    return bool(values.cast(pl.String).str.contains(_HASH).any())


def key_ids(values: pl.Series) -> set[str]:
    """The names of the keys that a column of cards was hashed with.

    Examples
    --------
    >>> key_ids(pl.Series(["k959e5af4." + 43 * "A", "596"]))
    {'k959e5af4'}
    """
    return set(values.cast(pl.String).str.extract(f"({_HASH})").drop_nulls().str.slice(0, 9).unique())


def looks_like_card_numbers(values: pl.Series) -> bool:
    """Whether most distinct values of any column are card numbers: by `holds_card_numbers`, or each by the rule for ids.

    Numbers may be written with decimals of zero or with an exponent.

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
    found = in_ids(distinct.filter(~distinct.str.contains(_LETTER)))
    return 2 * int(found["passes"].sum()) > len(distinct)


def made_as_number(texts: pl.Expr) -> pl.Expr:
    """Whether each text is 11 digits or more, without what separates these.

    Examples
    --------
    >>> texts = pl.Series(["4111-1111-1111-1111", "41111 x", "4.111111111111111E+15"]).to_frame("text")
    >>> texts.select(made_as_number(pl.col("text"))).rows()
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


def in_ids(ids: pl.Series) -> pl.DataFrame:
    """Each distinct id in which a number has the form of a card number, by `fraud3000.redact.in_id`.

    Returns
    -------
    pl.DataFrame
        id String, passes Boolean: whether such a number passes the Luhn check.

    Examples
    --------
    >>> in_ids(pl.Series(["4111111111111111", "4111-1111-1111-1112", "596"])).sort("id").rows()
    [('4111-1111-1111-1112', False), ('4111111111111111', True)]
    """
    distinct = ids.filter(ids.str.contains(MAYBE)).unique()
    plain = distinct.str.contains(_ONLY_DIGITS)
    digits = distinct.filter(plain)
    prefixes = digits.str.slice(0, 4).cast(pl.Int64).to_numpy()
    digits = digits.filter(pl.Series(_FORMS[prefixes, digits.str.len_chars().to_numpy()], dtype=pl.Boolean))
    found = [(text, in_id(text)) for text in distinct.filter(~plain)]
    rows = [(text, one.passes) for text, one in found if one.has_form]
    others = pl.DataFrame(rows, schema={"id": pl.String, "passes": pl.Boolean}, orient="row")
    passes = pl.Series(_luhn(digits) if len(digits) else [], dtype=pl.Boolean)
    return pl.concat([pl.DataFrame({"id": digits, "passes": passes}), others])


def pass_by_chance(found: pl.DataFrame) -> bool:
    """Whether no more ids pass the Luhn check than of random numbers: a tenth, give or take three standard deviations.

    Parameters
    ----------
    found
        Of `in_ids`.

    Examples
    --------
    >>> pass_by_chance(in_ids(pl.Series(range(4 * 10**15, 4 * 10**15 + 500)).cast(pl.String)))
    True
    >>> pass_by_chance(in_ids(pl.Series(["4111111111111111"])))
    False
    """
    count, passing = found.height, int(found["passes"].sum())
    return count >= _ENOUGH and passing <= 0.1 * count + 3 * math.sqrt(0.09 * count)


def refused_ids(found: pl.DataFrame, *, accepted: bool | None) -> pl.Series:
    """The ids of a column that must not be kept because they contain a card number.

    Parameters
    ----------
    found
        Of `in_ids`.
    accepted
        Whether ids of the column look like card numbers by chance; None decides by `pass_by_chance`.
    """
    by_chance = pass_by_chance(found) if accepted is None else accepted
    return found.filter(pl.col("passes") & (not by_chance))["id"]


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
    """Replace numbers that are card numbers by null, sign and fraction aside.

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
    stray = in_ids(text).filter("passes")["id"]
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
    """Check all numbers at once, padded with zeros on the left to 19 digits, which Luhn does not see."""
    padded = digits.str.zfill(19).str.join("").item().encode()
    places = np.frombuffer(padded, dtype=np.uint8).reshape(-1, 19) - ord("0")
    total = np.zeros(len(places), dtype=np.uint8)
    for place in range(19):
        total += _DOUBLED[places[:, place]] if place % 2 else places[:, place]
    return np.asarray(total % 10 == 0)


def _card_like(distinct: pl.Series) -> pl.Series:
    """Keep the values made of 11 to 19 digits, without what separates these."""
    return distinct.filter(distinct.str.contains(_NUMBER)).str.replace_all(GAP, "").unique()


def _digits_of(distinct: pl.Series) -> pl.Series:
    numbers = distinct.str.contains(_NUMBER)
    return distinct.str.replace_all(GAP, "").zip_with(numbers, distinct)


def _text(values: pl.Series) -> pl.Series:
    """Read a column as text: whole floats as integers, blanks and nested values as null."""
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
    """Read a column as `_text` does, but numbers with decimals of zero or an exponent as integers."""
    if values.dtype.is_decimal():
        return _text(values.cast(pl.Int128, strict=False))
    text = _text(values)
    if values.dtype != pl.String:
        return text
    whole = text.str.replace(r"^([0-9]+)\.0*$", "$1")
    spelled = text.set(~text.str.contains(_EXPONENT).fill_null(value=False), None)
    return spelled.cast(pl.Float64, strict=False).cast(pl.Int128, strict=False).cast(pl.String).fill_null(whole)


def _guessable(secret: bytes) -> bool:
    """Tell a secret that random bytes practically never are: few distinct bytes or steps, or all printable."""
    steps = {(after - before) % 256 for before, after in pairwise(secret)}
    printable = all(0x20 <= byte < 0x7F for byte in secret)
    return len(set(secret)) < 16 or len(steps) < 12 or printable


def _bad_key(variable: str, problem: str) -> ParamsError:
    return ParamsError(
        f"{variable}: {problem}",
        hint=f"Make a key once with `fraud3000 keys pan`, keep it, and set {variable} to it.",
    )


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return raw
