"""The images, built and run: ready, scoring with a key, read-only and without capabilities, stopped in good order."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.infra import images
from tests.infra.images import built
from tests.infra.programs import ROOT, told

pytestmark = pytest.mark.slow

LARGEST = 650_000_000
USER = "10001:10001"
KEY = "a key that only this test knows"
_RUN = (
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none"),
    *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
)
_ASK = """
import json, sys, urllib.request
body = sys.argv[3].encode() if len(sys.argv) > 3 else None
headers = {"X-API-Key": sys.argv[1], "Content-Type": "application/json"}
asked = urllib.request.Request("http://127.0.0.1:8000" + sys.argv[2], body, headers)
print(urllib.request.urlopen(asked, timeout=10).read().decode())
"""


class Container:
    """A container that runs the service; its network is its own loopback."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self, path: str, body: object = None, *, key: str = KEY) -> dict[str, object]:
        """What the service answers, asked from inside."""
        words = ["python", "-c", _ASK, key, path, *([] if body is None else [json.dumps(body)])]
        answered: dict[str, object] = json.loads(told(*_podman("exec"), self.name, *words))
        return answered

    def wait_until_ready(self) -> float:
        """Seconds until it was."""
        begin = time.monotonic()
        while time.monotonic() < begin + 120:
            try:
                if self.ask("/ready")["status"] == "ready":
                    return time.monotonic() - begin
            except RuntimeError:
                time.sleep(0.2)
        raise RuntimeError(f"not ready: {self.log}")

    @property
    def log(self) -> str:
        return subprocess.run(["podman", "logs", self.name], capture_output=True, text=True, check=False).stdout

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        told(*_podman("stop"), "--time", "30", self.name)
        return int(told("podman", "inspect", "--format", "{{.State.ExitCode}}", self.name))


def _podman(verb: str) -> tuple[str, ...]:
    """With runc where it is there: older crun does not run everywhere."""
    return ("podman", *(["--runtime", "runc"] if shutil.which("runc") else []), verb)


@contextmanager
def running(image: str, place: Path, *options: str) -> Iterator[Container]:
    key = place.parent / "key"
    key.write_text(KEY, encoding="utf-8")
    secret = ("--env", "FRAUD3000_API_KEY_FILE=/run/key", "--volume", f"{key}:/run/key:ro")
    name = told(*_podman("run"), "--detach", *_RUN, *secret, *options, "--volume", f"{place}:/srv/fraud3000", image)
    try:
        yield Container(name)
    finally:
        subprocess.run([*_podman("rm"), "--force", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def image() -> str:
    return built("serve")


@pytest.fixture
def place(champion: Path, tmp_path: Path) -> Path:
    """A workspace with a champion, as the volume of a service holds it."""
    shutil.copytree(champion / "data", tmp_path / "place" / "data")
    shutil.copy(ROOT / "params.yaml", tmp_path / "place")
    told("chown", "--recursive", USER, tmp_path / "place")
    return tmp_path / "place"


def transaction(number: int) -> dict[str, object]:
    return {
        "transaction_id": f"image-{number}",
        "ts": "2026-01-02T03:04:05Z",
        "card_id": "C00001",
        "terminal_id": "T0000001",
        "amount": 1_250,
        "category": "food",
    }


def test_the_image_that_serves_is_small(image: str, record_property: pytest.RecordProperty) -> None:
    found, base = images.size(image), images.size(images.base())
    record_property("told", f"{found / 1e6:.0f} MB, its base {base / 1e6:.0f} MB")
    assert found <= LARGEST


def test_it_holds_what_scoring_needs_and_nothing_of_training(image: str) -> None:
    listed = "import importlib.metadata as m; print(*sorted({d.name.lower() for d in m.distributions()}))"
    found = set(told(*_podman("run"), "--rm", *_RUN, image, "python", "-c", listed).split())
    assert {"fraud3000", "fastapi", "numba", "polars"} <= found
    training = {"scikit-learn", "scipy", "skops", "pandas", "pyarrow", "matplotlib", "mlflow", "mlflow-skinny", "dvc"}
    assert not found & (training | {"boto3", "pytest", "moto"})
    missing = subprocess.run([*_podman("run"), "--rm", *_RUN, image, "sh", "-c", "command -v curl uv"], check=False)
    assert missing.returncode != 0


def test_it_says_what_it_is(image: str) -> None:
    told_of = json.loads(told("podman", "image", "inspect", image))[0]
    labels = told_of["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "fraud3000"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert told_of["Config"]["User"] == USER
    assert told_of["Config"]["StopSignal"] in {"SIGTERM", "15"}
    assert told(*_podman("run"), "--rm", *_RUN, image, "--version").startswith("fraud3000 ")


def test_a_read_only_container_without_capabilities_scores_with_a_key(image: str, place: Path) -> None:
    with running(image, place) as container:
        container.wait_until_ready()
        answer = container.ask("/score", transaction(1))
        assert answer["results"][0]["decision"] in {"approve", "review", "decline"}  # type: ignore[index]
        told(*_podman("healthcheck"), "run", container.name)
        assert told(*_podman("exec"), container.name, "id", "-u") == "10001"
        with pytest.raises(RuntimeError, match="Read-only file system"):
            told(*_podman("exec"), container.name, "touch", "/opt/fraud3000/file")
        with pytest.raises(RuntimeError, match="401"):
            container.ask("/model", key="another key")


def test_it_stops_in_good_order_and_another_goes_on(image: str, place: Path) -> None:
    with running(image, place) as container:
        container.wait_until_ready()
        first = container.ask("/score", transaction(1))
        begin = time.monotonic()
        assert container.stop() == 143
        assert time.monotonic() < begin + 20
    assert list((place / "data" / "service" / "snapshots").iterdir())
    with running(image, place) as container:
        container.wait_until_ready()
        assert container.ask("/score", transaction(1)) == first


def test_nothing_is_compiled_when_it_starts(image: str, place: Path) -> None:
    """Loops come with the image: compiling them takes half a minute."""
    with running(image, place, "--env", "NUMBA_DEBUG_CACHE=1") as container:
        container.wait_until_ready()
        container.ask("/score?reasons=all", transaction(1))
        assert "data loaded from" in container.log
        assert "data saved to" not in container.log


def test_without_a_model_it_says_what_is_missing(image: str, tmp_path: Path) -> None:
    """The registry is not asked: the image has no MLflow."""
    told("chown", USER, tmp_path)
    ended = subprocess.run(
        [*_podman("run"), "--rm", *_RUN, "--volume", f"{tmp_path}:/srv/fraud3000", image, "serve", "--cold-start"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 5
    assert "no champion" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_image_of_tools_trains_and_runs_the_registry(tmp_path: Path) -> None:
    image = built("tools")
    told("chown", USER, tmp_path)
    command = (*_podman("run"), "--rm", *_RUN, "--volume", f"{tmp_path}:/srv/fraud3000", image)
    assert told(*command, "mlflow", "--version").startswith("mlflow, version 3.")
    assert told(*command, "python", "-c", "import psycopg, lightgbm, optuna; print('all')") == "all"
    assert told(*command, "dvc", "--version")
    told(*command, "simulate", "--rows", "20000", "--days", "120")
    told(*command, "prepare")
    assert (tmp_path / "data" / "interim" / "transactions.parquet").stat().st_uid == 10001
