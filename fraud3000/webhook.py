"""Telling another program over HTTP how something ended; what it answers does not matter."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from loguru import logger

ATTEMPTS, SECONDS, PAUSE = 3, 10.0, 1.0


def tell(url: str, content: Mapping[str, Any], *, pause: float = PAUSE) -> bool:
    """Send JSON, again where it does not arrive; whether it did.

    The address may hold a secret: of it, only the host is ever told.

    Parameters
    ----------
    content
        JSON-ready.
    pause
        Seconds before the second attempt, and twice as many before the third.
    """
    import httpx2

    for attempt in range(ATTEMPTS):
        try:
            answer = httpx2.post(url, json=dict(content), timeout=SECONDS, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            problem = type(error).__name__
        else:
            if answer.is_success:
                return True
            problem = f"status {answer.status_code}"
            if answer.is_client_error and answer.status_code != 429:
                break
        if attempt < ATTEMPTS - 1:
            time.sleep(pause * 2**attempt)
    logger.warning("the webhook at {} was not told ({})", urlsplit(url).hostname, problem)
    return False
