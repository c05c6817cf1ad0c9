"""API keys with scopes, stored as hashes, and rate limits per key."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Literal, get_args

from fraud3000 import secrets
from fraud3000.data.storage import atomic_write, file_lock
from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.wire import API_KEY_VARIABLE

MIN_LENGTH = 16
"""Characters of the secret in `API_KEY_VARIABLE`."""

Scope = Literal["score", "label", "read", "admin"]
"""What a key permits: scoring; recording labels; reading decisions, alerts and the model; administration."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "f3k"
_MAX_BUCKETS = 10_000
"""Keys or addresses whose requests are counted at a time."""


@dataclass(frozen=True)
class ApiKey:
    """Stored form of an API key.

    Attributes
    ----------
    id
        Public; part of the key's text.
    name
        Who uses the key.
    digest
        SHA-256 of the secret, which is random and too long to guess.
    made_at, revoked_at
        UTC, ISO 8601.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    made_at: str
    revoked_at: str | None = None

    def matches(self, secret: str) -> bool:
        """Compare a secret with the key's in constant time."""
        return hmac.compare_digest(_digest(secret), self.digest)


class ApiKeys:
    """The API keys of a service, in a file that is reloaded when it changes.

    Parameters
    ----------
    path
        The key file; it may not exist yet.
    master
        A secret with all scopes, from the environment.
    """

    def __init__(self, path: Path, master: str | None = None) -> None:
        self.path, self._name = path, os.fspath(path)
        self._master = None if master is None else ApiKey("master", API_KEY_VARIABLE, SCOPES, _digest(master), "")
        self._version: tuple[int, int, int] | None = None  # of the file that was read last
        self._keys: dict[str, ApiKey] = {}
        self._required = False

    def all(self) -> list[ApiKey]:
        """Return all keys, including revoked ones.

        Raises
        ------
        UnavailableError
            The file cannot be parsed as a key file.
        """
        try:
            stat = os.stat(self._name)  # noqa: PTH116 - twice as fast as Path.stat, and called for every request
        except FileNotFoundError:
            self._version, self._keys = None, {}
            return []
        version = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if self._version != version:
            self._keys, self._version = {key.id: key for key in _read(self.path)}, version
        return list(self._keys.values())

    @property
    def required(self) -> bool:
        """True once there is any key; stays True if the file is deleted, so that this does not open the service."""
        self._required = self._required or self._master is not None or bool(self.all())
        return self._required

    def find(self, text: str) -> ApiKey | None:
        """Return the key with this text; None if it is unknown or revoked."""
        if self._master is not None and self._master.matches(text):
            return self._master
        prefix, _, rest = text.partition("_")
        id_, _, secret = rest.partition("_")
        self.all()
        key = self._keys.get(id_) if prefix == _PREFIX else None
        return key if key is not None and key.revoked_at is None and key.matches(secret) else None

    def add(self, name: str, scopes: Iterable[Scope]) -> str:
        """Create a key and return its text, which is stored only as a hash.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        id_, secret = token_hex(4), token_urlsafe(32)
        created = ApiKey(id_, name, tuple(scopes), _digest(secret), datetime.now(UTC).isoformat(timespec="seconds"))
        with self._locked():
            self._write([*self.all(), created])
        return f"{_PREFIX}_{id_}_{secret}"

    def revoke(self, id_: str) -> ApiKey:
        """Revoke a key.

        Raises
        ------
        DataError
            There is no such key.
        """
        with self._locked():
            keys = {key.id: key for key in self.all()}
            if id_ not in keys:
                raise DataError(f"{self.path}: has no key {id_}", hint="List the keys with `fraud3000 keys list`.")
            at = datetime.now(UTC).isoformat(timespec="seconds")
            revoked = replace(keys[id_], revoked_at=keys[id_].revoked_at or at)
            self._write([*{**keys, id_: revoked}.values()])
        return revoked

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file's folder, so that no other process changes the file between reading and writing it."""
        with ExitStack() as locks:
            try:
                locks.enter_context(file_lock.exclusive_lock(self.path.parent, operation="change of keys", wait=True))
            except UnavailableError as error:
                reason = getattr(error.__cause__, "strerror", None) or error.message
                raise UnavailableError(
                    f"{self.path}: cannot be written ({reason})", hint="Choose another serve.store."
                ) from error
            self._version = None
            yield

    def _write(self, keys: list[ApiKey]) -> None:
        with atomic_write.atomic_outputs(self.path) as (part,):
            part.touch(mode=0o600)
            part.write_text(json.dumps([asdict(key) for key in keys], indent=2) + "\n", encoding="utf-8")
        self._version = None


class RateLimiter:
    """Token-bucket rate limiter per key; a full bucket holds the requests of one second.

    Parameters
    ----------
    rate
        Requests a second; None for no limit.

    Examples
    --------
    >>> times = iter([0.0, 0.0, 0.0, 1.0])
    >>> rate_limiter = RateLimiter(2, clock=lambda: next(times))
    >>> [rate_limiter.acquire("a") for _ in range(4)]
    [0, 0, 1, 0]
    """

    def __init__(self, rate: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and the time at which there were so many

    def acquire(self, key: str) -> int:
        """Take a token; returns 0, or the seconds to wait if there is none."""
        if self._rate is None:
            return 0
        now, capacity = self._clock(), max(self._rate, 1.0)
        tokens, since = self._buckets.get(key, (capacity, now))
        tokens = min(capacity, tokens + (now - since) * self._rate)
        enough = tokens >= 1
        if len(self._buckets) >= _MAX_BUCKETS:
            self._drop_full(now - capacity / self._rate)
        self._buckets[key] = (tokens - enough, now)
        return 0 if enough else math.ceil((1 - tokens) / self._rate)

    def _drop_full(self, before: float) -> None:
        """Drop buckets that are full again by now; drop all if that does not make room."""
        self._buckets = {key: (tokens, since) for key, (tokens, since) in self._buckets.items() if since > before}
        if len(self._buckets) >= _MAX_BUCKETS:
            self._buckets.clear()


def master_key(environ: Mapping[str, str]) -> str | None:
    """Read the secret with all scopes from the environment; None if it is not set.

    Raises
    ------
    ParamsError
        The secret is too short.

    Examples
    --------
    >>> master_key({}) is None
    True
    """
    key = secrets.read_secret(environ, API_KEY_VARIABLE) or ""
    if key and len(key) < MIN_LENGTH:
        raise ParamsError(
            f"{API_KEY_VARIABLE}: too short to be a secret ({len(key)} characters)",
            hint=f"Set it to a secret of at least {MIN_LENGTH} characters, or create keys with `fraud3000 keys add`.",
        )
    return key or None


def require(keys: ApiKeys, host: str) -> None:
    """Refuse a host that other machines can reach while no API key is required.

    Raises
    ------
    ParamsError
        With host and variable.

    Examples
    --------
    >>> require(ApiKeys(Path("nowhere")), "0.0.0.0")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: --host 0.0.0.0: other machines could reach the service, but it has no API key
    Hint: Create a key with `fraud3000 keys add`, set FRAUD3000_API_KEY, or bind to 127.0.0.1.
    """
    if not keys.required and not is_loopback(host):
        raise ParamsError(
            f"--host {host}: other machines could reach the service, but it has no API key",
            hint=f"Create a key with `fraud3000 keys add`, set {API_KEY_VARIABLE}, or bind to 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach a host.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> list[ApiKey]:
    try:
        return [ApiKey(**{**fields, "scopes": tuple(fields["scopes"])}) for fields in json.loads(path.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise UnavailableError(
            f"{path}: is not a key file ({error})", hint="Restore it, or delete it and create new keys."
        ) from error
