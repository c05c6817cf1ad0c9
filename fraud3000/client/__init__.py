"""A client of the service: `Client` waits, `AsyncClient` lets others go on."""

from fraud3000.client.clients import AsyncClient, Client
from fraud3000.client.results import Alert, Decision, Fault, LabelRecord, Reason, Record, Recorded

__all__ = ["Alert", "AsyncClient", "Client", "Decision", "Fault", "LabelRecord", "Reason", "Record", "Recorded"]
