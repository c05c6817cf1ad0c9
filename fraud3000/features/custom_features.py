"""Features of one's own: from an entry of the params file to a declaration of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from fraud3000 import durations
from fraud3000.data.cleaning import category_text
from fraud3000.errors import FraudError, LeakageError, ParamsError, nearest
from fraud3000.features import catalogue as defaults
from fraud3000.features.spec.base import Condition, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from fraud3000.params import ConditionParams, FeatureParams

Schema = Mapping[str, pl.DataType]

_PLACED = frozenset({"delay", "bucket"})
_OF_VALUES = {agg: _PLACED | {"column", "over"} for agg in ("sum", "mean", "max", "min", "std")}
_OF_VALUES |= {how: _PLACED | {"column"} for how in ("ratio", "zscore")}
_OF_LABELS = dict.fromkeys(("frauds", "labelled", "rate"), _PLACED)
_TAKES: dict[str, frozenset[str]] = {
    "count": _PLACED,
    "share": _PLACED,
    **_OF_VALUES,
    "distinct": _PLACED | {"column", "cap"},
    **dict.fromkeys(("since_last", "not_seen", "distance", "speed"), frozenset[str]()),
    **_OF_LABELS,
    "smoothed": _PLACED | {"prior", "strength"},
}
"""What each aggregate takes besides key, length and where."""

_LABEL_COLUMNS = {"is_fraud", "reported_at", "labelled"}
_NO_VALUES = {"transaction_id": "differs in every row", "seq": "is the order of arrival"}


def declare(catalogue: Catalogue, own: Sequence[FeatureParams], without: Sequence[str], schema: Schema) -> Catalogue:
    """A catalogue less some of its features, with features of one's own behind them.

    Parameters
    ----------
    catalogue
        The default features that the data has the columns for.
    own, without
        As in the params file.
    schema
        Of TRANSACTIONS.

    Raises
    ------
    ParamsError
        An entry makes no sense, or not with this data; a name in `without` is that of no feature.
    LeakageError
        An entry reads labels other than as known at the time.

    Examples
    --------
    >>> own = FeatureParams(key="device_id", aggregate="count", length="1h")
    >>> schema = {"ts": pl.Datetime("us", "UTC"), "device_id": pl.String()}
    >>> declare(Catalogue((), label_delay=604_800), [own], [], schema).names
    ['device_id_count_1h']
    """
    _check_names(without, catalogue)
    kept = catalogue.without(without)
    for place, entry in enumerate(own):
        feature = _declared(entry, f"featurize.features.{place}", schema, kept)
        kept = replace(kept, features=(*kept.features, feature))
    return kept


def _check_names(without: Sequence[str], catalogue: Catalogue) -> None:
    declared = [feature.name for feature in defaults.declared(durations.text(catalogue.label_delay))]
    known = [*catalogue.names, *(name for name in declared if name not in catalogue.names)]
    unknown = [f"'{name}' is no feature; {nearest(name, known)}" for name in without if name not in known]
    if unknown:
        raise ParamsError("featurize.without: " + "; ".join(unknown), hint="docs/features.md lists them all.")


def _declared(entry: FeatureParams, place: str, schema: Schema, catalogue: Catalogue) -> Stateful:
    """One entry as a feature; what is wrong with it names the entry."""
    try:
        _check_options(entry)
        _check_columns(entry, schema)
        feature = _feature(entry, durations.text(catalogue.label_delay))
        _check_needs(feature, schema)
        feature.check(catalogue.label_delay)
        if feature.name in catalogue.names:
            raise ParamsError(f"'{feature.name}' is there already", hint="Leave the entry out.")
    except FraudError as error:
        raise type(error)(f"{place}: {error.message}", hint=error.hint) from None
    return feature


def _feature(entry: FeatureParams, label_delay: str) -> Stateful:
    """The declaration, with the defaults of its kind for what the entry leaves out."""
    key = entry.key if isinstance(entry.key, str) else entry.key if len(entry.key) > 1 else entry.key[0]
    where = None if entry.where is None else _condition(entry.where)
    given = {name: getattr(entry, name) for name in _TAKES[entry.aggregate] if getattr(entry, name) is not None}
    if entry.aggregate in {*_OF_LABELS, "smoothed"}:
        given = {"delay": label_delay, **given}
    match entry.aggregate:
        case "frauds" | "labelled" | "rate" | "smoothed" as agg:
            return LabelWindow(key, entry.length, agg, where=where, **given)
        case "ratio" | "zscore" as how:
            return Versus(key, entry.length, how, where=where, **given)
        case "distance" | "speed" as how:
            return FromLast(key, entry.length, how, where=where)
        case "since_last" | "not_seen" as kind:
            return (SinceLast if kind == "since_last" else NotSeen)(key, entry.length, where=where)
        case "sum" | "mean" | "max" | "min" | "std" as agg if entry.over is not None:
            return Shift(key, entry.length, agg, where=where, **given)
        case agg:
            return Window(key, entry.length, agg, where=where, **given)


def _condition(asked: ConditionParams) -> Condition:
    if asked.is_ is not None:
        texts = (asked.is_,) if isinstance(asked.is_, str) else asked.is_
        return Condition(asked.column, "is", tuple(category_text.canonical(text) or text for text in texts))
    for how in ("above", "at_least", "below", "at_most"):
        value = getattr(asked, how)
        if value is not None:
            return Condition(asked.column, how, (value,))
    raise AssertionError("the params model wants one comparison")


def _check_options(entry: FeatureParams) -> None:
    taken = _TAKES[entry.aggregate]
    given = [
        name
        for name in ("column", "over", "delay", "bucket", "cap", "prior", "strength")
        if getattr(entry, name) is not None
    ]
    not_taken = [name for name in given if name not in taken]
    if not_taken:
        takes = ", ".join(sorted(taken | {"key", "length", "where"}))
        raise ParamsError(f"'{entry.aggregate}' takes no {', no '.join(not_taken)}", hint=f"It takes {takes}.")
    if entry.aggregate == "distinct" and entry.column is None:
        raise ParamsError("'distinct' counts different texts, and no column is named", hint="Name one: `column`.")


def _check_columns(entry: FeatureParams, schema: Schema) -> None:
    keys = (entry.key,) if isinstance(entry.key, str) else entry.key
    if len(set(keys)) < max(len(keys), 1):
        raise ParamsError(f"key: [{', '.join(keys)}]", hint="A key is one text column, or a list of different ones.")
    for key in keys:
        _check_text("key", key, schema)
    if entry.column is not None:
        check = _check_text if entry.aggregate == "distinct" else _check_number
        check("column", entry.column, schema)
    if entry.where is not None:
        check = _check_text if entry.where.is_ is not None else _check_number
        check("where.column", entry.where.column, schema)


def _check_text(role: str, column: str, schema: Schema) -> None:
    texts = [name for name, kind in schema.items() if kind == pl.String and name not in _NO_VALUES]
    _check_column(role, column, texts, schema, wanted="text")


def _check_number(role: str, column: str, schema: Schema) -> None:
    numbers = [name for name, kind in schema.items() if name == "amount" or kind == pl.Float64]
    _check_column(role, column, numbers, schema, wanted="a number")


def _check_column(role: str, column: str, fitting: list[str], schema: Schema, *, wanted: str) -> None:
    """Refuse a column that is not among the fitting ones, saying why."""
    if column in fitting:
        return
    if column in _LABEL_COLUMNS:
        raise LeakageError(
            f"{role}: '{column}' says what became of the transaction",
            hint="Labels are read as known at the time by the aggregates frauds, labelled, rate and smoothed.",
        )
    if column not in schema:
        known = [name for name in schema if name not in {*_NO_VALUES, *_LABEL_COLUMNS}]
        raise ParamsError(
            f"{role}: the data has no column '{column}'; {nearest(column, known)}",
            hint="Columns of the raw file are passed on by prepare.mapping.numeric and categorical.",
        )
    what = _NO_VALUES.get(column, f"is {_told(schema[column])}, and this must be {wanted}")
    fit = ", ".join(f"'{name}'" for name in fitting) or "no column of the data"
    raise ParamsError(f"{role}: '{column}' {what}", hint=f"It may be {fit}.")


def _told(kind: pl.DataType) -> str:
    if kind == pl.String:
        return "text"
    return "a time" if kind.is_temporal() else "a number"


def _check_needs(feature: Stateful, schema: Schema) -> None:
    missing = sorted(feature.needs - set(schema))
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing)
        raise ParamsError(f"the data has no {listed}", hint="Map these roles under prepare.mapping.columns.")
