"""The desk at which transactions come in: it knows what came before, and decides by the scorer.

Features are computed by the batch engine over the history and all that has come in since, so an
answer is that of `score-file` for the same rows and history. Only the rows that share a key with
the ones asked for are looked at; windows see no others.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from fraud3000.data.duplicates import NOT_CONTENT
from fraud3000.features import batch
from fraud3000.features.spec import Stateful
from fraud3000.models.explain import Reason
from fraud3000.schema import APPROVE, LEDGER
from fraud3000.scorer import Scorer

_MOST_CHUNKS = 256
"""Requests whose rows stay apart in memory: joining them each time would copy the history each time."""


@dataclass(frozen=True)
class Answer:
    """What was decided about one transaction."""

    transaction_id: str
    decision_id: str
    score: float
    threshold: float
    decision: Literal["approve", "review", "decline"]
    reasons: tuple[Reason, ...]

    @property
    def alert(self) -> bool:
        return self.decision != APPROVE


@dataclass(frozen=True)
class Conflict:
    """A transaction whose id belongs to another one."""

    transaction_id: str


class Desk:
    """Decides about transactions in the order in which they come.

    Parameters
    ----------
    scorer
        The model.
    fingerprint
        SHA-256 of its bundle.
    transactions, ledger
        TRANSACTIONS and LEDGER: what is known before the first request; None where there is nothing.
    """

    def __init__(
        self,
        scorer: Scorer,
        fingerprint: str,
        transactions: pl.DataFrame | None = None,
        ledger: pl.DataFrame | None = None,
    ) -> None:
        self.scorer, self.fingerprint = scorer, fingerprint
        self._ledger = pl.DataFrame(schema=LEDGER) if ledger is None else ledger
        self._known = transactions
        self._since = 0
        self._lock = threading.Lock()
        features = scorer.catalogue.features
        self._keys = {feature.keys for feature in features if isinstance(feature, Stateful)}

    def history(self) -> dict[str, Any]:
        """Say what is known: rows, the span of their times, and how many came in since the start."""
        known = self._known
        facts: dict[str, Any] = {"rows": 0 if known is None else known.height, "since_start": self._since}
        if known is not None and "ts" in known.columns:
            ends = known.select(first=pl.col("ts").min(), last=pl.col("ts").max()).row(0, named=True)
            facts |= {name: at.isoformat() if at else None for name, at in ends.items()}
        return facts

    def decide(self, incoming: pl.DataFrame, *, reasons: str = "alerts") -> list[Answer | Conflict]:
        """Decide about transactions, and know them from now on.

        A transaction that is known already, with the same content, is answered again as it was seen
        then. Either all of a request become known or, where it fails, none.

        Parameters
        ----------
        incoming
            TRANSACTIONS without `seq`, in order of arrival.
        reasons
            ``alerts``, ``all`` or ``none``.

        Returns
        -------
        list of Answer or Conflict
            One for each row, in their order.
        """
        with self._lock:
            first, conflicts = self._settle(incoming)
            known = self._joined(first)
            wanted = incoming.filter(~conflicts)["transaction_id"].unique(maintain_order=True)
            answers = self._answers(known, wanted, reasons) if len(wanted) else {}
            self._since += known.height - (0 if self._known is None else self._known.height)
            self._known = known
        rows = zip(incoming["transaction_id"], conflicts, strict=True)
        return [Conflict(one) if conflict else answers[one] for one, conflict in rows]

    def _settle(self, incoming: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """The rows that are new, and which rows contradict the one that had their id before."""
        content = [name for name in incoming.columns if name not in NOT_CONTENT]
        first = incoming.unique("transaction_id", keep="first", maintain_order=True)
        meant = first.select(content)
        if self._known is not None:
            before = self._known.filter(pl.col("transaction_id").is_in(incoming["transaction_id"].implode()))
            first = first.join(before, on="transaction_id", how="anti", maintain_order="left")
            shared = before.select(
                pl.col(name) if name in before.columns else pl.lit(None).alias(name) for name in content
            )
            meant = pl.concat([shared, first.select(content)], how="vertical_relaxed")
        compared = [name for name in content if name != "transaction_id"]
        paired = incoming.join(meant, on="transaction_id", how="left", maintain_order="left", suffix=":meant")
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}:meant")) for name in compared)
        return first, paired.select(~same).to_series()

    def _joined(self, first: pl.DataFrame) -> pl.DataFrame:
        """All that is known with the new rows after it, numbered on in order of arrival."""
        start = 0 if self._known is None or self._known.is_empty() else int(self._known["seq"].max()) + 1  # type: ignore[arg-type]
        new = first.with_columns(seq=pl.int_range(start, start + first.height, eager=True, dtype=pl.Int64))
        if self._known is None:
            return new
        joined = pl.concat([self._known, new], how="diagonal")
        return joined.rechunk() if joined.n_chunks() > _MOST_CHUNKS else joined

    def _answers(self, known: pl.DataFrame, wanted: pl.Series, reasons: str) -> dict[str, Answer]:
        featured = self._featured(known, wanted)
        amounts = featured["amount"].to_numpy()
        scores = self.scorer.score(featured)
        decisions = self.scorer.decisions(scores, amounts)
        alerts = (decisions != APPROVE).to_numpy()
        told = {"alerts": alerts, "all": alerts | True, "none": alerts & False}[reasons]
        why = iter(self.scorer.reasons(featured.filter(told)) if told.any() else ())
        rows = zip(featured["transaction_id"], scores, self.scorer.thresholds(amounts), decisions, told, strict=True)
        return {
            one: Answer(
                one, self._decision_id(one), float(score), float(threshold), decision, next(why) if tell else ()
            )
            for one, score, threshold, decision, tell in rows
        }

    def _featured(self, known: pl.DataFrame, wanted: pl.Series) -> pl.DataFrame:
        asked = pl.col("transaction_id").is_in(wanted.implode())
        near = self._near(known, known.filter(asked))
        ledger = self._ledger.join(near, on="transaction_id", how="semi")
        return batch.assemble(near, ledger, self.scorer.catalogue).filter(asked)

    def _near(self, known: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that share a key of any feature with the given ones, and these themselves."""
        near = pl.col("transaction_id").is_in(rows["transaction_id"].implode())
        for key in self._keys:
            # Of a pair's rows each shares its first part: more rows than needed change no window.
            near |= pl.col(key[0]).is_in(rows[key[0]].drop_nulls().unique().implode())
        return known.filter(near)

    def _decision_id(self, transaction_id: str) -> str:
        return hashlib.sha256(f"{self.fingerprint}\n{transaction_id}".encode()).hexdigest()[:24]
