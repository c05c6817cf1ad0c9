"""Programs that the infrastructure runs on, each started for itself: an AWS made of moto, and a free port for the rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60.0

AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Account:
    """An AWS account that a moto server plays.

    Attributes
    ----------
    url
        Where it answers for every service.
    environ
        What a program needs in its environment to use it, with all that this process has.
    """

    url: str
    environ: dict[str, str]

    def emptied(self) -> None:
        """Forget everything that was made in it."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST"), timeout=SECONDS)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def wait_until_it_answers(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a program's first answer, or say what it wrote before it gave up."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and running.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer: {log.read_text(encoding='utf-8', errors='replace')[-2_000:]}")


@contextmanager
def running(
    command: list[str], *, answers: str, log: Path, environ: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program from its first answer on; it is ended afterwards."""
    with log.open("wb") as told:
        program = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, env=environ)
        try:
            wait_until_it_answers(answers, program, log)
            yield program
        finally:
            program.terminate()
            program.wait(SECONDS)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """AWS for the whole run; `account` is the same, emptied."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true", **AWS}
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("moto") / "log"
    with running(command, answers=f"{url}/moto-api/", log=log, environ=environ):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        yield Account(url, {**kept, **AWS, "AWS_ENDPOINT_URL": url})


@pytest.fixture
def account(moto: Account) -> Account:
    """An AWS account in which nothing was made yet."""
    moto.emptied()
    return moto
