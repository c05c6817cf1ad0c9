"""Reads request bodies within limits of size and time, and turns every error into one form of response."""

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
from fraud3000.service.http.schemas import MAX_ID_LENGTH, ErrorResponse, ScoreQuery
from fraud3000.service.http.time_slices import Slices
from fraud3000.wire import JSON, MAX_BODY_BYTES, MAX_ITEMS, NDJSON, ErrorDetail

READ_TIMEOUT = 20.0
"""Seconds within which a request must arrive completely."""

_CONTENT_TYPE = re.compile(
    rf'({re.escape(JSON)}|{re.escape(NDJSON)})(?:[ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE
)
_KEY = re.compile(rb'"[ \t\r\n]*:')
_KIB = json_pieces.MAX_BYTES // 1024
_MAX_OBJECTS = 2 * MAX_ITEMS
_NOT_JSON = "Send one JSON document, or one JSON object per line."
_MAX_QUOTED = 200  # characters of a request that an error message quotes
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_UNREAD_BODY = (408, 413)
_STATUSES = {DataError: 422, ScorerError: 409, CheckFailed: 503, UnavailableError: 503}
_CODES: dict[type[FraudError], str] = {CheckFailed: "check_failed"}
_MAX_NAMES = 5  # names of parameters that an error message quotes
_PARAMETERS = {"/score": tuple(ScoreQuery.model_fields), "/alerts": tuple(AlertQuery.model_fields)}
_HTTP_CODES = {401: "no_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type"}


class RejectedRequest(Exception):
    """A request that is rejected as a whole, with a status and an error."""

    def __init__(self, status: int, code: str, message: str, hint: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.detail = ErrorDetail(code=code, message=message, hint=hint)


@dataclass(frozen=True)
class Body:
    """The items of a request body, and its form."""

    items: Sequence[Any]
    form: Literal["one", "list", "lines"]


async def read_body(request: Request, name: str, slices: Slices) -> Body:
    """Read one JSON object, a list of them under a name, or one object per line.

    Raises
    ------
    RejectedRequest
        The body has none of these forms, or is too large.
    """
    content_type = _content_type(request.headers)
    content = await _bytes(request, content_type, slices)
    if content_type == NDJSON:
        lines = [line for line in content.split(b"\n") if line.strip()]
        _require_rows(len(lines), name)
        return _body(await slices.collect(_line(line, name) for line in lines), "lines", name)
    if len(content) > json_pieces.MAX_BYTES:
        return _body(await _long_list(content, name, slices), "list", name)
    parsed = _parsed(content, "the body")
    if isinstance(parsed, dict):
        _require_unique_keys(content, _keys(parsed))
    if isinstance(parsed, dict) and name not in parsed:
        return _body([parsed], "one", name)
    if not isinstance(parsed, dict) or not isinstance(parsed[name], list) or len(parsed) > 1:
        hint = f'Send {{"{name}": [{{…}}, …]}}, or one of them as an object.'
        raise RejectedRequest(422, f"no_{name}", f"the body is not a list of {name}", hint)
    return _body(parsed[name], "list", name)


def _line(line: bytes, name: str) -> Any:
    """Parse one line of an NDJSON body."""
    if len(line) > json_pieces.MAX_BYTES or line.count(b'"') > 2 * json_pieces.MAX_TOKENS:
        raise _too_long(name)
    parsed = _parsed(line, "the body")
    if isinstance(parsed, dict):
        _require_unique_keys(line, _keys(parsed))
    return parsed


async def _long_list(content: bytes, name: str, slices: Slices) -> list[Any]:
    """Parse a body that is too long to be parsed at once, piece by piece."""
    head = json_pieces.head(content)
    if head is None or _parsed(head[0], "the first key") != name:
        message = f'the body has more than {_KIB} KiB but does not begin with {{"{name}": ['
        hint = f'Send {{"{name}": [{{…}}, …]}}; a single object must have less than {_KIB} KiB.'
        raise RejectedRequest(413, "too_large", message, hint)
    items: list[Any] = []

    def parse(piece: bytes) -> None:
        parsed = _parsed(piece, f"{name.removesuffix('s')} {len(items) + 1} or one shortly after it")
        if not parsed:
            raise RejectedRequest(422, "not_json", "the body is not JSON (a comma without an item after it)", _NOT_JSON)
        _require_unique_keys(piece, sum(len(item) for item in parsed if isinstance(item, dict)))
        items.extend(parsed)
        _require_rows(len(items), name)

    try:
        await slices.collect(map(parse, json_pieces.pieces(content, head[1])))
    except json_pieces.TooLong:
        raise _too_long(name) from None
    except json_pieces.Malformed as error:
        raise RejectedRequest(422, "not_json", f"the body is not JSON ({error})", _NOT_JSON) from None
    return items


def _too_long(name: str) -> RejectedRequest:
    item = name.removesuffix("s")
    message = f"a {item} has more than {_KIB} KiB, or more than {json_pieces.MAX_TOKENS:,} strings and brackets"
    return RejectedRequest(
        413, "too_large", message, f"Send each {item} as an object with the fields in /openapi.json."
    )


def _content_type(headers: Mapping[str, str]) -> str:
    """Return the media type: JSON or NDJSON, in UTF-8, without Content-Encoding.

    Raises
    ------
    RejectedRequest
        415 for anything else.
    """
    value = headers.get("content-type", "")
    match = _CONTENT_TYPE.fullmatch(value.strip())
    if match is None:
        message = (
            f"Content-Type '{excerpt(value, _MAX_QUOTED)}' is not supported"
            if value
            else "the header Content-Type is missing"
        )
        raise RejectedRequest(415, "media_type", message, f"Send {JSON} or {NDJSON}, in UTF-8.")
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        message = f"Content-Encoding '{excerpt(encoding, _MAX_QUOTED)}' is not supported"
        raise RejectedRequest(415, "encoding", message, "Send the body without Content-Encoding.")
    return match[1].lower()


def _body(items: list[Any], form: Literal["one", "list", "lines"], name: str) -> Body:
    _require_rows(len(items), name)
    wrong = next((index for index, item in enumerate(items) if not isinstance(item, dict)), None)
    if wrong is not None or not items:
        message = f"the body has no {name}" if wrong is None else f"item {wrong + 1} is not a JSON object"
        hint = f"Send each {name.removesuffix('s')} as an object with the fields in /openapi.json."
        raise RejectedRequest(422, f"no_{name}", message, hint)
    return Body(items, form)


def _require_rows(rows: int, name: str) -> None:
    """Reject a body with more items than a request may have."""
    if rows > MAX_ITEMS:
        message = f"more than {MAX_ITEMS:,} {name} in a request"
        hint = "Send them in several requests, or score a file with `fraud3000 score-file`."
        raise RejectedRequest(413, "too_large", message, hint)


async def _bytes(request: Request, content_type: str, slices: Slices) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    message = f"the body has more than {MAX_BODY_BYTES // 1024**2} MiB"
                    raise RejectedRequest(413, "too_large", message, "Send fewer items in a request.")
                parts.append(part)
    except TimeoutError:
        message = f"the body did not arrive within {READ_TIMEOUT:.0f} s"
        raise RejectedRequest(408, "too_slow", message, "Send the request again, without pauses in the body.") from None
    if size > _MAX_OBJECTS:
        await _require_few_objects(parts, content_type, slices)
    return b"".join(parts)


async def _require_few_objects(parts: Sequence[bytes], content_type: str, slices: Slices) -> None:
    """Reject a body that would take far more memory once it is parsed.

    All opening brackets count, including those inside strings, because telling them apart would need parsing.
    """
    objects = sum(await slices.collect(part.count(b"{") + part.count(b"[") for part in parts))
    lines = sum(part.count(b"\n") for part in parts) if content_type == NDJSON else 0
    for count, what in ((objects, "objects and lists"), (lines, "lines")):
        if count > _MAX_OBJECTS:
            message = f"the body has {count:,} {what}; a request may have {_MAX_OBJECTS:,}"
            raise RejectedRequest(413, "too_large", message, "Send fewer items in a request.")


def _parsed(content: bytes, what: str) -> Any:
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise RejectedRequest(422, "not_json", f"{what} is not JSON ({error})", _NOT_JSON) from None


def _require_unique_keys(content: bytes, keys: int) -> None:
    """Reject an object with a repeated key.

    Parameters
    ----------
    keys
        Number of keys in the parsed content, where a repeated key counts once.
    """
    if len(_KEY.findall(content)) != keys:
        json.loads(content.decode(), object_pairs_hook=_reject_repeated_key)


def _keys(parsed: dict[str, Any]) -> int:
    """Count the keys of an object and of the objects in its lists.

    The text has the same number of quotes before a colon, unless a key is repeated, or strings or deeper objects have some.
    """
    items = (item for value in parsed.values() if isinstance(value, list) for item in value if isinstance(item, dict))
    return len(parsed) + sum(map(len, items))


def _reject_repeated_key(pairs: list[tuple[str, Any]]) -> None:
    """Reject an object with a repeated key, since it is unknown which of the values is meant."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            message = f"the key '{excerpt(key, _MAX_QUOTED)}' is repeated in an object"
            raise RejectedRequest(422, "duplicate_key", message, "Send each key once.")
        seen.add(key)


def id_of(item: Any) -> str | None:
    """Return the transaction id of an invalid item; None if it has no valid id, or one that contains a card number."""
    id_ = item.get("transaction_id")
    valid = isinstance(id_, str) and len(id_) <= MAX_ID_LENGTH and not find_in_id(id_).passes
    return id_ if valid else None


def refuse_unknown_query(request: Request) -> None:
    """Reject unknown and repeated query parameters, which would have no effect.

    Raises
    ------
    RejectedRequest
        422 with the parameters of the route.
    """
    if not request.scope["query_string"]:
        return
    path = request.scope["route"].path
    known = _PARAMETERS.get(path, ())
    names = [name for name, _ in request.query_params.multi_items()]
    unknown = sorted({name for name in names if name not in known})[:_MAX_NAMES]
    repeated = sorted({name for name in names if names.count(name) > 1})[:_MAX_NAMES] if not unknown else []
    if unknown or repeated:
        problem = "unknown parameter" if unknown else "repeated parameter"
        message = "; ".join(f"{excerpt(name, _MAX_QUOTED)}: {problem}" for name in unknown or repeated)
        hint = f"Parameters of {path}: {', '.join(known)}." if known else f"{path} has no parameters."
        raise RejectedRequest(422, "invalid_request", message, hint)


async def guard_query(request: Request) -> None:
    """Run `refuse_unknown_query` as a FastAPI dependency; async, since FastAPI calls plain functions in a thread."""
    refuse_unknown_query(request)


def add_error_handlers(app: FastAPI) -> None:
    """Make an app answer every error with an `ErrorResponse`."""
    for kind in (RejectedRequest, FraudError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle_error)
    app.add_exception_handler(Exception, handle_internal_error)


async def handle_internal_error(_: Request, __: Exception) -> Response:
    """Return the 500 response to an unexpected error; the log has its traceback."""
    hint = "Report it with the traceback from the service's log."
    return error_response(500, ErrorDetail(code="internal", message="this is a bug in fraud3000", hint=hint))


async def handle_error(request: Request, error: Exception) -> Response:
    """Return the response to an expected kind of error; raise any other again."""
    if isinstance(error, RejectedRequest):
        return error_response(error.status, error.detail, retry_after=error.retry_after)
    if isinstance(error, FraudError):
        status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
        code = _CODES.get(type(error)) or type(error).__name__.removesuffix("Error").lower()
        return error_response(status, ErrorDetail(code=code, message=error.message, hint=error.hint or ""))
    if isinstance(error, RequestValidationError):
        problems = error.errors()[:_MAX_NAMES]
        named = [(excerpt(".".join(map(str, problem["loc"][1:])), _MAX_QUOTED), problem["msg"]) for problem in problems]
        message = "; ".join(f"{field}: {text}" for field, text in named)
        return error_response(422, ErrorDetail(code="invalid_request", message=message, hint="See /openapi.json."))
    if isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code, HTTPStatus(error.status_code).name.lower())
        message = (
            f"{excerpt(request.method, _MAX_QUOTED)} {excerpt(request.scope['path'], _MAX_QUOTED)}: {error.detail}"
        )
        response = error_response(error.status_code, ErrorDetail(code=code, message=message, hint="See /openapi.json."))
        response.headers.update(error.headers or {})
        return response
    raise error


def error_response(status: int, detail: ErrorDetail, *, retry_after: int | None = None) -> Response:
    """Return a JSON error response; card numbers in its message are masked."""
    wait = 5 if status == 503 and retry_after is None else retry_after
    headers = {"Retry-After": str(wait)} if wait is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "ApiKey"
    if status in _UNREAD_BODY:
        headers["Connection"] = "close"  # the service does not wait for the rest of the request
    masked = detail.model_copy(update={"message": mask(detail.message)})
    return JSONResponse(ErrorResponse(error=masked).model_dump(), status_code=status, headers=headers)
