"""Commands `labels …`: the label ledger of the service."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import labels_app
from fraud3000.cli.command import command

if TYPE_CHECKING:
    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary


@command(labels_app, "fraud3000 labels add 1236698 --fraud --source chargeback", name="add")
def labels_add(
    params: Params,
    transaction: Annotated[str, typer.Argument(help="Transaction id; the transaction may arrive later.")],
    fraud: Annotated[bool, typer.Option("--fraud/--legitimate", help="What the source reports.")],
    source: Annotated[str, typer.Option(help="Who reports it, such as chargeback or analyst.")],
    reported_at: Annotated[datetime | None, typer.Option(help="When it was reported, UTC.")] = None,
) -> Summary:
    """Record a label of one transaction, known from now on.

    While the service runs, use POST /labels instead.
    """
    from fraud3000.stages import labels

    return labels.add(params, transaction, is_fraud=fraud, source=source, reported_at=reported_at)


@command(labels_app, "fraud3000 labels import data/raw/transactions.parquet", name="import")
def labels_import(
    params: Params,
    file: Annotated[
        str,
        typer.Argument(help="Raw file with labels, in the layout of the params, or label records; local or s3://."),
    ],
) -> Summary:
    """Record the labels of a file, all of them or none.

    A file of label records has the columns transaction_id, is_fraud, source and optionally reported_at and recorded_at,
    or those that prepare.labels names. Labels of transactions that have not arrived yet wait for them. While the service
    runs, use POST /labels.
    """
    from fraud3000.stages import labels

    return labels.import_labels(params, file)


@command(labels_app, "fraud3000 labels export ledger.parquet", name="export")
def labels_export(
    params: Params,
    file: Annotated[str, typer.Argument(help="Parquet file to write, local or s3://; prepare.labels.input reads it.")],
    transactions: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Also write the service's transactions; prepare.input reads them."),
    ] = None,
) -> Summary:
    """Export the service's label ledger, for prepare, train and backtest.

    Includes the records that the service started with and those received since. A running service is not affected.
    """
    from fraud3000.stages import labels

    return labels.export(params, file, transactions)


@command(labels_app, "fraud3000 labels status --share 0.9", name="status")
def labels_status(
    params: Params,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="Raw file with labels, or label records [default: the service's, else the workspace's].",
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.999, help="Share of the frauds that are reported within the proposed label delay."
        ),
    ] = 0.95,
    as_of: Annotated[
        datetime | None,
        typer.Option(help="Day of the estimate, UTC [default: just after the latest record].", show_default=False),
    ] = None,
) -> Summary:
    """Report label counts, and how long fraud takes to be reported.

    Proposes a label delay, and shows up to which date metrics are reliable and how many frauds of the last weeks are still
    unreported. The estimate corrects for the truncation of today's data.
    """
    from fraud3000.stages.label_status import status

    return status(params, file, share=share, as_of=as_of)
