"""One request until it is answered: what is tried, when, and what an answer means. Nothing is sent from here.

An exchange is a generator. It yields each attempt and is sent what came of it; whoever runs it sleeps and sends.
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

from fraud3000.client import results
from fraud3000.client.results import Fault
from fraud3000.errors import DataError, FraudError, ParamsError, ScorerError, UnavailableError

RETRIED = frozenset({408, 429, 502, 503, 504})
"""What is worth another attempt: the service has no time or no room, or a gateway does not reach it."""

_FIRST, _LONGEST = 0.1, 5.0
"""Seconds between the first two attempts, at most, and between any."""

_AGAIN = "Send it again as it was: what was kept has its answer, and counts once."
ELSEWHERE = "Check the url, and what stands between it and the service."


@dataclass(frozen=True, slots=True)
class Call:
    """A request, the same in each attempt.

    Attributes
    ----------
    url
        Of what is asked, in full.
    request_id
        Sent as `X-Request-ID`, to be found in the service's log.
    """

    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def headers(self) -> dict[str, str]:
        kind = {} if self.content is None else {"Content-Type": "application/json"}
        return {"X-Request-ID": self.request_id, **kind}

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is to be done next.

    Attributes
    ----------
    after
        Seconds to wait before.
    seconds
        That it may take.
    """

    call: Call
    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes
    ----------
    retry_after
        That header, if there was one.
    """

    status: int
    content: bytes
    retry_after: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.status // 100 == 2

    @property
    def told(self) -> Any:
        """The JSON in it; None where there is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None

    @property
    def fault(self) -> Fault | None:
        """What the service says is wrong; None where it was not the service that answered."""
        try:
            return results.read(Fault, self.told["error"])
        except (TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer, and why."""

    reason: str


Found = TypeVar("Found")
Steps = Generator[Attempt, Answer | Silence, Found]
"""Attempts, each sent its outcome, up to what was found."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer is waited for, and how often it is asked for.

    Attributes
    ----------
    timeout
        Seconds of a request with all its attempts and the waits between them.
    attempt
        Seconds of one attempt.
    retries
        Attempts after the first.
    """

    timeout: float
    attempt: float
    retries: int

    @classmethod
    def of(cls, timeout: float, attempt: float | None, retries: int) -> Limits:
        """Half of the time for each attempt, if it is not said.

        Raises
        ------
        ParamsError
            There is no time to ask.
        """
        attempt = timeout / 2 if attempt is None else attempt
        if not (timeout > 0 and attempt > 0 and retries >= 0):
            raise ParamsError(
                f"timeout {timeout}, attempt_timeout {attempt}, retries {retries}: leave no time to ask",
                hint="Give positive seconds, and 0 or more retries.",
            )
        return cls(timeout, attempt if retries else timeout, retries)


def exchange(
    call: Call,
    limits: Limits,
    *,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> Steps[Answer]:
    """Ask until there is an answer that another attempt would not change.

    Parameters
    ----------
    draw
        Numbers in [0, 1): clients that failed together come back apart.

    Raises
    ------
    UnavailableError
        There was none in time.

    Examples
    --------
    >>> steps = exchange(Call("GET", "http://127.0.0.1:8000/ready"), Limits(10, 5, 1), clock=lambda: 0.0, draw=lambda: 0.5)
    >>> next(steps).after
    0.0
    >>> steps.send(Answer(503, b"", retry_after="2")).after
    2.05
    """
    end, after = clock() + limits.timeout, 0.0
    for number in range(1 + limits.retries):
        left = end - clock() - after
        outcome = yield Attempt(call, after, min(limits.attempt, left))
        if isinstance(outcome, Answer) and outcome.status not in RETRIED:
            return outcome
        after = _asked_wait(outcome) + draw() * min(_LONGEST, _FIRST * 2**number)
        if clock() + after >= end:
            break
    raise _unavailable(call, outcome, number + 1)


def _asked_wait(outcome: Answer | Silence) -> float:
    """Seconds that the service asks to be left alone.

    Examples
    --------
    >>> [_asked_wait(Answer(503, b"", given)) for given in ("5", None, "soon", "Wed, 21 Oct 2015 07:28:00 GMT")]
    [5.0, 0.0, 0.0, 0.0]
    """
    given = outcome.retry_after if isinstance(outcome, Answer) else None
    if given is None:
        return 0.0
    if given.isdecimal():
        return float(given)
    try:
        at = parsedate_to_datetime(given)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _unavailable(call: Call, last: Answer | Silence, attempts: int) -> UnavailableError:
    if isinstance(last, Silence):
        said, fault = last.reason, None
    else:
        fault = last.fault
        said = f"{last.status}" if fault is None else f"{last.status}, {fault.message}"
        said += f"; asks to wait for {last.retry_after} s" if last.retry_after and last.retry_after.isdecimal() else ""
    tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return UnavailableError(
        f"{call}: no answer after {tried}: {said} (request {call.request_id})",
        hint=_AGAIN,
        code=None if fault is None else fault.code,
    )


def refusal(call: Call, answer: Answer) -> FraudError:
    """Say what an answer means that is none to what was asked.

    A DataError where what was sent is wrong, a ParamsError where the key or the url is, a ScorerError where a model cannot
    be trusted, and an UnavailableError where the service, or what stands before it, failed.
    """
    fault, said = answer.fault, f"{call}: {answer.status}"
    if answer.status >= 500:
        fault = fault or Fault("internal", "failed", "The service's log may have more under this id.")
        return UnavailableError(
            f"{said}, {fault.message} (request {call.request_id})", hint=fault.hint, code=fault.code
        )
    if fault is None:
        return ParamsError(f"{said}, and not as a service of fraud3000 answers", hint=ELSEWHERE)
    kind = ParamsError if answer.status in (401, 403) else ScorerError if fault.code == "scorer" else DataError
    return kind(f"{said}, {fault.message}", hint=fault.hint, code=fault.code)
