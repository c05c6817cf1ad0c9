"""What a service counts, in the form that Prometheus reads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud3000.service.desk import Desk
from fraud3000.service.entries import Label, Taken

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SOURCES = 50  # of label records that are counted by name
_SCORES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class Metrics:
    """Counts requests, decisions and time, and asks the desk for the rest when it is read.

    Attributes
    ----------
    decisions, scores, refused, labels
        Counted by those who answer requests.
    """

    def __init__(self, desk: Desk) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry, "namespace": "fraud3000"}
        self.requests = Counter("requests", "Requests, by route and status", ("route", "status"), **made)
        self.seconds = Histogram("request_seconds", "Time of a request", ("route",), buckets=_SECONDS, **made)
        self.stages = Histogram("stage_seconds", "Time of a stage of /score", ("stage",), buckets=_SECONDS, **made)
        self.decisions = Counter("decisions", "Transactions decided", ("decision", "source", "model_version"), **made)
        self.scores = Histogram("score", "Calibrated probabilities of fraud", buckets=_SCORES, **made)
        self.refused = Counter("refused", "Transactions and label records refused, by reason", ("code",), **made)
        self.labels = Counter("labels", "Label records taken, by source", ("source",), **made)
        self._sources: set[str] = set()
        self.registry.register(_OfDesk(desk))
        desk.listen(self.decided)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        begin = time.perf_counter()
        yield
        self.stages.labels(name).observe(time.perf_counter() - begin)

    def decided(self, taken: Taken) -> None:
        """Count a transaction that was decided."""
        answer = taken.answer
        if answer is None:
            return
        self.decisions.labels(answer.decision, answer.source, answer.model_version).inc()
        if answer.score is not None:
            self.scores.observe(answer.score)

    def count(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Count what was wrong with a request's items."""
        for result in results:
            if "error" in result:
                self.refused.labels(result["error"]["code"]).inc()

    def recorded(self, labels: Iterable[Label]) -> None:
        """Count label records: each under its source, and under `other` what comes after many of them."""
        for label in labels:
            if len(self._sources) < _SOURCES:
                self._sources.add(label.source)
            self.labels.labels(label.source if label.source in self._sources else "other").inc()

    def read(self) -> bytes:
        """All of it, as text."""
        return generate_latest(self.registry)


class _OfDesk(Collector):
    """What the desk knows anyway."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        desk = self._desk
        yield _gauge("journal_entries", "Entries of the journal", desk.kept)
        yield _gauge("journal_waiting", "Entries that wait for the disk", desk.waiting)
        yield _gauge("store_transactions", "Transactions that the features' state has observed", len(desk.store))
        yield _gauge("store_bytes", "Memory of the features' state", sum(desk.store.memory().values()))
        model = GaugeMetricFamily(
            "fraud3000_model", "The model that decides", labels=("version", "bundle_sha256", "catalogue")
        )
        model.add_metric((desk.judge.scorer.version, desk.judge.fingerprint, desk.judge.scorer.catalogue.hash), 1)
        yield model
        for what, said in (("late", "kept though they came late"), ("refused", "too late to be kept for the key")):
            rows = CounterMetricFamily(f"fraud3000_{what}_rows", f"Transactions {said}", labels=("key",))
            for key, counts in desk.store.counts().items():
                rows.add_metric((key,), counts[what])
            yield rows


def _gauge(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fraud3000_{name}", said, value=value)


class Timed:
    """Counts every request, by the route that answers it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begin)
