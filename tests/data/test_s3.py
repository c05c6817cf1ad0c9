"""Objects in S3, against a real server of its protocol."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import polars as pl
import pytest

from fraud3000.data.cleaning import clean
from fraud3000.data.reading import files
from fraud3000.data.storage import locations, s3, s3_upload
from fraud3000.data.storage.s3 import Address
from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.params import ColumnMapping
from tests.between import Between

MANY = os.urandom(12 * 2**20)
"""Three parts of at least 5 MiB, the least that S3 takes."""


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the AWS library would have waited before each retry; it does not wait."""
    seconds: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture(autouse=True)
def store(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The object store; parts are as small as it takes them."""
    monkeypatch.setattr(s3_upload, "PART", 5 * 2**20)
    return s3


def put(store: Any, **content: str) -> None:
    for key, text in content.items():
        store.put_object(Bucket="bank", Key=key, Body=text.encode())


def keys(store: Any) -> list[str]:
    return [entry["Key"] for entry in store.list_objects_v2(Bucket="bank").get("Contents", ())]


def body(store: Any, key: str) -> bytes:
    content: bytes = store.get_object(Bucket="bank", Key=key)["Body"].read()
    return content


def unfinished(store: Any) -> list[str]:
    return [entry["Key"] for entry in store.list_multipart_uploads(Bucket="bank").get("Uploads", ())]


def found(location: str) -> list[str]:
    with locations.fetch(location) as raw:
        return [str(one).removeprefix("s3://bank/") for one in raw]


def send(tmp_path: Path, content: bytes = MANY, *names: str) -> None:
    """Upload the same content under each name."""
    (tmp_path / "local").write_bytes(content)
    s3_upload.upload({Address("bank", name): tmp_path / "local" for name in names or ("a", "b")})


class TestFind:
    def test_an_object_a_prefix_and_a_glob_give_what_a_disk_gives(self, store: Any, tmp_path: Path) -> None:
        names = ["in/b/2.csv", "in/a.csv", "in/a-b/1.csv", "in/.hidden.csv", "in/_SUCCESS.csv", "in/notes.md", "in.csv"]
        put(store, **dict.fromkeys(names, "x"), **{"in/": ""})
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        for location in ("in", "in/", "in/*.csv", "in/**/*.csv", "in/a*/?.csv", "in.csv", "in/[ab].csv"):
            local = [path.relative_to(tmp_path).as_posix() for path in files.discover(str(tmp_path / location))]
            assert found(f"s3://bank/{location}") == local

    def test_a_whole_bucket_is_a_prefix_too(self, store: Any) -> None:
        put(store, **{"b.csv": "x", "a/c.csv": "x"})
        assert found("s3://bank") == found("s3://bank/") == ["a/c.csv", "b.csv"]

    def test_a_key_with_glob_signs_is_that_object(self, store: Any) -> None:
        put(store, **{"a[1].csv": "x", "a1.csv": "x"})
        assert found("s3://bank/a[1].csv") == ["a[1].csv"]

    def test_a_list_of_several_pages(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
        put(store, **{f"many/{number}.csv": "x" for number in range(5)})
        assert len(keys(store)) == 2
        assert len(found("s3://bank/many/")) == 5

    @pytest.mark.parametrize(
        ("location", "says"),
        [
            ("s3://bank/none.csv", "no such object, and none below it"),
            ("s3://bank/none/", "no such object, and none below it"),
            ("s3://bank/*.csv", "no object matches"),
            ("s3://bank/docs", "a prefix without data files"),
            ("s3://elsewhere/a.csv", "there is no bucket 'elsewhere'"),
            ("s3://elsewhere/", "there is no bucket 'elsewhere'"),
            ("s3://elsewhere/*.csv", "there is no bucket 'elsewhere'"),
        ],
    )
    def test_nothing_there_is_an_error_of_the_data(self, store: Any, location: str, says: str) -> None:
        put(store, **{"docs/notes.md": "x"})
        with pytest.raises(DataError, match=re.escape(says)) as caught:
            found(location)
        assert caught.value.message.startswith(location)
        assert caught.value.hint


class TestFetch:
    def test_copies_are_the_same_bytes_and_are_removed_in_every_outcome(self, store: Any) -> None:
        store.put_object(Bucket="bank", Key="a.csv", Body=MANY)
        with locations.fetch("s3://bank/a.csv") as (copy,):
            assert copy.path.read_bytes() == MANY
        assert not copy.path.parent.parent.exists()
        with pytest.raises(DataError), locations.fetch("s3://bank/a.csv") as (copy,):
            files.read(copy)
        assert not copy.path.parent.parent.exists()

    def test_rows_messages_and_made_up_ids_know_nothing_of_the_copy(self, store: Any, tmp_path: Path) -> None:
        content = "amount,ts\n5,2024-01-01\nx,2024-01-02\n6\n"
        put(store, **{"in/a.csv": content})
        (tmp_path / "a.csv").write_text(content)
        mapping = ColumnMapping.model_validate({"columns": {"amount": "amount", "ts": "ts"}})
        span = {"label_delay": timedelta(7), "earliest": datetime(1970, 1, 1), "latest": datetime(2100, 1, 1)}
        local = clean.ingest([tmp_path / "a.csv"], mapping, **span)
        with locations.fetch("s3://bank/in") as raw:
            remote = clean.ingest(raw, mapping, **span)
            put(store, **{"in/b.csv": content})
        assert remote.transactions.equals(local.transactions)
        for mine, theirs in ((remote.quarantine, local.quarantine), (remote.rows, local.rows)):
            assert mine.equals(theirs.with_columns(source_file=pl.lit("s3://bank/in/a.csv")))
        with (
            pytest.raises(DataError, match=r"^s3://bank/in/b\.csv: identical to s3://bank/in/a\.csv, and its rows"),
            locations.fetch("s3://bank/in") as raw,
        ):
            clean.ingest(raw, mapping, **span)

    @pytest.mark.parametrize("content", ["", "a;b\n1;2\n", "a,b\n\xe4,\n"])
    def test_what_cannot_be_read_is_named_by_its_address(self, store: Any, content: str) -> None:
        store.put_object(Bucket="bank", Key="a.csv", Body=content.encode("latin-1"))
        with (
            pytest.raises(DataError, match=r"^s3://bank/a\.csv: ") as caught,
            locations.fetch("s3://bank/a.csv") as raw,
        ):
            files.read(raw[0])
        assert "tmp" not in str(caught.value)

    def test_a_disk_that_is_full_is_told_with_the_address(self, store: Any, tmp_path: Path) -> None:
        put(store, **{"a.csv": "x"})
        (tmp_path / "file").touch()
        with pytest.raises(UnavailableError, match=r"(?s)^s3://bank/a\.csv: cannot be copied to .*TMPDIR"):
            s3.download(store, {Address("bank", "a.csv"): tmp_path / "file" / "a.csv"})


class TestUpload:
    def test_many_parts_come_back_byte_for_byte(self, store: Any, tmp_path: Path) -> None:
        send(tmp_path, MANY, "a", "b")
        assert body(store, "a") == body(store, "b") == MANY
        assert store.head_object(Bucket="bank", Key="a")["ETag"].endswith('-3"')
        assert unfinished(store) == []

    @pytest.mark.parametrize("content", [b"", b"x"])
    def test_small_files_have_one_part(self, store: Any, tmp_path: Path, content: bytes) -> None:
        send(tmp_path, content, "a")
        assert body(store, "a") == content

    def test_parts_grow_so_that_there_are_never_too_many(self, tmp_path: Path) -> None:
        with (tmp_path / "local").open("wb") as file:
            file.truncate(60_000 * 2**20)
        spans = s3_upload._Upload(s3.client(), Address("bank", "a"), tmp_path / "local").spans()
        assert len(spans) == 10_000
        assert spans[-1][1] + spans[-1][2] == 60_000 * 2**20

    def test_a_failure_in_the_block_leaves_what_was_there(self, store: Any) -> None:
        put(store, a="before")
        with (
            pytest.raises(UnavailableError),
            locations.atomic_outputs(Address("bank", "a"), Address("bank", "b")) as (part, _),
        ):
            part.parent.write_text("after")
        assert (keys(store), body(store, "a"), unfinished(store)) == (["a"], b"before", [])

    def test_an_upload_cut_in_the_middle_leaves_what_was_there(
        self, store: Any, between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        put(store, a="before")
        between.limit = 2**20
        with pytest.raises(UnavailableError, match=r"^s3://bank/[ab]: the endpoint does not answer") as caught:
            send(tmp_path)
        assert caught.value.hint
        assert (keys(store), body(store, "a"), unfinished(store)) == (["a"], b"before", [])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_upload_leaves_what_was_there(
        self, store: Any, between: Between, tmp_path: Path, number: signal.Signals
    ) -> None:
        put(store, a="before")
        (tmp_path / "local").write_bytes(MANY)
        between.pause = 0.02
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "local")], stderr=subprocess.PIPE)
        wait_for(lambda: between.passed > 2**20)
        assert sorted(unfinished(store)) == ["a", "b"]
        child.send_signal(number)
        _, said = child.communicate(timeout=30)
        assert child.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], said
        assert between.passed < len(MANY)
        assert (keys(store), body(store, "a"), unfinished(store)) == (["a"], b"before", [])

    def test_no_object_is_seen_before_all_parts_of_all_are_there(
        self, store: Any, between: Between, tmp_path: Path
    ) -> None:
        between.pause = 0.005
        seen: list[list[str]] = []
        (tmp_path / "small").write_text("x")
        (tmp_path / "large").write_bytes(MANY)
        files = {Address("bank", "small"): tmp_path / "small", Address("bank", "large"): tmp_path / "large"}
        sender = threading.Thread(target=s3_upload.upload, args=[files])
        sender.start()
        while sender.is_alive():
            seen.append(keys(store))
        assert {tuple(names) for names in seen} <= {(), ("large",), ("large", "small")}
        assert seen.count([]) > 3
        assert keys(store) == ["large", "small"]

    def test_an_answer_that_was_lost_is_looked_for(self, store: Any, between: Between, tmp_path: Path) -> None:
        (tmp_path / "local").write_text("x")
        one = s3_upload._Upload(s3.client(), Address("bank", "a"), tmp_path / "local")
        one.send(*one.spans()[0], threading.Event())
        parts = [{"PartNumber": 1, "ETag": one._parts[1]["ETag"]}]
        store.complete_multipart_upload(**one._target, UploadId=one._id, MultipartUpload={"Parts": parts})
        one.complete()
        assert body(store, "a") == b"x"
        other = s3_upload._Upload(s3.client(), Address("bank", "a"), tmp_path / "local")
        other.send(*other.spans()[0], threading.Event())
        other.abort()
        with pytest.raises(UnavailableError, match=r"^s3://bank/a: cannot be written"):
            other.complete()

    def test_what_appeared_before_the_rest_failed_is_told(self, store: Any, tmp_path: Path) -> None:
        (tmp_path / "local").write_text("x")
        pair = [s3_upload._Upload(s3.client(), Address("bank", name), tmp_path / "local") for name in "ab"]
        for one in pair:
            one.send(*one.spans()[0], threading.Event())
        pair[1].abort()
        with pytest.raises(UnavailableError, match=r"^s3://bank/b: .*; s3://bank/a can be seen already"):
            s3_upload._complete(pair)

    def test_a_bucket_that_cannot_be_written_is_told_at_once(self, store: Any) -> None:
        locations.require_writable(Address("bank", "a"))
        assert (keys(store), unfinished(store)) == ([], [])
        with pytest.raises(UnavailableError, match=r"^s3://elsewhere/a: there is no bucket 'elsewhere'"):
            locations.require_writable(Path("local"), Address("elsewhere", "a"))


PROGRAM = """
import sys
from pathlib import Path
from fraud3000.data.storage import s3_upload
from fraud3000.data.storage.s3 import Address
from fraud3000.signals import Stop

Stop().install()
s3_upload.PART = 5 * 2**20
try:
    s3_upload.upload({Address("bank", name): Path(sys.argv[1]) for name in "ab"})
except KeyboardInterrupt:
    sys.exit(130)
"""


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestTrouble:
    ERROR = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    @pytest.mark.parametrize("spoilt", [[ERROR, ERROR], [b"", b""]])
    def test_what_fails_for_a_while_is_tried_again(
        self, store: Any, between: Between, tmp_path: Path, spoilt: list[bytes], waits: list[float]
    ) -> None:
        between.spoilt = list(spoilt)
        send(tmp_path, b"x", "a.csv")
        assert len(waits) == len(spoilt)
        assert body(store, "a.csv") == b"x"
        between.spoilt = list(spoilt)
        assert found("s3://bank/a.csv") == ["a.csv"]

    @pytest.mark.parametrize("spoilt", [[ERROR] * 9, [b""] * 9])
    def test_what_goes_on_failing_can_be_tried_later(
        self, between: Between, monkeypatch: pytest.MonkeyPatch, spoilt: list[bytes]
    ) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        between.spoilt = spoilt
        with pytest.raises(UnavailableError, match=r"^s3://bank/a\.csv: ") as caught:
            found("s3://bank/a.csv")
        assert "again" in str(caught.value.hint)

    def test_an_endpoint_that_is_not_there(
        self, waits: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:very-secret@127.0.0.1:{port}")
        with pytest.raises(UnavailableError, match=r"^s3://bank/a\.csv: the endpoint does not answer") as caught:
            found("s3://bank/a.csv")
        assert waits
        assert sum(waits) < 20
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(UnavailableError, match=r"^s3://bank/a: the endpoint does not answer") as writing:
            send(tmp_path, b"x", "a")
        assert "very-secret" not in f"{caught.value}{writing.value}"

    def test_who_is_allowed_nothing_reads_and_writes_nothing(self, denied_s3: Any, tmp_path: Path) -> None:
        for location in ("s3://bank/a.csv", "s3://bank/in/", "s3://bank/*.csv"):
            with pytest.raises(DataError, match="may not be read: access denied"):
                found(location)
        for write in (lambda: locations.require_writable(Address("bank", "a")), lambda: send(tmp_path, b"x", "a")):
            with pytest.raises(UnavailableError, match=r"^s3://bank/a: may not be written: access denied"):
                write()

    def test_keys_that_are_missing_or_not_whole(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(ParamsError, match="missing: AWS_SECRET_ACCESS_KEY"):
            found("s3://bank/a.csv")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(DataError, match="no usable AWS credentials") as caught:
            found("s3://bank/a.csv")
        assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)
        with pytest.raises(UnavailableError, match="no usable AWS credentials"):
            send(tmp_path, b"x", "a")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("AWS_ENDPOINT_URL", "store:9000"),
            ("AWS_PROFILE", "nobody"),
            ("AWS_MAX_ATTEMPTS", "many"),
            ("AWS_DEFAULT_REGION", "no region"),
        ],
    )
    def test_settings_that_are_wrong(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ParamsError) as caught:
            found("s3://bank/a.csv")
        assert caught.value.hint

    @pytest.mark.parametrize("uri", ["s3://", "s3:///a.csv", "s3://a bucket/a.csv", "s3://me:very-secret@bank/a.csv"])
    def test_addresses_that_cannot_be(self, uri: str) -> None:
        with pytest.raises(ParamsError) as caught:
            found(uri)
        assert caught.value.hint == "Write s3://bucket/key."
        assert "very-secret" not in str(caught.value)
