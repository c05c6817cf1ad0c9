"""Requests of the client, one generator per method, independent of the HTTP library; `clients` sends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from fraud3000 import secrets
from fraud3000.client import payloads
from fraud3000.client.exchange import OTHER_SERVICE, Call, Limits, Steps, error_from, exchange
from fraud3000.client.payloads import Batch, Item
from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.service.engine.fallback import Fallback
from fraud3000.wire import (
    API_KEY_HEADER,
    API_KEY_VARIABLE,
    AlertItem,
    DecisionRecord,
    DecisionResult,
    ErrorDetail,
    LabelResult,
)

_Message = TypeVar("_Message", bound=BaseModel)
Reasons = Literal["alerts", "all", "none"]
"""Transactions that get reasons."""

Status = Literal["open", "closed", "all"]
"""Alerts without a label record, with one, or both."""


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Query for alerts; see `Client.alerts`.

    Attributes
    ----------
    after
        Cursor returned with the previous page; None for the first page.
    """

    status: Status
    decision: Literal["review", "decline"] | None
    least: float
    page: int
    after: str | None = None

    @property
    def params(self) -> dict[str, str]:
        optional = {"decision": self.decision, "after": self.after}
        required = {"status": self.status, "least": str(self.least), "limit": str(self.page)}
        return required | {name: value for name, value in optional.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of alerts, and the query for the next page; None after the last."""

    alerts: Sequence[AlertItem]
    next: AlertQuery | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Requests to one service.

    Attributes
    ----------
    url
        URL of the service, without a trailing slash.
    fallback
        Decides if the service does not respond; None to raise an error instead.
    """

    url: str
    limits: Limits
    fallback: Fallback | None = None

    def score(
        self, transactions: Item | Iterable[Item], reasons: Reasons, deadline_ms: float | None
    ) -> Steps[DecisionResult | list[DecisionResult]]:
        """Request decisions: a single one for one transaction, a list for several."""
        params = {"reasons": reasons} | ({} if deadline_ms is None else {"deadline_ms": f"{deadline_ms:.15g}"})
        if isinstance(transactions, Mapping):
            decisions = yield from self._score([payloads.single("transactions", transactions)], params)
            return _raise_error(decisions[0])
        return (yield from self._score(payloads.batches("transactions", transactions), params))

    def label(self, record: Item) -> Steps[LabelResult]:
        """Record one label."""
        call = self._post("/labels", payloads.single("labels", record).content)
        body = yield from self._json(call)
        with _expecting_fields(call):
            return _read(LabelResult, _results(body, 1)[0])

    def labels(self, records: Iterable[Item]) -> Steps[list[LabelResult]]:
        """Record several labels."""
        recorded: list[LabelResult] = []
        for batch in payloads.batches("labels", records):
            call = self._post("/labels", batch.content)
            body = yield from self._json(call)
            with _expecting_fields(call):
                recorded += [_read(LabelResult, result) for result in _results(body, len(batch.items))]
        return recorded

    def decision(self, decision_id: str) -> Steps[DecisionRecord]:
        """Read one decision."""
        call = self._get(f"/decisions/{quote(decision_id, safe='')}")
        body = yield from self._json(call)
        with _expecting_fields(call):
            return _read(DecisionRecord, body)

    def alerts(self, query: AlertQuery) -> Steps[Page]:
        """Read one page of alerts."""
        call = self._get("/alerts", query.params)
        body = yield from self._json(call)
        with _expecting_fields(call):
            alerts, after = [_read(AlertItem, alert) for alert in body["alerts"]], body["next"]
        return Page(alerts, None if after is None else replace(query, after=after))

    def model(self) -> Steps[dict[str, Any]]:
        """Read the description of the model."""
        return (yield from self._json(self._get("/model")))

    def metrics(self) -> Steps[str]:
        """Read the metrics in Prometheus format."""
        call = self._get("/metrics")
        response = yield from exchange(call, self.limits)
        if not response.succeeded:
            raise error_from(call, response)
        return response.content.decode()

    def ready(self) -> Steps[bool]:
        """Check once whether the service is ready to score; does not retry."""
        call = self._get("/ready")
        try:
            yield from self._json(call, replace(self.limits, retries=0))
        except UnavailableError:
            return False
        return True

    def administer(self, what: Literal["reload", "snapshot"]) -> Steps[dict[str, Any]]:
        """Request a slow operation: one attempt may take all of the timeout."""
        call = self._post(f"/admin/{what}", None)
        return (yield from self._json(call, replace(self.limits, attempt=self.limits.timeout)))

    def _score(self, batches: Sequence[Batch], params: Mapping[str, str]) -> Steps[list[DecisionResult]]:
        """Send the batches in order; after the first one without a response, the fallback decides all that remain.

        The remaining batches are not sent, because a retry of the failed batch would then arrive after them.
        """
        decisions: list[DecisionResult] = []
        for index, batch in enumerate(batches):
            call = self._post("/score", batch.content, params)
            try:
                body = yield from self._json(call)
            except UnavailableError:
                if self.fallback is None:
                    raise
                remaining = (item for batch in batches[index:] for item in batch.items)
                return decisions + [fallback_decision(self.fallback, item) for item in remaining]
            with _expecting_fields(call):
                decisions += [_decision(result, body) for result in _results(body, len(batch.items))]
        return decisions

    def _json(self, call: Call, limits: Limits | None = None) -> Steps[dict[str, Any]]:
        """Return the JSON body of the response; results are returned even if all of them are errors."""
        response = yield from exchange(call, limits or self.limits)
        body = response.json
        if isinstance(body, dict) and (response.succeeded or "results" in body):
            return body
        raise _unexpected_response(call) if response.succeeded else error_from(call, response)

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Call:
        return Call("GET", self.url + path, params or {})

    def _post(self, path: str, content: bytes | None, params: Mapping[str, str] | None = None) -> Call:
        return Call("POST", self.url + path, params or {}, content)


def checked_url(url: str) -> str:
    """Validate the URL of a service, and remove a trailing slash.

    Raises
    ------
    ParamsError
        It is not an http or https URL, or has credentials, a query or a fragment.

    Examples
    --------
    >>> checked_url("https://fraud.example/live/")
    'https://fraud.example/live'
    >>> checked_url("localhost:8000")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: url 'localhost:8000': not an http or https URL
    Hint: Pass a URL such as http://127.0.0.1:8000.
    """
    hint = "Pass a URL such as http://127.0.0.1:8000."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ParamsError(f"url: invalid ({error})", hint=hint) from error
    if "@" in parts.netloc:
        raise ParamsError(
            "url: contains a user name or a password", hint="Pass the API key as `key`, and a URL without credentials."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ParamsError(f"url '{url}': not an http or https URL", hint=hint)
    if parts.query or parts.fragment:
        raise ParamsError(f"url '{url}': has a query or a fragment", hint=hint)
    return url.rstrip("/")


def auth_headers(key: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Validate the API key, by default that of the environment, and return its header.

    Raises
    ------
    ParamsError
        The key contains characters that no key contains.

    Examples
    --------
    >>> auth_headers("f3k_1", {}), auth_headers(None, {})
    ({'X-API-Key': 'f3k_1'}, {})
    """
    key = secrets.read_secret(environ, API_KEY_VARIABLE) if key is None else key
    if not key:
        return {}
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise ParamsError(
            "key: contains spaces or unprintable characters", hint="Remove the line break or space around it."
        )
    return {API_KEY_HEADER: key}


def label_record(transaction_id: str, is_fraud: bool, source: str, reported_at: Any, recorded_at: Any) -> Item:
    """Return a label record without the times that are None."""
    times = {"reported_at": reported_at, "recorded_at": recorded_at}
    known = {name: at for name, at in times.items() if at is not None}
    return {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": source, **known}


def fallback_decision(fallback: Fallback, item: Item) -> DecisionResult:
    """Decide by the amount, with the rule of the service's own fallback.

    Examples
    --------
    >>> fallback_decision(Fallback(), {"transaction_id": "1", "amount": 60_000}).decision
    'review'
    """
    value = item.get("transaction_id")
    id_, amount = value if isinstance(value, str) else None, payloads.amount(item)
    if amount is None:
        message = "the service did not respond, and the fallback needs an integer amount"
        return DecisionResult(
            transaction_id=id_,
            error=ErrorDetail(code="unavailable", message=message, hint="Send the same transaction again."),
        )
    decision = fallback.decision(-abs(amount) if item.get("status") == "refund" else amount)
    return DecisionResult(
        transaction_id=id_, decision=decision, decision_source="fallback", alert=decision != "approve"
    )


def _decision(result: Mapping[str, Any], body: Mapping[str, Any]) -> DecisionResult:
    return _read(DecisionResult, result if "error" in result else {"model_version": body["model_version"], **result})


def _read(kind: type[_Message], content: Mapping[str, Any]) -> _Message:
    """Parse a message; fields that a newer service added are ignored."""
    return kind.model_validate(content, extra="ignore")


def _results(body: Mapping[str, Any], sent: int) -> Sequence[Mapping[str, Any]]:
    results: Sequence[Mapping[str, Any]] = body["results"]
    if len(results) != sent:
        raise ValueError(f"{len(results)} results for {sent} items")
    return results


def _raise_error(decision: DecisionResult) -> DecisionResult:
    """Raise the error of a single transaction, if it has one."""
    if decision.error is not None:
        raise DataError(decision.error.message, hint=decision.error.hint, code=decision.error.code)
    return decision


@contextmanager
def _expecting_fields(call: Call) -> Iterator[None]:
    """Report a response with missing or malformed fields as one of another service."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected_response(call) from error


def _unexpected_response(call: Call) -> ParamsError:
    return ParamsError(f"{call}: the response is not that of a fraud3000 service", hint=OTHER_SERVICE)
