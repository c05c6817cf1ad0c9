"""Outputs appear whole or not at all, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.storage.atomic_write import atomic_outputs
from fraud3000.errors import UnavailableError

PROGRAM = """
import resource, sys, time
from pathlib import Path
import polars as pl
from fraud3000.data.storage.atomic_write import atomic_outputs
from fraud3000.errors import UnavailableError

def write(how, place):
    with atomic_outputs(place) as (part,):
        if how == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            pl.DataFrame({"noise": range(200_000)}).write_parquet(part, compression="uncompressed")
        part.write_text("half")
        print("started", flush=True)
        time.sleep(60)

try:
    write(sys.argv[1], Path(sys.argv[2]))
except UnavailableError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


MANY = """
import sys
from pathlib import Path
from fraud3000.data.storage.atomic_write import atomic_outputs

with atomic_outputs(*(Path(sys.argv[1]) / f"{number}.txt" for number in range(300))) as parts:
    for part in parts:
        part.write_text("after")
"""


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def write_all(parts: tuple[Path, ...]) -> None:
    for part in parts:
        part.write_text("new")


def fail_half_way(part: Path, failure: type[BaseException]) -> None:
    part.write_text("half")
    raise failure


def test_files_and_folders_appear_when_the_block_ends(tmp_path: Path) -> None:
    first, bundle = tmp_path / "new" / "a.txt", tmp_path / "bundle"
    with atomic_outputs(first, bundle) as (part, folder):
        part.write_text("a")
        folder.mkdir()
        (folder / "b.txt").write_text("b")
        assert not first.exists()
        assert not bundle.exists()
    assert files(tmp_path) == {"a.txt": "a", "b.txt": "b"}


def test_what_stood_there_is_replaced_folders_too(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old.txt").write_text("old")
    with atomic_outputs(tmp_path / "bundle") as (folder,):
        folder.mkdir()
        (folder / "new.txt").write_text("new")
    assert files(tmp_path) == {"new.txt": "new"}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_in_mid_write_changes_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(failure), atomic_outputs(tmp_path / "a.txt", tmp_path / "b.txt") as (first, _):
        fail_half_way(first, failure)
    assert files(tmp_path) == {"a.txt": "before"}


def test_a_block_that_forgets_a_file_writes_none(tmp_path: Path) -> None:
    with (
        pytest.raises(UnavailableError, match="cannot be written"),
        atomic_outputs(tmp_path / "a", tmp_path / "b") as (first, _),
    ):
        first.write_text("a")
    assert files(tmp_path) == {}


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "precious.txt").write_text("kept")
    with (
        pytest.raises(UnavailableError, match="a folder of this name exists"),
        atomic_outputs(tmp_path / "a", tmp_path / "b") as parts,
    ):
        write_all(parts)
    assert files(tmp_path) == {"precious.txt": "kept"}


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("before")
    command = [sys.executable, "-c", PROGRAM, "limit", str(tmp_path / "a.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "a.parquet: cannot be written (File too large)" in done.stderr
    assert "existing files are unchanged\nHint: Free disk space" in done.stderr
    assert files(tmp_path) == {"a.parquet": "before"}


def test_ctrl_c_in_mid_write_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    command = [sys.executable, "-c", PROGRAM, "wait", str(tmp_path / "a.txt")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "started\n"
    assert len(files(tmp_path)) == 2
    running.send_signal(2)
    running.communicate(timeout=30)
    assert files(tmp_path) == {"a.txt": "before"}


def test_ctrl_c_between_two_files_waits_for_the_second(tmp_path: Path) -> None:
    """All of them, then: not one new file beside one old."""
    paths = [tmp_path / f"{number}.txt" for number in range(300)]
    for path in paths:
        path.write_text("before")
    command = [sys.executable, "-c", MANY, str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while running.poll() is None and paths[0].read_text() == "before":
        pass
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert set(files(tmp_path).values()) == {"after"}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_handlers_are_as_before(tmp_path: Path, sent: signal.Signals) -> None:
    before = signal.getsignal(sent)
    with atomic_outputs(tmp_path / "a.txt") as parts:
        write_all(parts)
    assert signal.getsignal(sent) is before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UnavailableError, match="Permission denied"), atomic_outputs(tmp_path / "a.txt") as (part,):
        part.write_text("a")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with (
        pytest.raises(UnavailableError, match="cannot be written"),
        atomic_outputs(tmp_path / "data" / "a.txt") as (part,),
    ):
        part.write_text("a")
    assert files(tmp_path) == {"data": "in the way"}


def test_an_error_of_polars_that_is_no_matter_of_the_disk_stays(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.ComputeError), atomic_outputs(tmp_path / "a.parquet"):
        raise pl.exceptions.ComputeError("division by zero")
