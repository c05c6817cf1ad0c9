"""A file of transactions to a file of scores, by the scorer that the service uses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fraud3000 import durations, labels, registry
from fraud3000 import params as params_files
from fraud3000.data import cards, clean, files, outputs, sources
from fraud3000.data.clean import Ingested
from fraud3000.errors import DataError, ParamsError, ScorerError, UnavailableError
from fraud3000.features import batch
from fraud3000.features.spec import Catalogue
from fraud3000.params import Mapping, Params
from fraud3000.schema import LEDGER, SCORED, TRANSACTIONS
from fraud3000.stages.progress import track
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.workspace import Workspace, read

if TYPE_CHECKING:
    from fraud3000.scorer import Scorer

BLOCK = 200_000
"""Rows scored at a time; a score does not depend on the rows beside it."""

_REASONS = ("reason_1", "reason_2", "reason_3")


@dataclass(frozen=True)
class _Past:
    """Transactions before those to be scored, with what was recorded about them."""

    transactions: pl.DataFrame | None
    ledger: pl.DataFrame
    told: str


def score_file(
    params: Params | None,
    source: str,
    *,
    out: Path | None = None,
    history: str | None = None,
    cold_start: bool = False,
    model: str = registry.CHAMPION,
    reasons: str = "alerts",
) -> Summary:
    """Score every accepted row of a file, answered in input order.

    The input's own faults are told before a missing model's.

    Parameters
    ----------
    params
        Whose mapping to read the input with; without, the mapping in the bundle.
    source
        A file, glob or folder, raw or already TRANSACTIONS.
    out
        Parquet or CSV; refused rows go to `<stem>.rejected.parquet` beside it.
    history
        Transactions before those of the input; without, those of the workspace.
    cold_start
        Score although history is shorter than the longest window.
    reasons
        `alerts`, `all` or `none`.

    Raises
    ------
    DataError
        The input cannot be read, or its history is too short.
    ScorerError
        There is no such model, or its bundle cannot be trusted.
    UnavailableError
        The output cannot be written.
    """
    settings = params or params_files.load()
    paths = files.discover(source)
    scored_path, rejected_path = _destinations(source, [*paths, *_history_files(history, settings)], out)
    scorer, missing = _find(model, settings)
    mapping = _mapping(scorer, params, settings)
    incoming = _ingest(paths, mapping, settings, scorer)
    if scorer is None:
        raise missing or ScorerError(f"no model '{model}'", hint="Run `fraud3000 train` first.")
    past = _past(history, mapping, settings, scorer)
    transactions, ledger = _together(incoming, past, mapping)
    _require_history(transactions, incoming, scorer.catalogue, cold_start=cold_start)
    featured = _featured(transactions, ledger, incoming, scorer.catalogue)
    answers = _answer(scorer, featured, reasons)
    scored = _in_input_order(incoming, answers)
    with outputs.whole(scored_path, rejected_path) as (scored_part, rejected_part):
        scored.write_csv(scored_part) if scored_path.suffix == ".csv" else scored.write_parquet(scored_part)
        incoming.quarantine.write_parquet(rejected_part)
    written = {"scored": str(scored_path), "rejected": str(rejected_path)}
    return _summary(scorer, incoming, past, scored, written, _doubts(incoming, past, mapping))


def _history_files(history: str | None, settings: Params) -> list[Path]:
    """The files that history is read from."""
    workspace = Workspace.of(settings)
    return [workspace.transactions, workspace.labels] if history is None else files.discover(history)


def _destinations(source: str, read_from: list[Path], out: Path | None) -> tuple[Path, Path]:
    if out is None:
        place = Path(source)
        if not place.exists():
            raise ParamsError(f"{source}: a glob has no place of its own for the scores", hint="Name one with --out.")
        place = place.resolve() if place.name in ("", "..") else place
        out = place.with_name(f"{place.name if place.is_dir() else files.stem(place)}.scored.parquet")
    if out.suffix not in (".parquet", ".csv"):
        raise ParamsError(f"--out {out}: '{out.suffix}' cannot be written", hint="Use .parquet or .csv.")
    rejected = out.with_name(f"{out.stem}.rejected.parquet")
    taken = {path.resolve() for path in read_from}
    for path in (out, rejected):
        if path.resolve() in taken:
            raise ParamsError(f"{path}: is an input of this very command", hint="Name another file with --out.")
    return out, rejected


def _find(model: str, settings: Params) -> tuple[Scorer | None, ScorerError | UnavailableError | None]:
    try:
        version, folder = registry.resolve(model, settings.registry, Workspace.of(settings).root)
        from fraud3000.scorer import Scorer  # loads scikit-learn, which a faulty input need not wait for

        return Scorer.load(folder, version=version), None
    except (ScorerError, UnavailableError) as error:
        return None, error


def _mapping(scorer: Scorer | None, params: Params | None, settings: Params) -> Mapping:
    """The mapping of the params, else the bundle's; few rows do not tell card numbers, so training's finding holds."""
    if scorer and params is None:
        return scorer.mapping
    mapping = sources.resolve(settings.prepare)
    if scorer is None or mapping.card_numbers != "detect":
        return mapping
    return mapping.model_copy(update={"card_numbers": scorer.mapping.card_numbers})


def _ingest(paths: list[Path], mapping: Mapping, settings: Params, scorer: Scorer | None) -> Ingested:
    delay = timedelta(seconds=scorer.catalogue.label_delay) if scorer else settings.prepare.label_delay
    return clean.ingest(
        paths,
        mapping,
        label_delay=delay,
        earliest=settings.prepare.earliest,
        latest=settings.prepare.latest,
        optional=("is_fraud", "reported_at"),
    )


def _past(history: str | None, mapping: Mapping, settings: Params, scorer: Scorer) -> _Past:
    workspace = Workspace.of(settings)
    if history is not None:
        earlier = _ingest(files.discover(history), mapping, settings, scorer)
        return _Past(earlier.transactions, earlier.ledger, f"{history}, {earlier.transactions.height:,} rows")
    if not workspace.transactions.exists():
        return _Past(None, pl.DataFrame(schema=LEDGER), "none")
    transactions = read(workspace.transactions, made_by="prepare")
    told = f"{workspace.transactions}, {transactions.height:,} rows"
    return _Past(transactions, read(workspace.labels, made_by="prepare"), told)


def _together(incoming: Ingested, past: _Past, mapping: Mapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """History and input as one stream; an id that is in both counts once, as the input has it."""
    ledger = labels.merge(past.ledger, incoming.ledger)
    if past.transactions is None:
        return incoming.transactions, ledger
    shared = [name for name in incoming.transactions.columns if name in past.transactions.columns]
    before = past.transactions.join(incoming.transactions, on="transaction_id", how="anti").select(shared)
    together = pl.concat([before, incoming.transactions], how="diagonal")
    if mapping.columns.seq is not None:
        _check_arrivals(before, incoming.transactions)
    elif "ts" in together.columns:
        place = pl.struct("ts", "transaction_id").rank("ordinal").cast(TRANSACTIONS["seq"]) - 1
        together = together.with_columns(seq=place)
    return together, ledger


def _doubts(incoming: Ingested, past: _Past, mapping: Mapping) -> tuple[str, ...]:
    """What makes it doubtful that history and input speak of the same cards and rows."""
    return (*_perhaps_twice(incoming, past, mapping), *_other_keys(incoming, past))


def _other_keys(incoming: Ingested, past: _Past) -> tuple[str, ...]:
    """Warn where no card of the input can be found in the history, since another key hashed its number."""
    if past.transactions is None or "card_id" not in incoming.transactions.columns:
        return ()
    new, old = cards.key_ids(incoming.transactions["card_id"]), cards.key_ids(past.transactions["card_id"])
    if not new or not old or new & old:
        return ()
    text = f"Card numbers were hashed with the key {', '.join(sorted(new))}, those of the history with {', '.join(sorted(old))}"
    return (f"{text}: no card of the input has a history.",)


def _perhaps_twice(incoming: Ingested, past: _Past, mapping: Mapping) -> tuple[str, ...]:
    """Warn where the input may be in the history already, but has no ids to tell it by."""
    transactions = incoming.transactions
    if mapping.columns.transaction_id is not None or past.transactions is None or "ts" not in transactions.columns:
        return ()
    before = past.transactions.join(transactions, on="transaction_id", how="anti")
    within = before.filter(pl.col("ts") >= transactions["ts"].min()).height
    text = (
        f"The rows have no ids, and {within:,} rows of the history lie in their time: any that are in both count twice."
    )
    return (text,) if within else ()


def _check_arrivals(before: pl.DataFrame, incoming: pl.DataFrame) -> None:
    shared = before.join(incoming, on="seq", how="semi")["seq"]
    if len(shared):
        raise DataError(
            f"seq: {len(shared):,} rows of the history arrived at places that rows of the input have too, "
            f"such as {shared[0]}",
            hint="Number arrivals on from the history, or give the history that belongs to the input with --history.",
        )


def _require_history(transactions: pl.DataFrame, incoming: Ingested, catalogue: Catalogue, *, cold_start: bool) -> None:
    if cold_start or not catalogue.span or "ts" not in transactions.columns:
        return
    first = incoming.transactions.select(pl.col("ts").min()).item()
    reach = first - transactions.select(pl.col("ts").min()).item()
    if reach < timedelta(seconds=catalogue.span):
        raise DataError(
            f"history: only {reach.total_seconds() / 86_400:.1f} days lie before the first row to be scored, "
            f"{first:%Y-%m-%d %H:%M}, and the longest window needs {durations.text(catalogue.span)}",
            hint="Give earlier transactions with --history, or accept incomplete features with --cold-start.",
        )


def _featured(
    transactions: pl.DataFrame, ledger: pl.DataFrame, incoming: Ingested, catalogue: Catalogue
) -> pl.DataFrame:
    features = batch.featurize(transactions, ledger, catalogue).drop("amount", strict=False)
    rows = transactions.select("transaction_id", "amount").hstack(features)
    return rows.join(incoming.transactions, on="transaction_id", how="semi")


def _answer(scorer: Scorer, featured: pl.DataFrame, reasons: str) -> pl.DataFrame:
    blocks = [featured.slice(start, BLOCK) for start in range(0, featured.height, BLOCK)]
    return pl.concat([_score(scorer, block, reasons) for block in track(blocks, "scoring", rows=featured.height)])


def _score(scorer: Scorer, block: pl.DataFrame, reasons: str) -> pl.DataFrame:
    amounts = block["amount"].to_numpy()
    scores = scorer.score(block)
    answers = block.select("transaction_id").with_columns(
        score=pl.Series(scores, dtype=pl.Float64),
        alert=pl.Series(scorer.alerts(scores, amounts), dtype=pl.Boolean),
        threshold=pl.Series(scorer.thresholds(amounts), dtype=pl.Float64),
    )
    wanted = {"alerts": pl.col("alert"), "all": pl.lit(value=True), "none": pl.lit(value=False)}[reasons]
    explained = block.filter(answers.select(wanted & pl.col("transaction_id").is_not_null()).to_series())
    told = [[reason.text for reason in row] for row in scorer.reasons(explained)] if explained.height else []
    texts = {name: [row[n] if n < len(row) else None for row in told] for n, name in enumerate(_REASONS)}
    why = explained.select("transaction_id").with_columns(pl.Series(n, t, dtype=pl.String) for n, t in texts.items())
    return answers.join(why, on="transaction_id", how="left", maintain_order="left").with_columns(
        model_version=pl.lit(scorer.version, dtype=pl.String)
    )


def _in_input_order(incoming: Ingested, answers: pl.DataFrame) -> pl.DataFrame:
    accepted = incoming.rows.filter(pl.col("outcome") != "quarantined").select("transaction_id")
    return accepted.join(answers, on="transaction_id", how="left", maintain_order="left").select(*SCORED)


def _summary(
    scorer: Scorer,
    incoming: Ingested,
    past: _Past,
    scored: pl.DataFrame,
    written: dict[str, str],
    warnings: tuple[str, ...],
) -> Summary:
    refused = incoming.quarantine["reason"].value_counts(sort=True)
    tables: tuple[Table, ...] = ()
    if refused.height:
        rows = tuple((reason, f"{count:,}") for reason, count in refused.iter_rows())
        tables = (Table("Refused rows", ("reason", "rows"), rows),)
    return Summary(
        command="score-file",
        facts={
            "model version": scorer.version,
            "rows in": incoming.rows.height,
            "rows scored": scored.height,
            "of them repeats of an earlier row": incoming.duplicates,
            "rows refused": incoming.quarantine.height,
            "alerts": int(scored["alert"].sum()),
            "history": past.told,
        },
        tables=tables,
        outputs=written,
        warnings=warnings,
    )
