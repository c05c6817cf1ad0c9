"""One model's decisions about transactions whose features were read; the same again whenever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fraud3000.models.inference.explain import Reason
from fraud3000.models.inference.scorer import ScoredRow, Scorer
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.journal.entries import Decision, TransactionEntry, decision_id

Reasons = Literal["alerts", "all", "none"]


class Decider:
    """Decides by a model, or by the fallback where there is no time.

    Parameters
    ----------
    scorer
        The model.
    fingerprint
        SHA-256 of its bundle.
    fallback
        Decides what comes too late for the model.

    Attributes
    ----------
    names, catalogue
        The features that it decides on, in their order, and the hash of their declarations.
    """

    def __init__(self, scorer: Scorer, fingerprint: str, fallback: Fallback) -> None:
        self.scorer, self.fingerprint, self.fallback = scorer, fingerprint, fallback
        self.names, self.catalogue = scorer.catalogue.names, scorer.catalogue.hash

    def decided(self, undecided: Sequence[TransactionEntry], explained: Sequence[bool]) -> list[TransactionEntry]:
        """Decide transactions by the model.

        Parameters
        ----------
        undecided
            With features of its catalogue.
        explained
            Which of them have reasons even if they are no alert.
        """
        if not undecided:
            return []
        values = [self.named(one) for one in undecided]
        judged = self.scorer.decide_rows(values, [one.transaction["amount"] for one in undecided])
        told = [asked or one.alert for one, asked in zip(judged, explained, strict=True)]
        to_explain = [row for row, tell in zip(values, told, strict=True) if tell]
        why = iter(self.scorer.reasons_for(to_explain) if to_explain else ())
        return [
            taken.answered(self._answer(taken, one, next(why) if tell else ()))
            for taken, one, tell in zip(undecided, judged, told, strict=True)
        ]

    def fallen_back(self, undecided: Sequence[TransactionEntry]) -> list[TransactionEntry]:
        """Decide transactions by their amounts alone."""
        return [one.answered(self._by_amount(one)) for one in undecided]

    def reasons(self, taken: TransactionEntry) -> tuple[Reason, ...]:
        """Why a transaction was decided as it was; told now where the answer does not say, if the model is the same."""
        answer = taken.answer
        if answer is None:
            return ()
        if answer.reasons or answer.source == "fallback" or answer.fingerprint != self.fingerprint:
            return answer.reasons
        return self.scorer.reasons_for([self.named(taken)])[0]

    def again(self, taken: TransactionEntry) -> TransactionEntry:
        """The transaction with the answer that would be given to it now, in the way it was given then."""
        answer = taken.answer
        if answer is None:
            return taken
        if answer.source == "fallback":
            bands = Fallback(*answer.bands) if answer.bands else self.fallback
            return Decider(self.scorer, self.fingerprint, bands).fallen_back([taken])[0]
        return self.decided([taken], [bool(answer.reasons)])[0]

    def named(self, taken: TransactionEntry) -> dict[str, Any]:
        """The features of a transaction by name."""
        return dict(zip(self.names, taken.features, strict=True))

    def _answer(self, taken: TransactionEntry, judged: ScoredRow, why: tuple[Reason, ...]) -> Decision:
        return Decision(
            decision_id=decision_id(taken.number, self.fingerprint, taken.transaction_id),
            **judged._asdict(),
            reasons=why,
            model_version=self.scorer.version,
            fingerprint=self.fingerprint,
        )

    def _by_amount(self, taken: TransactionEntry) -> Decision:
        amount = taken.transaction["amount"]
        return Decision(
            decision_id=decision_id(taken.number, self.fingerprint, taken.transaction_id),
            score=None,
            threshold=None,
            decision=self.fallback.decision(amount),
            expected_loss=float(max(amount, 0) + self.scorer.policy.fee),
            reasons=(),
            model_version=self.scorer.version,
            fingerprint=self.fingerprint,
            source="fallback",
            bands=(self.fallback.review_from, self.fallback.decline_from),
        )
