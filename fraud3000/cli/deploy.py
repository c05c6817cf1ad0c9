"""Commands `deploy …`: the service on Amazon ECS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import deploy_app
from fraud3000.cli.command import command
from fraud3000.cli.options import EcsCluster, EcsContainer, EcsService

if TYPE_CHECKING:
    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary


@command(deploy_app, "fraud3000 deploy redeploy --cluster bank --service scoring --image-tag 4f2a1c9", name="redeploy")
def deploy_redeploy(
    _params: Params,
    cluster: EcsCluster = None,
    service: EcsService = None,
    image_tag: Annotated[
        str | None, typer.Option(metavar="TAG", help="Tag of the image to run [default: that of the task definition].")
    ] = None,
    container: EcsContainer = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait until it is stable.")] = "10m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback/--no-rollback", help="Roll back if it does not become stable.")
    ] = True,
) -> Summary:
    """Replace the tasks of a service, and wait until it is stable.

    With another image tag its task definition gets a new revision. A deployment that fails, or is not stable in time,
    is rolled back, and the exit code is 7. Events are printed on stderr as they arrive.
    """
    from fraud3000.stages import deploy
    from fraud3000.stages.shared.ecs_options import parse_timeout

    return deploy.redeploy(
        cluster,
        service,
        tag=image_tag,
        container=container,
        dry_run=dry_run,
        rollback=rollback,
        pace=parse_timeout(timeout),
    )


@command(deploy_app, "fraud3000 deploy status --cluster bank --service scoring", name="status")
def deploy_status(
    _params: Params,
    cluster: EcsCluster = None,
    service: EcsService = None,
) -> Summary:
    """Show a service's tasks, deployments and latest events.

    If it is not stable, the exit code is 6.
    """
    from fraud3000.stages import deploy

    return deploy.status(cluster, service)


@command(deploy_app, "fraud3000 deploy run --cluster bank --task-definition fraud3000-tools -- promote", name="run")
def deploy_one(
    _params: Params,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="A fraud3000 command, after --.")],
    task_definition: Annotated[
        str, typer.Option(metavar="FAMILY", help="Task definition to run: FAMILY or FAMILY:REVISION.")
    ],
    cluster: EcsCluster = None,
    like_service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Service whose network it uses [default: FRAUD3000_ECS_SERVICE]."),
    ] = None,
    subnets: Annotated[str, typer.Option(metavar="A,B", help="Subnets, instead of a service's network.")] = "",
    security_groups: Annotated[str, typer.Option(metavar="A,B", help="Security groups, with --subnets.")] = "",
    container: EcsContainer = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for it to finish.")] = "1h",
) -> Summary:
    """Run one command as a separate ECS task, and wait for it to finish.

    The last lines of its log are printed on stderr, and its exit code is returned. On a timeout or an interruption the
    task goes on.
    """
    from fraud3000.stages import deploy_run
    from fraud3000.stages.shared.ecs_options import parse_timeout

    network = deploy_run.Network.from_options(subnets, security_groups)
    task = deploy_run.Task(task_definition, command, network=network, like=like_service, container=container)
    return deploy_run.run(cluster, task, pace=parse_timeout(timeout))
