"""Atomic upload of several files to S3 by multipart uploads: all objects appear, or none.

Every part of every object is sent before the first object is completed; until then no object is
visible. Uploads that fail or are interrupted are aborted, so that no parts remain that cost money.
"""

from __future__ import annotations

import io
import math
import threading
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from loguru import logger

from fraud3000.data.storage import s3
from fraud3000.data.storage.s3 import Address
from fraud3000.errors import FraudError, UnavailableError
from fraud3000.signals import uninterrupted

PART = 8 * 2**20
"""Bytes of a part; a file of more than 10,000 such parts has larger ones."""

_MOST_PARTS = 10_000
_THREADS = 4
_TOKEN = "fraud3000-upload"  # noqa: S105  a name in the object's metadata


def upload(files: Mapping[Address, Path]) -> None:
    """Copy files to their addresses; the first is completed last, so a reader that sees it sees all of them.

    Raises
    ------
    UnavailableError
        An object cannot be written. The message names the objects that appeared nevertheless, which is
        possible only after all parts have arrived.
    """
    uploads: list[_Upload] = []
    store = s3.client()
    try:
        for address, path in files.items():
            with uninterrupted():
                uploads.append(_Upload(store, address, path))
        _send(uploads)
        with uninterrupted():
            _complete(uploads[::-1])
    except BaseException:
        with uninterrupted():
            for started in uploads:
                started.abort()
        raise


def require_writable(addresses: Iterable[Address]) -> None:
    """Check that objects may be written, by starting an upload and aborting it.

    Raises
    ------
    UnavailableError
        The bucket does not exist, or may not be written.
    """
    store = s3.client()
    for address in addresses:
        with uninterrupted():
            _Upload(store, address, Path()).abort()


class _Upload:
    """Multipart upload of one file."""

    def __init__(self, store: Any, address: Address, path: Path) -> None:
        self._client, self.address, self._path = store, address, path
        self._target = {"Bucket": address.bucket, "Key": address.key}
        self._token = uuid.uuid4().hex
        self._parts: dict[int, dict[str, Any]] = {}
        self._completed = False
        with s3.translate_errors(address, "write"):
            response = store.create_multipart_upload(**self._target, Metadata={_TOKEN: self._token})
        self._id = response["UploadId"]

    def spans(self) -> list[tuple[int, int, int]]:
        """Number, first byte and length of each part; an empty file has one empty part."""
        size = self._path.stat().st_size
        length = max(PART, math.ceil(size / _MOST_PARTS))
        starts = range(0, max(size, 1), length)
        return [(number, start, min(length, size - start)) for number, start in enumerate(starts, start=1)]

    def send(self, number: int, start: int, length: int, stop: threading.Event) -> None:
        with self._path.open("rb") as file:
            file.seek(start)
            body = _Body(file.read(length), stop)
        with s3.translate_errors(self.address, "write"):
            response = self._client.upload_part(**self._target, UploadId=self._id, PartNumber=number, Body=body)
        checks = {name: response[name] for name in ("ETag", "ChecksumCRC32") if name in response}
        self._parts[number] = {"PartNumber": number, **checks}

    def complete(self) -> None:
        """Complete the upload, so that the object appears; if the response is lost, check whether it did."""
        parts = [self._parts[number] for number in sorted(self._parts)]
        try:
            with s3.translate_errors(self.address, "write"):
                self._client.complete_multipart_upload(
                    **self._target, UploadId=self._id, MultipartUpload={"Parts": parts}
                )
        except FraudError:
            if not self._has_appeared():
                raise
        self._completed = True

    def abort(self) -> None:
        """Abort the upload; a failure is only logged, because it must not hide the error that led here."""
        if self._completed:
            return
        try:
            with s3.translate_errors(self.address, "write"):
                self._client.abort_multipart_upload(**self._target, UploadId=self._id)
        except FraudError as error:
            logger.warning("an unfinished upload of {} could not be removed: {}", self.address, error.message)

    def _has_appeared(self) -> bool:
        try:
            with s3.translate_errors(self.address, "read"):
                return bool(self._client.head_object(**self._target)["Metadata"].get(_TOKEN) == self._token)
        except FraudError:
            return False


class _Stopped(BaseException):
    """Another part failed, or the user interrupted; not an Exception, so that the library does not retry."""


class _Body(io.BytesIO):
    """The bytes of a part; reading stops at once when the upload is given up."""

    def __init__(self, content: bytes, stop: threading.Event) -> None:
        super().__init__(content)
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stop.is_set():
            raise _Stopped
        return super().read(size)


def _send(uploads: list[_Upload]) -> None:
    stop = threading.Event()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        tasks = [pool.submit(started.send, *span, stop) for started in uploads for span in started.spans()]
        logger.info("uploading {} objects in {} parts", len(uploads), len(tasks))
        for part in as_completed(tasks):
            part.result()
    finally:
        stop.set()
        with uninterrupted():
            pool.shutdown(wait=True, cancel_futures=True)


def _complete(uploads: list[_Upload]) -> None:
    appeared: list[str] = []
    for started in uploads:
        try:
            started.complete()
        except FraudError as error:
            visible = f"; {', '.join(appeared)} can be seen already" if appeared else ""
            raise UnavailableError(f"{error.message}{visible}", hint=error.hint) from error
        appeared.append(str(started.address))
