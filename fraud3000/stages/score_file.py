"""A file of transactions to a file of scores, by the scorer that the service uses."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from fraud3000 import params as params_files
from fraud3000 import registry
from fraud3000.data import clean, files, places, sources
from fraud3000.data.clean import Ingested
from fraud3000.data.places import Place
from fraud3000.data.raw import DataFile
from fraud3000.data.s3 import Address
from fraud3000.errors import ParamsError, ScorerError, UnavailableError
from fraud3000.features import batch
from fraud3000.features.spec import Catalogue
from fraud3000.params import Mapping, Params
from fraud3000.schema import SCORED
from fraud3000.stages.history import History, require_span
from fraud3000.stages.progress import track
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.workspace import Workspace

if TYPE_CHECKING:
    from fraud3000.scorer import Scorer

BLOCK = 200_000
"""Rows scored at a time; a score does not depend on the rows beside it."""

_REASONS = ("reason_1", "reason_2", "reason_3")


def score_file(
    params: Params | None,
    source: str,
    *,
    out: Path | str | None = None,
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
        A file, glob or folder, here or in S3, raw or already TRANSACTIONS.
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
    with places.fetched(source) as raw, places.fetched(history) as past_raw:
        read_from = places.of_files([*raw, *past_raw]) + ([] if past_raw else _own_history(settings))
        destinations = _destinations(source, raw, out)
        places.refuse_inputs(destinations, read_from, hint="Name another file with --out.")
        places.require_writable(*destinations)
        scorer, missing = _find(model, settings)
        mapping = _mapping(scorer, params, settings)
        incoming = _ingest(raw, mapping, settings, scorer)
        if scorer is None:
            raise missing or ScorerError(f"no model '{model}'", hint="Run `fraud3000 train` first.")
        given = _ingest(past_raw, mapping, settings, scorer) if past_raw else None
    past = History.given(given, told=str(history)) if given else History.of(Workspace.of(settings))
    transactions, ledger = past.joined_by(incoming, mapping)
    if not cold_start:
        require_span(transactions, incoming, scorer.catalogue)
    featured = _featured(transactions, ledger, incoming, scorer.catalogue)
    answers = _answer(scorer, featured, reasons)
    scored = _in_input_order(incoming, answers)
    with places.whole(*destinations) as (scored_part, rejected_part):
        scored.write_csv(scored_part) if destinations[0].suffix == ".csv" else scored.write_parquet(scored_part)
        incoming.quarantine.write_parquet(rejected_part)
    written = {name: str(one) for name, one in zip(("scored", "rejected"), destinations, strict=True)}
    return _summary(scorer, incoming, past, scored, written, past.doubts(incoming, mapping))


def _own_history(settings: Params) -> list[Place]:
    workspace = Workspace.of(settings)
    return [workspace.transactions, workspace.labels]


def _destinations(source: str, read_from: list[DataFile], out: Path | str | None) -> tuple[Place, Place]:
    scored = _beside(source, read_from) if out is None else places.place(out)
    if scored.suffix not in (".parquet", ".csv"):
        raise ParamsError(f"--out {scored}: '{scored.suffix}' cannot be written", hint="Use .parquet or .csv.")
    return scored, scored.with_name(f"{scored.stem}.rejected.parquet")


def _beside(source: str, read_from: list[DataFile]) -> Place:
    """Where scores go if nothing is said: beside the file or folder, under its name."""
    given = places.place(source)
    if isinstance(given, Address):
        return _beside_object(given, is_file=[source] == [str(one) for one in read_from])
    if not given.exists():
        raise _homeless(source)
    given = given.resolve() if given.name in ("", "..") else given
    return given.with_name(f"{given.name if given.is_dir() else files.stem(given)}.scored.parquet")


def _beside_object(given: Address, *, is_file: bool) -> Address:
    folder = Address(given.bucket, given.key.rstrip("/"))
    if not folder.name or (not is_file and any(sign in given.key for sign in files.GLOB)):
        raise _homeless(str(given))
    stem = files.stem(PurePosixPath(given.name)) if is_file else folder.name
    return folder.with_name(f"{stem}.scored.parquet")


def _homeless(source: str) -> ParamsError:
    return ParamsError(
        f"{source}: a glob or a whole bucket has no place of its own for the scores", hint="Name one with --out."
    )


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


def _ingest(raw: list[DataFile], mapping: Mapping, settings: Params, scorer: Scorer | None) -> Ingested:
    delay = timedelta(seconds=scorer.catalogue.label_delay) if scorer else settings.prepare.label_delay
    return clean.ingest(
        raw,
        mapping,
        label_delay=delay,
        earliest=settings.prepare.earliest,
        latest=settings.prepare.latest,
        optional=("is_fraud", "reported_at"),
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
    past: History,
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
