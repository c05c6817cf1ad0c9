"""`Client` and `AsyncClient`: send the requests that `calls` describes, with retries."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, Literal, Self, cast, overload

import httpx2

from fraud3000.client.calls import AlertQuery, Calls, Reasons, Status, auth_headers, checked_url, label_record
from fraud3000.client.exchange import Attempt, Call, Limits, NoResponse, Response, Result, Steps
from fraud3000.client.payloads import Item
from fraud3000.service.engine.fallback import Fallback
from fraud3000.wire import AlertItem, DecisionRecord, DecisionResult, LabelResult

_CONNECTION_ERRORS = (httpx2.TransportError, httpx2.DecodingError)
_POOL = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4)
"""Idle connections are closed before the service closes them, which is after five seconds."""


class Client:
    """Blocking client of the service.

    Threads may share one client. It keeps connections open until it is closed, so create it once, best with ``with``.

    Parameters
    ----------
    url
        URL of the service, such as ``https://fraud.example``.
    key
        API key, sent as X-API-Key; by default the value of FRAUD3000_API_KEY.
    timeout
        Seconds that a request may take, including all attempts and the waits between them.
    attempt_timeout
        Seconds of one attempt; by default half of `timeout`, so that there is time for another.
    retries
        Attempts after the first, if the connection fails, there is no response in time, or the status is 408, 429, 502, 503
        or 504. Every attempt sends the same bytes, so the request counts once.
    fallback
        Decides in `score` by the amount if the service does not respond; None raises an UnavailableError.
    transport
        Transport of httpx2, for your own certificates or proxy.

    Raises
    ------
    DataError
        From every method: the request is invalid, or the resource does not exist.
    ParamsError
        From every method: the API key is not accepted, or there is no fraud3000 service at the URL.
    UnavailableError
        From every method: no response in time, or the service failed. It may have recorded the transactions; the same
        request, sent again, returns the decisions that were made.

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
        self._calls = Calls(checked_url(url), Limits.from_options(timeout, attempt_timeout, retries), fallback)
        self._http = httpx2.Client(headers=auth_headers(key, os.environ), transport=transport, limits=_POOL)

    @overload
    def score(
        self, transactions: Item, *, reasons: Reasons = ..., deadline_ms: float | None = ...
    ) -> DecisionResult: ...

    @overload
    def score(
        self, transactions: Iterable[Item], *, reasons: Reasons = ..., deadline_ms: float | None = ...
    ) -> list[DecisionResult]: ...

    def score(
        self, transactions: Item | Iterable[Item], *, reasons: Reasons = "alerts", deadline_ms: float | None = None
    ) -> DecisionResult | list[DecisionResult]:
        """Decide one transaction, or several in the order of the list.

        An invalid transaction of a list gets its own `error`; a single invalid transaction raises a DataError. More than
        10,000 transactions are sent in several requests, one after the other, each with its own `timeout`. Sort them by time,
        because a request does not see transactions of later requests.

        Parameters
        ----------
        transactions
            Each is a dict of the fields that `model` lists: amounts as integers in minor units, times as text or
            datetimes with a UTC offset.
        reasons
            Return reasons for ``alerts``, ``all`` or ``none``; each costs the service about fifty predictions.
        deadline_ms
            Milliseconds after which the service decides with its own fallback.

        Notes
        -----
        If the service does not respond to a request, the `fallback` decides its transactions and all later ones, which are
        not sent. These decisions are `unanswered`: the service does not know them, but it may have recorded the transactions.
        Send the same transactions again: the model then decides them, and each counts once.
        """
        return self._run(self._calls.score(transactions, reasons, deadline_ms))

    def label(
        self,
        transaction_id: str,
        *,
        is_fraud: bool,
        source: str,
        reported_at: datetime | str | None = None,
        recorded_at: datetime | str | None = None,
    ) -> LabelResult:
        """Record the label of a transaction from a source: a chargeback, an analyst's decision, a reversal.

        Parameters
        ----------
        reported_at
            When the source reported it.
        recorded_at
            From when on it is known; now by default.
        """
        return self._run(self._calls.label(label_record(transaction_id, is_fraud, source, reported_at, recorded_at)))

    def labels(self, records: Iterable[Item]) -> list[LabelResult]:
        """Record several labels, dicts of the parameters of `label`; an invalid one gets its own `error`."""
        return self._run(self._calls.labels(records))

    def decision(self, decision_id: str) -> DecisionRecord:
        """Read a decision with its inputs: transaction, features and labels."""
        return self._run(self._calls.decision(decision_id))

    def alerts(
        self,
        *,
        status: Status = "open",
        decision: Literal["review", "decline"] | None = None,
        least: float = 0.0,
        page: int = 100,
    ) -> Iterator[AlertItem]:
        """Iterate over alerts (decisions other than approve), largest expected loss first; pages are requested as needed.

        Parameters
        ----------
        status
            ``open`` for alerts without a label record, ``closed`` for those with one, or ``all``.
        decision
            Only alerts with this decision.
        least
            Minimum expected loss in minor units.
        page
            Alerts per request, at most 500.
        """
        query: AlertQuery | None = AlertQuery(status, decision, least, page)
        while query is not None:
            result = self._run(self._calls.alerts(query))
            yield from result.alerts
            query = result.next

    def model(self) -> dict[str, Any]:
        """Read the description of the model that decides."""
        return self._run(self._calls.model())

    def metrics(self) -> str:
        """Read the metrics of the service in Prometheus format."""
        return self._run(self._calls.metrics())

    def ready(self) -> bool:
        """Check once whether the service is ready to score; False if it does not respond."""
        return self._run(self._calls.ready())

    def reload(self) -> dict[str, Any]:
        """Load the latest promoted model in the service; one attempt may take all of `timeout`."""
        return self._run(self._calls.administer("reload"))

    def snapshot(self) -> dict[str, Any]:
        """Write a snapshot in the service; one attempt may take all of `timeout`."""
        return self._run(self._calls.administer("snapshot"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Steps[Result]) -> Result:
        outcome: Response | NoResponse | None = None
        while True:
            try:
                attempt = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as done:
                return cast(Result, done.value)
            time.sleep(attempt.delay)
            outcome = self._send(attempt)

    def _send(self, attempt: Attempt) -> Response | NoResponse:
        remaining = _RemainingTime(attempt.seconds)
        request = self._http.build_request(**_request_arguments(attempt.call), extensions={"timeout": remaining})
        try:
            with closing(self._http.send(request, stream=True)) as response:
                content = b"".join(remaining.during(response.iter_bytes()))
        except (*_CONNECTION_ERRORS, TimeoutError) as error:
            return _no_response(error, attempt)
        return _response(response, content)


class AsyncClient:
    """Asyncio client of the service, with the parameters and methods of `Client`.

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
        self._calls = Calls(checked_url(url), Limits.from_options(timeout, attempt_timeout, retries), fallback)
        self._http = httpx2.AsyncClient(headers=auth_headers(key, os.environ), transport=transport, limits=_POOL)

    @overload
    async def score(
        self, transactions: Item, *, reasons: Reasons = ..., deadline_ms: float | None = ...
    ) -> DecisionResult: ...

    @overload
    async def score(
        self, transactions: Iterable[Item], *, reasons: Reasons = ..., deadline_ms: float | None = ...
    ) -> list[DecisionResult]: ...

    async def score(
        self, transactions: Item | Iterable[Item], *, reasons: Reasons = "alerts", deadline_ms: float | None = None
    ) -> DecisionResult | list[DecisionResult]:
        """Decide one transaction, or several in the order of the list; see `Client.score`."""
        return await self._run(self._calls.score(transactions, reasons, deadline_ms))

    async def label(
        self,
        transaction_id: str,
        *,
        is_fraud: bool,
        source: str,
        reported_at: datetime | str | None = None,
        recorded_at: datetime | str | None = None,
    ) -> LabelResult:
        """Record the label of a transaction."""
        return await self._run(
            self._calls.label(label_record(transaction_id, is_fraud, source, reported_at, recorded_at))
        )

    async def labels(self, records: Iterable[Item]) -> list[LabelResult]:
        """Record several labels."""
        return await self._run(self._calls.labels(records))

    async def decision(self, decision_id: str) -> DecisionRecord:
        """Read a decision with its inputs: transaction, features and labels."""
        return await self._run(self._calls.decision(decision_id))

    async def alerts(
        self,
        *,
        status: Status = "open",
        decision: Literal["review", "decline"] | None = None,
        least: float = 0.0,
        page: int = 100,
    ) -> AsyncIterator[AlertItem]:
        """Iterate over alerts (decisions other than approve), largest expected loss first."""
        query: AlertQuery | None = AlertQuery(status, decision, least, page)
        while query is not None:
            result = await self._run(self._calls.alerts(query))
            for alert in result.alerts:
                yield alert
            query = result.next

    async def model(self) -> dict[str, Any]:
        """Read the description of the model that decides."""
        return await self._run(self._calls.model())

    async def metrics(self) -> str:
        """Read the metrics of the service in Prometheus format."""
        return await self._run(self._calls.metrics())

    async def ready(self) -> bool:
        """Check once whether the service is ready to score; False if it does not respond."""
        return await self._run(self._calls.ready())

    async def reload(self) -> dict[str, Any]:
        """Load the latest promoted model in the service."""
        return await self._run(self._calls.administer("reload"))

    async def snapshot(self) -> dict[str, Any]:
        """Write a snapshot in the service."""
        return await self._run(self._calls.administer("snapshot"))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[Result]) -> Result:
        outcome: Response | NoResponse | None = None
        while True:
            try:
                attempt = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as done:
                return cast(Result, done.value)
            await asyncio.sleep(attempt.delay)
            outcome = await self._send(attempt)

    async def _send(self, attempt: Attempt) -> Response | NoResponse:
        try:
            async with asyncio.timeout(attempt.seconds):
                response = await self._http.request(**_request_arguments(attempt.call), timeout=None)
        except (*_CONNECTION_ERRORS, TimeoutError) as error:
            return _no_response(error, attempt)
        return _response(response, response.content)


class _RemainingTime(dict[str, float]):
    """Remaining seconds of an attempt; httpx2 reads them for each step: connect, write and read."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds

    def get(self, *_: object) -> float:
        """Return the remaining seconds, for any step."""
        return max(self._end - time.monotonic(), 0.001)

    def during(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Read while there is time, so that a slow stream cannot exceed the limit."""
        for part in parts:
            if time.monotonic() > self._end:
                raise TimeoutError
            yield part


def _request_arguments(call: Call) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.url,
        "params": call.params or None,
        "headers": call.headers,
        "content": call.content,
    }


def _no_response(error: Exception, attempt: Attempt) -> NoResponse:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return NoResponse(f"no response within {attempt.seconds:.3g} s")
    return NoResponse(str(error) or type(error).__name__)


def _response(response: httpx2.Response, content: bytes) -> Response:
    return Response(response.status_code, content, response.headers.get("Retry-After"))
