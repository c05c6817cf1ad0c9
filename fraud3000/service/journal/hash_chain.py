"""Keyed hash chain: each entry's seal depends on all entries before it, so that a changed, missing or added entry shows.

A seal is the HMAC-SHA-256, under the audit key, of the seal before and of the entry's number, kind, transaction and the
digest of its body. Since it covers the digest only, a body can be deleted at the end of its retention without breaking seals.
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
    """An entry as stored in the database or the archive.

    Attributes
    ----------
    body
        The encoded entry; of an expired entry, what is left of it.
    personal
        Encoded personal data; None if there is none.
    seal
        Under the audit key.
    digest
        SHA-256 of the original body; None if the body is complete.
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
        """True if each part has the type that was written."""
        types = ((self.kind, str), (self.transaction_id, str), (self.body, bytes), (self.seal, bytes))
        return all(isinstance(part, type_) for part, type_ in types)

    def is_valid(self, key: bytes, number: int, before: bytes) -> bool:
        """True if this is the entry with that number, sealed after the entry with the seal `before`."""
        if self.number != number or not self.well_formed:
            return False
        return hmac.compare_digest(self.seal, self.seal_after(key, before))

    def seal_after(self, key: bytes, before: bytes) -> bytes:
        """Compute the seal of this entry after the entry with the seal `before`."""
        digest = digest_of(self.body) if self.digest is None else self.digest
        return sealed(key, before, self.number, self.kind, self.transaction_id, digest)


def sealed(key: bytes, before: bytes, number: int, kind: str, transaction_id: str, digest: bytes) -> bytes:
    """Compute the seal of an entry, 32 bytes."""
    id_bytes = transaction_id.encode("utf-8", "surrogatepass")
    return hmac.digest(key, before + f"{number} {kind} {len(id_bytes)} ".encode() + id_bytes + digest, "sha256")


def digest_of(body: bytes) -> bytes:
    """Compute the SHA-256 of a body, 32 bytes."""
    return hashlib.sha256(body).digest()


def name_of(key: bytes) -> str:
    """Return a name that identifies a key without revealing it: 16 hexadecimal digits."""
    return hmac.digest(key, b"fraud3000 audit key", "sha256").hex()[:16]


def audit_key(environ: Mapping[str, str]) -> bytes:
    """Read the audit key from the environment variable or the file that it names; empty if none is set.

    Raises
    ------
    ParamsError
        The key is too short.

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
