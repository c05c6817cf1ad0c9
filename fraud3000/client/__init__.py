"""HTTP client of the service: `Client` blocks, `AsyncClient` is for asyncio.

Start with `clients.py`; `exchange.py` has the retry rules.
"""

from fraud3000.client.clients import AsyncClient, Client
from fraud3000.client.results import Alert, Decision, Fault, LabelRecord, Reason, Record, Recorded

__all__ = ["Alert", "AsyncClient", "Client", "Decision", "Fault", "LabelRecord", "Reason", "Record", "Recorded"]
