"""Who may ask for what: keys with scopes, of which only hashes are kept; none is needed where nobody else can ask."""

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

VARIABLE = "FRAUD3000_API_KEY"
HEADER = "X-API-Key"
SHORTEST = 16
Scope = Literal["score", "label", "read", "admin"]
"""What a key is for: to score, to record labels, to read decisions, alerts and the model, to run the service."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "f3k"
_MOST_COUNTED = 10_000
"""Keys or addresses whose requests are counted at a time."""


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept.

    Attributes
    ----------
    id
        Public; every key begins with it.
    name
        Whose it is.
    digest
        SHA-256 of its secret, which is random and too long to guess.
    made_at, revoked_at
        UTC, ISO 8601.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    made_at: str
    revoked_at: str | None = None

    def is_of(self, secret: str) -> bool:
        """Compare in a time that tells nothing."""
        return hmac.compare_digest(_digest(secret), self.digest)


class ApiKeys:
    """The keys of a service, in a file that is read again when it has changed.

    Parameters
    ----------
    path
        Of the file; there may be none.
    master
        A secret that may do everything, from the environment.
    """

    def __init__(self, path: Path, master: str | None = None) -> None:
        self.path, self._name = path, os.fspath(path)
        self._master = None if master is None else ApiKey("master", VARIABLE, SCOPES, _digest(master), "")
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}
        self._needed = False

    def all(self) -> list[ApiKey]:
        """Every key that was made, the revoked ones too.

        Raises
        ------
        UnavailableError
            The file is none of keys.
        """
        try:
            stat = os.stat(self._name)  # noqa: PTH116 - twice as fast, and with every request
        except FileNotFoundError:
            self._seen, self._keys = None, {}
            return []
        found = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if self._seen != found:
            self._keys, self._seen = {key.id: key for key in _read(self.path)}, found
        return list(self._keys.values())

    @property
    def needed(self) -> bool:
        """Whether requests must bring one: as soon as there is any, and from then on, even if the file goes."""
        self._needed = self._needed or self._master is not None or bool(self.all())
        return self._needed

    def holder(self, given: str) -> ApiKey | None:
        """The key that was given; None where it is not known, or revoked."""
        if self._master is not None and self._master.is_of(given):
            return self._master
        prefix, _, rest = given.partition("_")
        id_, _, secret = rest.partition("_")
        self.all()
        key = self._keys.get(id_) if prefix == _PREFIX else None
        return key if key is not None and key.revoked_at is None and key.is_of(secret) else None

    def add(self, name: str, scopes: Iterable[Scope]) -> str:
        """Make a key; what is returned is kept nowhere.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        id_, secret = token_hex(4), token_urlsafe(32)
        made = ApiKey(id_, name, tuple(scopes), _digest(secret), datetime.now(UTC).isoformat(timespec="seconds"))
        with self._alone():
            self._write([*self.all(), made])
        return f"{_PREFIX}_{id_}_{secret}"

    def revoke(self, id_: str) -> ApiKey:
        """Refuse a key from now on.

        Raises
        ------
        DataError
            There is no such key.
        """
        with self._alone():
            keys = {key.id: key for key in self.all()}
            if id_ not in keys:
                raise DataError(f"{self.path}: has no key {id_}", hint="`fraud3000 keys list` names them.")
            at = datetime.now(UTC).isoformat(timespec="seconds")
            revoked = replace(keys[id_], revoked_at=keys[id_].revoked_at or at)
            self._write([*{**keys, id_: revoked}.values()])
        return revoked

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from changing the file between reading and writing it: they lock its folder as well."""
        with ExitStack() as held:
            try:
                held.enter_context(file_lock.exclusive_lock(self.path.parent, operation="change of keys", wait=True))
            except UnavailableError as error:
                reason = getattr(error.__cause__, "strerror", None) or error.message
                raise UnavailableError(
                    f"{self.path}: cannot be written ({reason})", hint="Choose another serve.store."
                ) from error
            self._seen = None
            yield

    def _write(self, keys: list[ApiKey]) -> None:
        with atomic_write.atomic_outputs(self.path) as (part,):
            part.touch(mode=0o600)
            part.write_text(json.dumps([asdict(key) for key in keys], indent=2) + "\n", encoding="utf-8")
        self._seen = None


class RateLimiter:
    """How often each key may ask: so many requests a second, and as many again at once after a pause.

    Examples
    --------
    >>> times = iter([0.0, 0.0, 0.0, 1.0])
    >>> allowance = Allowance(2, clock=lambda: next(times))
    >>> [allowance.wait("a") for _ in range(4)]
    [0, 0, 1, 0]
    """

    def __init__(self, a_second: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = a_second, clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, key: str) -> int:
        """Take one; 0, or the seconds to wait where there is none left."""
        if self._rate is None:
            return 0
        now, most = self._clock(), max(self._rate, 1.0)
        left, since = self._left.get(key, (most, now))
        left = min(most, left + (now - since) * self._rate)
        enough = left >= 1
        if len(self._left) >= _MOST_COUNTED:
            self._forget(now - most / self._rate)
        self._left[key] = (left - enough, now)
        return 0 if enough else math.ceil((1 - left) / self._rate)

    def _forget(self, before: float) -> None:
        """Forget those who have all of their allowance again; all of them where that makes too little room."""
        self._left = {key: (left, since) for key, (left, since) in self._left.items() if since > before}
        if len(self._left) >= _MOST_COUNTED:
            self._left.clear()


def master_key(environ: Mapping[str, str]) -> str | None:
    """Read the secret that may do everything; None where none is set.

    Raises
    ------
    ParamsError
        It is too short.

    Examples
    --------
    >>> master_key({}) is None
    True
    """
    key = secrets.read_secret(environ, VARIABLE) or ""
    if key and len(key) < SHORTEST:
        raise ParamsError(
            f"{VARIABLE}: too short to be a secret ({len(key)} characters)",
            hint=f"Set it to a secret of at least {SHORTEST} characters, or make keys with `fraud3000 keys add`.",
        )
    return key or None


def require(keys: ApiKeys, host: str) -> None:
    """Refuse a host that others can reach while no request needs a key.

    Raises
    ------
    ParamsError
        Naming host and variable.

    Examples
    --------
    >>> require(Keys(Path("nowhere")), "0.0.0.0")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: --host 0.0.0.0: others could reach the service, and there is no key
    Hint: Make one with `fraud3000 keys add`, set FRAUD3000_API_KEY, or bind to 127.0.0.1.
    """
    if not keys.needed and not is_loopback(host):
        raise ParamsError(
            f"--host {host}: others could reach the service, and there is no key",
            hint=f"Make one with `fraud3000 keys add`, set {VARIABLE}, or bind to 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host.

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
        return [ApiKey(**{**told, "scopes": tuple(told["scopes"])}) for told in json.loads(path.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise UnavailableError(
            f"{path}: is no file of keys ({error})", hint="Restore it, or make keys anew."
        ) from error
