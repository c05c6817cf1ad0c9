"""Requests read with care, and all that can be wrong with one told in one form."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from fraud3000.errors import CheckFailed, DataError, FraudError, ScorerError, UnavailableError
from fraud3000.redact import excerpt, in_id, mask
from fraud3000.service.messages import LONGEST_ID, MOST_ROWS, Failure, Fault

JSON, LINES = "application/json", "application/x-ndjson"
MOST_BYTES = 16 * 1024 * 1024
LONGEST = 20.0
"""Seconds that a request may take to come in."""

REQUEST_ID = "X-Request-ID"

_KIND = re.compile(rf'({re.escape(JSON)}|{re.escape(LINES)})(?:[ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)
_KEY = re.compile(rb'"[ \t\r\n]*:')
_TOLD = 200  # characters of what was sent that are said again
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_CUT_SHORT = (408, 413)
_FAULTS = {DataError: 422, ScorerError: 409, CheckFailed: 503, UnavailableError: 503}
_SAID = {401: "no_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type"}


class Refused(Exception):
    """A request that is answered by an error alone."""

    def __init__(self, status: int, code: str, message: str, hint: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.fault, self.retry_after = status, Fault(code=code, message=message, hint=hint), retry_after


@dataclass(frozen=True)
class Body:
    """What a request sent, and the form in which it came."""

    items: Sequence[Any]
    form: Literal["one", "list", "lines"]


async def read(request: Request, name: str) -> Body:
    """Read one object, or a list of them under a name, or one on each line.

    Raises
    ------
    Refused
        It is nothing of that, or too much.
    """
    kind = _kind(request.headers)
    content = await _bytes(request)
    if kind == LINES:
        _require_few(content.count(b"\n"), "lines")
        lines = [line for line in content.split(b"\n") if line.strip()]
        return _body([_parsed(line) for line in lines], "lines", name)
    parsed = _parsed(content)
    if isinstance(parsed, dict) and name not in parsed:
        return _body([parsed], "one", name)
    if not isinstance(parsed, dict) or not isinstance(parsed[name], list) or len(parsed) > 1:
        hint = f'Send {{"{name}": [{{…}}, …]}} or one of them as an object.'
        raise Refused(422, f"no_{name}", f"the body has no list of {name}", hint)
    return _body(parsed[name], "list", name)


def _kind(headers: Mapping[str, str]) -> str:
    """The media type of a body that can be read: one of two, in UTF-8, as it is."""
    given = headers.get("content-type", "")
    found = _KIND.fullmatch(given.strip())
    if found is None:
        said = f"'{excerpt(given, _TOLD)}' is not read here" if given else "the header Content-Type is missing"
        raise Refused(415, "media_type", said, f"Send {JSON} or {LINES}, in UTF-8.")
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Refused(
            415, "encoding", f"the encoding '{excerpt(encoding, _TOLD)}' is not read here", "Send the body as it is."
        )
    return found[1].lower()


def _body(items: list[Any], form: Literal["one", "list", "lines"], name: str) -> Body:
    if len(items) > MOST_ROWS:
        said = f"{len(items):,} {name}, and a request takes {MOST_ROWS:,}"
        raise Refused(413, "too_large", said, "Send them in several requests, or as a file by the command line.")
    odd = next((place for place, item in enumerate(items) if not isinstance(item, dict)), None)
    if odd is not None or not items:
        one = name.removesuffix("s")
        said = f"no {one}" if odd is None else f"what stands at place {odd + 1} is no {one}"
        raise Refused(422, f"no_{name}", said, f"A {one} is an object; see /openapi.json.")
    return Body(items, form)


async def _bytes(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(LONGEST):
            async for part in request.stream():
                size += len(part)
                if size > MOST_BYTES:
                    said = f"more than {MOST_BYTES // 1024**2} MiB"
                    raise Refused(413, "too_large", said, "Send less in a request.")
                parts.append(part)
    except TimeoutError:
        said = f"the request did not come within {LONGEST:.0f} s"
        raise Refused(408, "too_slow", said, "Send it again, all at once.") from None
    return b"".join(parts)


def _parsed(content: bytes) -> Any:
    _require_few(content.count(b"{") + content.count(b"["), "objects and lists")
    try:
        parsed = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        said = f"the body is not JSON ({error})"
        raise Refused(422, "not_json", said, "Send one JSON document, or one on each line.") from None
    if isinstance(parsed, dict) and len(_KEY.findall(content)) != _keys(parsed):
        json.loads(content.decode(), object_pairs_hook=_once)
    return parsed


def _require_few(found: int, what: str) -> None:
    """Refuse what would take far more memory once it is parsed."""
    if found > 2 * MOST_ROWS:
        raise Refused(413, "too_large", f"{found:,} {what}, and a request has room for {2 * MOST_ROWS:,}", "Send less.")


def _keys(parsed: dict[str, Any]) -> int:
    """How many keys an object has, with those of the objects in its lists.

    Their text has as many quotes before a colon, unless a key came twice, or text or deeper objects have some too.
    """
    items = (item for value in parsed.values() if isinstance(value, list) for item in value if isinstance(item, dict))
    return len(parsed) + sum(map(len, items))


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object in which a key comes twice: which of its values is meant cannot be known."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            said = f"the key '{excerpt(key, _TOLD)}' comes twice in an object"
            raise Refused(422, "duplicate_key", said, "Send each key once.")
        seen.add(key)


def id_of(item: Any) -> str | None:
    """The transaction that a wrong item names; None if it names none, or by a card number."""
    given = item.get("transaction_id")
    named = isinstance(given, str) and len(given) <= LONGEST_ID and not in_id(given).passes
    return given if named else None


def answer_errors(app: FastAPI) -> None:
    """Tell every error in the form of `Failure`."""
    for kind in (Refused, FraudError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer_to)


async def answer_to(request: Request, error: Exception) -> Response:
    """The answer to an error; one that is none of ours is raised again."""
    if isinstance(error, Refused):
        return failure(error.status, error.fault, retry_after=error.retry_after)
    if isinstance(error, FraudError):
        status = next((code for kind, code in _FAULTS.items() if isinstance(error, kind)), 500)
        code = type(error).__name__.removesuffix("Error").lower()
        return failure(status, Fault(code=code, message=error.message, hint=error.hint or ""))
    if isinstance(error, RequestValidationError):
        named = [(excerpt(".".join(map(str, one["loc"][1:])), _TOLD), one["msg"]) for one in error.errors()[:5]]
        told = "; ".join(f"{name}: {problem}" for name, problem in named)
        return failure(422, Fault(code="invalid_request", message=told, hint="See /openapi.json."))
    if isinstance(error, HTTPException):
        code = _SAID.get(error.status_code, HTTPStatus(error.status_code).name.lower())
        said = f"{excerpt(request.method, _TOLD)} {excerpt(request.scope['path'], _TOLD)}: {error.detail}"
        answer = failure(error.status_code, Fault(code=code, message=said, hint="See /openapi.json."))
        answer.headers.update(error.headers or {})
        return answer
    raise error


def failure(status: int, fault: Fault, *, retry_after: int | None = None) -> Response:
    """The answer to a request that is answered by an error alone; what was sent is said again without card numbers."""
    wait = 5 if status == 503 and retry_after is None else retry_after
    headers = {"Retry-After": str(wait)} if wait is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "ApiKey"
    if status in _CUT_SHORT:
        headers["Connection"] = "close"  # the rest of the request is not waited for
    told = fault.model_copy(update={"message": mask(fault.message)})
    return JSONResponse(Failure(error=told).model_dump(), status_code=status, headers=headers)
