"""Commands `simulate`, `prepare`, `featurize` and `parity`: raw data to features."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import app
from fraud3000.cli.command import command, finish

if TYPE_CHECKING:
    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary


@command(app, "fraud3000 simulate --rows 100000 --seed 7 --out data/raw/transactions.parquet")
def simulate(
    params: Params,
    rows: Annotated[int | None, typer.Option(min=1, metavar="N", help="Transactions.", show_default=False)] = None,
    days: Annotated[int | None, typer.Option(min=1, metavar="N", help="Days they span.", show_default=False)] = None,
    cards: Annotated[int | None, typer.Option(min=1, metavar="N", help="Cards.", show_default=False)] = None,
    terminals: Annotated[int | None, typer.Option(min=1, metavar="N", help="Terminals.", show_default=False)] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Same seed, same file.", show_default=False)
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File to write, local or s3://: .parquet, .csv, .csv.gz or .ndjson [default: in the workspace].",
        ),
    ] = None,
) -> Summary:
    """Simulate card transactions with known fraud.

    Sizes that are not given come from the params file.
    """
    from fraud3000.stages.simulate import simulate as stage

    sizes = {"rows": rows, "days": days, "cards": cards, "terminals": terminals, "seed": seed}
    world = params.simulate.model_copy(update={name: size for name, size in sizes.items() if size is not None})
    return stage(params.model_copy(update={"simulate": world}), out)


@command(app, "fraud3000 init export.csv chargebacks.csv --yes")
def init(
    params: Params,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Your export: files, folders or globs; one may have only labels."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Params file to write.")] = Path("params.yaml"),
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    as_json: bool = False,
) -> None:
    """Guess how raw files map to transactions; write params.

    Formats, the role of each column and the meanings of values are guessed from names and a sample. Every guess is visible in the file, and every doubt is a comment that says what to decide. An existing file is never
    overwritten. The exit code is 3 if a doubt must be settled before the file can be used.
    """
    from fraud3000.cli import output
    from fraud3000.stages import init as stage

    start = time.perf_counter()
    stage.require_free(out)
    inspection = stage.inspect(files, workspace=params.workspace)
    if sys.stdin.isatty() and sys.stdout.isatty() and not yes:
        output.summary(inspection.summary(None))
        typer.confirm(f"Write {out}?", abort=True, default=True)
    finish(stage.write(inspection, out), as_json=as_json, seconds=time.perf_counter() - start)
    inspection.require_settled(out)


@command(app, "fraud3000 prepare --params params/handbook-p1.yaml")
def prepare(
    params: Params,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="Raw transactions [default: `prepare.input` of the params].", show_default=False
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only list all faults of the mapping, by a sample; write nothing.")
    ] = False,
    as_json: bool = False,
) -> Summary | None:
    """Load and clean raw transactions; quarantine rejected rows.

    Every row is accepted, a duplicate, or in quarantine with its reason. If the params have no mapping for FILE, it is guessed,
    and the params file that states the guess is printed. With --check, the exit code is 3 if a role cannot be read.
    """
    from fraud3000.stages import prepare as stage
    from fraud3000.stages.init import with_guess

    start = time.perf_counter()
    if source is not None:
        params, text = with_guess(params, source)
        if text and not as_json:
            typer.echo(text)
    if not check:
        return stage.prepare(params)
    summary, error = stage.check(params)
    finish(summary, as_json=as_json, seconds=time.perf_counter() - start)
    if error is not None:
        raise error
    return None


@command(app, "fraud3000 featurize --json")
def featurize(
    params: Params,
    check: Annotated[
        bool, typer.Option("--check", help="First prove on a sample of rows that no feature depends on the future.")
    ] = False,
) -> Summary:
    """Compute features as of each transaction's time.

    Then split the rows by time into train, validation and test, with gaps of the label delay.
    """
    from fraud3000.stages.featurize import featurize as stage

    return stage(params, check_leaks=check)


@command(app, "fraud3000 parity data/raw/transactions.parquet")
def parity(
    params: Params,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="Raw transactions, local or s3:// [default: a generated stream of edge cases]."
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=100, metavar="N", help="Rows of the generated stream [default: 20000].", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Same seed, same stream.", show_default=False)
    ] = None,
) -> Summary:
    """Compare batch and online features bit by bit.

    Every feature of every row is compared. FILE is in the layout of the params, or already prepared. If a cell differs, the exit code is 6.
    """
    from fraud3000.stages.parity import parity as stage

    return stage(params, source, rows=rows, seed=seed)
