"""Custom features: turns entries of `featurize.features` in the params file into declarations of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from fraud3000 import durations
from fraud3000.data.cleaning import category_text
from fraud3000.errors import FraudError, LeakageError, ParamsError, nearest
from fraud3000.features.default_features import default_features
from fraud3000.features.spec.base import Condition, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from fraud3000.params import ConditionParams, FeatureParams

Schema = Mapping[str, pl.DataType]

_WINDOW_OPTIONS = frozenset({"delay", "bucket"})
_VALUE_OPTIONS = {agg: _WINDOW_OPTIONS | {"column", "over"} for agg in ("sum", "mean", "max", "min", "std")}
_VALUE_OPTIONS |= {how: _WINDOW_OPTIONS | {"column"} for how in ("ratio", "zscore")}
_LABEL_OPTIONS = dict.fromkeys(("frauds", "labelled", "rate"), _WINDOW_OPTIONS)
_OPTIONS: dict[str, frozenset[str]] = {
    "count": _WINDOW_OPTIONS,
    "share": _WINDOW_OPTIONS,
    **_VALUE_OPTIONS,
    "distinct": _WINDOW_OPTIONS | {"column", "cap"},
    **dict.fromkeys(("since_last", "not_seen", "distance", "speed"), frozenset[str]()),
    **_LABEL_OPTIONS,
    "smoothed": _WINDOW_OPTIONS | {"prior", "strength"},
}
"""Options of each aggregate besides key, length and where."""

_LABEL_COLUMNS = {"is_fraud", "reported_at", "labelled"}
_UNUSABLE_COLUMNS = {"transaction_id": "is different in every row", "seq": "is the order of arrival"}


def declare(
    catalogue: Catalogue, custom: Sequence[FeatureParams], excluded: Sequence[str], schema: Schema
) -> Catalogue:
    """Return a catalogue without some of its features and with custom features after them.

    Parameters
    ----------
    catalogue
        The default features whose columns the data has.
    custom, excluded
        `featurize.features` and `featurize.without` of the params file.
    schema
        Columns and types of TRANSACTIONS.

    Raises
    ------
    ParamsError
        An entry is not valid, or not with this data; a name in `excluded` is not a feature.
    LeakageError
        An entry reads labels before they are known.

    Examples
    --------
    >>> custom = FeatureParams(key="device_id", aggregate="count", length="1h")
    >>> schema = {"ts": pl.Datetime("us", "UTC"), "device_id": pl.String()}
    >>> declare(Catalogue((), label_delay=604_800), [custom], [], schema).names
    ['device_id_count_1h']
    """
    _check_names(excluded, catalogue)
    result = catalogue.without(excluded)
    for index, entry in enumerate(custom):
        feature = _declare_entry(entry, f"featurize.features.{index}", schema, result)
        result = replace(result, features=(*result.features, feature))
    return result


def _check_names(excluded: Sequence[str], catalogue: Catalogue) -> None:
    default_names = [feature.name for feature in default_features(durations.text(catalogue.label_delay))]
    names = [*catalogue.names, *(name for name in default_names if name not in catalogue.names)]
    unknown = [f"'{name}' is not a feature; {nearest(name, names)}" for name in excluded if name not in names]
    if unknown:
        raise ParamsError("featurize.without: " + "; ".join(unknown), hint="Use a name that docs/features.md lists.")


def _declare_entry(entry: FeatureParams, entry_path: str, schema: Schema, catalogue: Catalogue) -> Stateful:
    """Declare the feature of one entry; errors start with the entry's path."""
    try:
        _check_options(entry)
        _check_columns(entry, schema)
        feature = _feature(entry, durations.text(catalogue.label_delay))
        _check_needs(feature, schema)
        feature.check(catalogue.label_delay)
        if feature.name in catalogue.names:
            raise ParamsError(f"feature '{feature.name}' already exists", hint="Remove the entry.")
    except FraudError as error:
        raise type(error)(f"{entry_path}: {error.message}", hint=error.hint) from None
    return feature


def _feature(entry: FeatureParams, label_delay: str) -> Stateful:
    """Build the declaration; options that the entry omits have the defaults of their kind."""
    key = entry.key if isinstance(entry.key, str) else entry.key if len(entry.key) > 1 else entry.key[0]
    where = None if entry.where is None else _condition(entry.where)
    options = {name: getattr(entry, name) for name in _OPTIONS[entry.aggregate] if getattr(entry, name) is not None}
    if entry.aggregate in {*_LABEL_OPTIONS, "smoothed"}:
        options = {"delay": label_delay, **options}
    match entry.aggregate:
        case "frauds" | "labelled" | "rate" | "smoothed" as agg:
            return LabelWindow(key, entry.length, agg, where=where, **options)
        case "ratio" | "zscore" as how:
            return Versus(key, entry.length, how, where=where, **options)
        case "distance" | "speed" as how:
            return FromLast(key, entry.length, how, where=where)
        case "since_last" | "not_seen" as kind:
            return (SinceLast if kind == "since_last" else NotSeen)(key, entry.length, where=where)
        case "sum" | "mean" | "max" | "min" | "std" as agg if entry.over is not None:
            return Shift(key, entry.length, agg, where=where, **options)
        case agg:
            return Window(key, entry.length, agg, where=where, **options)


def _condition(params: ConditionParams) -> Condition:
    if params.is_ is not None:
        texts = (params.is_,) if isinstance(params.is_, str) else params.is_
        return Condition(params.column, "is", tuple(category_text.canonical(text) or text for text in texts))
    for how in ("above", "at_least", "below", "at_most"):
        value = getattr(params, how)
        if value is not None:
            return Condition(params.column, how, (value,))
    raise AssertionError("the params model requires exactly one comparison")


def _check_options(entry: FeatureParams) -> None:
    allowed = _OPTIONS[entry.aggregate]
    present = [
        name
        for name in ("column", "over", "delay", "bucket", "cap", "prior", "strength")
        if getattr(entry, name) is not None
    ]
    unexpected = [name for name in present if name not in allowed]
    if unexpected:
        listed = ", ".join(sorted(allowed | {"key", "length", "where"}))
        raise ParamsError(f"'{entry.aggregate}' takes no {', no '.join(unexpected)}", hint=f"Use only {listed}.")
    if entry.aggregate == "distinct" and entry.column is None:
        raise ParamsError("'distinct' needs a column and has none", hint="Set `column` to the text column to count.")


def _check_columns(entry: FeatureParams, schema: Schema) -> None:
    keys = (entry.key,) if isinstance(entry.key, str) else entry.key
    if len(set(keys)) < max(len(keys), 1):
        raise ParamsError(
            f"key: [{', '.join(keys)}] is not a list of different columns",
            hint="Set `key` to a text column, or to a list of different text columns.",
        )
    for key in keys:
        _check_text("key", key, schema)
    if entry.column is not None:
        check = _check_text if entry.aggregate == "distinct" else _check_number
        check("column", entry.column, schema)
    if entry.where is not None:
        check = _check_text if entry.where.is_ is not None else _check_number
        check("where.column", entry.where.column, schema)


def _check_text(role: str, column: str, schema: Schema) -> None:
    texts = [name for name, kind in schema.items() if kind == pl.String and name not in _UNUSABLE_COLUMNS]
    _check_column(role, column, texts, schema, expected="a text")


def _check_number(role: str, column: str, schema: Schema) -> None:
    numbers = [name for name, kind in schema.items() if name == "amount" or kind == pl.Float64]
    _check_column(role, column, numbers, schema, expected="a number")


def _check_column(role: str, column: str, allowed: list[str], schema: Schema, *, expected: str) -> None:
    """Raise if a column is not among the allowed ones, with the reason."""
    if column in allowed:
        return
    if column in _LABEL_COLUMNS:
        raise LeakageError(
            f"{role}: '{column}' is the label of the transaction, which is not known at its time",
            hint="Use the aggregates frauds, labelled, rate or smoothed: they read labels as known at the time.",
        )
    if column not in schema:
        columns = [name for name in schema if name not in {*_UNUSABLE_COLUMNS, *_LABEL_COLUMNS}]
        raise ParamsError(
            f"{role}: the data has no column '{column}'; {nearest(column, columns)}",
            hint="Add columns of the raw file to prepare.mapping.numeric or prepare.mapping.categorical.",
        )
    reason = _UNUSABLE_COLUMNS.get(column, f"is {_type_words(schema[column])} column, not {expected} column")
    listed = ", ".join(f"'{name}'" for name in allowed)
    hint = f"Use {listed}." if listed else f"The data has no column to use: add {expected} column to prepare.mapping."
    raise ParamsError(f"{role}: '{column}' {reason}", hint=hint)


def _type_words(kind: pl.DataType) -> str:
    if kind == pl.String:
        return "a text"
    return "a time" if kind.is_temporal() else "a number"


def _check_needs(feature: Stateful, schema: Schema) -> None:
    missing = sorted(feature.needs - set(schema))
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing)
        raise ParamsError(f"the data has no {listed}", hint="Add these roles to prepare.mapping.columns.")
