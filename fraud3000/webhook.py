"""Webhooks: post a result as JSON to a URL; failures are only logged."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from loguru import logger

ATTEMPTS, SECONDS, PAUSE = 3, 10.0, 1.0


def post_json(url: str, content: Mapping[str, Any], *, pause: float = PAUSE) -> bool:
    """Post JSON, with up to three attempts; returns whether it was accepted.

    The URL may contain a secret, so only its host is logged.

    Parameters
    ----------
    content
        Values that JSON can represent.
    pause
        Seconds before the second attempt, and twice as many before the third.
    """
    import httpx2

    for attempt in range(ATTEMPTS):
        try:
            response = httpx2.post(url, json=dict(content), timeout=SECONDS, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            problem = type(error).__name__
        else:
            if response.is_success:
                return True
            problem = f"status {response.status_code}"
            if response.is_client_error and response.status_code != 429:
                break
        if attempt < ATTEMPTS - 1:
            time.sleep(pause * 2**attempt)
    logger.warning("the webhook at {} could not be called ({})", urlsplit(url).hostname, problem)
    return False
