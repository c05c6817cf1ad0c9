"""Decisions of one model for transactions whose features are computed; deterministic, so replay reproduces them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fraud3000.models.inference.decision import Decision
from fraud3000.models.inference.explain import Reason
from fraud3000.models.inference.scorer import Scorer
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.entries import TransactionEntry, decision_id

Reasons = Literal["alerts", "all", "none"]


class Decider:
    """Decides by one model, or by the fallback if the deadline has passed.

    Parameters
    ----------
    scorer
        The model.
    fingerprint
        SHA-256 of its bundle.
    amount_bands
        The fallback: decides transactions that miss their deadline.

    Attributes
    ----------
    names, catalogue
        The model's features, in order, and the hash of their declarations.
    """

    def __init__(self, scorer: Scorer, fingerprint: str, amount_bands: Fallback) -> None:
        self.scorer, self.fingerprint, self.amount_bands = scorer, fingerprint, amount_bands
        self.names, self.catalogue = scorer.catalogue.names, scorer.catalogue.hash

    def decide_batch(self, undecided: Sequence[TransactionEntry], explain: Sequence[bool]) -> list[TransactionEntry]:
        """Decide transactions by the model.

        Parameters
        ----------
        undecided
            With features of the model's catalogue.
        explain
            Which of them have reasons even if they are no alert.
        """
        if not undecided:
            return []
        rows = [self.features_by_name(entry) for entry in undecided]
        scored = self.scorer.decide_rows(rows, [entry.transaction["amount"] for entry in undecided])
        with_reasons = [always or row.alert for row, always in zip(scored, explain, strict=True)]
        to_explain = [row for row, explained in zip(rows, with_reasons, strict=True) if explained]
        reasons = iter(self.scorer.reasons_for(to_explain) if to_explain else ())
        return [
            entry.answered(self._complete(entry, row, next(reasons) if explained else ()))
            for entry, row, explained in zip(undecided, scored, with_reasons, strict=True)
        ]

    def fallback(self, undecided: Sequence[TransactionEntry]) -> list[TransactionEntry]:
        """Decide transactions by their amounts alone."""
        return [entry.answered(self._fallback_decision(entry)) for entry in undecided]

    def reasons(self, entry: TransactionEntry) -> tuple[Reason, ...]:
        """Return the reasons for a decision; computes them if they were not stored and this model made the decision."""
        decision = entry.answer
        if decision is None:
            return ()
        if decision.reasons or decision.source == "fallback" or decision.fingerprint != self.fingerprint:
            return decision.reasons
        return self.scorer.reasons_for([self.features_by_name(entry)])[0]

    def decide_again(self, entry: TransactionEntry) -> TransactionEntry:
        """Decide a transaction again from its stored features, by the model or the fallback as the first time."""
        decision = entry.answer
        if decision is None:
            return entry
        if decision.source == "fallback":
            bands = Fallback(*decision.bands) if decision.bands else self.amount_bands
            return Decider(self.scorer, self.fingerprint, bands).fallback([entry])[0]
        return self.decide_batch([entry], [bool(decision.reasons)])[0]

    def features_by_name(self, entry: TransactionEntry) -> dict[str, Any]:
        """Return the features of a transaction by name."""
        return dict(zip(self.names, entry.features, strict=True))

    def _complete(self, entry: TransactionEntry, of_model: Decision, reasons: tuple[Reason, ...]) -> Decision:
        return Decision(
            decision_id=decision_id(entry.number, self.fingerprint, entry.transaction_id),
            score=of_model.score,
            threshold=of_model.threshold,
            decision=of_model.decision,
            expected_loss=of_model.expected_loss,
            reasons=reasons,
            model_version=of_model.model_version,
            fingerprint=self.fingerprint,
        )  # `replace` takes three times as long

    def _fallback_decision(self, entry: TransactionEntry) -> Decision:
        amount = entry.transaction["amount"]
        return Decision(
            decision_id=decision_id(entry.number, self.fingerprint, entry.transaction_id),
            score=None,
            threshold=None,
            decision=self.amount_bands.decision(amount),
            expected_loss=float(max(amount, 0) + self.scorer.policy.fee),
            model_version=self.scorer.version,
            fingerprint=self.fingerprint,
            source="fallback",
            bands=(self.amount_bands.review_from, self.amount_bands.decline_from),
        )
