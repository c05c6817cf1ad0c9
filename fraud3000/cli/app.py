"""The Typer application and its groups of commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, cast

import typer
import typer.core

from fraud3000.cli.command import example

GROUPS = {
    "Data and features": ("init", "simulate", "prepare", "featurize", "parity", "labels"),
    "Models": ("train", "evaluate", "backtest", "policy", "promote", "retrain"),
    "Decisions": ("score-file", "serve", "explain", "replay", "shadow-report"),
    "Operations": ("audit", "keys", "deploy"),
}
"""Groups of commands in the help text."""


class _Commands(typer.core.TyperGroup):
    """The commands, with card numbers masked in messages about wrong arguments."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _masked_usage_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _masked_usage_errors():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - of the base class
        """List the commands by group, in the order of their use."""
        width = formatter.width - 6 - max(len(name) for names in GROUPS.values() for name in names)
        for title, names in GROUPS.items():
            rows = [(name, self.commands[name].get_short_help_str(width)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)


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
    epilog=example("fraud3000 simulate --rows 100000 && fraud3000 prepare"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _group(name: str, text: str, runnable: str) -> typer.Typer:
    group = typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(group, name=name, epilog=example(runnable))
    return group


deploy_app = _group("deploy", "Deploy a version on Amazon ECS, and roll back.", "fraud3000 deploy status")
audit_app = _group("audit", "Verify and repair the service's journal.", "fraud3000 audit verify")
labels_app = _group("labels", "Manage the service's label ledger.", "fraud3000 labels status")
policy_app = _group("policy", "Compare decision policies by money.", "fraud3000 policy what-if")
keys_app = _group("keys", "Manage API keys and the card-number key.", "export FRAUD3000_PAN_KEY=$(fraud3000 keys pan)")


def _show_version(requested: bool) -> None:
    if requested:
        import fraud3000

        typer.echo(f"fraud3000 {fraud3000.__version__}")
        raise typer.Exit


@app.callback()
def _fraud3000(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def run() -> None:
    """Run the command that the arguments name."""
    # Not app(): that replaces sys.excepthook, which reports bugs.
    typer.main.get_command(app)(prog_name="fraud3000")
