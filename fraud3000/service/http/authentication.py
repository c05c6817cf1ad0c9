"""Authentication: which requests have a valid key, for which scope, and not more often than allowed."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asked

from fraud3000.service.http.api_keys import HEADER, ApiKey, ApiKeys, RateLimiter, Scope
from fraud3000.service.http.parsing import RejectedRequest, answer_to, failure
from fraud3000.service.http.schemas import ErrorDetail

OPEN = frozenset({"/health", "/ready"})
"""Paths that are answered without a key."""

UNAUTHENTICATED = 20
"""Requests without a valid key that an address may make in a second; the next ones are answered 429."""

_KEY = APIKeyHeader(name=HEADER, scheme_name="key", auto_error=False)
_ASK = "Ask whoever runs the service for a key."
_HOLDER = "fraud3000.key"


class Authenticator:
    """Admits requests with a key for what they ask for, or all requests where no key is needed.

    Parameters
    ----------
    keys
        Those there are.
    allowance
        How often each may ask.
    """

    def __init__(self, keys: ApiKeys, allowance: RateLimiter) -> None:
        self._keys, self._allowance = keys, allowance

    def authenticate(self, asked: Asked) -> bool:
        """Note whose key a request brings; False if it needs one and brings none that is valid."""
        if not self._keys.needed:
            return True
        given = _given(asked)
        asked[_HOLDER] = holder = None if given is None else self._keys.holder(given)
        return holder is not None

    def admit(self, scope: Scope, asked: Asked) -> None:
        """Let an authenticated request pass.

        Raises
        ------
        Refused
            403 with a key for something else; 429 too often.
        """
        holder: ApiKey | None = asked.get(_HOLDER)
        if holder is not None and scope not in holder.scopes:
            said = f"the key {holder.id} is for {', '.join(holder.scopes)}, and this needs {scope}"
            raise RejectedRequest(403, "wrong_scope", said, "Ask whoever runs the service for such a key.")
        wait = self._allowance.wait("" if holder is None else holder.id)
        if wait:
            said = "more requests than this key may make in a second"
            raise RejectedRequest(429, "too_many", said, "Send several transactions in a request.", retry_after=wait)

    def guards(self, scope: Scope) -> list[Any]:
        """The same as FastAPI's dependencies."""

        async def guard(request: Request, _: Annotated[str | None, Security(_KEY)]) -> None:
            self.admit(scope, request.scope)

        return [Depends(guard)]


class Authentication:
    """ASGI middleware that refuses every request without a valid key, whatever its path, except those of `OPEN`.

    Its answers are made once and the router is not asked, so a flood of such requests costs little; and an address that goes
    on is answered 429, which ends the connection. Requests with a valid key are never counted.
    """

    def __init__(self, app: ASGIApp, door: Authenticator) -> None:
        self._app, self._door = app, door
        self._allowance = RateLimiter(UNAUTHENTICATED)
        self._missing = failure(401, _no_key(f"the header {HEADER} is missing"))
        self._unknown = failure(401, _no_key(f"the key in {HEADER} is not known, or revoked"))

    async def __call__(self, scope: Asked, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        try:
            authenticated = self._door.authenticate(scope)
        except Exception as error:  # noqa: BLE001 - raised again where it is none of ours
            answer = await answer_to(Request(scope), error)
            await answer(scope, receive, send)
            return
        if authenticated:
            await self._app(scope, receive, send)
        else:
            await self._refusal(scope)(scope, receive, send)

    def _refusal(self, asked: Asked) -> Response:
        wait = self._allowance.wait(network_of((asked.get("client") or ("", 0))[0]))
        if not wait:
            return self._missing if _given(asked) is None else self._unknown
        message = f"more than {UNAUTHENTICATED} requests without a valid key from this address in a second"
        answer = failure(429, ErrorDetail(code="too_many", message=message, hint=_ASK), retry_after=wait)
        answer.headers["Connection"] = "close"
        return answer


def network_of(address: str) -> str:
    """What is counted as one address: of IPv6 the first 64 bits, which one sender has for itself.

    Examples
    --------
    >>> network_of("192.0.2.7"), network_of("2001:db8::1"), network_of("2001:db8::ffff:0:2")
    ('192.0.2.7', '2001:db8::/64', '2001:db8::/64')
    """
    return str(ipaddress.ip_network((address, 64), strict=False)) if ":" in address else address


def _given(asked: Asked) -> str | None:
    name = HEADER.lower().encode()
    given = next((value for one, value in asked["headers"] if one == name), None)
    return None if given is None else given.decode("latin-1")


def _no_key(message: str) -> ErrorDetail:
    return ErrorDetail(code="no_key", message=message, hint=_ASK)
