"""Build the feature catalogue of a data set: default features that its columns allow, and features of the params."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from fraud3000 import durations
from fraud3000.errors import SchemaError
from fraud3000.features.custom_features import declare
from fraud3000.features.default_features import default_catalogue, default_features
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.params import FeaturizeModelParams, PrepareModelParams
from fraud3000.schema import TRANSACTIONS


def build_catalogue(
    prepare: PrepareModelParams, featurize: FeaturizeModelParams, transactions: pl.DataFrame
) -> Catalogue:
    """Build the catalogue for the columns of a data set, with the features that the params declare.

    Passthrough columns are numeric or categorical by their type.

    Raises
    ------
    ParamsError
        A declared feature is not possible.
    SchemaError
        A passthrough column has the name of a feature.
    """
    passed = {name: kind for name, kind in transactions.schema.items() if name not in TRANSACTIONS}
    require_free_names(transactions.schema, durations.text(prepare.label_delay))
    catalogue = default_catalogue(
        transactions.columns,
        numeric=[name for name, kind in passed.items() if kind != pl.String],
        categorical=[name for name, kind in passed.items() if kind == pl.String],
        label_delay=int(prepare.label_delay.total_seconds()),
        late_horizon=int(featurize.late_horizon.total_seconds()),
        zone=featurize.zone,
        precedence=prepare.source_precedence,
    )
    return declare(catalogue, featurize.features, featurize.without, transactions.schema)


def require_free_names(schema: Mapping[str, pl.DataType], label_delay: str) -> None:
    """Refuse passthrough columns that have the name of a feature.

    Parameters
    ----------
    schema
        Schema of TRANSACTIONS.

    Raises
    ------
    SchemaError
        Names all of these columns.

    Examples
    --------
    >>> require_free_names({"amount": pl.Int64(), "ts": pl.Datetime("us", "UTC"), "hour": pl.Float64()}, "7d")
    Traceback (most recent call last):
    fraud3000.errors.SchemaError: transactions: column 'hour' has the name of a feature
    Hint: Rename the column in the file, or take it out of prepare.mapping.
    """
    features = {feature.name for feature in default_features(label_delay) if feature.needs <= set(schema)}
    taken = sorted(name for name in schema if name in features and name not in TRANSACTIONS)
    if taken:
        listed = ", ".join(f"'{name}'" for name in taken)
        has = "has the name of a feature" if len(taken) == 1 else "have names of features"
        raise SchemaError(
            f"transactions: column{'s' * (len(taken) > 1)} {listed} {has}",
            hint="Rename the column in the file, or take it out of prepare.mapping.",
        )
