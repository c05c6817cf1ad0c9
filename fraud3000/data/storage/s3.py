"""Objects in S3 or a compatible store: addresses, listing, download, and error messages.

Keys, region, profile, endpoint and certificates come from the usual AWS variables and files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from loguru import logger

from fraud3000 import extras
from fraud3000.errors import DataError, FraudError, ParamsError, UnavailableError

SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SECRET = re.compile(r"(?<=//)[^/@\s]*@")
_DENIED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed"}
_OTHER_HINT = "Check the address, and that the AWS keys belong to this endpoint and have not expired."
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 4, 30, 4  # an unreachable endpoint is reported after about 20 s

Purpose = Literal["read", "write"]


@dataclass(frozen=True, order=True)
class Address:
    """Address of an object: bucket and key, with the name, stem and suffix that a path has.

    Examples
    --------
    >>> address = Address.from_uri("s3://bank/2026/march.csv")
    >>> address.bucket, address.key, address.stem, address.suffix
    ('bank', '2026/march.csv', 'march', '.csv')
    >>> str(address.with_name("april.csv"))
    's3://bank/2026/april.csv'
    """

    bucket: str
    key: str

    @classmethod
    def from_uri(cls, uri: str) -> Address:
        """Parse ``s3://bucket/key``; the key is not decoded.

        Raises
        ------
        ParamsError
            It names no bucket, or the name is not valid.
        """
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        if not _BUCKET.fullmatch(bucket):
            problem = f"'{bucket}' is not a bucket name" if bucket and "@" not in bucket else "it names no bucket"
            raise ParamsError(f"{without_secret(uri)}: {problem}", hint="Write s3://bucket/key.")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    def with_name(self, name: str) -> Address:
        above, slash, _ = self.key.rpartition("/")
        return replace(self, key=f"{above}{slash}{name}")


def is_uri(location: object) -> bool:
    """Whether a location is an address in S3.

    Examples
    --------
    >>> is_uri("s3://bank/march.csv"), is_uri("data/march.csv")
    (True, False)
    """
    return str(location).startswith(SCHEME)


def without_secret(text: str) -> str:
    """Remove user names and passwords (the part before @) from the addresses in a text.

    Examples
    --------
    >>> without_secret("no answer from http://me:secret@store:9000")
    'no answer from http://store:9000'
    """
    return _SECRET.sub("", text)


def client() -> Any:
    """Create an S3 client that retries temporary failures with growing waits.

    Raises
    ------
    ParamsError
        The AWS variables or files are wrong, or boto3 is not installed.
    """
    boto3 = extras.load("boto3", extra="s3", purpose=f"{SCHEME}…")
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = _ATTEMPTS
    config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries=retries)
    try:
        return boto3.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise ParamsError(
            f"AWS settings: {without_secret(str(error))}", hint="Check the AWS_… variables and ~/.aws/config."
        ) from error


def exists(store: Any, address: Address) -> bool:
    """Whether there is an object at exactly this address.

    Raises
    ------
    DataError
        It may not be read.
    UnavailableError
        The endpoint does not answer.
    """
    from botocore.exceptions import ClientError

    with translate_errors(address, "read"):
        try:
            store.head_object(Bucket=address.bucket, Key=address.key)
        except ClientError as error:
            if _status(error) != 404:  # if the bucket is missing, listing it gives a better message
                raise
            return False
    return True


def list_objects(store: Any, prefix: str, *, address: Address) -> list[Address]:
    """List the objects below a prefix in the bucket of an address, without folder markers (keys that end with /).

    Raises
    ------
    DataError
        There is no such bucket, or it may not be listed.
    UnavailableError
        The endpoint does not answer.
    """
    with translate_errors(address, "read"):
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return [replace(address, key=key) for key in keys if not key.endswith("/")]


def download(store: Any, copies: Mapping[Address, Path]) -> None:
    """Copy objects to files; large objects are copied in several parts at a time.

    Raises
    ------
    DataError
        An object does not exist, or may not be read.
    UnavailableError
        The endpoint does not answer, or there is no disk space for a copy.
    """
    from boto3.s3.transfer import TransferConfig

    for address, path in copies.items():
        logger.info("fetching {}", address)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with translate_errors(address, "read"):
                settings = TransferConfig(preferred_transfer_client="classic")
                store.download_file(address.bucket, address.key, str(path), Config=settings)
        except OSError as error:
            raise UnavailableError(
                f"{address}: cannot be copied to {path.parent} ({error.strerror or error})",
                hint="Free space there, or name another folder for temporary files with TMPDIR.",
            ) from error


@contextmanager
def translate_errors(address: Address, purpose: Purpose) -> Iterator[None]:
    """Turn errors of the AWS library into FraudErrors that name the address and contain no secret."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _response_error(error, address, purpose) from error
    except (BotoCoreError, Boto3Error) as error:
        raise _connection_error(error, address, purpose) from error


def _response_error(error: Any, address: Address, purpose: Purpose) -> FraudError:
    """The error for a response with an error status."""
    code, status = error.response.get("Error", {}).get("Code", ""), _status(error)
    verb = "read" if purpose == "read" else "written"
    kind = DataError if purpose == "read" else UnavailableError
    if code == "NoSuchBucket":
        return kind(f"{address}: there is no bucket '{address.bucket}'", hint="Check the name and AWS_ENDPOINT_URL.")
    if status == 404 and code != "NoSuchUpload":
        return kind(f"{address}: no such object", hint="Check the key; upper and lower case differ.")
    if status in (401, 403) or code in _DENIED:
        reason = "" if code in ("", str(status), "AccessDenied") else f" ({code})"
        return kind(
            f"{address}: may not be {verb}: access denied{reason}",
            hint="Check AWS_PROFILE or the keys, and that they have the permissions that docs/mapping.md lists.",
        )
    if status >= 500 or status in (412, 429):
        return UnavailableError(
            f"{address}: cannot be {verb} now ({code or status})", hint="Wait, and run the command again."
        )
    message = without_secret(error.response.get("Error", {}).get("Message", "")) or f"status {status}"
    return kind(f"{address}: cannot be {verb} ({code}: {message})", hint=_OTHER_HINT)


def _connection_error(error: Exception, address: Address, purpose: Purpose) -> FraudError:
    """The error for a request without a response; only connection failures are worth a retry."""
    from boto3.exceptions import RetriesExceededError
    from botocore import exceptions

    kind = DataError if purpose == "read" else UnavailableError
    message = without_secret(str(error))
    if isinstance(error, exceptions.SSLError):
        return UnavailableError(
            f"{address}: the certificate of the endpoint is not accepted ({message})",
            hint="Name the authority that signed it with AWS_CA_BUNDLE.",
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | RetriesExceededError):
        return UnavailableError(
            f"{address}: the endpoint does not answer ({message})",
            hint="Check AWS_ENDPOINT_URL and the network, and run the command again.",
        )
    if isinstance(error, exceptions.ParamValidationError):
        return ParamsError(f"{address}: not an address ({' '.join(message.split())})", hint="Write s3://bucket/key.")
    return kind(
        f"{address}: no usable AWS credentials ({message})",
        hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    )


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
