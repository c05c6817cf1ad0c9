"""Comparison of a shadow model's decisions with those of the service."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import polars as pl

from fraud3000.errors import DataError, ScorerError
from fraud3000.labels import visibility
from fraud3000.metrics.cost import Costs
from fraud3000.models.policy import Policy
from fraud3000.params import Params
from fraud3000.schema import APPROVE, DECLINE, REVIEW
from fraud3000.service.engine.shadow import ShadowDecision, ShadowStore
from fraud3000.service.entries import LateDecisionEntry, TransactionEntry
from fraud3000.service.journal import hash_chain, history_frames
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.service_store import load_deciders, open_journal, service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_DECISIONS = (APPROVE, REVIEW, DECLINE)
_TIMED = 500
"""Number of the service's decisions that are recomputed to measure their time."""


def shadow_report(params: Params, version: str | None = None) -> Summary:
    """Compare the decisions of a shadow model with those of the service, transaction by transaction.

    Costs are computed by the serving model's policy: expected ones from each model's own probabilities, and actual ones for
    transactions whose label is known. The report promotes nothing.

    Parameters
    ----------
    version
        Of the shadow; None for the latest one.

    Raises
    ------
    DataError
        There is no shadow, or no transaction that both models decided.
    """
    root = service_folder(params)
    with ExitStack() as stack, show_status("comparing"):
        journal = stack.enter_context(closing(open_journal(params)))
        shadows = [stack.enter_context(closing(shadow)) for shadow in ShadowStore.all(root)]
        shadow = next((shadow for shadow in shadows if version in (None, shadow.version)), None)
        if shadow is None:
            raise DataError(
                f"{root}: has no decisions of a shadow model{'' if version is None else f' of version {version}'}",
                hint="Start `fraud3000 serve --shadow challenger`, and send transactions.",
            )
        last: deque[TransactionEntry] = deque(maxlen=_TIMED)
        decided = _frame(_pairs(shadow, journal), last)
        if decided.is_empty():
            raise DataError(
                f"{shadow.path}: has no transaction that both models decided", hint="Send more transactions."
            )
        policy, problem = _policy(params, last[-1])
        history = history_frames.read_history(root, key=hash_chain.audit_key(os.environ))
    assert history is not None
    facts = {
        "shadow": f"version {shadow.version}",
        "service": ", ".join(f"version {served}" for served in decided["model_version"].unique(maintain_order=True)),
        "transactions": decided.height,
        "equal decisions": f"{_share(decided['decision'] == decided['shadow_decision']):.2%}",
        "mean difference of scores": f"{_mean((decided['shadow_score'] - decided['score']).abs()):.4g}",
    }
    tables = [_agreement(decided)]
    warnings = []
    if policy is None:
        warnings.append(problem)
    else:
        tables.append(_money(decided, _labels(decided, history, params), policy))
    tables.append(_latency(params, decided, list(last)))
    return Summary(
        command="shadow-report",
        facts=facts,
        tables=tuple(tables),
        warnings=tuple(warnings),
        next_step=f"fraud3000 promote --version {shadow.version}",
    )


Pair = tuple[TransactionEntry, ShadowDecision]
"""A transaction that the service's model decided, and the shadow model's decision."""


def _pairs(shadow: ShadowStore, journal: SqliteJournal) -> Iterator[Pair]:
    late: dict[str, TransactionEntry] = {}
    for entry in journal.after(shadow.first - 1):
        if isinstance(entry, TransactionEntry) and entry.answer is None:
            late[entry.transaction_id] = entry
            continue
        decided = entry
        if isinstance(entry, LateDecisionEntry) and entry.transaction_id in late:
            decided = late.pop(entry.transaction_id).answered(entry.answer)
        if isinstance(decided, TransactionEntry) and decided.answer is not None and decided.answer.source == "model":
            shadow_decision = shadow.find(decided.number)
            if shadow_decision is not None:
                yield decided, shadow_decision


_COLUMNS = {
    "transaction_id": pl.String(),
    "amount": pl.Int64(),
    "model_version": pl.String(),
    "score": pl.Float64(),
    "decision": pl.String(),
    "shadow_score": pl.Float64(),
    "shadow_decision": pl.String(),
    "features_us": pl.Float64(),
    "decision_us": pl.Float64(),
}


def _frame(pairs: Iterable[Pair], last: deque[TransactionEntry]) -> pl.DataFrame:
    """Build one row per transaction with both decisions; append the transactions to `last`, which keeps the latest ones."""
    rows = []
    for entry, shadow_decision in pairs:
        served = entry.answer
        assert served is not None
        amount = entry.transaction["amount"]
        decision = (entry.transaction_id, amount, served.model_version, served.score, served.decision)
        rows.append(
            (
                *decision,
                shadow_decision.score,
                shadow_decision.decision,
                shadow_decision.features_us,
                shadow_decision.decision_us,
            )
        )
        last.append(entry)
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def _policy(params: Params, last: TransactionEntry) -> tuple[Policy | None, str]:
    """Return the policy of the latest serving model; or the reason why it cannot be loaded."""
    try:
        (decider,) = load_deciders(Workspace.from_params(params), [last]).values()
    except ScorerError as error:
        return None, error.message
    return decider.scorer.policy, ""


def _labels(decided: pl.DataFrame, history: history_frames.ServiceHistory, params: Params) -> pl.Series:
    """Return each transaction's label as of the latest transaction; null if it is unknown."""
    rows = history.transactions
    has_time = "ts" in rows.collect_schema()
    newest = rows.select(pl.col("ts").max()).collect(engine="streaming").item() if has_time else None
    joined = decided.select("transaction_id").lazy().join(rows, on="transaction_id", how="left", maintain_order="left")
    return visibility.known_at(
        joined.collect(),
        history.ledger,
        newest,
        label_delay=params.prepare.label_delay,
        precedence=params.prepare.source_precedence,
    )


def _agreement(decided: pl.DataFrame) -> Table:
    counts = {(a, b): n for a, b, n in decided.group_by("decision", "shadow_decision").len().iter_rows()}
    present = [decision for decision in _DECISIONS if any(decision in pair for pair in counts)]
    rows = tuple((served, *(f"{counts.get((served, shadow), 0):,}" for shadow in present)) for served in present)
    return Table("Decisions of the service (rows) and the shadow (columns)", ("service", *present), rows)


def _money(decided: pl.DataFrame, is_fraud: pl.Series, policy: Policy) -> Table:
    """Compute the costs of both models' decisions, from their own probabilities and from labels."""
    amounts = decided["amount"].cast(pl.Float64).to_numpy()
    known = is_fraud.is_not_null().to_numpy()
    truth = is_fraud.fill_null(0).cast(pl.Float64).to_numpy()
    rows = []
    for model, prefix in (("service", ""), ("shadow", "shadow_")):
        decisions = decided[f"{prefix}decision"]
        alert, decline = (decisions != APPROVE).to_numpy(), (decisions == DECLINE).to_numpy()
        expected = Costs.from_rows(decided[f"{prefix}score"].to_numpy(), amounts, policy).paid(alert, decline)
        paid = Costs.from_rows(truth, amounts, policy).paid(alert, decline)[known]
        caught = float((truth * alert)[known].sum())
        frauds, alerts = float(truth[known].sum()), int(alert[known].sum())
        rows.append(
            (
                model,
                f"{int(alert.sum()):,}",
                f"{expected.sum():,.0f}",
                f"{int(known.sum()):,}",
                f"{caught:,.0f} of {frauds:,.0f}",
                "-" if not alerts else f"{caught / alerts:.3f}",
                f"{paid.sum():,.0f}",
            )
        )
    columns = ("", "alerts", "expected cost", "labels known", "frauds caught", "precision", "cost by labels")
    return Table("Money, in minor units", columns, tuple(rows))


def _latency(params: Params, decided: pl.DataFrame, last: list[TransactionEntry]) -> Table:
    """Tabulate microseconds per transaction: measured by the shadow, and of the service's latest decisions, recomputed here."""
    rows = [
        ("shadow: features", *_quantiles(decided["features_us"].to_list())),
        ("shadow: decision", *_quantiles(decided["decision_us"].to_list())),
    ]
    recomputed = _recompute_times(params, last)
    if recomputed:
        rows.append((f"service: decision, {len(recomputed):,} recomputed", *_quantiles(recomputed)))
    return Table("Microseconds per transaction", ("", "p50", "p95", "p99"), tuple(rows))


def _share(flags: pl.Series) -> float:
    return float(flags.sum()) / len(flags)


def _mean(values: pl.Series) -> float:
    return float(values.sum()) / len(values)


def _recompute_times(params: Params, entries: list[TransactionEntry]) -> list[float]:
    try:
        deciders = load_deciders(Workspace.from_params(params), entries)
    except ScorerError:
        return []
    times: list[float] = []
    for entry in entries:
        assert entry.answer is not None
        decider = deciders[entry.answer.fingerprint]
        features, amount = decider.features_by_name(entry), entry.transaction["amount"]
        begin = time.perf_counter_ns()
        decider.scorer.decide_rows([features], [amount])
        times.append((time.perf_counter_ns() - begin) / 1e3)
    return times


def _quantiles(values: list[float]) -> tuple[str, ...]:
    quantiles: Any = np.quantile(values, (0.5, 0.95, 0.99))
    return tuple(f"{value:,.0f}" for value in quantiles)
