"""The command line: parse, call one stage, print its summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
import typer.core

if TYPE_CHECKING:
    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary

    Train = Callable[[Params], Summary]

ParamsFile = Annotated[
    Path | None, typer.Option("--params", metavar="FILE", help="Params file [default: params.yaml where it exists].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Log more; twice for everything.")
]
Model = Annotated[str, typer.Option("--model", metavar="NAME", help="champion, challenger or a version.")]
EcsCluster = Annotated[
    str | None, typer.Option("--cluster", metavar="NAME", help="ECS cluster [default: FRAUD3000_ECS_CLUSTER].")
]
EcsService = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="ECS service [default: FRAUD3000_ECS_SERVICE].")
]
EcsContainer = Annotated[
    str | None, typer.Option("--container", metavar="NAME", help="Where the task has several and none is evident.")
]


class Stage(StrEnum):
    """What a version is to become."""

    STAGING = "staging"
    PRODUCTION = "production"


class Split(StrEnum):
    """Rows whose labels are known."""

    VALID = "valid"
    TEST = "test"


class Reasons(StrEnum):
    """For which rows reasons are written."""

    ALERTS = "alerts"
    ALL = "all"
    NONE = "none"


class Scope(StrEnum):
    """What a key is for."""

    SCORE = "score"
    LABEL = "label"
    READ = "read"
    ADMIN = "admin"


def _example(command: str) -> str:
    """Set a command apart so that no terminal width breaks it."""
    return f"\b\nExample:\n  {command}"


class _Commands(typer.core.TyperGroup):
    """The commands, with card numbers masked in what is said of wrong arguments."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _masked_usage_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _masked_usage_errors():
            return super().invoke(ctx)


_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])  # typer does not export it


@contextmanager
def _masked_usage_errors() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        from fraud3000.redact import mask

        error.message = mask(error.message)
        raise


app = typer.Typer(
    name="fraud3000",
    cls=_Commands,
    help="From raw card transactions to fraud decisions a risk team can defend.",
    epilog=_example("fraud3000 simulate --rows 100000 && fraud3000 prepare"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
keys_app = typer.Typer(help="Make the secrets that fraud3000 needs.", no_args_is_help=True, rich_markup_mode=None)
policy_app = typer.Typer(help="Look at decisions by money.", no_args_is_help=True, rich_markup_mode=None)
labels_app = typer.Typer(help="Keep the label ledger of the service.", no_args_is_help=True, rich_markup_mode=None)
audit_app = typer.Typer(
    help="Show that the service's journal is what it was.", no_args_is_help=True, rich_markup_mode=None
)
deploy_app = typer.Typer(
    help="Put a version into service on Amazon ECS, and back.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(deploy_app, name="deploy", epilog=_example("fraud3000 deploy status"))
app.add_typer(audit_app, name="audit", epilog=_example("fraud3000 audit verify"))
app.add_typer(labels_app, name="labels", epilog=_example("fraud3000 labels status"))
app.add_typer(policy_app, name="policy", epilog=_example("fraud3000 policy what-if"))
app.add_typer(keys_app, name="keys", epilog=_example("export FRAUD3000_PAN_KEY=$(fraud3000 keys pan)"))


def _version(wanted: bool) -> None:
    if wanted:
        import fraud3000

        typer.echo(f"fraud3000 {fraud3000.__version__}")
        raise typer.Exit


@app.callback()
def _fraud3000(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None: ...


@app.command(epilog=_example("fraud3000 simulate --rows 100000 --seed 7 --out data/raw/transactions.parquet"))
def simulate(
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
            help="File to write, here or s3://: .parquet, .csv, .csv.gz or .ndjson [default: in the workspace].",
        ),
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Make card transactions with known fraud, to try everything on.

    Sizes not given are those of the params file.
    """

    given = _load(params, verbose)
    from fraud3000.stages.simulate import simulate as stage

    sizes = {"rows": rows, "days": days, "cards": cards, "terminals": terminals, "seed": seed}
    world = given.simulate.model_copy(update={name: size for name, size in sizes.items() if size is not None})
    _run(lambda: stage(given.model_copy(update={"simulate": world}), out), json)


@app.command(epilog=_example("fraud3000 prepare --params params/handbook-p1.yaml"))
def prepare(params: ParamsFile = None, json: AsJson = False, verbose: Verbose = 0) -> None:
    """Read raw transactions, clean them, set refused rows apart.

    Every row read is kept, a duplicate, or in quarantine with its reason.
    """

    given = _load(params, verbose)
    from fraud3000.stages.prepare import prepare as stage

    _run(lambda: stage(given), json)


@app.command(epilog=_example("fraud3000 featurize --json"))
def featurize(
    check: Annotated[
        bool, typer.Option("--check", help="First prove on some rows that no feature sees their future.")
    ] = False,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Compute every transaction's features, as of its time.

    The rows are then split by time into train, validation and test, with gaps of the label delay.
    """

    given = _load(params, verbose)
    from fraud3000.stages.featurize import featurize as stage

    _run(lambda: stage(given, check_leaks=check), json)


@app.command(epilog=_example("fraud3000 train -v"))
def train(
    promote: Annotated[
        bool, typer.Option("--promote", help="Then evaluate it, and promote it if every check holds.")
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="First search the learner's params on weeks before the test.")
    ] = False,
    final: Annotated[
        bool, typer.Option("--final", help="Refit a recipe that the gate accepted on all that is known today.")
    ] = False,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Fit, calibrate and register a model as challenger.

    Calibration and threshold come from rows outside the fit. A search writes the params file it found, and goes on
    where it was interrupted.
    """

    given = _load(params, verbose)
    from fraud3000.stages import promote as gate
    from fraud3000.stages import train as stage
    from fraud3000.stages.tune import tune_and_train

    if tune and final:
        raise typer.BadParameter("--final refits a recipe that was judged, and --tune searches another; leave out one")
    make: Train = partial(tune_and_train, given=params) if tune else partial(stage.train, final=final)
    _run(lambda: gate.train_and_promote(given, make, final=final) if promote else make(given), json)


@app.command(epilog=_example("fraud3000 evaluate --model challenger"))
def evaluate(
    model: Model = "challenger", params: ParamsFile = None, json: AsJson = False, verbose: Verbose = 0
) -> None:
    """Score the test split and tell what the model catches.

    Each figure has its interval and stands beside naive floors.
    """

    given = _load(params, verbose)
    from fraud3000.stages.evaluate import evaluate as stage

    _run(lambda: stage(given, model=model), json)


@app.command(epilog=_example("fraud3000 backtest --params params/handbook-p2.yaml"))
def backtest(params: ParamsFile = None, json: AsJson = False, verbose: Verbose = 0) -> None:
    """Score week after week, each by a model of what was known before it.

    Prints each week's figures, and their mean with its deviation.
    """

    given = _load(params, verbose)
    from fraud3000.stages.backtest import backtest as stage

    _run(lambda: stage(given), json)


@app.command(epilog=_example('fraud3000 promote --dry-run && fraud3000 promote --why "first model"'))
def promote(
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Registered model [default: that of the params].")
    ] = None,
    stage: Annotated[
        Stage, typer.Option(help="staging names the challenger, production the champion.")
    ] = Stage.PRODUCTION,
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Candidate [default: the challenger].", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge only; move nothing.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the champion before this one.")] = False,
    why: Annotated[str, typer.Option(metavar="TEXT", help="For the history.", show_default=False)] = "",
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Make a version the champion, if it is better.

    It must beat the naive floors, and the champion by more than a margin and chance, on rows none of whose labels
    either of the two could know. Every verdict is counted, in a dry run too. A refusal ends with exit code 6.
    """

    given = _load(params, verbose, model)
    from fraud3000.stages.promote import promote as ask

    candidate = None if version is None else str(version)
    _run(
        lambda: ask(given, stage=stage.value, version=candidate, dry_run=dry_run, rollback=rollback, why=why),
        json,
    )


@app.command(epilog=_example("fraud3000 retrain --params params.yaml"))
def retrain(
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin with the first step although the last run broke off.")
    ] = False,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Prepare, featurize, train, evaluate and promote in one go, for a schedule.

    A check that says no ends the run with exit code 6, and the champion stays. A run that broke off is gone on with by
    the next one. retrain.webhook is told how each run ended.
    """

    given = _load(params, verbose)
    from fraud3000.stages.retrain import retrain as stage

    _run(lambda: stage(given, anew=anew), json)


@app.command(epilog=_example("fraud3000 score-file data/raw/transactions.parquet --model challenger --cold-start"))
def score_file(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Raw transactions: a file, a folder or a glob, here or s3://.")
    ],
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Scored rows, here or s3:// [default: <IN stem>.scored.parquet beside IN]."),
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="FILE", help="Transactions before those in IN, here or s3://.")
    ] = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Score although history is shorter than the longest window.")
    ] = False,
    model: Model = "champion",
    reasons: Annotated[Reasons, typer.Option(help="Rows to give reasons for.")] = Reasons.ALERTS,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Score a file: one answer per accepted row, in its order.

    IN is in the layout the model was trained on, in that of --params, or already prepared. Refused rows go to
    <OUT stem>.rejected.parquet.
    """

    given = _load(params, verbose)
    from fraud3000.stages.score_file import score_file as stage

    _run(
        lambda: stage(
            given if params else None,
            source,
            out=out,
            history=history,
            cold_start=cold_start,
            model=model,
            reasons=reasons.value,
        ),
        json,
    )


@app.command(epilog=_example("fraud3000 parity data/raw/transactions.parquet"))
def parity(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="Raw transactions, here or s3:// [default: a stream made to hit every edge]."
        ),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=100, metavar="N", help="Rows of that stream [default: 20000].", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Same seed, same stream.", show_default=False)
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Compare the batch engine with the online one, every cell.

    FILE is in the layout of the params, or already prepared. One cell that differs in one bit ends with exit code 6.
    """

    given = _load(params, verbose)
    from fraud3000.stages.parity import parity as stage

    _run(lambda: stage(given, source, rows=rows, seed=seed), json)


@app.command(epilog=_example("fraud3000 serve --port 8000 --history data/interim/transactions.parquet"))
def serve(
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, metavar="N", help="Port; 0 takes any that is free [default: 8000].")
    ] = None,
    history: Annotated[str | None, typer.Option(metavar="FILE", help="Transactions before the first request.")] = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Serve although history is shorter than the longest window.")
    ] = False,
    model: Model = "champion",
    shadow: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A version, or challenger: decides everything too, and is not heeded."),
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Answer POST /score over HTTP, by the same scorer; each decision is on the disk before it is told.

    A promoted model needs no registry. Listening on anything but this machine's own address needs a key, which requests
    bring as X-API-Key: see `fraud3000 keys add`.
    """
    given = _load(params, verbose)
    from fraud3000.stages.serve import Service

    if shadow is not None:
        given = given.model_copy(update={"serve": given.serve.model_copy(update={"shadow": shadow})})
    service = Service.open(given, host=host, port=port, history=history, cold_start=cold_start, model=model)
    _run(lambda: service.summary, json)
    service.run()


@app.command(epilog=_example("fraud3000 replay 1236698"))
def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Of transactions or decisions [default: all].")
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Make the service's decisions again and compare them with what it told, byte for byte.

    Features are read anew from all that came before, and decided by the bundle that decided then. One that differs ends
    with exit code 6. A running service is not disturbed.
    """
    given = _load(params, verbose)
    from fraud3000.stages.replay import replay as stage

    _run(lambda: stage(given, ids or ()), json)


@app.command(epilog=_example("fraud3000 shadow-report"))
def shadow_report(
    version: Annotated[
        str | None, typer.Option(metavar="N", help="Of the shadow [default: the one that decided last].")
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Tell how often the model behind `serve --shadow` agrees, what that is worth in money, and how long it takes.

    Nothing is promoted by it: see `fraud3000 promote`. A running service is not disturbed.
    """
    given = _load(params, verbose)
    from fraud3000.stages.shadow_report import shadow_report as stage

    _run(lambda: stage(given, version), json)


@app.command(epilog=_example("fraud3000 explain 1236698"))
def explain(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of the transaction or of the decision.")],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Tell a person what the service decided about a transaction, by what, and why."""
    given = _load(params, verbose)
    from fraud3000.stages.explain import explain as stage

    _run(lambda: stage(given, id_), json)


@audit_app.command(name="verify", epilog=_example("fraud3000 audit verify"))
def audit_verify(params: ParamsFile = None, json: AsJson = False, verbose: Verbose = 0) -> None:
    """Look for edits, gaps, insertions and a cut tail in the service's journal.

    Any of them ends with exit code 6. A running service is not disturbed.
    """
    given = _load(params, verbose)
    from fraud3000.stages import audit

    _run(lambda: audit.verify(given), json)


@audit_app.command(
    name="acknowledge", epilog=_example('fraud3000 audit acknowledge --reason "restored the backup of 3 May"')
)
def audit_acknowledge(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why the entries are lost; sealed with your user name.")],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Acknowledge that entries of the journal are lost, so that the service starts again.

    The acknowledgement is a sealed entry of the journal, and lost numbers are never used again. Restore a copy that has the
    entries first, if there is one. The service must not run meanwhile.
    """
    given = _load(params, verbose)
    from fraud3000.stages import audit

    _run(lambda: audit.acknowledge(given, reason), json)


@audit_app.command(
    name="repair", epilog=_example('fraud3000 audit repair --reason "the clock ran ahead on 3 May, 10:00 to 10:02"')
)
def audit_repair(
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="What happened to the clock; sealed with your user name.")
    ],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Correct entries of the journal that a wrong clock dated into the future, by a sealed entry.

    Features and exports ignore such transactions from then on; their decisions stay. Labels dated into the future count from
    the time at which they can have come. The service must not run meanwhile.
    """
    given = _load(params, verbose)
    from fraud3000.stages import audit

    _run(lambda: audit.repair(given, reason), json)


@audit_app.command(name="erase", epilog=_example("echo 596 | fraud3000 audit erase -"))
def audit_erase(
    card: Annotated[str, typer.Argument(help="As the prepared transactions name it; - reads it from the input.")],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Take away who a cardholder is, from all that the service has kept, and keep what was decided and its seals.

    The service must not run meanwhile.
    """
    given = _load(params, verbose)
    from fraud3000.stages import audit

    name = sys.stdin.readline().strip() if card == "-" else card
    _run(lambda: audit.erase(given, name), json)


@deploy_app.command(
    name="redeploy",
    epilog=_example("fraud3000 deploy redeploy --cluster bank --service scoring --image-tag 4f2a1c9"),
)
def deploy_redeploy(
    cluster: EcsCluster = None,
    service: EcsService = None,
    image_tag: Annotated[
        str | None, typer.Option(metavar="TAG", help="Of the image to run [default: that of the task definition].")
    ] = None,
    container: EcsContainer = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait until it is steady.")] = "10m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; change nothing.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback/--no-rollback", help="Go back if it does not become steady.")
    ] = True,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Replace the tasks of a service by new ones, and wait until it is steady.

    With another image tag its task definition gets a new revision. A deployment that fails, or is not steady in time,
    is rolled back to what ran before, and the command ends with exit code 7. Events are told on stderr as they come.
    """
    _load(params, verbose)
    from fraud3000.stages import deploy

    _run(
        lambda: deploy.redeploy(
            cluster,
            service,
            tag=image_tag,
            container=container,
            dry_run=dry_run,
            rollback=rollback,
            pace=deploy.waiting(timeout),
        ),
        json,
    )


@deploy_app.command(name="status", epilog=_example("fraud3000 deploy status --cluster bank --service scoring"))
def deploy_status(
    cluster: EcsCluster = None,
    service: EcsService = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Tell what runs of a service, its deployments and its newest events.

    If it is not steady, the command ends with exit code 6.
    """
    _load(params, verbose)
    from fraud3000.stages import deploy

    _run(lambda: deploy.status(cluster, service), json)


@deploy_app.command(
    name="run", epilog=_example("fraud3000 deploy run --cluster bank --task-definition fraud3000-tools -- promote")
)
def deploy_one(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="A command of fraud3000, after --.")],
    task_definition: Annotated[str, typer.Option(metavar="FAMILY", help="Or FAMILY:REVISION, of the task to run.")],
    cluster: EcsCluster = None,
    like_service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Service in whose network it runs [default: FRAUD3000_ECS_SERVICE]."),
    ] = None,
    subnets: Annotated[str, typer.Option(metavar="A,B", help="Of its network, in place of a service's.")] = "",
    security_groups: Annotated[str, typer.Option(metavar="A,B", help="Of its network, with --subnets.")] = "",
    container: EcsContainer = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for its end.")] = "1h",
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Run one command as a task of its own, and wait for its end.

    The last lines of its log are told on stderr, and this command ends with its exit code. When the time is up, or this
    command is interrupted, the task goes on.
    """
    _load(params, verbose)
    from fraud3000.stages import deploy, deploy_run

    network = deploy_run.Network.of(subnets, security_groups)
    wanted = deploy_run.Task(task_definition, command, network=network, like=like_service, container=container)
    _run(lambda: deploy_run.run(cluster, wanted, pace=deploy.waiting(timeout)), json)


@policy_app.command(epilog=_example("fraud3000 policy what-if --cards-per-day 50 --cards-per-day 200"))
def what_if(
    model: Model = "challenger",
    rows: Annotated[Split, typer.Option(help="Split to look at: choose a policy on valid.")] = Split.VALID,
    cards_per_day: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Alert budget, may be repeated [default: around that of the params]."),
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Tell money, alerts, precision and friction at each alert budget.

    By capacity and by cost, with the costs of the params. Nothing is changed.
    """

    given = _load(params, verbose)
    from fraud3000.stages.policy import what_ifs as stage

    _run(lambda: stage(given, model=model, rows=rows.value, cards_per_day=cards_per_day or ()), json)


@labels_app.command(name="add", epilog=_example("fraud3000 labels add 1236698 --fraud --source chargeback"))
def labels_add(
    transaction: Annotated[str, typer.Argument(help="Its id; the transaction may not have come yet.")],
    fraud: Annotated[bool, typer.Option("--fraud/--legitimate", help="What the source says.")],
    source: Annotated[str, typer.Option(help="Who says so, such as chargeback or analyst.")],
    reported_at: Annotated[datetime | None, typer.Option(help="When it was reported, UTC.")] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Record what a source says of a transaction, known from now on.

    While the service runs, send it to POST /labels instead.
    """
    given = _load(params, verbose)
    from fraud3000.stages import labels

    _run(lambda: labels.add(given, transaction, is_fraud=fraud, source=source, reported_at=reported_at), json)


@labels_app.command(name="import", epilog=_example("fraud3000 labels import data/raw/transactions.parquet"))
def labels_import(
    file: Annotated[
        str,
        typer.Argument(
            help="Raw file with labels, in the layout of the params, or label records alone; here or in S3."
        ),
    ],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Record the labels of a file, all of them or none.

    Label records alone have columns transaction_id, is_fraud, source and perhaps reported_at and recorded_at, or those
    that prepare.labels names. Records of transactions that have not come yet wait for them. While the service runs, send
    them to POST /labels.
    """
    given = _load(params, verbose)
    from fraud3000.stages import labels

    _run(lambda: labels.take_in(given, file), json)


@labels_app.command(name="export", epilog=_example("fraud3000 labels export ledger.parquet"))
def labels_export(
    file: Annotated[str, typer.Argument(help="Parquet file to write, here or in S3; prepare.labels.input reads it.")],
    transactions: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the service's transactions too; prepare.input reads them.")
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Write the service's ledger, to prepare, train and backtest by it.

    It has the records that the service began with and those that came in since. A running service is not disturbed.
    """
    given = _load(params, verbose)
    from fraud3000.stages import labels

    _run(lambda: labels.export(given, file, transactions), json)


@labels_app.command(name="status", epilog=_example("fraud3000 labels status --share 0.9"))
def labels_status(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="Raw file with labels, or label records [default: of the service, else the workspace].",
        ),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.01, max=0.999, help="Of the frauds, to be known after the proposed label delay.")
    ] = 0.95,
    as_of: Annotated[
        datetime | None,
        typer.Option(help="Day to look from, UTC [default: just after all on record].", show_default=False),
    ] = None,
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Tell how many label records there are, and how long frauds take to be known.

    From that follow a label delay, the date up to which metrics can be trusted, and how many frauds of the last weeks are
    still to be reported. What is known today is truncated, and the estimate allows for it.
    """
    given = _load(params, verbose)
    from fraud3000.stages.label_status import status

    _run(lambda: status(given, file, share=share, as_of=as_of), json)


@keys_app.command(name="add", epilog=_example("fraud3000 keys add shop --scope score"))
def keys_add(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[Scope], typer.Option(help="What it is for, may be repeated.")],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Make a key for the service and print it alone; only its hash is kept.

    A running service takes it at once. As soon as there is a key, every request needs one.
    """
    given = _load(params, verbose)
    from fraud3000 import show
    from fraud3000.stages import keys

    made = keys.add(given, name, [one.value for one in dict.fromkeys(scope)])
    show.summary(made, as_json=True) if json else typer.echo(made.facts["key"])


@keys_app.command(name="list", epilog=_example("fraud3000 keys list"))
def keys_list(params: ParamsFile = None, json: AsJson = False, verbose: Verbose = 0) -> None:
    """Tell which keys there are, and what they are for."""
    given = _load(params, verbose)
    from fraud3000.stages import keys

    _run(lambda: keys.listed(given), json)


@keys_app.command(name="revoke", epilog=_example("fraud3000 keys revoke 1f9c02ab"))
def keys_revoke(
    key: Annotated[str, typer.Argument(help="What stands between the first two underscores of it.")],
    params: ParamsFile = None,
    json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Refuse a key from now on; a running service does at once."""
    given = _load(params, verbose)
    from fraud3000.stages import keys

    _run(lambda: keys.revoke(given, key), json)


@keys_app.command(epilog=_example("export FRAUD3000_PAN_KEY=$(fraud3000 keys pan)"))
def pan() -> None:
    """Print a new key for FRAUD3000_PAN_KEY, with which card numbers are hashed."""
    from fraud3000.stages import keys

    typer.echo(keys.pan())


def run() -> None:
    """Run the command that the arguments name."""
    # Not app(): that replaces sys.excepthook, and with it how a bug is told.
    typer.main.get_command(app)(prog_name="fraud3000")


def _load(path: Path | None, verbosity: int, model: str | None = None) -> Params:
    """Set up the logs and read the params, before anything that takes long to import."""
    from fraud3000 import logs, params

    logs.set_up(verbosity)
    given = params.load(path)
    if model is None:
        return given
    return given.model_copy(update={"registry": given.registry.model_copy(update={"name": model})})


def _run(stage: Callable[[], Summary], as_json: bool) -> None:
    from fraud3000 import errors, logs, show

    start = time.perf_counter()
    outcome = stage()
    logs.done(outcome.command, outcome.facts, seconds=time.perf_counter() - start)
    show.summary(outcome, as_json=as_json)
    if outcome.refused:
        raise errors.CheckFailed(outcome.refused)
