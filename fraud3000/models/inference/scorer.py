"""Scorer: turn FEATURED rows into scores, decisions and reasons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraud3000.errors import ParamsError, SchemaError, ScorerError
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.html_table import html_table
from fraud3000.models.inference import bundle, bundle_parts, frame_scoring, predictors, self_test_rows
from fraud3000.models.inference.calibrate import Calibrator
from fraud3000.models.inference.category_counts import TrainedColumn
from fraud3000.models.inference.decision import Decision
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.explain import Explainer, Reason, UsualValues
from fraud3000.models.inference.model import Model
from fraud3000.models.inference.self_test_rows import SelfTestRows
from fraud3000.models.policy import Policy
from fraud3000.params import ColumnMapping
from fraud3000.schema import APPROVE, LEDGER
from fraud3000.strict_json import InvalidPartError

UNREGISTERED = "unregistered"
_RETRAIN_HINT = "Fetch the bundle from the registry again, or train again with this release."

_REASONS = ("reason_1", "reason_2", "reason_3")

SAME = 1e-9
"""Largest allowed difference between a score and its recorded value: processors round differently."""


@dataclass(frozen=True)
class Scorer:
    """A trained model with its features, calibration and policy.

    Attributes
    ----------
    catalogue
        The features that the model reads, with zone, label delay and late horizon.
    mapping
        How raw files of its data set are read.
    model, calibrator, policy
        The three steps from FEATURED to log-odds, to a probability, to a decision.
    typical
        Usual values of legitimate transactions; reasons compare with them.
    recorded
        Self-test rows: validation rows with the scores that they got after training.
    facts
        Origin of the model: data fingerprint, label cut-off date, estimator.
    version
        Version in the registry; not part of the bundle.

    Examples
    --------
    A model of one feature, built by hand; `fraud3000.load` loads a trained one.

    >>> import numpy as np
    >>> from fraud3000.features.spec.kinds import Column
    >>> from fraud3000.models.training import fit
    >>> from fraud3000.params import TrainModelParams
    >>> catalogue = Catalogue((Column("amount"),), label_delay=604_800)
    >>> rows = pl.DataFrame({"transaction_id": ["a", "b", "c", "d"], "amount": [900, 1_000, 50_000, 60_000],
    ...                      "status": "approved", "labelled": True, "seq": [0, 1, 2, 3]})
    >>> labels = np.array([0, 0, 1, 1], dtype=np.int8)
    >>> model = fit.fit(rows, labels, catalogue.features, TrainModelParams(estimator="logistic_regression"))
    >>> policy = Policy("capacity", 0.5)
    >>> from fraud3000.models.inference import calibrate
    >>> scorer = Scorer(catalogue, ColumnMapping(), model, calibrate.Platt(1.0, 0.0), policy, UsualValues({}), version="7")
    >>> featured = scorer.featurize(rows)
    >>> scorer.decide(featured).select("transaction_id", "alert", "model_version").rows()
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
        """Counts of each categorical column in training; empty for a model without a record of them."""
        recorded = self.facts.get("categories", {})
        return {name: TrainedColumn.from_dict(column) for name, column in recorded.items()}

    def featurize(self, transactions: pl.DataFrame, ledger: pl.DataFrame | None = None) -> pl.DataFrame:
        """Compute the model's features of every transaction as of the time it happened.

        Parameters
        ----------
        transactions
            TRANSACTIONS as `prepare` writes them: those to score and all earlier ones.
        ledger
            LEDGER: label records of the transactions; None if there are none.

        Returns
        -------
        polars.DataFrame
            FEATURED, one row per transaction, in the same order.

        Raises
        ------
        SchemaError
            A column that the catalogue needs is missing.
        """
        return batch_engine.assemble(
            transactions, pl.DataFrame(schema=LEDGER) if ledger is None else ledger, self.catalogue
        )

    def score(self, transactions: Any, history: Any = None, labels: Any = None, *, reasons: str = "alerts") -> Any:
        """Score raw or clean transactions as of the time they happened, as `score-file` does.

        Parameters
        ----------
        transactions
            A polars, pandas or pyarrow frame in the layout of the training data (its mapping is in the bundle), or
            TRANSACTIONS, or what `prepare_frame` returned. Its earlier rows count as history of its later ones.
        history
            Earlier transactions, in either form. A warning tells if they reach back less than the longest window.
        labels
            LEDGER, or label records with `transaction_id` and `is_fraud`, and if known `source`, `reported_at` and
            `recorded_at`. Labels in the rows themselves count too, from the time they are known.
        reasons
            ``alerts``, ``all`` or ``none``.

        Returns
        -------
        frame
            Of the same kind: one row for each row, in their order, with SCORED and `rejected`, the reason why a row could
            not be read (its other values are null). A repeated row has the values of the first.

        Raises
        ------
        DataError
            Columns are missing, no row can be read, or the rows already have features.
        ParamsError
            An argument is not a frame.
        """
        return frame_scoring.score(self, transactions, history, labels, reasons=reasons)

    def decide(self, featured: pl.DataFrame) -> pl.DataFrame:
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
        scores, amounts = self.probabilities(featured), featured["amount"].to_numpy()
        decisions = self.policy.decisions(scores, amounts)
        return featured.select("transaction_id").with_columns(
            score=pl.Series(scores, dtype=pl.Float64),
            alert=decisions != APPROVE,
            threshold=pl.Series(self.policy.thresholds(amounts), dtype=pl.Float64),
            model_version=pl.lit(self.version, dtype=pl.String),
            decision=decisions,
        )

    def decide_with_reasons(self, featured: pl.DataFrame, reasons: str = "alerts") -> pl.DataFrame:
        """Score and decide rows, and explain some of them.

        Parameters
        ----------
        featured
            FEATURED, with `transaction_id` and `amount`.
        reasons
            The rows to explain: ``alerts``, ``all`` or ``none``.

        Returns
        -------
        polars.DataFrame
            SCORED, in the order of the rows.

        Raises
        ------
        ParamsError
            `reasons` is something else.
        """
        selected = {"alerts": pl.col("alert"), "all": pl.lit(value=True), "none": pl.lit(value=False)}.get(reasons)
        if selected is None:
            raise ParamsError(f"reasons: '{reasons}' is not known", hint="Use alerts, all or none.")
        scored = self.decide(featured)
        explained = featured.filter(scored.select(selected & pl.col("transaction_id").is_not_null()).to_series())
        texts = [[reason.text for reason in row] for row in self.reasons(explained)] if explained.height else []
        columns = {name: [row[n] if n < len(row) else None for row in texts] for n, name in enumerate(_REASONS)}
        why = explained.select("transaction_id").with_columns(
            pl.Series(name, column, dtype=pl.String) for name, column in columns.items()
        )
        return scored.join(why, on="transaction_id", how="left", maintain_order="left")

    def probabilities(self, featured: pl.DataFrame) -> Floats:
        """Return calibrated probabilities of fraud; the score of a row does not depend on other rows.

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
            Columns are missing or hold text instead of numbers.
        """
        return self.calibrator.probability(self.model.log_odds(featured))

    def reasons(self, featured: pl.DataFrame) -> list[tuple[Reason, ...]]:
        """Return at most three reasons for each row's score, the strongest first.

        Takes as long as some fifty predictions of each row: use it for alerts.

        Raises
        ------
        SchemaError
            Columns are missing or hold text instead of numbers.
        ScorerError
            The contributions do not add up to the raw score.
        """
        return self._explainer.explain(self.model.encoder.matrix(featured))

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.model, self.typical, self.catalogue.features, decimals=self.mapping.amount.decimals)

    def decide_rows(self, values: Sequence[dict[str, Any]], amounts: Sequence[int]) -> list[Decision]:
        """Score and decide rows given as feature values by name, as from a feature store; equal to `decide`.

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
        decisions = self.policy.decision_array(scores, minor).tolist()
        columns = (scores.tolist(), self.policy.thresholds(minor).tolist(), decisions, losses.tolist())
        return [
            Decision(score=score, threshold=least, decision=decision, expected_loss=loss, model_version=self.version)
            for score, least, decision, loss in zip(*columns, strict=True)
        ]

    def reasons_for(self, values: Sequence[dict[str, Any]]) -> list[tuple[Reason, ...]]:
        """Return `reasons` for rows given as feature values by name."""
        return self._explainer.explain(self.model.encoder.rows(values))

    def self_test(self) -> None:
        """Check that the self-test rows score as recorded, and that some of them can be explained.

        Raises
        ------
        ScorerError
            A score differs from the recorded one.
        """
        if not self.recorded.rows:
            return
        self.require_same_scores()
        self._explainer.explain(self.recorded.matrix[:5])

    def require_same_scores(self) -> None:
        """Check that the self-test rows score as recorded.

        Raises
        ------
        ScorerError
            A score differs from the recorded one, or cannot be computed.
        """
        try:
            scores = self.calibrator.probability(self.model.log_odds_of(self.recorded.matrix))
        except Exception as error:  # the error type depends on which object of the bundle is broken
            raise ScorerError(
                f"version {self.version}: cannot score its self-test rows ({type(error).__name__}: {str(error)[:200]})",
                hint="Do not use this bundle; train again.",
            ) from error
        difference = self.recorded.difference(scores)
        if not difference <= SAME:
            raise ScorerError(
                f"version {self.version}: scores its self-test rows differently than after training (by up to {difference:.3g})",
                hint="Do not use it here: compare numpy, numba and processor with those of the machine that trained it.",
            )

    def contributions(self, featured: pl.DataFrame) -> pl.DataFrame:
        """Return what each feature adds to the raw score of each row (log-odds, before calibration).

        Parameters
        ----------
        featured
            FEATURED.

        Returns
        -------
        polars.DataFrame
            `transaction_id`, `base`, and a column for each feature of the model, in the order of the rows. The sum of a
            row's values is its `model.log_odds`.

        Raises
        ------
        SchemaError
            Columns are missing or hold text instead of numbers, or a feature is named `base`.
        ScorerError
            The contributions do not add up to the raw score.
        """
        columns = self.model.encoder.columns
        if "base" in columns:
            raise SchemaError(
                "contributions: a feature is named 'base', which is the name of the base column",
                hint="Rename it in the data, and train again.",
            )
        explained = self.model.contributions_of(self.model.encoder.matrix(featured))
        values = pl.DataFrame(explained.values, schema=dict.fromkeys(columns, pl.Float64), orient="row")
        return featured.select("transaction_id", pl.lit(explained.base, pl.Float64).alias("base")).hstack(values)

    def save(self, folder: Path | str) -> str:
        """Write the bundle atomically; equal scorers give equal bytes.

        Returns
        -------
        str
            SHA-256 that identifies the whole bundle.
        """
        catalogue, members = _json(self.catalogue.to_dict()), self._members()
        parts = self._parts(list(members))
        parts["checksums"] = bundle_parts.checksums(parts, catalogue, members)
        files = {"catalogue.json": catalogue, "scorer.json": _json(parts), **members}
        return bundle.write(Path(folder), files, catalogue_hash=self.catalogue.hash)

    @classmethod
    def load(cls, folder: Path | str, *, version: str | None = None) -> Scorer:
        """Load a bundle; verify every file's hash, validate every value, and score its self-test rows.

        Parameters
        ----------
        version
            Version reported with each score; by default the folder's name.

        Raises
        ------
        ScorerError
            The bundle is missing, changed or of an unknown version, holds types or values that no fraud3000 model has, or
            scores its self-test rows differently than after training.
        """
        folder = Path(folder)
        read = bundle.read(folder)
        try:
            parts = bundle_parts.assemble(read.files, read.catalogue)
        except ScorerError as error:
            raise ScorerError(f"{folder}: not a valid scorer ({error.message})", hint=error.hint) from error
        except InvalidPartError as error:
            raise ScorerError(f"{folder}: not a valid scorer ({error})", hint=_RETRAIN_HINT) from error
        loaded = cls(**parts._asdict(), version=version or folder.name)
        loaded.require_same_scores()
        return loaded

    def _members(self) -> dict[str, bytes]:
        dumped = [predictors.dumps(member.predictor) for member in self.model.members]
        return {f"model-{index}.{suffix}": content for index, (suffix, content) in enumerate(dumped)}

    def _parts(self, files: Sequence[str]) -> dict[str, Any]:
        return {
            "mapping": self.mapping.model_dump(mode="json"),
            "encoder": self.model.encoder.to_dict(),
            "members": [
                {"file": file, "shift": member.shift, "weight": member.weight}
                for file, member in zip(files, self.model.members, strict=True)
            ],
            "calibrator": self.calibrator.to_dict(),
            "policy": self.policy.to_dict(),
            "typical": self.typical.to_dict(),
            "recorded": (self.recorded if self.recorded.rows else self._default_self_test_rows()).to_dict(),
            "facts": self.facts,
        }

    def _default_self_test_rows(self) -> SelfTestRows:
        """Make self-test rows around the usual values, for a scorer built without validation rows."""
        matrix = self_test_rows.rows_around(self.typical.values[name] for name in self.model.encoder.columns)
        coded = [name in self.model.encoder.categories for name in self.model.encoder.columns]
        matrix[1:, coded] = matrix[0, coded]
        return SelfTestRows.from_matrix(matrix, self.calibrator.probability(self.model.log_odds_of(matrix)))


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
