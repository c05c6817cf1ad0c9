"""Columns that know the answer: filled in after the fact, or a copy of the label."""

from __future__ import annotations

import polars as pl

_FEWEST = 10  # frauds, and legitimate transactions, below which nothing is said
_RANKING, _RANKING_OF_FEW = 0.995, 0.9995  # area under the curve, of one column alone
_FEW = 100  # frauds; a strong but honest column may rank fewer than these nearly without fault
_PURE, _COVERED = 0.99, 0.2  # share of frauds among rows with a value; share of all frauds that have it
_COMMON_FRAUD = 0.5  # where fraud is this common, purity says nothing
_SAMPLE = 200_000  # legitimate transactions looked at
_SEED = 7


def reason(values: pl.Series, label: pl.Series) -> str | None:
    """Say why a column gives the label away, or None where it does not.

    Parameters
    ----------
    values
        A numeric, boolean or text column.
    label
        1, 0 or null, row by row.

    Examples
    --------
    >>> label = pl.Series([1] * 20 + [0] * 980)
    >>> reason(pl.Series([f"case {row}" if row < 20 else None for row in range(1000)]), label)
    'it has a value in 20 rows, and 100.0% of these are frauds, of all rows 2.0%'
    >>> reason(pl.Series([f"shop {row % 7}" for row in range(1000)]), label) is None
    True
    """
    compact = values if values.dtype.is_numeric() else values.cast(pl.String).cast(pl.Categorical)
    known = pl.DataFrame({"value": compact, "label": label}).filter(pl.col("label").is_not_null())
    frauds = int(known["label"].sum())
    if min(frauds, known.height - frauds) < _FEWEST or frauds >= _COMMON_FRAUD * known.height:
        return None
    return _by_absence(known) or (_by_rank(known) if values.dtype.is_numeric() else _by_value(known))


def _by_absence(known: pl.DataFrame) -> str | None:
    overall = _mean(known)
    for told, rows in (
        ("has a value", known.filter(pl.col("value").is_not_null())),
        ("is empty", known.filter(pl.col("value").is_null())),
    ):
        if _FEWEST <= rows.height < known.height and _mean(rows) >= _PURE:
            return f"it {told} in {rows.height:,} rows, and {_mean(rows):.1%} of these are frauds, of all rows {overall:.1%}"
    return None


def _by_rank(known: pl.DataFrame) -> str | None:
    area = _area(known.drop_nulls("value").filter(pl.col("value").cast(pl.Float64).is_finite()))
    if area is None or max(area, 1 - area) < _least(known):
        return None
    return (
        f"alone it ranks frauds {'above' if area > 0.5 else 'below'} legitimate transactions with an AUC of {area:.4f}"
    )


def _by_value(known: pl.DataFrame) -> str | None:
    """Learn each value's share of frauds on half of the rows, and judge it on the rest."""
    mixed = known.with_columns(pl.col("value").cast(pl.Categorical).fill_null("")).sample(
        fraction=1, shuffle=True, seed=_SEED
    )
    learnt, rest = mixed.head(known.height // 2), mixed.tail(-(known.height // 2))
    counted = learnt.group_by("value").agg(share=pl.col("label").mean())
    judged = rest.join(counted, on="value", how="left").with_columns(pl.col("share").fill_null(_mean(learnt)))
    area = _area(judged.select("label", value="share"))
    if area is not None and area >= _least(rest):
        return f"its values alone rank frauds above legitimate transactions with an AUC of {area:.4f}"
    pure = counted.filter(pl.col("share") >= _PURE)["value"]
    hit = rest.filter(pl.col("value").is_in(pure.implode()))
    if hit.height >= _FEWEST and _mean(hit) >= _PURE and int(hit["label"].sum()) >= _COVERED * int(rest["label"].sum()):
        value = hit["value"].cast(pl.String).value_counts(sort=True)["value"][0]
        return f"{_mean(hit):.1%} of the rows with values such as '{value}' are frauds, of all rows {_mean(known):.1%}"
    return None


def _area(known: pl.DataFrame) -> float | None:
    """The chance that a fraud ranks above a legitimate transaction, ties counted half."""
    fraud, honest = known.filter(pl.col("label") == 1), known.filter(pl.col("label") == 0)
    if min(fraud.height, honest.height) < _FEWEST:
        return None
    honest = honest.sample(n=min(honest.height, _SAMPLE), seed=_SEED)
    ranks = pl.concat([fraud, honest])["value"].rank("average")
    above = float(ranks.head(fraud.height).sum()) - fraud.height * (fraud.height + 1) / 2
    return above / (fraud.height * honest.height)


def _least(known: pl.DataFrame) -> float:
    return _RANKING if int(known["label"].sum()) >= _FEW else _RANKING_OF_FEW


def _mean(rows: pl.DataFrame) -> float:
    return float(rows["label"].sum()) / max(1, rows.height)
