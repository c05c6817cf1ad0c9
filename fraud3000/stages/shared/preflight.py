"""Check params of later stages against the data before any feature is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from fraud3000.errors import FraudError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.models.policy import require_columns
from fraud3000.params import Params


def require_policy(columns: Mapping[str, object], params: Params) -> None:
    """Refuse a policy that is impossible for the data.

    Raises
    ------
    ParamsError
        As in `fraud3000.models.policy.require_columns`.
    """
    require_columns(columns, params.policy)


def require_learner(params: Params, features: Catalogue) -> None:
    """Refuse invalid estimator params of `train`, and monotone constraints on unknown features.

    Raises
    ------
    ParamsError
        As `train` itself would raise.
    """
    from fraud3000.models.training import (
        estimators,
    )  # slow import (scikit-learn); errors of the policy are reported first

    estimators.check(params.train)
    estimators.check_monotone(params.train.monotone, {feature.name: feature.kind for feature in features.features})


def warnings(params: Params, schema: Mapping[str, pl.DataType]) -> Iterator[str]:
    """Yield warnings about params that `featurize` will refuse for this data."""
    try:
        require_policy(schema, params)
    except FraudError as error:
        yield f"{error.message}. {error.hint}"
    timed = "ts" in schema
    if timed is (params.featurize.split.by == "random"):
        yield _split(params.featurize.split.by, timed=timed)


def _split(by: str, *, timed: bool) -> str:
    if timed:
        return f"featurize.split.by: '{by}' is for data without time. Split by time or dates."
    return f"featurize.split.by: '{by}' needs times, and the transactions have none. Set it to random."
