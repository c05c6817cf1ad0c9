"""Prometheus metrics of the service, and the middleware that counts requests."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud3000.errors import FraudError
from fraud3000.redact import mask
from fraud3000.schema import APPROVE, DECLINE, REVIEW
from fraud3000.service.engine.category_monitor import KINDS, CategoryMonitor
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.engine.readiness import CAUSES
from fraud3000.service.entries import LabelEntry, TransactionEntry
from fraud3000.service.http.request_id import LEFT, route_of
from fraud3000.service.maintenance.maintenance import Maintenance

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SCORES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SOURCES = ("model", "fallback")
_RESULTS = ("swapped", "same", "refused")
_MAX_SOURCES = 50
"""Label sources with a counter of their own; further ones are counted as `other`."""

_MAINTENANCE_GAUGES = {
    "journal_bytes": "Size of the journal on the disk",
    "snapshot_age_seconds": "Time since the last snapshot of the feature state",
    "anchor_age_seconds": "Time since the last checkpoint of the journal's head",
}
"""Gauges that maintenance provides; NaN until `watch_maintenance` is called."""

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class Metrics:
    """Counters and histograms of requests and decisions; reads other values from the engine when it is scraped.

    Attributes
    ----------
    scores, refused, labels
        Updated by request handlers.
    reloads, snapshots
        Updated by maintenance; the `result` of a reload is swapped, same or refused.
    """

    def __init__(self, engine: DecisionEngine) -> None:
        self._engine = engine
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry, "namespace": "fraud3000"}
        seconds: dict[str, Any] = {"buckets": _SECONDS, **options}
        self.requests = _CachedLabels(
            Counter("requests", "Requests, by route and status", ("route", "status"), **options)
        )
        self.seconds = _CachedLabels(Histogram("request_seconds", "Time of a request", ("route",), **seconds))
        self.stages = _CachedLabels(Histogram("stage_seconds", "Time of a stage of /score", ("stage",), **seconds))
        by = ("decision", "source", "model_version")
        self.decisions = _CachedLabels(Counter("decisions", "Transactions decided", by, **options))
        self.alerts = _CachedLabels(
            Counter("alerts", "Transactions not approved, by model or fallback", ("source",), **options)
        )
        self.scores = Histogram("score", "Calibrated probabilities of fraud", buckets=_SCORES, **options)
        self.refused = Counter("refused", "Transactions and label records refused, by reason", ("code",), **options)
        self.labels = _BoundedCounter(Counter("labels", "Label records sent, by source", ("source",), **options))
        self.reloads = Counter("reloads", "Model reloads, by result", ("result",), **options)
        self.snapshots = Counter("snapshots", "Snapshots of the feature state written", **options)
        by_value = ("column", "value")
        self.categories = _CachedLabels(
            Counter("category_values", "Category values, by whether the model knows them", by_value, **options)
        )
        self._monitor = CategoryMonitor(lambda column, kind: self.categories[column, kind].inc())
        self._lost: Mapping[str, int] = {}
        self._watched: dict[str, tuple[str, Callable[[], float]]] = {}
        self.watch("ready", "Whether transactions are accepted, 1 or 0", lambda: 1.0)
        for name, description in _MAINTENANCE_GAUGES.items():
            self.watch(name, description, lambda: math.nan)
        self.registry.register(_EngineCollector(engine))
        self.registry.register(_WatchedCollector(self._watched))
        self.registry.register(_LostValuesCollector(lambda: self._lost))
        for process_collector in (ProcessCollector, PlatformCollector, GCCollector):
            process_collector(registry=self.registry)
        self._init_counters()
        engine.listen(self.count_decision)

    def watch(self, name: str, description: str, function: Callable[[], float]) -> None:
        """Add or replace a gauge whose value a function returns at each scrape.

        Parameters
        ----------
        name
            Without `fraud3000_`, with its unit.
        description
            Help text of the metric.
        function
            May return NaN or raise an OSError or FraudError if there is no value; the gauge is NaN then.
        """
        self._watched[name] = description, function

    def watch_maintenance(self, maintenance: Maintenance) -> None:
        """Count reloads and snapshots of maintenance, and add its gauges."""
        maintenance.reloads = lambda result: self.reloads.labels(result).inc()
        maintenance.snapshots = self.snapshots.inc
        self.watch("ready", "Whether transactions are accepted, 1 or 0", lambda: float(maintenance.problem is None))
        self.watch("journal_bytes", _MAINTENANCE_GAUGES["journal_bytes"], lambda: float(maintenance.journal_bytes))
        ages = {
            "snapshot": lambda: time.monotonic() - maintenance.snapshot_at,
            "anchor": lambda: time.monotonic() - maintenance.checkpoint_at,
        }
        for name, age in ages.items():
            self.watch(f"{name}_age_seconds", _MAINTENANCE_GAUGES[f"{name}_age_seconds"], age)

    def watch_nulled(self, lost: Mapping[str, int]) -> None:
        """Export the number of values of each column that became null, from a mapping that is updated elsewhere."""
        self._lost = lost

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that times a stage, also if it fails."""
        return self.stages[name,].time()

    def count_decision(self, entry: TransactionEntry) -> None:
        """Count a decided transaction."""
        decision = entry.answer
        if decision is None:
            return
        self.decisions[decision.decision, decision.source, decision.model_version].inc()
        if decision.alert:
            self.alerts[decision.source,].inc()
        if decision.score is not None:
            self.scores.observe(decision.score)
        decider = self._engine.decider
        if entry.catalogue == decider.catalogue:
            self._monitor.observe(decider.scorer, entry.features)

    def count_errors(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Count the errors of a request's items by code."""
        codes = [result["error"]["code"] for result in results if "error" in result]
        for code, times in collections.Counter(codes).items() if codes else ():
            self.refused.labels(code).inc(times)

    def count_labels(self, labels: Iterable[LabelEntry]) -> None:
        """Count label records by source."""
        for label in labels:
            self.labels.labels(label.source).inc()

    def read(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        self._init_counters()
        return generate_latest(self.registry)

    def _init_counters(self) -> None:
        """Create counters at zero, since `rate` does not see the first increment of a counter that did not exist."""
        model = self._engine.decider.scorer.version
        for source in _SOURCES:
            _ = self.alerts[source,]
            for decision in (APPROVE, REVIEW, DECLINE):
                _ = self.decisions[decision, source, model]
        for result in _RESULTS:
            self.reloads.labels(result)
        for column in self._engine.decider.scorer.model.encoder.categories:
            for kind in KINDS:
                _ = self.categories[column, kind]


class _CachedLabels(dict[tuple[object, ...], _Metric]):
    """Cache of a metric's children by label values, since the lookup takes longer than an increment."""

    def __init__(self, metric: _Metric) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[object, ...]) -> _Metric:
        child = self[labels] = self._metric.labels(*labels)
        return child


class _BoundedCounter:
    """Counter by a label that clients choose; counts further values, and those with card numbers, as `other`."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._known = counter, set[str]()

    def labels(self, name: str) -> Counter:
        """Return the child for a label value."""
        if name not in self._known:
            if len(self._known) == _MAX_SOURCES or mask(name) != name:
                return self._counter.labels("other")
            self._known.add(name)
        return self._counter.labels(name)


class _EngineCollector(Collector):
    """Values that are read from the engine at each scrape, and the versions of program and model."""

    def __init__(self, engine: DecisionEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        engine, decider = self._engine, self._engine.decider
        yield _gauge("journal_entries", "Entries of the journal", engine.entries_written)
        yield _gauge("journal_waiting", "Entries that are not written yet", engine.entries_pending)
        yield _gauge("store_transactions", "Transactions in the feature state", len(engine.store))
        yield _gauge("store_bytes", "Memory of the feature state", sum(engine.store.memory().values()))
        yield _info("build", "The program", version=version("fraud3000"))
        model = {
            "version": decider.scorer.version,
            "bundle_sha256": decider.fingerprint,
            "catalogue": decider.catalogue,
        }
        yield _info("model", "The model that decides", **model)
        refusing = GaugeMetricFamily(
            "fraud3000_refusing", "Whether transactions are refused for a cause, 1 or 0", labels=("cause",)
        )
        for cause in CAUSES:
            refusing.add_metric((cause,), float(engine.readiness.problem(cause) is not None))
        yield refusing
        share = GaugeMetricFamily(
            "fraud3000_category_share_in_training", "Share of category values in training", labels=("column", "value")
        )
        for column, trained in decider.scorer.trained_categories.items():
            for kind in ("missing", "unknown"):
                share.add_metric((column, kind), trained.expected.share(kind))
        yield share
        for kind, description in (("late", "that came late"), ("refused", "that came too late for the key's windows")):
            rows = CounterMetricFamily(f"fraud3000_{kind}_rows", f"Transactions {description}", labels=("key",))
            for key, counts in engine.store.counts().items():
                rows.add_metric((key,), counts[kind])
            yield rows


class _LostValuesCollector(Collector):
    """Numbers of values that became null, by column."""

    def __init__(self, lost: Callable[[], Mapping[str, int]]) -> None:
        self._lost = lost

    def collect(self) -> Iterator[CounterMetricFamily]:
        lost = CounterMetricFamily("fraud3000_lost_values", "Values that became null", labels=("column",))
        for column, count in self._lost().items():
            lost.add_metric((column,), count)
        yield lost


class _WatchedCollector(Collector):
    """Gauges of `Metrics.watch`."""

    def __init__(self, watched: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._watched = watched

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, (description, function) in self._watched.items():
            try:
                value = float(function())
            except (OSError, FraudError):
                value = math.nan
            yield _gauge(name, description, value)


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fraud3000_{name}", description, value=value)


def _info(name: str, description: str, **labels: str) -> GaugeMetricFamily:
    info = GaugeMetricFamily(f"fraud3000_{name}_info", description, labels=tuple(labels))
    info.add_metric(tuple(labels.values()), 1)
    return info


class MetricsMiddleware:
    """ASGI middleware that counts and times requests by route; a client that disconnects early is not an error.

    HEAD is answered and counted as GET: the server sends the head of the response without its body.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # a copy, since the server reads the method of its own
        begin, status = time.perf_counter(), LEFT

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            route = route_of(scope)
            self._metrics.requests[route, status].inc()
            self._metrics.seconds[route,].observe(time.perf_counter() - begin)
