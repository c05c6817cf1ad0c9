"""Who may ask: a key in the header, and none needed only where nobody else can reach the service."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from fraud3000.errors import ParamsError

VARIABLE = "FRAUD3000_API_KEY"
HEADER = "X-API-Key"
SHORTEST = 16


def api_key(environ: Mapping[str, str], host: str) -> str | None:
    """Read the key that every request must bring; None where none is set and none is needed.

    Raises
    ------
    ParamsError
        The host can be reached from elsewhere and there is no key, or the key is too short.

    Examples
    --------
    >>> api_key({}, "127.0.0.1") is None
    True
    >>> api_key({}, "0.0.0.0")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: --host 0.0.0.0: others could reach the service, and FRAUD3000_API_KEY is not set
    Hint: Set FRAUD3000_API_KEY to a secret of at least 16 characters, or bind to 127.0.0.1.
    """
    key = environ.get(VARIABLE, "")
    hint = f"Set {VARIABLE} to a secret of at least {SHORTEST} characters, or bind to 127.0.0.1."
    if not key and not is_loopback(host):
        raise ParamsError(f"--host {host}: others could reach the service, and {VARIABLE} is not set", hint=hint)
    if key and len(key) < SHORTEST:
        raise ParamsError(f"{VARIABLE}: too short to be a secret ({len(key)} characters)", hint=hint)
    return key or None


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


def matches(given: str | None, key: str | None) -> bool:
    """Compare a request's key with ours in a time that tells nothing; without a key of ours any will do."""
    return key is None or hmac.compare_digest((given or "").encode(), key.encode())
