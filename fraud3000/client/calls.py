"""What can be asked of a service, each as the steps that lead to its answer; nothing is sent from here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from fraud3000 import secrets
from fraud3000.client import payloads
from fraud3000.client.exchange import ELSEWHERE, Call, Limits, Steps, exchange, refusal
from fraud3000.client.payloads import Item, Piece
from fraud3000.client.results import Alert, Decision, Fault, Record, Recorded, read
from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.service.engine.fallback import Fallback

VARIABLE, HEADER = "FRAUD3000_API_KEY", "X-API-Key"
Reasons = Literal["alerts", "all", "none"]
"""Transactions to give reasons for."""

Status = Literal["open", "closed", "all"]
"""Alerts by whether a label record speaks of them."""


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Which alerts are asked for, as `Client.alerts` says.

    Attributes
    ----------
    after
        Where the page before ended.
    """

    status: Status
    decision: Literal["review", "decline"] | None
    least: float
    page: int
    after: str | None = None

    @property
    def params(self) -> dict[str, str]:
        given = {"decision": self.decision, "after": self.after}
        told = {"status": self.status, "least": str(self.least), "limit": str(self.page)}
        return told | {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the alerts, and how to ask for those after them; None after the last."""

    alerts: Sequence[Alert]
    next: AlertQuery | None


@dataclass(frozen=True, slots=True)
class Calls:
    """What can be asked of one service.

    Attributes
    ----------
    url
        Where it is; without a slash at the end.
    fallback
        Decides what is not answered; None for an error instead.
    """

    url: str
    limits: Limits
    fallback: Fallback | None = None

    def score(
        self, given: Item | Iterable[Item], reasons: Reasons, deadline_ms: float | None
    ) -> Steps[Decision | list[Decision]]:
        """Ask for decisions: one for one transaction, a list for several."""
        params = {"reasons": reasons} | ({} if deadline_ms is None else {"deadline_ms": f"{deadline_ms:.15g}"})
        if isinstance(given, Mapping):
            decided = yield from self._decided([payloads.single("transactions", given)], params)
            return _sound(decided[0])
        return (yield from self._decided(payloads.pieces("transactions", given), params))

    def label(self, given: Item) -> Steps[Recorded]:
        """Record one label."""
        call = self._post("/labels", payloads.single("labels", given).content)
        told = yield from self._json(call)
        with _understanding(call):
            return read(Recorded, _results(told, 1)[0])

    def labels(self, given: Iterable[Item]) -> Steps[list[Recorded]]:
        """Record several."""
        recorded: list[Recorded] = []
        for piece in payloads.pieces("labels", given):
            call = self._post("/labels", piece.content)
            told = yield from self._json(call)
            with _understanding(call):
                recorded += [read(Recorded, one) for one in _results(told, len(piece.items))]
        return recorded

    def decision(self, decision_id: str) -> Steps[Record]:
        """Read one decision."""
        call = self._get(f"/decisions/{quote(decision_id, safe='')}")
        told = yield from self._json(call)
        with _understanding(call):
            return read(Record, told)

    def alerts(self, query: AlertQuery) -> Steps[Page]:
        """Read one page of the queue."""
        call = self._get("/alerts", query.params)
        told = yield from self._json(call)
        with _understanding(call):
            found, after = [read(Alert, one) for one in told["alerts"]], told["next"]
        return Page(found, None if after is None else replace(query, after=after))

    def model(self) -> Steps[dict[str, Any]]:
        """Read what the service says of its model."""
        return (yield from self._json(self._get("/model")))

    def metrics(self) -> Steps[str]:
        """Read its counts."""
        call = self._get("/metrics")
        answer = yield from exchange(call, self.limits)
        if not answer.succeeded:
            raise refusal(call, answer)
        return answer.content.decode()

    def ready(self) -> Steps[bool]:
        """Ask once whether it can score."""
        call = self._get("/ready")
        try:
            yield from self._json(call, replace(self.limits, retries=0))
        except UnavailableError:
            return False
        return True

    def administer(self, what: Literal["reload", "snapshot"]) -> Steps[dict[str, Any]]:
        """Have something done that takes its time: one attempt may have all of it."""
        call = self._post(f"/admin/{what}", None)
        return (yield from self._json(call, replace(self.limits, attempt=self.limits.timeout)))

    def _decided(self, pieces: Sequence[Piece], params: Mapping[str, str]) -> Steps[list[Decision]]:
        """Ask for each piece in turn. From one on that is not answered, the fallback decides: none overtakes another."""
        decided: list[Decision] = []
        for place, piece in enumerate(pieces):
            call = self._post("/score", piece.content, params)
            try:
                told = yield from self._json(call)
            except UnavailableError:
                if self.fallback is None:
                    raise
                rest = (item for left in pieces[place:] for item in left.items)
                return decided + [fallen_back(self.fallback, item) for item in rest]
            with _understanding(call):
                decided += [_decision(one, told) for one in _results(told, len(piece.items))]
        return decided

    def _json(self, call: Call, limits: Limits | None = None) -> Steps[dict[str, Any]]:
        """What is answered; a list of results also where all of them are errors."""
        answer = yield from exchange(call, limits or self.limits)
        told = answer.told
        if isinstance(told, dict) and (answer.succeeded or "results" in told):
            return told
        raise _strange(call) if answer.succeeded else refusal(call, answer)

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Call:
        return Call("GET", self.url + path, params or {})

    def _post(self, path: str, content: bytes | None, params: Mapping[str, str] | None = None) -> Call:
        return Call("POST", self.url + path, params or {}, content)


def address(url: str) -> str:
    """Check where a service is said to be.

    Raises
    ------
    ParamsError
        It is no place that can be asked.

    Examples
    --------
    >>> address("https://fraud.example/live/")
    'https://fraud.example/live'
    >>> address("localhost:8000")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: url 'localhost:8000': is none of http or https
    Hint: Give it as http://127.0.0.1:8000.
    """
    hint = "Give it as http://127.0.0.1:8000."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ParamsError(f"url: cannot be read ({error})", hint=hint) from error
    if "@" in parts.netloc:
        raise ParamsError("url: holds a name or a password", hint="Give the key as `key`, and the url without any.")
    if parts.scheme not in ("http", "https") or not host:
        raise ParamsError(f"url '{url}': is none of http or https", hint=hint)
    if parts.query or parts.fragment:
        raise ParamsError(f"url '{url}': goes on after its path", hint=hint)
    return url.rstrip("/")


def authority(key: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Check the key that was given, else that of the environment, and make the header that brings it.

    Raises
    ------
    ParamsError
        It cannot be one.

    Examples
    --------
    >>> authority("f3k_1", {}), authority(None, {})
    ({'X-API-Key': 'f3k_1'}, {})
    """
    key = secrets.read_secret(environ, VARIABLE) if key is None else key
    if not key:
        return {}
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise ParamsError("key: holds what no key does", hint="Look for a line break or a space at its end.")
    return {HEADER: key}


def labelled(transaction_id: str, is_fraud: bool, source: str, reported_at: Any, recorded_at: Any) -> Item:
    """Make a label record; what is not given is not sent."""
    times = {"reported_at": reported_at, "recorded_at": recorded_at}
    known = {name: at for name, at in times.items() if at is not None}
    return {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": source, **known}


def fallen_back(fallback: Fallback, item: Item) -> Decision:
    """Decide as the service's own fallback does, by the amount alone.

    Examples
    --------
    >>> fallen_back(Fallback(), {"transaction_id": "1", "amount": 60_000}).decision
    'review'
    """
    given = item.get("transaction_id")
    named, amount = given if isinstance(given, str) else None, payloads.amount(item)
    if amount is None:
        fault = Fault("unavailable", "amount: no integer, and the service did not answer", "Send it again as it was.")
        return Decision(transaction_id=named, error=fault)
    decision = fallback.decision(-abs(amount) if item.get("status") == "refund" else amount)
    return Decision(transaction_id=named, decision=decision, decision_source="fallback", alert=decision != "approve")


def _decision(one: Mapping[str, Any], told: Mapping[str, Any]) -> Decision:
    return read(Decision, one if "error" in one else {"model_version": told["model_version"], **one})


def _results(told: Mapping[str, Any], sent: int) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = told["results"]
    if len(found) != sent:
        raise ValueError(f"{len(found)} results for {sent}")
    return found


def _sound(decision: Decision) -> Decision:
    """Raise what is wrong with the only one."""
    if decision.error is not None:
        raise DataError(decision.error.message, hint=decision.error.hint, code=decision.error.code)
    return decision


@contextmanager
def _understanding(call: Call) -> Iterator[None]:
    """Tell an answer that is none of a service of ours from a bug of ours."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise _strange(call) from error


def _strange(call: Call) -> ParamsError:
    return ParamsError(f"{call}: not answered as by a service of fraud3000", hint=ELSEWHERE)
