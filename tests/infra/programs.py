"""Commands and servers that tests of the infrastructure start: fraud3000 itself, moto, PostgreSQL, MLflow's server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
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
COMMAND = str(Path(sys.executable).with_name("fraud3000"))
WORLD = ("--rows", "60000")

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
    command: list[str], *, answers: str, log: Path, environ: dict[str, str], place: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program from its first answer on; it is ended afterwards."""
    with log.open("wb") as told:
        program = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, env=environ, cwd=place)
        try:
            wait_until_it_answers(answers, program, log)
            yield program
        finally:
            program.terminate()
            program.wait(SECONDS)


def fraud3000(*arguments: str, place: Path, environ: dict[str, str] | None = None, exit_code: int = 0) -> str:
    """What a command prints."""
    done = subprocess.run(
        [COMMAND, *arguments], cwd=place, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == exit_code, f"fraud3000 {' '.join(arguments)}: {done.returncode}\n{done.stderr[-3_000:]}"
    return done.stdout


def told(*command: str | Path, place: Path | None = None, seconds: float = 900.0) -> str:
    """What a command prints; where it fails, the end of what it said."""
    words = [*map(str, command)]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stdout + done.stderr)[-3_000:]}")
    return done.stdout.strip()


def needs(*programs: str) -> None:
    """Skip where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def trained(place: Path, environ: dict[str, str] | None = None) -> Path:
    """A workspace in which a champion was made, as a user would."""
    for command in (("simulate", *WORLD), ("prepare",), ("featurize",), ("train",), ("evaluate",), ("promote",)):
        fraud3000(*command, place=place, environ=environ)
    return place


@dataclass(frozen=True)
class Postgres:
    """A database server with its data in a folder, asking for a password; of another user where this one is root."""

    place: Path
    port: int
    password: str = "secret-of-a-test"

    @property
    def uri(self) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        password = self.place / "password"
        password.write_text(self.password, encoding="utf-8")
        if os.geteuid() == 0:
            shutil.chown(self.place, "postgres")
            shutil.chown(password, "postgres")
        self._run("initdb", "--auth=scram-sha-256", f"--pwfile={password}", "--username=postgres", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.place}"
        self._run("pg_ctl", "-w", "-o", options, "-l", self.place / "log", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "fast", "stop")

    def _run(self, program: str, *arguments: str | Path) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        told(*as_user, postgres_program(program), "-D", self.place / "data", *arguments, place=self.place)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A database server of its own, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder), free_port())
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def postgres_program(name: str) -> Path:
    """A program of PostgreSQL, which Debian keeps out of the PATH."""
    found = [shutil.which(name), *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True))]
    for path in filter(None, found):
        return Path(path)
    pytest.skip("PostgreSQL is not installed")


@contextmanager
def mlflow_on(
    database: Postgres, bucket: str, account: Account, log: Path, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """MLflow's server with runs in PostgreSQL and artifacts in a bucket; where it answers."""
    port = port or free_port()
    command = [
        *(str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", database.uri, "--serve-artifacts"),
        *("--artifacts-destination", f"s3://{bucket}"),
    ]
    environ = {
        **account.environ,
        "MLFLOW_S3_ENDPOINT_URL": account.url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    url = f"http://127.0.0.1:{port}"
    with running(command, answers=f"{url}/health", log=log, environ=environ) as program:
        yield url, program
