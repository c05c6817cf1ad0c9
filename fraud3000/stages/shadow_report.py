"""What a shadow model would have done, beside what was done."""

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
from fraud3000.service.engine.shadow import Opinion, ShadowStore
from fraud3000.service.journal import hash_chain, history_frames
from fraud3000.service.journal.entries import LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.service_store import journal_of, judges_of, service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_DECISIONS = (APPROVE, REVIEW, DECLINE)
_TIMED = 500
"""Decisions that the champion makes once more, to be timed."""


def shadow_report(params: Params, version: str | None = None) -> Summary:
    """Compare what a shadow said with what the service answered, transaction by transaction.

    Money is by the costs of the model that answered: as expected by each model's own probabilities, and as it was where
    the label is known by now. Nothing is promoted by it.

    Parameters
    ----------
    version
        Of the shadow; the one that decided last where it is not given.

    Raises
    ------
    DataError
        No shadow has decided, or none that the service's model decided too.
    """
    root = service_folder(params)
    with ExitStack() as opened, show_status("comparing"):
        journal = opened.enter_context(closing(journal_of(params)))
        books = [opened.enter_context(closing(book)) for book in ShadowStore.all(root)]
        book = next((one for one in books if version in (None, one.version)), None)
        if book is None:
            raise DataError(
                f"{root}: no shadow{'' if version is None else f' of version {version}'} has decided there",
                hint="Start `fraud3000 serve --shadow challenger`, and let transactions come.",
            )
        last: deque[TransactionEntry] = deque(maxlen=_TIMED)
        decided = _frame(_pairs(book, journal), last)
        if decided.is_empty():
            raise DataError(
                f"{book.path}: no transaction was decided by both models yet", hint="Let transactions come."
            )
        policy, answering = _policy(params, last[-1])
        known = history_frames.known(root, key=hash_chain.audit_key(os.environ))
    assert known is not None
    facts = {
        "shadow": f"version {book.version}",
        "answered": ", ".join(f"version {one}" for one in decided["model_version"].unique(maintain_order=True)),
        "transactions": decided.height,
        "the same decision": f"{_share(decided['decision'] == decided['shadow_decision']):.2%}",
        "mean difference of scores": f"{_mean((decided['shadow_score'] - decided['score']).abs()):.4g}",
    }
    tables = [_agreement(decided)]
    warnings = []
    if policy is None:
        warnings.append(answering)
    else:
        tables.append(_money(decided, _labels(decided, known, params), policy))
    tables.append(_latency(params, decided, list(last)))
    return Summary(
        command="shadow-report",
        facts=facts,
        tables=tuple(tables),
        warnings=tuple(warnings),
        next_step=f"fraud3000 promote --version {book.version}",
    )


Pair = tuple[TransactionEntry, Opinion]
"""A transaction that the service's model decided, and what the shadow says of it."""


def _pairs(book: ShadowStore, journal: SqliteJournal) -> Iterator[Pair]:
    late: dict[str, TransactionEntry] = {}
    for entry in journal.after(book.first - 1):
        if isinstance(entry, TransactionEntry) and entry.answer is None:
            late[entry.transaction_id] = entry
            continue
        taken = entry
        if isinstance(entry, LateDecisionEntry) and entry.transaction_id in late:
            taken = late.pop(entry.transaction_id).answered(entry.answer)
        if isinstance(taken, TransactionEntry) and taken.answer is not None and taken.answer.source == "model":
            opinion = book.of(taken.number)
            if opinion is not None:
                yield taken, opinion


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
    """One row for each transaction: what was answered, and what the shadow says. The last ones go into `last` too."""
    rows = []
    for taken, said in pairs:
        answer = taken.answer
        assert answer is not None
        told = (taken.transaction_id, taken.transaction["amount"], answer.model_version, answer.score, answer.decision)
        rows.append((*told, said.score, said.decision, said.features_us, said.decision_us))
        last.append(taken)
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def _policy(params: Params, last: TransactionEntry) -> tuple[Policy | None, str]:
    """The costs of the model that answered last; or why they are not known."""
    try:
        (judge,) = judges_of(Workspace.from_params(params), [last]).values()
    except ScorerError as error:
        return None, error.message
    return judge.scorer.policy, ""


def _labels(decided: pl.DataFrame, known: history_frames.ServiceHistory, params: Params) -> pl.Series:
    """Each transaction's label as known by the newest transaction; null where it is not."""
    rows = known.transactions
    timed = "ts" in rows.collect_schema()
    newest = rows.select(pl.col("ts").max()).collect(engine="streaming").item() if timed else None
    mine = decided.select("transaction_id").lazy().join(rows, on="transaction_id", how="left", maintain_order="left")
    return visibility.known_at(
        mine.collect(),
        known.ledger,
        newest,
        label_delay=params.prepare.label_delay,
        precedence=params.prepare.source_precedence,
    )


def _agreement(decided: pl.DataFrame) -> Table:
    counts = {(a, b): n for a, b, n in decided.group_by("decision", "shadow_decision").len().iter_rows()}
    shown = [one for one in _DECISIONS if any(one in pair for pair in counts)]
    rows = tuple((answered, *(f"{counts.get((answered, said), 0):,}" for said in shown)) for answered in shown)
    return Table("Answered, and what the shadow says", ("answered", *shown), rows)


def _money(decided: pl.DataFrame, is_fraud: pl.Series, policy: Policy) -> Table:
    """Costs under both models' decisions, by each one's own probabilities and by labels."""
    amounts = decided["amount"].cast(pl.Float64).to_numpy()
    known = is_fraud.is_not_null().to_numpy()
    truth = is_fraud.fill_null(0).cast(pl.Float64).to_numpy()
    rows = []
    for what, prefix in (("answered", ""), ("shadow", "shadow_")):
        decisions = decided[f"{prefix}decision"]
        alert, decline = (decisions != APPROVE).to_numpy(), (decisions == DECLINE).to_numpy()
        expected = Costs.from_rows(decided[f"{prefix}score"].to_numpy(), amounts, policy).paid(alert, decline)
        paid = Costs.from_rows(truth, amounts, policy).paid(alert, decline)[known]
        caught = float((truth * alert)[known].sum())
        frauds, alerts = float(truth[known].sum()), int(alert[known].sum())
        rows.append(
            (
                what,
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
    """Microseconds of one transaction: as the shadow took them, and the last of the other's decisions made once more here."""
    rows = [
        ("shadow: features", *_quantiles(decided["features_us"].to_list())),
        ("shadow: decision", *_quantiles(decided["decision_us"].to_list())),
    ]
    again = _timed(params, last)
    if again:
        rows.append((f"answered: decision, {len(again):,} made again", *_quantiles(again)))
    return Table("Microseconds of one transaction", ("", "p50", "p95", "p99"), tuple(rows))


def _share(holds: pl.Series) -> float:
    return float(holds.sum()) / len(holds)


def _mean(values: pl.Series) -> float:
    return float(values.sum()) / len(values)


def _timed(params: Params, taken: list[TransactionEntry]) -> list[float]:
    try:
        judges = judges_of(Workspace.from_params(params), taken)
    except ScorerError:
        return []
    found: list[float] = []
    for one in taken:
        assert one.answer is not None
        judge = judges[one.answer.fingerprint]
        features, amount = judge.named(one), one.transaction["amount"]
        begin = time.perf_counter_ns()
        judge.scorer.decide_rows([features], [amount])
        found.append((time.perf_counter_ns() - begin) / 1e3)
    return found


def _quantiles(values: list[float]) -> tuple[str, ...]:
    found: Any = np.quantile(values, (0.5, 0.95, 0.99))
    return tuple(f"{value:,.0f}" for value in found)
