"""Files that appear in S3 as one set, or not at all.

Every part of every object is sent before the first object is completed; until then nothing can be
seen. What fails or is interrupted is aborted, so that no part is left to be paid for.
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
    """Copy files to their addresses; the first is completed last, so who sees it sees all.

    Raises
    ------
    UnavailableError
        An object cannot be written. The message names those that appeared all the same, which can
        only be after all parts had arrived.
    """
    begun: list[_Upload] = []
    sender = s3.client()
    try:
        for address, path in files.items():
            with uninterrupted():
                begun.append(_Upload(sender, address, path))
        _send(begun)
        with uninterrupted():
            _complete(begun[::-1])
    except BaseException:
        with uninterrupted():
            for one in begun:
                one.abort()
        raise


def require_writable(addresses: Iterable[Address]) -> None:
    """Make sure, by beginning an upload and aborting it, that objects may be written.

    Raises
    ------
    UnavailableError
        There is no such bucket, or it may not be written.
    """
    sender = s3.client()
    for address in addresses:
        with uninterrupted():
            _Upload(sender, address, Path()).abort()


class _Upload:
    """One object on its way."""

    def __init__(self, sender: Any, address: Address, path: Path) -> None:
        self._client, self.address, self._path = sender, address, path
        self._where = {"Bucket": address.bucket, "Key": address.key}
        self._token = uuid.uuid4().hex
        self._parts: dict[int, dict[str, Any]] = {}
        self._over = False
        with s3.told(address, "write"):
            begun = sender.create_multipart_upload(**self._where, Metadata={_TOKEN: self._token})
        self._id = begun["UploadId"]

    def spans(self) -> list[tuple[int, int, int]]:
        """Number, first byte and length of each part; an empty file has one, of nothing."""
        size = self._path.stat().st_size
        length = max(PART, math.ceil(size / _MOST_PARTS))
        starts = range(0, max(size, 1), length)
        return [(number, start, min(length, size - start)) for number, start in enumerate(starts, start=1)]

    def send(self, number: int, start: int, length: int, stop: threading.Event) -> None:
        with self._path.open("rb") as file:
            file.seek(start)
            body = _Body(file.read(length), stop)
        with s3.told(self.address, "write"):
            sent = self._client.upload_part(**self._where, UploadId=self._id, PartNumber=number, Body=body)
        checks = {name: sent[name] for name in ("ETag", "ChecksumCRC32") if name in sent}
        self._parts[number] = {"PartNumber": number, **checks}

    def complete(self) -> None:
        """Let the object appear; where the answer was lost, look whether it did."""
        parts = [self._parts[number] for number in sorted(self._parts)]
        try:
            with s3.told(self.address, "write"):
                self._client.complete_multipart_upload(
                    **self._where, UploadId=self._id, MultipartUpload={"Parts": parts}
                )
        except FraudError:
            if not self._has_appeared():
                raise
        self._over = True

    def abort(self) -> None:
        """Drop what was sent; that it cannot be dropped must not hide why it should be."""
        if self._over:
            return
        try:
            with s3.told(self.address, "write"):
                self._client.abort_multipart_upload(**self._where, UploadId=self._id)
        except FraudError as error:
            logger.warning("an unfinished upload of {} could not be removed: {}", self.address, error.message)

    def _has_appeared(self) -> bool:
        try:
            with s3.told(self.address, "read"):
                return bool(self._client.head_object(**self._where)["Metadata"].get(_TOKEN) == self._token)
        except FraudError:
            return False


class _Stopped(BaseException):
    """Another part failed, or the user wants no more; no Exception, so that nothing tries again."""


class _Body(io.BytesIO):
    """A part's bytes, which break off at once when the set is given up."""

    def __init__(self, content: bytes, stop: threading.Event) -> None:
        super().__init__(content)
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stop.is_set():
            raise _Stopped
        return super().read(size)


def _send(begun: list[_Upload]) -> None:
    stop = threading.Event()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        waiting = [pool.submit(one.send, *span, stop) for one in begun for span in one.spans()]
        logger.info("uploading {} objects in {} parts", len(begun), len(waiting))
        for part in as_completed(waiting):
            part.result()
    finally:
        stop.set()
        with uninterrupted():
            pool.shutdown(wait=True, cancel_futures=True)


def _complete(begun: list[_Upload]) -> None:
    appeared: list[str] = []
    for one in begun:
        try:
            one.complete()
        except FraudError as error:
            seen = f"; {', '.join(appeared)} can be seen already" if appeared else ""
            raise UnavailableError(f"{error.message}{seen}", hint=error.hint) from error
        appeared.append(str(one.address))
