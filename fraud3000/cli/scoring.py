"""Commands `score-file`, `serve`, `replay`, `explain` and `shadow-report`: decisions, and questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import app
from fraud3000.cli.command import command, finish
from fraud3000.cli.options import Model, Reasons

if TYPE_CHECKING:
    from pathlib import Path

    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary


@command(app, "fraud3000 score-file data/raw/transactions.parquet --model challenger --cold-start")
def score_file(
    params: Params,
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Raw transactions: a file, a folder or a glob, local or s3://.")
    ],
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Scored rows, local or s3:// [default: <IN stem>.scored.parquet beside IN]."),
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="FILE", help="Transactions before those in IN, local or s3://.")
    ] = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Score even if history is shorter than the longest window.")
    ] = False,
    model: Model = "champion",
    reasons: Annotated[Reasons, typer.Option(help="Rows that get reasons.")] = Reasons.ALERTS,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS", help="Also write these columns of the clean transactions: ts,card_id,amount or all."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Write only the N rows with the highest scores, sorted.", show_default=False
        ),
    ] = None,
    params_file: Path | None = None,
) -> Summary:
    """Score a file: one result per accepted row, in input order.

    IN is in the layout the model was trained on, in that of --params, or already prepared. Rejected rows go to
    <OUT stem>.rejected.parquet.
    """
    from fraud3000.stages.score_file import score_file as stage

    return stage(
        source,
        params if params_file else None,
        out=out,
        history=history,
        cold_start=cold_start,
        model=model,
        reasons=reasons.value,
        keep=[name.strip() for name in keep.split(",")] if keep else (),
        top=top,
    )


@command(app, "fraud3000 serve --port 8000 --history data/interim/transactions.parquet")
def serve(
    params: Params,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, metavar="N", help="Port; 0 takes any free one [default: 8000].")
    ] = None,
    history: Annotated[str | None, typer.Option(metavar="FILE", help="Transactions before the first request.")] = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Serve even if history is shorter than the longest window.")
    ] = False,
    model: Model = "champion",
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="A version, or challenger: also score with this model, without affecting decisions."
        ),
    ] = None,
    as_json: bool = False,
) -> None:
    """Serve decisions over HTTP, durable before the response.

    A promoted model needs no registry. Listening on any but the loopback address requires API keys, which requests send
    as X-API-Key: see `fraud3000 keys add`.
    """
    from fraud3000.stages.serve import Service

    if shadow is not None:
        params = params.model_copy(update={"serve": params.serve.model_copy(update={"shadow": shadow})})
    service = Service.open(params, host=host, port=port, history=history, cold_start=cold_start, model=model)
    finish(service.summary, as_json=as_json, seconds=0.0)
    service.run()


@command(app, "fraud3000 replay 1236698")
def replay(
    params: Params,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Transaction or decision ids [default: all].")
    ] = None,
) -> Summary:
    """Recompute logged decisions and compare them.

    Features are recomputed from everything that came before, and the bundle that decided then decides again. If one byte
    differs, the exit code is 6. A running service is not affected.
    """
    from fraud3000.stages.replay import replay as stage

    return stage(params, ids or ())


@command(app, "fraud3000 shadow-report")
def shadow_report(
    params: Params,
    version: Annotated[
        str | None, typer.Option(metavar="N", help="Version of the shadow model [default: the latest].")
    ] = None,
) -> Summary:
    """Compare the shadow model with the serving model.

    Shows agreement, money and latency. Promotes nothing: see `fraud3000 promote`. A running service is not affected.
    """
    from fraud3000.stages.shadow_report import shadow_report as stage

    return stage(params, version)


@command(app, "fraud3000 explain 1236698")
def explain(
    params: Params,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Transaction or decision id.")],
) -> Summary:
    """Explain one decision: inputs, model, reasons."""
    from fraud3000.stages.explain import explain as stage

    return stage(params, id_)
