"""Commands `audit …`: integrity of the journal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import audit_app
from fraud3000.cli.command import command

if TYPE_CHECKING:
    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary


@command(audit_app, "fraud3000 audit verify", name="verify")
def audit_verify(
    params: Params,
) -> Summary:
    """Find edits, gaps, insertions and truncation in the service's journal.

    Any finding ends with exit code 6. A running service is not affected.
    """
    from fraud3000.stages import audit

    return audit.verify(params)


@command(audit_app, 'fraud3000 audit acknowledge --reason "restored the backup of 3 May"', name="acknowledge")
def audit_acknowledge(
    params: Params,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why the entries are lost; recorded with your user name.")
    ],
) -> Summary:
    """Acknowledge lost journal entries, so that the service can start again.

    The acknowledgement is a sealed entry of the journal, and lost numbers are never used again. If a backup has the
    entries, restore it instead. Stop the service first.
    """
    from fraud3000.stages import audit

    return audit.acknowledge(params, reason)


@command(audit_app, 'fraud3000 audit repair --reason "the clock ran ahead on 3 May, 10:00 to 10:02"', name="repair")
def audit_repair(
    params: Params,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="What happened to the clock; recorded with your user name.")
    ],
) -> Summary:
    """Correct journal entries that a wrong clock dated in the future.

    The correction is a sealed entry. Features and exports ignore such transactions from then on; their decisions stay.
    Labels dated in the future count from the time at which they can have arrived. Stop the service first.
    """
    from fraud3000.stages import audit

    return audit.repair(params, reason)


@command(audit_app, "echo 596 | fraud3000 audit erase -", name="erase")
def audit_erase(
    params: Params,
    card: Annotated[str, typer.Argument(help="Card id as in the prepared transactions; - reads it from stdin.")],
) -> Summary:
    """Erase a cardholder's personal data; decisions and their signatures remain.

    Stop the service first.
    """
    from fraud3000.stages import audit

    name = sys.stdin.readline().strip() if card == "-" else card
    return audit.erase(params, name)
