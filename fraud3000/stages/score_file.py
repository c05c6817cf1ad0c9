"""`score-file`: score a file of transactions with the scorer that the service uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath

import polars as pl

from fraud3000 import params as params_files
from fraud3000 import registry
from fraud3000.data import quality
from fraud3000.data.cleaning import clean, roles, sources
from fraud3000.data.reading import files
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.data.storage import atomic_write, locations
from fraud3000.data.storage.locations import Location
from fraud3000.data.storage.s3 import Address
from fraud3000.data.storage.spill import SLICE, Spill
from fraud3000.errors import ParamsError, ScorerError, UnavailableError, nearest
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.models.inference import category_counts
from fraud3000.models.inference.category_counts import CategoryCounts
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import ColumnMapping, Params
from fraud3000.schema import DECLINE, SCORED
from fraud3000.stages.shared import category_tables
from fraud3000.stages.shared.alias_follower import AliasFollower
from fraud3000.stages.shared.answer_spool import AnswerSpool
from fraud3000.stages.shared.history import History, mismatch_warnings, require_span
from fraud3000.stages.shared.partitioned_features import PartitionedFeatures
from fraud3000.stages.shared.progress import track
from fraud3000.stages.shared.stream import Stream
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace, card_names_loader

BLOCK = 200_000
"""Rows scored at a time; the score of a row does not depend on other rows."""


def score_file(  # noqa: PLR0913 - one for each option of the command
    source: Path | str,
    params: Params | None = None,
    *,
    out: Path | str | None = None,
    history: Path | str | None = None,
    cold_start: bool = False,
    model: str = registry.CHAMPION,
    reasons: str = "alerts",
    keep: Sequence[str] = (),
    top: int | None = None,
) -> Summary:
    """Score every accepted row of a file, in input order.

    Errors of the input are reported before a missing model.

    Parameters
    ----------
    source
        A file, glob or folder, here or in S3, raw or already TRANSACTIONS.
    params
        Params whose mapping is used to read the input; by default the mapping in the bundle.
    out
        Parquet or CSV; rejected rows go to `<stem>.rejected.parquet` beside it.
    history
        Earlier transactions; by default those of the workspace.
    cold_start
        Score even if the history is shorter than the longest window.
    reasons
        `alerts`, `all` or `none`.
    keep
        Columns of TRANSACTIONS that the output has after those of SCORED; ``all`` keeps all of them.
    top
        Write only this many rows, those with the highest scores, in descending order of score.

    Raises
    ------
    DataError
        The input cannot be read, or its history is too short.
    ParamsError
        A column to keep does not exist, or the output would replace an input.
    ScorerError
        There is no such model, or its bundle failed verification.
    UnavailableError
        The output cannot be written.
    """
    if not isinstance(source, str | Path):
        raise ParamsError(
            f"score_file: the first argument is a {type(source).__name__}, not a file",
            hint="Call score_file(file, params).",
        )
    settings = params or params_files.load()
    source, history = str(source), None if history is None else str(history)
    with locations.fetch(source) as raw, locations.fetch(history) as past_raw:
        read_from = locations.file_locations([*raw, *past_raw]) + ([] if past_raw else _own_history(settings))
        destinations = _destinations(source, raw, out)
        locations.refuse_inputs(destinations, read_from, hint="Name another file with --out.")
        locations.require_writable(*destinations)
        scorer, missing = _find(model, settings)
        mapping = _mapping(scorer, params, settings)
        with locations.scratch_dir(destinations[0]) as folder:
            incoming = _intake(raw, mapping, settings, scorer, folder / "input")
            if scorer is None:
                raise missing or ScorerError(f"no model '{model}'", hint="Run `fraud3000 train` first.")
            kept = _kept_columns(incoming, keep)
            past = _past(past_raw, history, mapping, settings, scorer, folder / "history")
            stream = past.join_input(incoming, mapping, folder / "both")
            if not cold_start:
                require_span(stream, scorer.catalogue)
            scored, categories = _score_stream(scorer, stream, incoming, folder / "answers", reasons)
            with locations.atomic_outputs(*destinations) as (scored_part, rejected_part):
                atomic_write.write(_selected(scored, incoming, kept, top), scored_part, destinations[0].suffix)
                atomic_write.write_parquet(incoming.quarantine.rows, rejected_part)
            written = {name: str(path) for name, path in zip(("scored", "rejected"), destinations, strict=True)}
            return _summary(
                scorer, incoming, past, scored, categories, written, mismatch_warnings(stream, mapping), top
            )


def _kept_columns(incoming: clean.CleanedData, keep: Sequence[str]) -> list[str]:
    """Return the columns of TRANSACTIONS to keep, without the id, which the output has anyway."""
    present = [name for name in incoming.transactions.collect_schema() if name not in SCORED]
    if tuple(keep) == ("all",):
        return present
    unknown = [name for name in keep if name not in present and name != "transaction_id"]
    if unknown:
        raise ParamsError(
            f"--keep {','.join(keep)}: no column '{unknown[0]}'; {nearest(unknown[0], present)}",
            hint="Name columns of the clean transactions, or all.",
        )
    return [name for name in keep if name != "transaction_id"]


def _selected(scored: Spill, incoming: clean.CleanedData, keep: list[str], top: int | None) -> pl.LazyFrame:
    """Return the rows to write: all, or those with the highest scores; with the columns to keep."""
    rows = scored.rows
    if top is not None:
        best = rows.with_row_index("place").sort("score", "place", descending=[True, False]).head(top)
        rows = best.drop("place")
    if not keep:
        return rows
    kept = incoming.transactions.select("transaction_id", *keep)
    return rows.join(kept, on="transaction_id", how="left", maintain_order="left")


def _score_stream(
    scorer: Scorer, stream: Stream, incoming: clean.CleanedData, folder: Path, reasons: str
) -> tuple[Spill, dict[str, CategoryCounts]]:
    """Return scored rows in input order, and counts of unknown category values."""
    spool = AnswerSpool(incoming, folder)
    counts: dict[str, CategoryCounts] = {}
    for block in track(_featured(stream, scorer.catalogue, folder / "features"), "scoring", rows=incoming.kept):
        spool.add(block["row_index"], scorer.decide_with_reasons(block, reasons))
        for name, count in category_counts.count(scorer.model.encoder, block).items():
            counts[name] = counts.get(name, category_counts.NONE) + count
    return spool.in_input_order(), counts


def _own_history(settings: Params) -> list[Location]:
    workspace = Workspace.from_params(settings)
    return [workspace.transactions, workspace.labels]


def _destinations(source: str, read_from: list[DataFile], out: Path | str | None) -> tuple[Location, Location]:
    scored = _default_destination(source, read_from) if out is None else locations.parse(out)
    if scored.suffix not in (".parquet", ".csv"):
        raise ParamsError(f"--out {scored}: '{scored.suffix}' cannot be written", hint="Use .parquet or .csv.")
    return scored, scored.with_name(f"{scored.stem}.rejected.parquet")


def _default_destination(source: str, read_from: list[DataFile]) -> Location:
    """Return the default output path: beside the input file or folder, under its name."""
    path = locations.parse(source)
    if isinstance(path, Address):
        return _default_object(path, is_file=[source] == [str(file) for file in read_from])
    if not path.exists():
        raise _no_default(source)
    path = path.resolve() if path.name in ("", "..") else path
    return path.with_name(f"{path.name if path.is_dir() else files.stem(path)}.scored.parquet")


def _default_object(address: Address, *, is_file: bool) -> Address:
    folder = Address(address.bucket, address.key.rstrip("/"))
    if not folder.name or (not is_file and any(sign in address.key for sign in files.GLOB)):
        raise _no_default(str(address))
    stem = files.stem(PurePosixPath(address.name)) if is_file else folder.name
    return folder.with_name(f"{stem}.scored.parquet")


def _no_default(source: str) -> ParamsError:
    return ParamsError(f"{source}: a glob or a whole bucket has no default output path", hint="Name one with --out.")


def _find(model: str, settings: Params) -> tuple[Scorer | None, ScorerError | UnavailableError | None]:
    try:
        version, folder = AliasFollower(settings, model)()
        return Scorer.load(folder, version=version), None
    except (ScorerError, UnavailableError) as error:
        return None, error


def _mapping(scorer: Scorer | None, params: Params | None, settings: Params) -> ColumnMapping:
    """Return the mapping of the params, else of the bundle; card numbers are detected as in training, which had more rows."""
    if scorer and params is None:
        return scorer.mapping
    mapping = sources.resolve(settings.prepare)
    if scorer is not None and mapping.card_like_ids is None:
        mapping = mapping.model_copy(update={"card_like_ids": scorer.mapping.card_like_ids})
    if scorer is None or mapping.card_numbers != "detect":
        return mapping
    return mapping.model_copy(update={"card_numbers": scorer.mapping.card_numbers})


def _intake(
    raw: list[DataFile], mapping: ColumnMapping, settings: Params, scorer: Scorer | None, folder: Path
) -> clean.CleanedData:
    delay = timedelta(seconds=scorer.catalogue.label_delay) if scorer else settings.prepare.label_delay
    section = settings.prepare
    rules = roles.CleaningRules(
        mapping,
        section.earliest,
        section.latest,
        card_names_loader(Workspace.from_params(settings)),
        ("is_fraud", "reported_at"),
    )
    return clean.ingest_to_disk(raw, rules, folder, label_delay=delay)


def _past(
    raw: list[DataFile], history: str | None, mapping: ColumnMapping, settings: Params, scorer: Scorer, folder: Path
) -> History:
    if not raw:
        return History.from_workspace(Workspace.from_params(settings), folder)
    return History.from_cleaned(_intake(raw, mapping, settings, scorer, folder), source=str(history))


def _featured(stream: Stream, catalogue: Catalogue, folder: Path) -> Iterator[pl.DataFrame]:
    """Yield blocks of the input's rows with their features, in order of time."""
    height = stream.height(catalogue)
    features = PartitionedFeatures(catalogue, stream.ledger, ("transaction_id", "amount", "row_index"), height, folder)
    for rows in track(stream.slices(catalogue, SLICE), "reading", rows=height):
        features.add(rows, rows["row_index"].is_not_null())
    return (block for piece in features.pieces() for block in piece.iter_slices(BLOCK))


def _summary(
    scorer: Scorer,
    incoming: clean.CleanedData,
    past: History,
    scored: Spill,
    categories: dict[str, CategoryCounts],
    written: dict[str, str],
    warnings: tuple[str, ...],
    top: int | None,
) -> Summary:
    refused = incoming.quarantine.rows.select("reason").collect()["reason"].value_counts(sort=True)
    tables: tuple[Table, ...] = ()
    if refused.height:
        rows = tuple((reason, f"{count:,}") for reason, count in refused.iter_rows())
        tables = (Table("Refused rows", ("reason", "rows"), rows),)
    counts = scored.rows.select(pl.col("alert").sum(), declined=(pl.col("decision") == DECLINE).sum())
    alerts, declined = counts.collect().row(0)
    return Summary(
        command="score-file",
        facts={
            "model version": scorer.version,
            "rows in": incoming.read,
            "rows scored": scored.height,
            **({"of them written, by score": min(top, scored.height)} if top is not None else {}),
            "of them repeats of an earlier row": incoming.duplicates,
            "rows refused": incoming.quarantine.height,
            "alerts": alerts,
            **({"of them declined": declined} if declined else {}),
            "history": past.source,
        },
        tables=(*tables, *category_tables.scored(scorer, categories)),
        outputs=written,
        warnings=(
            *quality.column_warnings(incoming.transactions, incoming.nulled),
            *past.warnings,
            *category_tables.jump_warnings(scorer, categories),
            *warnings,
        ),
    )
