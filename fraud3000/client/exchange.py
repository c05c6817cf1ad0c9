"""Retry rules of a request, and the errors of its response, independent of the HTTP library.

An exchange is a generator: it yields each attempt and receives its outcome; `clients` waits and sends.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from fraud3000.errors import DataError, FraudError, ParamsError, ScorerError, UnavailableError
from fraud3000.wire import JSON, REQUEST_ID_HEADER, ErrorDetail

RETRIED = frozenset({408, 429, 502, 503, 504})
"""Statuses that are retried: the service is overloaded, or a gateway does not reach it."""

_FIRST, _LONGEST = 0.1, 5.0
"""Longest wait in seconds between the first two attempts, and between any two."""

_RETRY_LATER = "Send the same request again: transactions already recorded return their decision and count once."
OTHER_SERVICE = "Check the URL, and any proxy in front of the service."


@dataclass(frozen=True, slots=True)
class Call:
    """HTTP request, the same in every attempt.

    Attributes
    ----------
    url
        Full URL.
    request_id
        Sent as `X-Request-ID`; the service's log contains it.
    """

    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def headers(self) -> dict[str, str]:
        kind = {} if self.content is None else {"Content-Type": JSON}
        return {REQUEST_ID_HEADER: self.request_id, **kind}

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a request.

    Attributes
    ----------
    delay
        Seconds to wait before it.
    seconds
        Time limit of the attempt.
    """

    call: Call
    delay: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Response:
    """HTTP response.

    Attributes
    ----------
    retry_after
        Value of the Retry-After header; None if absent.
    """

    status: int
    content: bytes
    retry_after: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.status // 100 == 2

    @property
    def json(self) -> Any:
        """Decoded JSON body; None if it is not JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None

    @property
    def error_detail(self) -> ErrorDetail | None:
        """Error that the service returned; None if the response is not from a fraud3000 service."""
        try:
            return ErrorDetail.model_validate(self.json["error"], extra="ignore")
        except (TypeError, KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """Failure to receive a response, and its reason."""

    reason: str


Result = TypeVar("Result")
Steps = Generator[Attempt, Response | NoResponse, Result]
"""Generator that yields attempts, receives their outcomes, and returns the result."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits and number of retries of a request.

    Attributes
    ----------
    timeout
        Seconds of a request, including all attempts and the waits between them.
    attempt
        Seconds of one attempt.
    retries
        Attempts after the first.
    """

    timeout: float
    attempt: float
    retries: int

    @classmethod
    def from_options(cls, timeout: float, attempt: float | None, retries: int) -> Limits:
        """Validate the options of a client; by default an attempt may take half of the timeout.

        Raises
        ------
        ParamsError
            A time is not positive, or the number of retries is negative.
        """
        attempt = timeout / 2 if attempt is None else attempt
        if not (timeout > 0 and attempt > 0 and retries >= 0):
            raise ParamsError(
                f"timeout {timeout}, attempt_timeout {attempt}, retries {retries}: out of range",
                hint="Pass positive seconds, and 0 or more retries.",
            )
        return cls(timeout, attempt if retries else timeout, retries)


def exchange(
    call: Call,
    limits: Limits,
    *,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> Steps[Response]:
    """Send a request until there is a response that a retry would not change.

    Parameters
    ----------
    draw
        Returns random numbers in [0, 1), so that clients that failed together do not retry together.

    Raises
    ------
    UnavailableError
        There was no such response in time.

    Examples
    --------
    >>> steps = exchange(Call("GET", "http://127.0.0.1:8000/ready"), Limits(10, 5, 1), clock=lambda: 0.0, draw=lambda: 0.5)
    >>> next(steps).delay
    0.0
    >>> steps.send(Response(503, b"", retry_after="2")).delay
    2.05
    """
    end, delay = clock() + limits.timeout, 0.0
    for number in range(1 + limits.retries):
        remaining = end - clock() - delay
        outcome = yield Attempt(call, delay, min(limits.attempt, remaining))
        if isinstance(outcome, Response) and outcome.status not in RETRIED:
            return outcome
        delay = _retry_after_seconds(outcome) + draw() * min(_LONGEST, _FIRST * 2**number)
        if clock() + delay >= end:
            break
    raise _unavailable(call, outcome, number + 1)


def _retry_after_seconds(outcome: Response | NoResponse) -> float:
    """Return the seconds of the Retry-After header; 0 without a valid one.

    Examples
    --------
    >>> [_retry_after_seconds(Response(503, b"", header)) for header in ("5", None, "soon", "Wed, 21 Oct 2015 07:28:00 GMT")]
    [5.0, 0.0, 0.0, 0.0]
    """
    header = outcome.retry_after if isinstance(outcome, Response) else None
    if header is None:
        return 0.0
    if header.isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _unavailable(call: Call, last: Response | NoResponse, attempts: int) -> UnavailableError:
    if isinstance(last, NoResponse):
        reason, error_detail = last.reason, None
    else:
        error_detail = last.error_detail
        reason = f"{last.status}" if error_detail is None else f"{last.status}, {error_detail.message}"
        reason += f"; retry after {last.retry_after} s" if last.retry_after and last.retry_after.isdecimal() else ""
    tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return UnavailableError(
        f"{call}: no response after {tried}: {reason} (request {call.request_id})",
        hint=_RETRY_LATER,
        code=None if error_detail is None else error_detail.code,
    )


def error_from(call: Call, response: Response) -> FraudError:
    """Return the exception for an error response.

    A DataError for an invalid request, a ParamsError for a wrong key or URL, a ScorerError for a model that failed
    verification, and an UnavailableError if the service, or a proxy in front of it, failed.
    """
    error_detail, status = response.error_detail, f"{call}: {response.status}"
    if response.status >= 500:
        error_detail = error_detail or ErrorDetail(
            code="internal",
            message="the service failed",
            hint="Search the service's log for this request id.",
        )
        return UnavailableError(
            f"{status}, {error_detail.message} (request {call.request_id})",
            hint=error_detail.hint,
            code=error_detail.code,
        )
    if error_detail is None:
        return ParamsError(f"{status}, and the response is not that of a fraud3000 service", hint=OTHER_SERVICE)
    kind = ParamsError if response.status in (401, 403) else ScorerError if error_detail.code == "scorer" else DataError
    return kind(f"{status}, {error_detail.message}", hint=error_detail.hint, code=error_detail.code)
