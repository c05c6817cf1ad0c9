"""Calls of AWS, tried again where that helps, and what goes wrong with them told in words.

Keys, profile, endpoint and certificates come from the usual AWS variables and files, the region from AWS_REGION too.
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

LATER = "Wait, and run the command again."
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 4, 30, 6  # the waits between six attempts add up to some 15 s
_THROTTLED = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded")
_STRANGERS = re.compile(r"UnrecognizedClient|Expired|InvalidClientToken|Signature|AuthenticationToken|InvalidAccessKey")
_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."


class Aws:
    """The AWS account that the environment names; what goes wrong with it is told in words of ours."""

    def __init__(self) -> None:
        self._boto3 = extras.load("boto3", extra="s3", purpose="fraud3000 deploy")
        self._session: Any = None
        self._clients: dict[tuple[str, str | None], Any] = {}

    @property
    def region(self) -> str:
        return str(self.client("ecs").meta.region_name)

    def client(self, api: str, region: str | None = None) -> Any:
        """A client of one of its services, which tries again after a growing wait where trying again can help.

        Raises
        ------
        ParamsError
            No region is named, or the AWS variables or files are wrong.
        """
        if (api, region) not in self._clients:
            with _settings():
                self._clients[api, region] = self._made(api, region or os.environ.get("AWS_REGION") or None)
        return self._clients[api, region]

    def _made(self, api: str, region: str | None) -> Any:
        from botocore.config import Config

        retries: dict[str, Any] = {"mode": os.environ.get("AWS_RETRY_MODE", "standard")}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = _ATTEMPTS
        config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries=retries)
        self._session = self._session or self._boto3.Session()
        return self._session.client(api, region_name=region, config=config)

    def ask(self, api: str, action: str, thing: str, *, region: str | None = None, **given: Any) -> dict[str, Any]:
        """Call an action, such as DescribeServices of ecs.

        Parameters
        ----------
        thing
            What it is about, for messages.

        Raises
        ------
        ParamsError
            No credentials, access denied, not there, or refused.
        UnavailableError
            Throttled, or no answer, after all attempts.
        """
        client = self.client(api, region)
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
        with heeded(), _told(f"{api}:{action}", thing, str(client.meta.region_name)):
            answer: dict[str, Any] = getattr(client, method)(**given)
        return answer


@contextmanager
def heeded() -> Iterator[None]:
    """See to it that Ctrl-C and SIGTERM are not lost in the block.

    A response that is given up closes itself, and what a signal raises just then is dropped by Python without a word.
    So a signal that came and changed nothing is sent once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def noting(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def note(number: int, frame: FrameType | None) -> None:
            came.append(number)
            handler(number, frame)

        return note

    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, noting(handler))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def also(error: FraudError, *more: str) -> FraudError:
    """The same error, with what else is to be known."""
    return type(error)("; ".join([error.message, *more]), hint=error.hint, code=error.code)


@contextmanager
def _settings() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, NoRegionError

    try:
        yield
    except NoRegionError as error:
        raise ParamsError("no AWS region is named", hint="Set AWS_REGION, or a region in the profile.") from error
    except (BotoCoreError, ValueError) as error:
        raise ParamsError(
            f"AWS settings: {without_secret(str(error))}", hint="Check the AWS_… variables and ~/.aws/config."
        ) from error


@contextmanager
def _told(action: str, thing: str, region: str) -> Iterator[None]:
    """Tell what the AWS library raises in words of ours, with action and thing, and without any secret."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refusal(error, action, thing, region) from error
    except BotoCoreError as error:
        raise _failure(error, action, thing, region) from error


def _refusal(error: Any, action: str, thing: str, region: str) -> FraudError:
    """What AWS answered."""
    told, answer = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, status = str(told.get("Code", "")), int(answer.get("HTTPStatusCode", 0))
    tried = f"{code}, {int(answer.get('RetryAttempts', 0)) + 1} attempts"
    if status == 429 or _THROTTLED.search(code):
        return UnavailableError(f"{thing}: {action} was throttled ({tried})", hint=LATER)
    if status >= 500:
        return UnavailableError(f"{thing}: {action} has no answer now ({tried})", hint=LATER)
    if _STRANGERS.search(code):
        return ParamsError(f"{thing}: the AWS credentials are not accepted ({code})", hint=_CREDENTIALS)
    if status in (401, 403) or code.startswith("AccessDenied"):
        return ParamsError(
            f"{thing}: access denied: {action} is not allowed in {region}",
            hint="Allow it to this user or role, or check AWS_PROFILE; docs/deploy.md lists what is needed.",
        )
    said = without_secret(told.get("Message", "")) or f"status {status}"
    return ParamsError(
        f"{thing}: {action} is refused in {region} ({code}: {said})",
        hint="Check the names, AWS_REGION and the AWS account.",
        code=code,
    )


def _failure(error: Exception, action: str, thing: str, region: str) -> FraudError:
    """What kept a request from being answered; only connections are worth another try."""
    from botocore import exceptions

    said = without_secret(str(error))
    if isinstance(error, exceptions.SSLError):
        return UnavailableError(
            f"{thing}: the certificate of the endpoint is not accepted ({said})",
            hint="Name the authority that signed it with AWS_CA_BUNDLE.",
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return _unknown_region(region) or UnavailableError(
            f"{thing}: the endpoint does not answer {action} ({said})",
            hint="Check AWS_REGION, AWS_ENDPOINT_URL and the network, and run the command again.",
        )
    if isinstance(error, exceptions.ParamValidationError):
        return ParamsError(f"{thing}: {action} cannot be asked so ({' '.join(said.split())})", hint="Check the names.")
    return ParamsError(f"{thing}: no AWS credentials that can be used ({said})", hint=_CREDENTIALS)


def _unknown_region(region: str) -> ParamsError | None:
    """A region that AWS does not have has no endpoint, unless one is named."""
    import boto3

    known = boto3.Session().get_available_regions("ecs")
    if region in known or any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
        return None
    return ParamsError(f"AWS region '{region}': not known; {nearest(region, known)}", hint="Set AWS_REGION.")
