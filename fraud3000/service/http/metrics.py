"""What a service counts, in the form that Prometheus reads."""

from __future__ import annotations

import math
import time
from collections import Counter as Tally
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
from fraud3000.service.http.request_id import LEFT, route_of
from fraud3000.service.journal.entries import LabelEntry, TransactionEntry
from fraud3000.service.maintenance.maintenance import Maintenance

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SCORES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SOURCES = ("model", "fallback")
_RESULTS = ("swapped", "same", "refused")
_MOST_NAMES = 50
"""Names from outside that are counted each for itself."""

_UNTOLD = {
    "journal_bytes": "Size of the journal on the disk",
    "snapshot_age_seconds": "Time since the last snapshot of the features' state",
    "anchor_age_seconds": "Time since the journal's head was last anchored",
}
"""What only those know who keep the journal: not a number until they let it be watched."""

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class Metrics:
    """Counts requests, decisions and time, and asks the desk for the rest when it is read.

    Attributes
    ----------
    scores, refused, labels
        Counted by those who answer requests.
    reloads, snapshots
        Counted by those who look for another model, with the `result` swapped, same or refused, and write snapshots.
    """

    def __init__(self, desk: DecisionEngine) -> None:
        self._desk = desk
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry, "namespace": "fraud3000"}
        seconds: dict[str, Any] = {"buckets": _SECONDS, **made}
        self.requests = _By(Counter("requests", "Requests, by route and status", ("route", "status"), **made))
        self.seconds = _By(Histogram("request_seconds", "Time of a request", ("route",), **seconds))
        self.stages = _By(Histogram("stage_seconds", "Time of a stage of /score", ("stage",), **seconds))
        by = ("decision", "source", "model_version")
        self.decisions = _By(Counter("decisions", "Transactions decided", by, **made))
        self.alerts = _By(Counter("alerts", "Transactions not approved, by who decided", ("source",), **made))
        self.scores = Histogram("score", "Calibrated probabilities of fraud", buckets=_SCORES, **made)
        self.refused = Counter("refused", "Transactions and label records refused, by reason", ("code",), **made)
        self.labels = _BoundedCounter(Counter("labels", "Label records sent, by source", ("source",), **made))
        self.reloads = Counter("reloads", "Looks for another model, by what came of it", ("result",), **made)
        self.snapshots = Counter("snapshots", "Snapshots written of the features' state", **made)
        parts = ("column", "value")
        self.categories = _By(
            Counter("category_values", "Category values, by what the model knows of them", parts, **made)
        )
        self._monitor = CategoryMonitor(lambda column, kind: self.categories[column, kind].inc())
        self._lost: Mapping[str, int] = {}
        self._watched: dict[str, tuple[str, Callable[[], float]]] = {}
        self.watch("ready", "Whether transactions are taken, 1 or 0", lambda: 1.0)
        for name, said in _UNTOLD.items():
            self.watch(name, said, lambda: math.nan)
        for collector in (_EngineCollector(desk), _WatchedCollector(self._watched), _LostValues(lambda: self._lost)):
            self.registry.register(collector)
        for of_process in (ProcessCollector, PlatformCollector, GCCollector):
            of_process(registry=self.registry)
        self._begin_at_zero()
        desk.listen(self.decided)

    def watch(self, name: str, said: str, function: Callable[[], float]) -> None:
        """Ask for a number whenever this is read, and be told it under a name; the last one to say so is asked.

        Parameters
        ----------
        name
            Without `fraud3000_`, with its unit.
        said
            What it is.
        function
            Not a number, or an error of the disk, where there is none to tell.
        """
        self._watched[name] = said, function

    def watch_upkeep(self, upkeep: Maintenance) -> None:
        """Count what is done beside answering, and be told how old it is."""
        upkeep.reloads = lambda result: self.reloads.labels(result).inc()
        upkeep.snapshots = self.snapshots.inc
        self.watch("ready", "Whether transactions are taken, 1 or 0", lambda: float(upkeep.problem is None))
        self.watch("journal_bytes", _UNTOLD["journal_bytes"], lambda: float(upkeep.journal_bytes))
        ages = {
            "snapshot": lambda: time.monotonic() - upkeep.snapshot_at,
            "anchor": lambda: time.monotonic() - upkeep.checkpoint_at,
        }
        for name, age in ages.items():
            self.watch(f"{name}_age_seconds", _UNTOLD[f"{name}_age_seconds"], age)

    def watch_lost(self, lost: Mapping[str, int]) -> None:
        """Report how many values of each column became null, from counts that others keep."""
        self._lost = lost

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time a stage, also one that fails."""
        return self.stages[name,].time()

    def decided(self, taken: TransactionEntry) -> None:
        """Count a transaction that was decided."""
        answer = taken.answer
        if answer is None:
            return
        self.decisions[answer.decision, answer.source, answer.model_version].inc()
        if answer.alert:
            self.alerts[answer.source,].inc()
        if answer.score is not None:
            self.scores.observe(answer.score)
        judge = self._desk.judge
        if taken.catalogue == judge.catalogue:
            self._monitor.observe(judge.scorer, taken.features)

    def count(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Count what was wrong with a request's items."""
        codes = [result["error"]["code"] for result in results if "error" in result]
        for code, times in Tally(codes).items() if codes else ():
            self.refused.labels(code).inc(times)

    def recorded(self, labels: Iterable[LabelEntry]) -> None:
        """Count label records, each under its source."""
        for label in labels:
            self.labels.labels(label.source).inc()

    def read(self) -> bytes:
        """All of it, as text."""
        self._begin_at_zero()
        return generate_latest(self.registry)

    def _begin_at_zero(self) -> None:
        """Show counts before there is anything to count, for a rate sees no first step out of nothing."""
        model = self._desk.judge.scorer.version
        for source in _SOURCES:
            _ = self.alerts[source,]
            for decision in (APPROVE, REVIEW, DECLINE):
                _ = self.decisions[decision, source, model]
        for result in _RESULTS:
            self.reloads.labels(result)
        for column in self._desk.judge.scorer.model.encoder.categories:
            for kind in KINDS:
                _ = self.categories[column, kind]


class _By(dict[tuple[object, ...], _Metric]):
    """A metric's parts by their labels, each looked up once: that costs more than to count."""

    def __init__(self, metric: _Metric) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[object, ...]) -> _Metric:
        part = self[labels] = self._metric.labels(*labels)
        return part


class _BoundedCounter:
    """A counter by names that senders choose: `other` for what comes after many of them, or holds a card number."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._known = counter, set[str]()

    def labels(self, name: str) -> Counter:
        """The part of that name."""
        if name not in self._known:
            if len(self._known) == _MOST_NAMES or mask(name) != name:
                return self._counter.labels("other")
            self._known.add(name)
        return self._counter.labels(name)


class _EngineCollector(Collector):
    """What the desk knows anyway, and which program and model it is."""

    def __init__(self, desk: DecisionEngine) -> None:
        self._desk = desk

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        desk, judge = self._desk, self._desk.judge
        yield _gauge("journal_entries", "Entries of the journal", desk.kept)
        yield _gauge("journal_waiting", "Entries that wait for the disk", desk.waiting)
        yield _gauge("store_transactions", "Transactions that the features' state has observed", len(desk.store))
        yield _gauge("store_bytes", "Memory of the features' state", sum(desk.store.memory().values()))
        yield _info("build", "The program", version=version("fraud3000"))
        model = {"version": judge.scorer.version, "bundle_sha256": judge.fingerprint, "catalogue": judge.catalogue}
        yield _info("model", "The model that decides", **model)
        refusing = GaugeMetricFamily(
            "fraud3000_refusing", "Whether transactions are refused for a cause, 1 or 0", labels=("cause",)
        )
        for cause in CAUSES:
            refusing.add_metric((cause,), float(desk.readiness.problem(cause) is not None))
        yield refusing
        share = GaugeMetricFamily(
            "fraud3000_category_share_in_training", "Share of category values in training", labels=("column", "value")
        )
        for column, trained in judge.scorer.trained_categories.items():
            for kind in ("missing", "unknown"):
                share.add_metric((column, kind), trained.expected.share(kind))
        yield share
        for what, said in (("late", "kept though they came late"), ("refused", "too late to be kept for the key")):
            rows = CounterMetricFamily(f"fraud3000_{what}_rows", f"Transactions {said}", labels=("key",))
            for key, counts in desk.store.counts().items():
                rows.add_metric((key,), counts[what])
            yield rows


class _LostValues(Collector):
    """Values that could not be used and became null, by column."""

    def __init__(self, lost: Callable[[], Mapping[str, int]]) -> None:
        self._lost = lost

    def collect(self) -> Iterator[CounterMetricFamily]:
        lost = CounterMetricFamily("fraud3000_lost_values", "Values that became null", labels=("column",))
        for column, count in self._lost().items():
            lost.add_metric((column,), count)
        yield lost


class _WatchedCollector(Collector):
    """What others let be watched, by name."""

    def __init__(self, watched: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._watched = watched

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, (said, function) in self._watched.items():
            try:
                value = float(function())
            except (OSError, FraudError):
                value = math.nan
            yield _gauge(name, said, value)


def _gauge(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fraud3000_{name}", said, value=value)


def _info(name: str, said: str, **labels: str) -> GaugeMetricFamily:
    told = GaugeMetricFamily(f"fraud3000_{name}_info", said, labels=tuple(labels))
    told.add_metric(tuple(labels.values()), 1)
    return told


class MetricsMiddleware:
    """Counts every request, by the route that answers it; one whose sender left before is none that failed.

    HEAD is answered and counted as GET: the server sends the head of the answer and leaves its body out.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # a copy: the server goes by its own
        begin, status = time.perf_counter(), LEFT

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = route_of(scope)
            self._metrics.requests[route, status].inc()
            self._metrics.seconds[route,].observe(time.perf_counter() - begin)
