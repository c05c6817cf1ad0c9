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
from fraud3000.redact import excerpt, find_in_id, mask
from fraud3000.service.http import json_pieces
from fraud3000.service.http.alert_query import AlertQuery
from fraud3000.service.http.schemas import LONGEST_ID, MOST_ROWS, ErrorDetail, ErrorResponse, ScoreQuery
from fraud3000.service.http.time_slices import Slices

JSON, LINES = "application/json", "application/x-ndjson"
MOST_BYTES = 16 * 1024 * 1024
LONGEST = 20.0
"""Seconds that a request may take to come in."""

REQUEST_ID = "X-Request-ID"

_KIND = re.compile(rf'({re.escape(JSON)}|{re.escape(LINES)})(?:[ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)
_KEY = re.compile(rb'"[ \t\r\n]*:')
_KIB = json_pieces.LONGEST // 1024
_MOST_OBJECTS = 2 * MOST_ROWS
_NOT_JSON = "Send one JSON document, or one on each line."
_TOLD = 200  # characters of what was sent that are said again
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_CUT_SHORT = (408, 413)
_FAULTS = {DataError: 422, ScorerError: 409, CheckFailed: 503, UnavailableError: 503}
_CODES: dict[type[FraudError], str] = {CheckFailed: "check_failed"}
_MOST_NAMES = 5  # names of parameters that are said again
_PARAMETERS = {"/score": tuple(ScoreQuery.model_fields), "/alerts": tuple(AlertQuery.model_fields)}
_SAID = {401: "no_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type"}


class RejectedRequest(Exception):
    """A request that is answered by an error alone."""

    def __init__(self, status: int, code: str, message: str, hint: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.fault, self.retry_after = (
            status,
            ErrorDetail(code=code, message=message, hint=hint),
            retry_after,
        )


@dataclass(frozen=True)
class Body:
    """What a request sent, and the form in which it came."""

    items: Sequence[Any]
    form: Literal["one", "list", "lines"]


async def read(request: Request, name: str, slices: Slices) -> Body:
    """Read one object, or a list of them under a name, or one on each line.

    Raises
    ------
    Refused
        It is nothing of that, or too much.
    """
    kind = _kind(request.headers)
    content = await _bytes(request, kind, slices)
    if kind == LINES:
        lines = [line for line in content.split(b"\n") if line.strip()]
        _require_rows(len(lines), name)
        return _body(await slices.collect(_line(line, name) for line in lines), "lines", name)
    if len(content) > json_pieces.LONGEST:
        return _body(await _long_list(content, name, slices), "list", name)
    parsed = _parsed(content, "the body")
    if isinstance(parsed, dict):
        _require_unique_keys(content, _keys(parsed))
    if isinstance(parsed, dict) and name not in parsed:
        return _body([parsed], "one", name)
    if not isinstance(parsed, dict) or not isinstance(parsed[name], list) or len(parsed) > 1:
        hint = f'Send {{"{name}": [{{…}}, …]}} or one of them as an object.'
        raise RejectedRequest(422, f"no_{name}", f"the body has no list of {name}", hint)
    return _body(parsed[name], "list", name)


def _line(line: bytes, name: str) -> Any:
    """Parse one line of JSON lines."""
    if len(line) > json_pieces.LONGEST or line.count(b'"') > 2 * json_pieces.MOST_TOKENS:
        raise _too_long(name)
    parsed = _parsed(line, "the body")
    if isinstance(parsed, dict):
        _require_unique_keys(line, _keys(parsed))
    return parsed


async def _long_list(content: bytes, name: str, slices: Slices) -> list[Any]:
    """Parse a body that is too long to be parsed at once."""
    found = json_pieces.head(content)
    if found is None or _parsed(found[0], "the first key") != name:
        message = f'the body has more than {_KIB} KiB and does not begin with {{"{name}": ['
        raise RejectedRequest(
            413, "too_large", message, f"Send the {name} as such a list; one alone has less than {_KIB} KiB."
        )
    items: list[Any] = []

    def parse(piece: bytes) -> None:
        parsed = _parsed(piece, f"{name.removesuffix('s')} {len(items) + 1} or one soon after it")
        if not parsed:
            raise RejectedRequest(422, "not_json", "the body is not JSON (no item follows a comma)", _NOT_JSON)
        _require_unique_keys(piece, sum(len(item) for item in parsed if isinstance(item, dict)))
        items.extend(parsed)
        _require_rows(len(items), name)

    try:
        await slices.collect(map(parse, json_pieces.pieces(content, found[1])))
    except json_pieces.TooLong:
        raise _too_long(name) from None
    except json_pieces.Malformed as error:
        raise RejectedRequest(422, "not_json", f"the body is not JSON ({error})", _NOT_JSON) from None
    return items


def _too_long(name: str) -> RejectedRequest:
    one = name.removesuffix("s")
    return RejectedRequest(
        413,
        "too_large",
        f"a {one} has more than {_KIB} KiB, or {json_pieces.MOST_TOKENS:,} texts",
        f"A {one} is an object; see /openapi.json.",
    )


def _kind(headers: Mapping[str, str]) -> str:
    """The media type of a body that can be read: one of two, in UTF-8, as it is."""
    given = headers.get("content-type", "")
    found = _KIND.fullmatch(given.strip())
    if found is None:
        said = f"'{excerpt(given, _TOLD)}' is not read here" if given else "the header Content-Type is missing"
        raise RejectedRequest(415, "media_type", said, f"Send {JSON} or {LINES}, in UTF-8.")
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RejectedRequest(
            415, "encoding", f"the encoding '{excerpt(encoding, _TOLD)}' is not read here", "Send the body as it is."
        )
    return found[1].lower()


def _body(items: list[Any], form: Literal["one", "list", "lines"], name: str) -> Body:
    _require_rows(len(items), name)
    odd = next((place for place, item in enumerate(items) if not isinstance(item, dict)), None)
    if odd is not None or not items:
        one = name.removesuffix("s")
        said = f"no {one}" if odd is None else f"what stands at place {odd + 1} is no {one}"
        raise RejectedRequest(422, f"no_{name}", said, f"A {one} is an object; see /openapi.json.")
    return Body(items, form)


def _require_rows(found: int, name: str) -> None:
    """Refuse more items than a request takes."""
    if found > MOST_ROWS:
        message = f"more than {MOST_ROWS:,} {name}"
        raise RejectedRequest(
            413, "too_large", message, "Send them in several requests, or as a file by the command line."
        )


async def _bytes(request: Request, kind: str, slices: Slices) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(LONGEST):
            async for part in request.stream():
                size += len(part)
                if size > MOST_BYTES:
                    said = f"more than {MOST_BYTES // 1024**2} MiB"
                    raise RejectedRequest(413, "too_large", said, "Send less in a request.")
                parts.append(part)
    except TimeoutError:
        said = f"the request did not come within {LONGEST:.0f} s"
        raise RejectedRequest(408, "too_slow", said, "Send it again, all at once.") from None
    if size > _MOST_OBJECTS:
        await _require_few(parts, kind, slices)
    return b"".join(parts)


async def _require_few(parts: Sequence[bytes], kind: str, slices: Slices) -> None:
    """Refuse a body that would take far more memory once it is parsed.

    Opening brackets are counted wherever they stand, also in text: that needs no parsing.
    """
    objects = sum(await slices.collect(part.count(b"{") + part.count(b"[") for part in parts))
    lines = sum(part.count(b"\n") for part in parts) if kind == LINES else 0
    for found, what in ((objects, "objects and lists"), (lines, "lines")):
        if found > _MOST_OBJECTS:
            message = f"{found:,} {what} in a body, and a request has room for {_MOST_OBJECTS:,}"
            raise RejectedRequest(413, "too_large", message, "Send less.")


def _parsed(content: bytes, what: str) -> Any:
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise RejectedRequest(422, "not_json", f"{what} is not JSON ({error})", _NOT_JSON) from None


def _require_unique_keys(content: bytes, keys: int) -> None:
    """Refuse a key that comes twice in an object; keys are those of the parsed content, where each counts once."""
    if len(_KEY.findall(content)) != keys:
        json.loads(content.decode(), object_pairs_hook=_once)


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
            raise RejectedRequest(422, "duplicate_key", said, "Send each key once.")
        seen.add(key)


def id_of(item: Any) -> str | None:
    """The transaction that a wrong item names; None if it names none, or by a card number."""
    given = item.get("transaction_id")
    named = isinstance(given, str) and len(given) <= LONGEST_ID and not find_in_id(given).passes
    return given if named else None


def refuse_unknown_query(request: Request) -> None:
    """Refuse query parameters that the route does not have, and those that are given twice: neither would have an effect.

    Raises
    ------
    Refused
        422 with the names that there are.
    """
    if not request.scope["query_string"]:
        return
    path = request.scope["route"].path
    known = _PARAMETERS.get(path, ())
    names = [name for name, _ in request.query_params.multi_items()]
    unknown = sorted({name for name in names if name not in known})[:_MOST_NAMES]
    twice = sorted({name for name in names if names.count(name) > 1})[:_MOST_NAMES] if not unknown else []
    if unknown or twice:
        what = "unknown parameter" if unknown else "given twice"
        message = "; ".join(f"{excerpt(name, _TOLD)}: {what}" for name in unknown or twice)
        allowed = f"Parameters of {path}: {', '.join(known)}." if known else f"{path} takes no parameters."
        raise RejectedRequest(422, "invalid_request", message, allowed)


async def guard_query(request: Request) -> None:
    """The same as a dependency of FastAPI's, which would call a plain function in a thread."""
    refuse_unknown_query(request)


def answer_errors(app: FastAPI) -> None:
    """Tell every error in the form of `ErrorResponse`."""
    for kind in (RejectedRequest, FraudError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer_to)
    app.add_exception_handler(Exception, answer_to_bug)


async def answer_to_bug(_: Request, __: Exception) -> Response:
    """The answer to an error that nobody expected; the log has its traceback."""
    hint = "Please report it with what the service's log says."
    return failure(500, ErrorDetail(code="internal", message="this is a bug in fraud3000", hint=hint))


async def answer_to(request: Request, error: Exception) -> Response:
    """The answer to an error; one that is none of ours is raised again."""
    if isinstance(error, RejectedRequest):
        return failure(error.status, error.fault, retry_after=error.retry_after)
    if isinstance(error, FraudError):
        status = next((code for kind, code in _FAULTS.items() if isinstance(error, kind)), 500)
        code = _CODES.get(type(error)) or type(error).__name__.removesuffix("Error").lower()
        return failure(status, ErrorDetail(code=code, message=error.message, hint=error.hint or ""))
    if isinstance(error, RequestValidationError):
        named = [(excerpt(".".join(map(str, one["loc"][1:])), _TOLD), one["msg"]) for one in error.errors()[:5]]
        told = "; ".join(f"{name}: {problem}" for name, problem in named)
        return failure(422, ErrorDetail(code="invalid_request", message=told, hint="See /openapi.json."))
    if isinstance(error, HTTPException):
        code = _SAID.get(error.status_code, HTTPStatus(error.status_code).name.lower())
        said = f"{excerpt(request.method, _TOLD)} {excerpt(request.scope['path'], _TOLD)}: {error.detail}"
        answer = failure(error.status_code, ErrorDetail(code=code, message=said, hint="See /openapi.json."))
        answer.headers.update(error.headers or {})
        return answer
    raise error


def failure(status: int, fault: ErrorDetail, *, retry_after: int | None = None) -> Response:
    """The answer to a request that is answered by an error alone; what was sent is said again without card numbers."""
    wait = 5 if status == 503 and retry_after is None else retry_after
    headers = {"Retry-After": str(wait)} if wait is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "ApiKey"
    if status in _CUT_SHORT:
        headers["Connection"] = "close"  # the rest of the request is not waited for
    told = fault.model_copy(update={"message": mask(fault.message)})
    return JSONResponse(ErrorResponse(error=told).model_dump(), status_code=status, headers=headers)
