"""Those who send: one that waits, and one that lets others go on. All that they know stands in `calls`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, Literal, Self, cast, overload

import httpx2

from fraud3000.client.calls import AlertQuery, Calls, Reasons, Status, address, authority, labelled
from fraud3000.client.exchange import Answer, Attempt, Call, Found, Limits, Silence, Steps
from fraud3000.client.payloads import Item
from fraud3000.client.results import Alert, Decision, Record, Recorded
from fraud3000.service.engine.fallback import Fallback

_BROKEN = (httpx2.TransportError, httpx2.DecodingError)
_POOL = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4)
"""Idle connections go before the service, which waits five seconds, closes them."""


class Client:
    """Asks a service, and waits for its answers.

    One client may be used by many threads. It holds connections until it is closed, so it is made once, best by ``with``.

    Parameters
    ----------
    url
        Of the service, such as ``https://fraud.example``.
    key
        For the header X-API-Key; what the variable FRAUD3000_API_KEY holds, if not given.
    timeout
        Seconds that a request may take with all its attempts and the waits between them.
    attempt_timeout
        Seconds of one attempt; half of `timeout` if not given, so that there is time for another.
    retries
        Attempts after the first, where a connection fails, or nothing comes in time, or the status is 408, 429, 502, 503 or
        504. What is sent is the same to the byte, so it counts once.
    fallback
        Decides in `score` by the amount alone what is not answered; without, that is an UnavailableError.
    transport
        Of httpx2, for certificates or a proxy of your own.

    Raises
    ------
    DataError
        By each method: what was sent is wrong, or there is no such thing.
    ParamsError
        By each method: the key is wrong, or what is at the url.
    UnavailableError
        By each method: no answer came in time, or the service failed. What was sent may have been kept; sent again as it was,
        it has the answer that it would have had.

    Examples
    --------
    >>> with Client("http://127.0.0.1:9", retries=0, fallback=Fallback(review_from=50_000)) as client:
    ...     decision = client.score({"transaction_id": "1", "amount": 60_000})
    >>> decision.decision, decision.decision_source, decision.unanswered
    ('review', 'fallback', True)
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        attempt_timeout: float | None = None,
        retries: int = 5,
        fallback: Fallback | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(address(url), Limits.of(timeout, attempt_timeout, retries), fallback)
        self._http = httpx2.Client(headers=authority(key, os.environ), transport=transport, limits=_POOL)

    @overload
    def score(self, given: Item, *, reasons: Reasons = ..., deadline_ms: float | None = ...) -> Decision: ...

    @overload
    def score(
        self, given: Iterable[Item], *, reasons: Reasons = ..., deadline_ms: float | None = ...
    ) -> list[Decision]: ...

    def score(
        self, given: Item | Iterable[Item], *, reasons: Reasons = "alerts", deadline_ms: float | None = None
    ) -> Decision | list[Decision]:
        """Decide one transaction, or several in their order.

        Of several, one that is wrong has its `error` in its place; one alone that is wrong is a DataError. More than 10,000 are
        sent in several requests, one after the other, each with a `timeout` of its own: sort them by time, as nothing of a later
        request is seen by an earlier one.

        Parameters
        ----------
        given
            A transaction is a dict of the fields that `model` names: amounts as integers in minor units, times as text or
            datetimes with an offset.
        reasons
            For alerts, for ``all`` or for ``none``; each costs the service some fifty predictions.
        deadline_ms
            Milliseconds after which the service decides by its own fallback.

        Notes
        -----
        With a `fallback`, it decides from the first request on that is not answered; the rest is not sent. Such decisions are
        `unanswered` and unknown to the service, but it may have kept the transactions. Send them again, as they were: then its
        model decides, and each counts once.
        """
        return self._run(self._calls.score(given, reasons, deadline_ms))

    def label(
        self,
        transaction_id: str,
        *,
        is_fraud: bool,
        source: str,
        reported_at: datetime | str | None = None,
        recorded_at: datetime | str | None = None,
    ) -> Recorded:
        """Record what a source says of a transaction: a chargeback, a verdict of an analyst, a reversal.

        Parameters
        ----------
        reported_at
            When the source said so.
        recorded_at
            Since when it is known; now, if not given.
        """
        return self._run(self._calls.label(labelled(transaction_id, is_fraud, source, reported_at, recorded_at)))

    def labels(self, given: Iterable[Item]) -> list[Recorded]:
        """Record several labels, dicts of what `label` takes; one that is wrong has its `error` in its place."""
        return self._run(self._calls.labels(given))

    def decision(self, decision_id: str) -> Record:
        """Read a decision with all that it was made of."""
        return self._run(self._calls.decision(decision_id))

    def alerts(
        self,
        *,
        status: Status = "open",
        decision: Literal["review", "decline"] | None = None,
        least: float = 0.0,
        page: int = 100,
    ) -> Iterator[Alert]:
        """Read the queue of what is not approved, the largest expected loss first; requests are made as it is read.

        Parameters
        ----------
        status
            ``open`` for what no label record speaks of yet, ``closed`` for the rest, or ``all``.
        decision
            Only these.
        least
            Expected loss in minor units, at least.
        page
            Alerts of one request, at most 500.
        """
        query: AlertQuery | None = AlertQuery(status, decision, least, page)
        while query is not None:
            found = self._run(self._calls.alerts(query))
            yield from found.alerts
            query = found.next

    def model(self) -> dict[str, Any]:
        """Read which model decides, what it was made of, and what it knows."""
        return self._run(self._calls.model())

    def metrics(self) -> str:
        """Read the service's counts, as Prometheus does."""
        return self._run(self._calls.metrics())

    def ready(self) -> bool:
        """Ask, once, whether the service can score; False where it does not answer."""
        return self._run(self._calls.ready())

    def reload(self) -> dict[str, Any]:
        """Have the service look for another model; one attempt may take all of `timeout`."""
        return self._run(self._calls.administer("reload"))

    def snapshot(self) -> dict[str, Any]:
        """Have the service write a snapshot; one attempt may take all of `timeout`."""
        return self._run(self._calls.administer("snapshot"))

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Steps[Found]) -> Found:
        outcome: Answer | Silence | None = None
        while True:
            try:
                attempt = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as done:
                return cast(Found, done.value)
            time.sleep(attempt.after)
            outcome = self._ask(attempt)

    def _ask(self, attempt: Attempt) -> Answer | Silence:
        left = _Left(attempt.seconds)
        request = self._http.build_request(**_sent(attempt.call), extensions={"timeout": left})
        try:
            with closing(self._http.send(request, stream=True)) as response:
                content = b"".join(left.during(response.iter_bytes()))
        except (*_BROKEN, TimeoutError) as error:
            return _silence(error, attempt)
        return _answer(response, content)


class AsyncClient:
    """Asks a service, and lets others go on meanwhile; parameters and methods are those of `Client`.

    Examples
    --------
    >>> async def decided():
    ...     async with AsyncClient("http://127.0.0.1:9", retries=0, fallback=Fallback()) as client:
    ...         return await client.score([{"transaction_id": "1", "amount": 100}])
    >>> [decision.decision for decision in asyncio.run(decided())]
    ['approve']
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        attempt_timeout: float | None = None,
        retries: int = 5,
        fallback: Fallback | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._calls = Calls(address(url), Limits.of(timeout, attempt_timeout, retries), fallback)
        self._http = httpx2.AsyncClient(headers=authority(key, os.environ), transport=transport, limits=_POOL)

    @overload
    async def score(self, given: Item, *, reasons: Reasons = ..., deadline_ms: float | None = ...) -> Decision: ...

    @overload
    async def score(
        self, given: Iterable[Item], *, reasons: Reasons = ..., deadline_ms: float | None = ...
    ) -> list[Decision]: ...

    async def score(
        self, given: Item | Iterable[Item], *, reasons: Reasons = "alerts", deadline_ms: float | None = None
    ) -> Decision | list[Decision]:
        """Decide one transaction, or several in their order, as `Client.score` does."""
        return await self._run(self._calls.score(given, reasons, deadline_ms))

    async def label(
        self,
        transaction_id: str,
        *,
        is_fraud: bool,
        source: str,
        reported_at: datetime | str | None = None,
        recorded_at: datetime | str | None = None,
    ) -> Recorded:
        """Record what a source says of a transaction."""
        return await self._run(self._calls.label(labelled(transaction_id, is_fraud, source, reported_at, recorded_at)))

    async def labels(self, given: Iterable[Item]) -> list[Recorded]:
        """Record several labels."""
        return await self._run(self._calls.labels(given))

    async def decision(self, decision_id: str) -> Record:
        """Read a decision with all that it was made of."""
        return await self._run(self._calls.decision(decision_id))

    async def alerts(
        self,
        *,
        status: Status = "open",
        decision: Literal["review", "decline"] | None = None,
        least: float = 0.0,
        page: int = 100,
    ) -> AsyncIterator[Alert]:
        """Read the queue of what is not approved, the largest expected loss first."""
        query: AlertQuery | None = AlertQuery(status, decision, least, page)
        while query is not None:
            found = await self._run(self._calls.alerts(query))
            for alert in found.alerts:
                yield alert
            query = found.next

    async def model(self) -> dict[str, Any]:
        """Read which model decides, what it was made of, and what it knows."""
        return await self._run(self._calls.model())

    async def metrics(self) -> str:
        """Read the service's counts, as Prometheus does."""
        return await self._run(self._calls.metrics())

    async def ready(self) -> bool:
        """Ask, once, whether the service can score; False where it does not answer."""
        return await self._run(self._calls.ready())

    async def reload(self) -> dict[str, Any]:
        """Have the service look for another model."""
        return await self._run(self._calls.administer("reload"))

    async def snapshot(self) -> dict[str, Any]:
        """Have the service write a snapshot."""
        return await self._run(self._calls.administer("snapshot"))

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[Found]) -> Found:
        outcome: Answer | Silence | None = None
        while True:
            try:
                attempt = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as done:
                return cast(Found, done.value)
            await asyncio.sleep(attempt.after)
            outcome = await self._ask(attempt)

    async def _ask(self, attempt: Attempt) -> Answer | Silence:
        try:
            async with asyncio.timeout(attempt.seconds):
                response = await self._http.request(**_sent(attempt.call), timeout=None)
        except (*_BROKEN, TimeoutError) as error:
            return _silence(error, attempt)
        return _answer(response, response.content)


class _Left(dict[str, float]):
    """What is left of an attempt's time: httpx2 looks it up for each step, to connect, to write and to read."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds

    def get(self, *_: object) -> float:
        """Seconds, for any step."""
        return max(self._end - time.monotonic(), 0.001)

    def during(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Read on while there is time: one that goes on sending, drop by drop, is left."""
        for part in parts:
            if time.monotonic() > self._end:
                raise TimeoutError
            yield part


def _sent(call: Call) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.url,
        "params": call.params or None,
        "headers": call.headers,
        "content": call.content,
    }


def _silence(error: Exception, attempt: Attempt) -> Silence:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return Silence(f"nothing came within {attempt.seconds:.3g} s")
    return Silence(str(error) or type(error).__name__)


def _answer(response: httpx2.Response, content: bytes) -> Answer:
    return Answer(response.status_code, content, response.headers.get("Retry-After"))
