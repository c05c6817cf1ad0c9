"""Sign model pointer files and verify their signatures with a key from the environment (HMAC-SHA-256)."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from fraud3000 import secrets
from fraud3000.errors import ParamsError

VARIABLE = "FRAUD3000_SIGNING_KEY"
OLD_VARIABLE = "FRAUD3000_SIGNING_KEY_OLD"
SHORTEST = 32
_PREFIX = "hmac-sha256:"


@dataclass(frozen=True)
class SigningKeys:
    """Current signing key, and an old key whose signatures are still accepted.

    Attributes
    ----------
    current
        Signs and verifies.
    old
        Only verifies, during key rotation; otherwise None.

    Examples
    --------
    >>> keys = SigningKeys(b"a key", old=None)
    >>> signature = keys.sign({"alias": "champion", "version": "3"})
    >>> keys.accepts(signature, {"version": "3", "alias": "champion"}), keys.accepts(signature, {"alias": "champion", "version": "4"})
    (True, False)
    >>> SigningKeys(b"a new key", old=b"a key").accepts(signature, {"alias": "champion", "version": "3"})
    True
    """

    current: bytes
    old: bytes | None

    def sign(self, content: Mapping[str, str]) -> str:
        """Return the HMAC-SHA-256 signature of a file's fields, sorted by name."""
        return _signature(self.current, content)

    def accepts(self, signature: object, content: Mapping[str, str]) -> bool:
        """Return whether the current or the old key made the signature of the fields; constant-time comparison."""
        keys = [key for key in (self.current, self.old) if key is not None]
        text = signature.encode() if isinstance(signature, str) else b""
        return any(hmac.compare_digest(text, _signature(key, content).encode()) for key in keys)


def keys_from(environ: Mapping[str, str]) -> SigningKeys | None:
    """Read the signing keys from environment variables, or from the files they name; None if no key is set.

    Raises
    ------
    ParamsError
        A key is too short, or only the old key is set.

    Examples
    --------
    >>> keys_from({}) is None
    True
    >>> keys_from({"FRAUD3000_SIGNING_KEY": "short"})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: FRAUD3000_SIGNING_KEY: too short to be a key (5 characters)
    Hint: Set it to a random text of at least 32 characters: `openssl rand -hex 32` makes one.
    """
    current, old = _key(environ, VARIABLE), _key(environ, OLD_VARIABLE)
    if current is None and old is not None:
        raise ParamsError(
            f"{OLD_VARIABLE}: set, but {VARIABLE} is not", hint=f"Set {VARIABLE}, or unset {OLD_VARIABLE}."
        )
    return None if current is None else SigningKeys(current, old)


def _key(environ: Mapping[str, str], variable: str) -> bytes | None:
    key = secrets.read_secret(environ, variable)
    if not key:
        return None
    if len(key) < SHORTEST:
        raise ParamsError(
            f"{variable}: too short to be a key ({len(key)} characters)",
            hint=f"Set it to a random text of at least {SHORTEST} characters: `openssl rand -hex 32` makes one.",
        )
    return key.encode()


def _signature(key: bytes, content: Mapping[str, str]) -> str:
    message = json.dumps({"purpose": "fraud3000 model pointer", **content}, sort_keys=True).encode()
    return _PREFIX + hmac.digest(key, message, "sha256").hex()
