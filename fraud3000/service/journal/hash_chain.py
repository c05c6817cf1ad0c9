"""Seals: each entry bound to all that came before it, so that a changed, missing or added one shows.

A seal is the HMAC-SHA-256, under the audit key, of the seal before and of the entry's number, kind, transaction and the
digest of its body. Since it binds the digest, a body may go when its time has come, and the seals still hold.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from fraud3000 import secrets
from fraud3000.errors import ParamsError

VARIABLE = "FRAUD3000_AUDIT_KEY"
SHORTEST = 32

START = b"\0" * 32
"""The seal before the first entry."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """An entry as it lies in a file.

    Attributes
    ----------
    body
        What the digest is of; or, where that has expired, the content that is left of it.
    personal
        What stands beside the body.
    seal
        Under the audit key.
    digest
        SHA-256 of the body as it was; None where the body is all there.
    """

    number: int
    kind: str
    transaction_id: str
    body: bytes
    personal: bytes | None
    seal: bytes
    digest: bytes | None = None

    @property
    def well_formed(self) -> bool:
        """Whether each part has the type that was written."""
        kinds = ((self.kind, str), (self.transaction_id, str), (self.body, bytes), (self.seal, bytes))
        return all(isinstance(part, kind) for part, kind in kinds)

    def holds(self, key: bytes, number: int, before: bytes) -> bool:
        """Whether this is the entry of that number that was sealed to the one before."""
        if self.number != number or not self.well_formed:
            return False
        return hmac.compare_digest(self.seal, self.sealed_behind(key, before))

    def sealed_behind(self, key: bytes, before: bytes) -> bytes:
        """The seal of this entry behind another one's."""
        digest = digest_of(self.body) if self.digest is None else self.digest
        return sealed(key, before, self.number, self.kind, self.transaction_id, digest)


def sealed(key: bytes, before: bytes, number: int, kind: str, transaction_id: str, digest: bytes) -> bytes:
    """The seal of an entry, 32 bytes."""
    told = transaction_id.encode("utf-8", "surrogatepass")
    return hmac.digest(key, before + f"{number} {kind} {len(told)} ".encode() + told + digest, "sha256")


def digest_of(body: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(body).digest()


def name_of(key: bytes) -> str:
    """What tells one key from another, and nothing of it."""
    return hmac.digest(key, b"fraud3000 audit key", "sha256").hex()[:16]


def audit_key(environ: Mapping[str, str]) -> bytes:
    """Read the audit key, from the variable or the file that it names; empty where none is set.

    Raises
    ------
    ParamsError
        It is too short.

    Examples
    --------
    >>> audit_key({})
    b''
    >>> audit_key({"FRAUD3000_AUDIT_KEY": "short"})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: FRAUD3000_AUDIT_KEY: too short to be a key (5 characters)
    Hint: Set it to a random text of at least 32 characters: `openssl rand -hex 32` makes one.
    """
    key = secrets.read_secret(environ, VARIABLE) or ""
    if key and len(key) < SHORTEST:
        raise ParamsError(
            f"{VARIABLE}: too short to be a key ({len(key)} characters)",
            hint=f"Set it to a random text of at least {SHORTEST} characters: `openssl rand -hex 32` makes one.",
        )
    return key.encode()
