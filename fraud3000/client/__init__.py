"""HTTP client of the service: `Client` blocks, `AsyncClient` is for asyncio.

Start with `clients.py`; `exchange.py` has the retry rules, `fraud3000/wire.py` the messages.
"""

from fraud3000.client.clients import AsyncClient, Client
from fraud3000.wire import AlertItem, DecisionRecord, DecisionResult, ErrorDetail, LabelResult, ReasonText, StoredLabel

__all__ = [
    "AlertItem",
    "AsyncClient",
    "Client",
    "DecisionRecord",
    "DecisionResult",
    "ErrorDetail",
    "LabelResult",
    "ReasonText",
    "StoredLabel",
]
