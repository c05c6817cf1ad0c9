"""Calls of AWS, with retries, and errors in the terms of this package.

Keys, profile, endpoint and certificates come from the usual AWS variables and files; the region also from AWS_REGION.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fraud3000 import extras
from fraud3000.data.storage.s3 import without_secret
from fraud3000.errors import FraudError, ParamsError, UnavailableError, nearest

RETRY_LATER = "Wait, and run the command again."
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 4, 30, 6  # the waits between six attempts add up to some 15 s
_THROTTLED = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded")
_BAD_CREDENTIALS = re.compile(
    r"UnrecognizedClient|Expired|InvalidClientToken|Signature|AuthenticationToken|InvalidAccessKey"
)
_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."


class Aws:
    """AWS account of the environment; its errors are raised as errors of this package."""

    def __init__(self) -> None:
        self._boto3 = extras.load("boto3", extra="s3", purpose="fraud3000 deploy")
        self._session: Any = None
        self._clients: dict[tuple[str, str | None], Any] = {}

    @property
    def region(self) -> str:
        return str(self.client("ecs").meta.region_name)

    def client(self, api: str, region: str | None = None) -> Any:
        """Return the client of an AWS API, which retries with backoff where a retry can help.

        Raises
        ------
        ParamsError
            No region is set, or the AWS variables or files are invalid.
        """
        if (api, region) not in self._clients:
            with _settings():
                self._clients[api, region] = self._create_client(api, region or os.environ.get("AWS_REGION") or None)
        return self._clients[api, region]

    def _create_client(self, api: str, region: str | None) -> Any:
        from botocore.config import Config

        retries: dict[str, Any] = {"mode": os.environ.get("AWS_RETRY_MODE", "standard")}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = _ATTEMPTS
        config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries=retries)
        self._session = self._session or self._boto3.Session()
        return self._session.client(api, region_name=region, config=config)

    def call(self, api: str, action: str, thing: str, *, region: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Call an action of an API, such as DescribeServices of ecs.

        Parameters
        ----------
        thing
            Subject of the call, for error messages.

        Raises
        ------
        ParamsError
            No credentials, access denied, not found, or rejected.
        UnavailableError
            Throttled, or no response, after all attempts.
        """
        client = self.client(api, region)
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
        with resend_lost_signals(), _translated_errors(f"{api}:{action}", thing, str(client.meta.region_name)):
            response: dict[str, Any] = getattr(client, method)(**arguments)
        return response


@contextmanager
def resend_lost_signals() -> Iterator[None]:
    """Send Ctrl-C and SIGTERM again after the block if the block lost them.

    An exception that a signal handler raises while Python finalises an abandoned response is discarded. So a signal that
    arrived and had no effect is raised once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def recording(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def record(number: int, frame: FrameType | None) -> None:
            received.append(number)
            handler(number, frame)

        return record

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in previous.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, recording(handler))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])


def with_details(error: FraudError, *more: str) -> FraudError:
    """Return the same error with more details in its message."""
    return type(error)("; ".join([error.message, *more]), hint=error.hint, code=error.code)


@contextmanager
def _settings() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, NoRegionError

    try:
        yield
    except NoRegionError as error:
        raise ParamsError("no AWS region is set", hint="Set AWS_REGION, or a region in the AWS profile.") from error
    except (BotoCoreError, ValueError) as error:
        raise ParamsError(
            f"AWS settings: {without_secret(str(error))}", hint="Check the AWS_… variables and ~/.aws/config."
        ) from error


@contextmanager
def _translated_errors(action: str, thing: str, region: str) -> Iterator[None]:
    """Translate errors of the AWS library, with action and subject and without secrets."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _response_error(error, action, thing, region) from error
    except BotoCoreError as error:
        raise _request_error(error, action, thing, region) from error


def _response_error(error: Any, action: str, thing: str, region: str) -> FraudError:
    """Return the error for an error response of AWS."""
    details, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, status = str(details.get("Code", "")), int(metadata.get("HTTPStatusCode", 0))
    tried = f"{code}, {int(metadata.get('RetryAttempts', 0)) + 1} attempts"
    if status == 429 or _THROTTLED.search(code):
        return UnavailableError(f"{thing}: {action} was throttled ({tried})", hint=RETRY_LATER)
    if status >= 500:
        return UnavailableError(f"{thing}: {action} failed in AWS ({tried})", hint=RETRY_LATER)
    if _BAD_CREDENTIALS.search(code):
        return ParamsError(f"{thing}: the AWS credentials are not accepted ({code})", hint=_CREDENTIALS)
    if status in (401, 403) or code.startswith("AccessDenied"):
        return ParamsError(
            f"{thing}: access denied: {action} is not allowed in {region}",
            hint="Grant this permission to the user or role, or check AWS_PROFILE; docs/deployment.md lists the permissions.",
        )
    message = without_secret(details.get("Message", "")) or f"status {status}"
    return ParamsError(
        f"{thing}: {action} is refused in {region} ({code}: {message})",
        hint="Check the names, AWS_REGION and the AWS account.",
        code=code,
    )


def _request_error(error: Exception, action: str, thing: str, region: str) -> FraudError:
    """Return the error for a request without a response; only connection errors are worth a retry."""
    from botocore import exceptions

    message = without_secret(str(error))
    if isinstance(error, exceptions.SSLError):
        return UnavailableError(
            f"{thing}: the certificate of the endpoint is not trusted ({message})",
            hint="Set AWS_CA_BUNDLE to the certificate of the authority that signed it.",
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return _unknown_region(region) or UnavailableError(
            f"{thing}: the endpoint does not respond to {action} ({message})",
            hint="Check AWS_REGION, AWS_ENDPOINT_URL and the network, and run the command again.",
        )
    if isinstance(error, exceptions.ParamValidationError):
        return ParamsError(
            f"{thing}: invalid parameters for {action} ({' '.join(message.split())})", hint="Check the names."
        )
    return ParamsError(f"{thing}: no usable AWS credentials ({message})", hint=_CREDENTIALS)


def _unknown_region(region: str) -> ParamsError | None:
    """Return an error if AWS has no such region and no endpoint is set."""
    import boto3

    known = boto3.Session().get_available_regions("ecs")
    if region in known or any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
        return None
    return ParamsError(f"AWS region '{region}': unknown; {nearest(region, known)}", hint="Set AWS_REGION.")
