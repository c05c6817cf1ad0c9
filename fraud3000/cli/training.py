"""Commands `train`, `evaluate`, `backtest`, `promote`, `retrain` and `policy`: features to a promoted model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import app, policy_app
from fraud3000.cli.command import command
from fraud3000.cli.options import Model, Split, Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary

    Train = Callable[[Params], Summary]


@command(app, "fraud3000 train -v")
def train(
    params: Params,
    promote: Annotated[
        bool, typer.Option("--promote", help="Then evaluate it, and promote it if every check passes.")
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="First search hyperparameters on the weeks before the test.")
    ] = False,
    final: Annotated[bool, typer.Option("--final", help="Refit an accepted recipe on all data known today.")] = False,
    params_file: Path | None = None,
) -> Summary:
    """Fit, calibrate and register a model as challenger.

    Calibration and threshold come from held-out rows. --tune writes the best params to a file, and resumes an
    interrupted search.
    """
    from fraud3000.stages import promote as gate
    from fraud3000.stages import train as stage
    from fraud3000.stages.tune import tune_and_train

    if tune and final:
        raise typer.BadParameter(
            "--final refits an accepted recipe and --tune searches a new one; leave out one of them"
        )
    make: Train = partial(tune_and_train, params_file=params_file) if tune else partial(stage.train, final=final)
    return gate.train_and_promote(params, make, final=final) if promote else make(params)


@command(app, "fraud3000 evaluate --model challenger")
def evaluate(
    params: Params,
    model: Model = "challenger",
) -> Summary:
    """Score the test split and report what the model catches.

    Each metric has a confidence interval and naive baselines.
    """
    from fraud3000.stages.evaluate import evaluate as stage

    return stage(params, model=model)


@command(app, "fraud3000 backtest --params params/handbook-p2.yaml")
def backtest(
    params: Params,
) -> Summary:
    """Retrain and test week after week.

    Each week is scored with a model trained on what was known before it. Prints each week's metrics, their mean and standard deviation.
    """
    from fraud3000.stages.backtest import backtest as stage

    return stage(params)


@command(app, 'fraud3000 promote --dry-run && fraud3000 promote --why "first model"')
def promote(
    params: Params,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Registered model [default: that of the params].")
    ] = None,
    stage: Annotated[
        Stage, typer.Option(help="staging sets the challenger, production the champion.")
    ] = Stage.PRODUCTION,
    version: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Candidate version [default: the challenger].", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run the checks; change nothing.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the previous champion.")] = False,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Reason, for the history.", show_default=False)] = "",
) -> Summary:
    """Promote a version to champion, if it is better.

    It must beat the naive baselines and, by a margin and significantly, the current champion, on rows whose labels
    neither model could know. Every verdict is counted, dry runs included. If a check fails, the exit code is 6.
    """
    from fraud3000.stages.promote import promote as ask

    if model is not None:
        params = params.model_copy(update={"registry": params.registry.model_copy(update={"name": model})})
    candidate = None if version is None else str(version)
    return ask(params, stage=stage.value, version=candidate, dry_run=dry_run, rollback=rollback, why=why)


@command(app, "fraud3000 retrain --params params.yaml")
def retrain(
    params: Params,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start at the first step, even if the last run was interrupted.")
    ] = False,
) -> Summary:
    """Prepare to promote in one run, for a schedule.

    Runs prepare, featurize, train, evaluate and promote. If a check fails, the exit code is 6 and the champion stays. The next run resumes an interrupted one. The result is
    posted to retrain.webhook.
    """
    from fraud3000.stages.retrain import retrain as stage

    return stage(params, restart=restart)


@command(policy_app, "fraud3000 policy what-if --cards-per-day 50 --cards-per-day 200")
def what_if(
    params: Params,
    model: Model = "challenger",
    rows: Annotated[Split, typer.Option(help="Split to evaluate; choose a policy on valid.")] = Split.VALID,
    cards_per_day: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Alert budget, repeatable [default: around that of the params]."),
    ] = None,
) -> Summary:
    """Compare money, alerts, precision and friction at each alert budget.

    For capacity and cost policies, with the costs of the params. Changes nothing.
    """
    from fraud3000.stages.policy import what_ifs as stage

    return stage(params, model=model, rows=rows.value, cards_per_day=cards_per_day or ())
