"""Authentication, authorization by scope, and rate limits of requests."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as RequestScope

from fraud3000.service.http.api_keys import ApiKey, ApiKeys, RateLimiter, Scope
from fraud3000.service.http.parsing import RejectedRequest, error_response, handle_error
from fraud3000.wire import API_KEY_HEADER, ErrorDetail

OPEN = frozenset({"/health", "/ready"})
"""Paths that need no key."""

UNAUTHENTICATED = 20
"""Requests a second without a valid key that an address may make; further ones are answered 429."""

_KEY = APIKeyHeader(name=API_KEY_HEADER, scheme_name="key", auto_error=False)
_HINT = "Ask the operator of the service for a key."
_KEY_IN_SCOPE = "fraud3000.key"


class Authenticator:
    """Checks the key, scope and rate of requests; permits all scopes if no key is required.

    Parameters
    ----------
    keys
        The service's API keys.
    rate_limiter
        Requests a second of each key.
    """

    def __init__(self, keys: ApiKeys, rate_limiter: RateLimiter) -> None:
        self._keys, self._rate_limiter = keys, rate_limiter

    def authenticate(self, request_scope: RequestScope) -> bool:
        """Store the request's key in its scope; returns False if a key is required and the request has no valid one."""
        if not self._keys.required:
            return True
        text = _key_text(request_scope)
        request_scope[_KEY_IN_SCOPE] = key = None if text is None else self._keys.find(text)
        return key is not None

    def authorize(self, scope: Scope, request_scope: RequestScope) -> None:
        """Check that an authenticated request has a scope and is within the rate limit.

        Raises
        ------
        RejectedRequest
            403 if the key does not have the scope; 429 if it makes too many requests.
        """
        key: ApiKey | None = request_scope.get(_KEY_IN_SCOPE)
        if key is not None and scope not in key.scopes:
            message = f"key {key.id} has the scopes {', '.join(key.scopes)}; this request needs {scope}"
            raise RejectedRequest(
                403, "wrong_scope", message, f"Ask the operator of the service for a key with {scope}."
            )
        wait = self._rate_limiter.acquire("" if key is None else key.id)
        if wait:
            message = "too many requests a second with this key"
            hint = "Send several transactions in one request."
            raise RejectedRequest(429, "too_many", message, hint, retry_after=wait)

    def dependencies(self, scope: Scope) -> list[Any]:
        """Return FastAPI dependencies that authorize requests of a route."""

        async def authorize(request: Request, _: Annotated[str | None, Security(_KEY)]) -> None:
            self.authorize(scope, request.scope)

        return [Depends(authorize)]


class Authentication:
    """ASGI middleware that rejects every request without a valid key, whatever its path, except those to `OPEN`.

    Its responses are built once and the router is not called, so a flood of such requests costs little. An address that sends
    too many is answered 429 and its connection is closed. Requests with a valid key are never counted.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator
        self._rate_limiter = RateLimiter(UNAUTHENTICATED)
        self._missing = error_response(401, _no_key(f"the header {API_KEY_HEADER} is missing"))
        self._unknown = error_response(401, _no_key(f"the key in {API_KEY_HEADER} is unknown or revoked"))

    async def __call__(self, scope: RequestScope, receive: Receive, send: Send) -> None:
        """Pass an authenticated request on, or reject it."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        try:
            authenticated = self._authenticator.authenticate(scope)
        except Exception as error:  # noqa: BLE001 - raised again unless it is an expected kind of error
            response = await handle_error(Request(scope), error)
            await response(scope, receive, send)
            return
        if authenticated:
            await self._app(scope, receive, send)
        else:
            await self._rejection(scope)(scope, receive, send)

    def _rejection(self, request_scope: RequestScope) -> Response:
        wait = self._rate_limiter.acquire(network_of((request_scope.get("client") or ("", 0))[0]))
        if not wait:
            return self._missing if _key_text(request_scope) is None else self._unknown
        message = f"more than {UNAUTHENTICATED} requests a second without a valid key from this address"
        response = error_response(429, ErrorDetail(code="too_many", message=message, hint=_HINT), retry_after=wait)
        response.headers["Connection"] = "close"
        return response


def network_of(address: str) -> str:
    """Return the network that is counted as one address: of IPv6 the first 64 bits, which belong to one sender.

    Examples
    --------
    >>> network_of("192.0.2.7"), network_of("2001:db8::1"), network_of("2001:db8::ffff:0:2")
    ('192.0.2.7', '2001:db8::/64', '2001:db8::/64')
    """
    return str(ipaddress.ip_network((address, 64), strict=False)) if ":" in address else address


def _key_text(request_scope: RequestScope) -> str | None:
    header = API_KEY_HEADER.lower().encode()
    value = next((value for name, value in request_scope["headers"] if name == header), None)
    return None if value is None else value.decode("latin-1")


def _no_key(message: str) -> ErrorDetail:
    return ErrorDetail(code="no_key", message=message, hint=_HINT)
