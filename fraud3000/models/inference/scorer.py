"""The Scorer: everything needed to turn FEATURED into scores, alerts and reasons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000.errors import SchemaError, ScorerError
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.html_table import html_table
from fraud3000.models.inference import bundle, bundle_parts, predictors, self_test_rows
from fraud3000.models.inference.calibrate import Calibrator
from fraud3000.models.inference.category_counts import TrainedColumn
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.explain import Explainer, Reason, UsualValues
from fraud3000.models.inference.self_test_rows import SelfTestRows
from fraud3000.models.policy import Policy
from fraud3000.models.training.fit import Model
from fraud3000.params import ColumnMapping
from fraud3000.schema import APPROVE, LEDGER
from fraud3000.strict_json import InvalidPartError

UNREGISTERED = "unregistered"
_AGAIN = "Take the bundle anew from the registry, or train again with this fraud3000."

SAME = 1e-9
"""How far a score may lie from what was recorded: other processors round otherwise."""


class ScoredRow(NamedTuple):
    """What the model says of one row.

    Attributes
    ----------
    score
        Calibrated probability of fraud.
    threshold
        The score from which on there is an alert.
    decision
        approve, review or decline.
    expected_loss
        If it is approved, in minor units.
    """

    score: float
    threshold: float
    decision: str
    expected_loss: float

    @property
    def alert(self) -> bool:
        return self.decision != APPROVE


@dataclass(frozen=True)
class Scorer:
    """A trained model with its features, calibration and policy.

    Attributes
    ----------
    catalogue
        The features it is scored by; carries zone, label delay and late horizon.
    mapping
        How a raw file of its data set becomes TRANSACTIONS.
    model, calibrator, policy
        From FEATURED to log-odds, to a probability, to an alert.
    typical
        What is usual among legitimate transactions; reasons compare with it.
    recorded
        Some rows of validation with their scores, by which it is known again.
    facts
        Where it comes from: data fingerprint, the date its labels were known at, the estimator.
    version
        Of the registry; not part of the bundle's bytes.

    Examples
    --------
    A model of one feature, put together by hand; `fraud3000.load` gives a trained one.

    >>> import numpy as np
    >>> from fraud3000.features.spec.declarations import Column
    >>> from fraud3000.models import fit
    >>> from fraud3000.params import TrainModelParams
    >>> catalogue = Catalogue((Column("amount"),), label_delay=604_800)
    >>> rows = pl.DataFrame({"transaction_id": ["a", "b", "c", "d"], "amount": [900, 1_000, 50_000, 60_000],
    ...                      "status": "approved", "labelled": True, "seq": [0, 1, 2, 3]})
    >>> labels = np.array([0, 0, 1, 1], dtype=np.int8)
    >>> model = fit.fit(rows, labels, catalogue.features, TrainModelParams(estimator="logistic_regression"))
    >>> policy = Policy("capacity", 0.5)
    >>> from fraud3000.models import calibrate
    >>> scorer = Scorer(catalogue, Mapping(), model, calibrate.Platt(1.0, 0.0), policy, Typical({}), version="7")
    >>> featured = scorer.featurize(rows)
    >>> scorer.answer(featured).select("transaction_id", "alert", "model_version").rows()
    [('a', False, '7'), ('b', False, '7'), ('c', True, '7'), ('d', True, '7')]
    """

    catalogue: Catalogue
    mapping: ColumnMapping
    model: Model
    calibrator: Calibrator
    policy: Policy
    typical: UsualValues
    recorded: SelfTestRows = field(default_factory=SelfTestRows)
    facts: dict[str, Any] = field(default_factory=dict)
    version: str = UNREGISTERED

    def __repr__(self) -> str:
        return f"<Scorer: {', '.join(f'{name} {value}' for name, value in self._description().items())}>"

    def _repr_html_(self) -> str:
        return html_table("Scorer", self._description().items())

    def _description(self) -> dict[str, str]:
        """Name and value of what identifies the scorer; what is not known is left out."""
        as_of = self.facts.get("as_of")
        threshold = "" if self.policy.value is None else f", threshold {self.policy.value:.4g}"
        values = {
            "version": self.version,
            "estimator": self.facts.get("estimator"),
            "features": f"{len(self.model.encoder.columns)} of {len(self.catalogue.features)}",
            "calibration": self.calibrator.method,
            "policy": f"{self.policy.kind}{threshold}",
            "as of": str(as_of)[:10] if as_of else None,
        }
        return {name: str(value) for name, value in values.items() if value}

    @cached_property
    def trained_categories(self) -> dict[str, TrainedColumn]:
        """What training saw of each categorical column; empty for a model that does not record it."""
        recorded = self.facts.get("categories", {})
        return {name: TrainedColumn.from_dict(column) for name, column in recorded.items()}

    def featurize(self, transactions: pl.DataFrame, ledger: pl.DataFrame | None = None) -> pl.DataFrame:
        """Compute the model's own features of every transaction, each as of its time.

        Parameters
        ----------
        transactions
            TRANSACTIONS: those to score with all that came before them, as `prepare` writes them.
        ledger
            LEDGER: what was reported about them; None where nothing was.

        Returns
        -------
        polars.DataFrame
            FEATURED, one row for each of `transactions` in their order.

        Raises
        ------
        SchemaError
            A column that the catalogue needs is missing.
        """
        return batch_engine.assemble(
            transactions, pl.DataFrame(schema=LEDGER) if ledger is None else ledger, self.catalogue
        )

    def answer(self, featured: pl.DataFrame) -> pl.DataFrame:
        """Score rows and decide them by the policy.

        Parameters
        ----------
        featured
            FEATURED.

        Returns
        -------
        polars.DataFrame
            `transaction_id, score, alert, threshold, model_version, decision`, in the order of the rows.
        """
        scores, amounts = self.score(featured), featured["amount"].to_numpy()
        decisions = self.policy.decisions(scores, amounts)
        return featured.select("transaction_id").with_columns(
            score=pl.Series(scores, dtype=pl.Float64),
            alert=decisions != APPROVE,
            threshold=pl.Series(self.thresholds(amounts), dtype=pl.Float64),
            model_version=pl.lit(self.version, dtype=pl.String),
            decision=decisions,
        )

    def score(self, featured: pl.DataFrame) -> Floats:
        """Calibrated probability of fraud, each row's independent of the rows beside it.

        Parameters
        ----------
        featured
            FEATURED, with at least the model's columns.

        Returns
        -------
        numpy.ndarray
            Of shape (n_rows,), in the open interval (0, 1).

        Raises
        ------
        SchemaError
            Columns are missing or hold text where numbers belong.
        """
        return self.calibrator.probability(self.model.log_odds(featured))

    def thresholds(self, amounts: npt.NDArray[Any]) -> Floats:
        """The score from which a row is alerted, for amounts in minor units; of shape (n_rows,)."""
        return self.policy.thresholds(amounts)

    def decisions(self, scores: Floats, amounts: npt.NDArray[Any]) -> pl.Series:
        """Approve, review or decline each row; of length n_rows."""
        return self.policy.decisions(scores, amounts)

    def reasons(self, featured: pl.DataFrame) -> list[tuple[Reason, ...]]:
        """At most three reasons for each row's score, the strongest first.

        Costs some fifty predictions of each row: meant for alerts.

        Raises
        ------
        SchemaError
            Columns are missing or hold text where numbers belong.
        ScorerError
            The contributions behind them do not add up to the raw score.
        """
        return self._explainer.of(self.model.encoder.matrix(featured))

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.model, self.typical, self.catalogue.features, decimals=self.mapping.amount.decimals)

    def judge(self, values: Sequence[dict[str, Any]], amounts: Sequence[int]) -> list[ScoredRow]:
        """Score and decide rows whose features come by name, as a feature store gives them; the same as of FEATURED.

        Parameters
        ----------
        values
            Every feature of the model by name.
        amounts
            Minor units.

        Raises
        ------
        SchemaError
            A feature is missing.
        """
        scores = self.calibrator.probability(self.model.log_odds_of(self.model.encoder.rows(values)))
        minor = np.array(amounts, dtype=np.int64)
        losses = self.policy.expected_losses(scores, minor)
        decisions = self.policy.named(scores, minor).tolist()
        told = (scores.tolist(), self.thresholds(minor).tolist(), decisions, losses.tolist())
        return [ScoredRow(*one) for one in zip(*told, strict=True)]

    def reasons_for(self, values: Sequence[dict[str, Any]]) -> list[tuple[Reason, ...]]:
        """As `reasons`, of rows whose features come by name."""
        return self._explainer.of(self.model.encoder.rows(values))

    def require_same(self) -> None:
        """Score the recorded rows once more, and give reasons for some of them.

        Raises
        ------
        ScorerError
            A score is not what it was when the model was made.
        """
        if not self.recorded.rows:
            return
        self.require_recorded_scores()
        self._explainer.of(self.recorded.matrix[:5])

    def require_recorded_scores(self) -> None:
        """Score the recorded rows once more.

        Raises
        ------
        ScorerError
            A score is not what it was when the model was made, or there is none.
        """
        try:
            scores = self.calibrator.probability(self.model.log_odds_of(self.recorded.matrix))
        except Exception as error:  # what a library raises depends on what the bundle made of its objects
            raise ScorerError(
                f"version {self.version}: cannot score its recorded rows ({type(error).__name__}: {str(error)[:200]})",
                hint="Do not use this bundle; train again.",
            ) from error
        off = self.recorded.difference(scores)
        if not off <= SAME:
            raise ScorerError(
                f"version {self.version}: scores its recorded rows otherwise than when it was made (by up to {off:.3g})",
                hint="Do not use it here: compare numpy, numba and processor with those of the machine that trained it.",
            )

    def contributions(self, featured: pl.DataFrame) -> pl.DataFrame:
        """What each feature adds to the raw score of each row: log-odds, before calibration.

        Parameters
        ----------
        featured
            FEATURED.

        Returns
        -------
        polars.DataFrame
            `transaction_id`, `base`, and a column for each feature of the model, in the order of the rows. A row's sum of
            all but the id is `model.log_odds` of it.

        Raises
        ------
        SchemaError
            Columns are missing or hold text where numbers belong, or a feature is called `base` itself.
        ScorerError
            The contributions do not add up to the raw score.
        """
        columns = self.model.encoder.columns
        if "base" in columns:
            raise SchemaError(
                "contributions: a feature is called 'base', as the column is that they are added to",
                hint="Rename it in the data, and train again.",
            )
        told = self.model.contributions_of(self.model.encoder.matrix(featured))
        values = pl.DataFrame(told.values, schema=dict.fromkeys(columns, pl.Float64), orient="row")
        return featured.select("transaction_id", pl.lit(told.base, pl.Float64).alias("base")).hstack(values)

    def save(self, folder: Path) -> str:
        """Write the bundle, all or nothing; equal scorers give equal bytes.

        Returns
        -------
        str
            SHA-256 that stands for the whole bundle.
        """
        catalogue, members = _json(self.catalogue.to_dict()), self._members()
        parts = self._parts(list(members))
        parts["checksums"] = bundle_parts.checksums(parts, catalogue, members)
        files = {"catalogue.json": catalogue, "scorer.json": _json(parts), **members}
        return bundle.write(folder, files, catalogue_hash=self.catalogue.hash)

    @classmethod
    def load(cls, folder: Path, *, version: str | None = None) -> Scorer:
        """Read a bundle: every file checked against its hash, every value checked, and its recorded rows scored.

        Parameters
        ----------
        version
            By which answers name the model; the folder's own name where it is not given.

        Raises
        ------
        ScorerError
            Missing, changed, of an unknown version, holding types or values that no model of ours has, or scoring its
            recorded rows otherwise than when it was made.
        """
        read = bundle.read(folder)
        try:
            parts = bundle_parts.assembled(read.files, read.catalogue)
        except ScorerError as error:
            raise ScorerError(f"{folder}: makes no scorer ({error.message})", hint=error.hint) from error
        except InvalidPartError as error:
            raise ScorerError(f"{folder}: makes no scorer ({error})", hint=_AGAIN) from error
        loaded = cls(**parts._asdict(), version=version or folder.name)
        loaded.require_recorded_scores()
        return loaded

    def _members(self) -> dict[str, bytes]:
        dumped = [predictors.dumps(one.predictor) for one in self.model.members]
        return {f"model-{place}.{ending}": content for place, (ending, content) in enumerate(dumped)}

    def _parts(self, files: Sequence[str]) -> dict[str, Any]:
        return {
            "mapping": self.mapping.model_dump(mode="json"),
            "encoder": self.model.encoder.to_dict(),
            "members": [
                {"file": file, "shift": one.shift, "weight": one.weight}
                for file, one in zip(files, self.model.members, strict=True)
            ],
            "calibrator": self.calibrator.to_dict(),
            "policy": self.policy.to_dict(),
            "typical": self.typical.to_dict(),
            "recorded": (self.recorded if self.recorded.rows else self._recorded_anew()).to_dict(),
            "facts": self.facts,
        }

    def _recorded_anew(self) -> SelfTestRows:
        """Rows around what is typical, for a scorer that was put together without validation rows."""
        matrix = self_test_rows.around(self.typical.values[name] for name in self.model.encoder.columns)
        coded = [name in self.model.encoder.categories for name in self.model.encoder.columns]
        matrix[1:, coded] = matrix[0, coded]
        return SelfTestRows.of(matrix, self.calibrator.probability(self.model.log_odds_of(matrix)))


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
