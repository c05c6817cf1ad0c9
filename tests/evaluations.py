"""Small evaluations: the facts around a measurement, or around metrics given as numbers."""

from __future__ import annotations

from typing import Any

from fraud3000.metrics.evaluation import Evaluation, Measurement, MetricValue
from fraud3000.params import PolicyParams

SPAN = ("2024-03-01T00:00:00+00:00", "2024-03-29T00:00:00+00:00")


def metrics(**values: float | None) -> dict[str, MetricValue]:
    """Metrics by name; those without a value have a reason."""
    return {
        name: MetricValue(value=value) if value is not None else MetricValue(value=None, reason="no known fraud")
        for name, value in values.items()
    }


def evaluation(measurement: Measurement | None = None, **changes: Any) -> Evaluation:
    """Evaluation of model 7, with some of its content replaced."""
    content = {
        "split": "test",
        "rows": 9,
        "frauds": 2,
        "alerts": 3,
        "prevalence": 2 / 9,
        "excluded": {"refund": 0, "label_unknown": 0, "set_aside": 0},
        "alerts_a_day": {"unit": "cards", "mean": 3.0, "sd": None, "days": 1},
        "intervals": {"by": ["card"], "replicates": 20, "seed": 1, "coverage": 0.95, "note": ""},
        "metrics": metrics(average_precision=0.4, recall=0.5),
        "baselines": {},
        **({name: getattr(measurement, name) for name in Measurement.model_fields} if measurement else {}),
        "model_version": "7",
        "model_as_of": "2024-02-20T00:00:00+00:00",
        "data_fingerprint": "d" * 64,
        "catalogue_hash": "c" * 64,
        "rows_sha256": "e" * 64,
        "label_date": "2024-05-01T00:00:00+00:00",
        "test_span": SPAN,
        "split_by": "time",
        "compromised_cards": {"rule": "keep", "rows": 0},
        "policy": {**PolicyParams().model_dump(), "model": {}},
        "decimals": 2,
        "bundle_sha256": "b" * 64,
    }
    return Evaluation.model_validate(content | changes)
