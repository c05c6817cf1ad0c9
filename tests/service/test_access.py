"""API keys with scopes: created and revoked beside a running service, and stored as hashes."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.params import Params
from fraud3000.service.http.api_keys import SCOPES, ApiKeys
from fraud3000.stages import keys
from fraud3000.stages.serve import Service
from tests.service.world import items

MASTER = "correct horse battery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service" / "keys.json"


@pytest.fixture
def client(opened: Service) -> Iterator[TestClient]:
    return TestClient(opened.app, raise_server_exceptions=False)  # type: ignore[return-value]


def ask(client: TestClient, way: str, key: str | None, **how: Any) -> tuple[int, str | None]:
    method, place = way.split()
    answer = client.request(method, place, headers={} if key is None else {"X-API-Key": key}, **how)
    return answer.status_code, answer.json().get("error", {}).get("code") if answer.content else None


def test_key_is_valid_until_revoked(path: Path) -> None:
    made = ApiKeys(path)
    assert (made.required, made.all()) == (False, [])
    one, other = made.add("shop", ["score"]), made.add("desk", ["read", "label"])
    seen = ApiKeys(path)
    key = seen.find(one)
    assert key is not None
    assert (key.name, key.scopes, seen.required) == ("shop", ("score",), True)
    assert seen.find(other).scopes == ("read", "label")  # type: ignore[union-attr]
    made.revoke(key.id)
    assert seen.find(one) is None
    assert seen.find(other) is not None
    made.revoke(other.split("_")[1])
    assert seen.required, "revoking the last one opens nothing"
    with pytest.raises(DataError, match="has no key 00000000"):
        made.revoke("00000000")


ADD = "import sys; from pathlib import Path; from fraud3000.service.http.api_keys import ApiKeys; keys = ApiKeys(Path(sys.argv[1])); [print(keys.add(sys.argv[2], ['read'])) for _ in range(20)]"


def test_concurrently_created_keys_are_all_stored(path: Path) -> None:
    command = [sys.executable, "-c", ADD, str(path)]
    making = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "abcd"]
    made = [key for one in making for key in one.communicate()[0].split()]
    assert [one.returncode for one in making] == [0] * 4
    assert len(set(made)) == 80
    keys = ApiKeys(path)
    assert all(keys.find(key) for key in made)
    assert len(keys.all()) == 80
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"], "nothing else is left"


def test_unwritable_key_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"keys\.json: cannot be written"):
        ApiKeys(tmp_path / "file" / "keys.json").add("shop", ["score"])


def test_key_file_has_only_hashes_and_is_private(path: Path) -> None:
    key = ApiKeys(path).add("shop", ["score"])
    assert key.split("_", 2)[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "given", ["", "f3k", "f3k_", "f3k__", "f3k_{id}_", "f3k_{id}_wrong", "x_{id}_{secret}", "f3k_00000000_{secret}", "{secret}", "f3k_{id}_{secret}x", "é\udc80"]
)  # fmt: skip
def test_malformed_key_is_rejected(path: Path, given: str) -> None:
    keys = ApiKeys(path)
    _, id_, secret = keys.add("shop", ["score"]).split("_", 2)
    assert keys.find(f"f3k_{id_}_{secret}") is not None
    assert keys.find(given.replace("{id}", id_).replace("{secret}", secret)) is None


def test_malformed_key_file_is_an_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("[{}]")
    with pytest.raises(UnavailableError, match="is not a key file"):
        ApiKeys(path).all()


NEEDS = {
    "POST /score": "score",
    "POST /labels": "label",
    "GET /model": "read",
    "GET /alerts": "read",
    f"GET /decisions/{'0' * 24}": "read",
}


def test_each_route_requires_its_scope(client: TestClient, path: Path, newest: pl.DataFrame) -> None:
    sent = {"json": items(newest)[0]}
    assert ask(client, "POST /score", None, **sent) == (200, None), "nobody else can reach it, and there is no key"
    made = {scope: ApiKeys(path).add(scope, [scope]) for scope in SCOPES}
    for way, scope in NEEDS.items():
        how = sent if way.startswith("POST") else {}
        assert ask(client, way, None, **how) == (401, "no_key")
        assert ask(client, way, "f3k_1_2", **how) == (401, "no_key")
        for other, key in made.items():
            status, code = ask(client, way, key, **how)
            assert (status == 403) == (other != scope), way
            assert (code == "wrong_scope") == (other != scope), way
    for way in ("GET /health", "GET /ready"):
        assert ask(client, way, None)[0] == 200
    ApiKeys(path).revoke(made["score"].split("_")[1])
    assert ask(client, "POST /score", made["score"], **sent) == (401, "no_key"), "at once"
    path.unlink()
    assert ask(client, "POST /score", None, **sent) == (401, "no_key"), "a file that is gone opens nothing"


def test_key_of_the_environment_has_all_scopes(given: Params, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_API_KEY", MASTER)
    with closing(Service.open(given, host="0.0.0.0", port=0, history=str(history), model="challenger")) as service:
        client = TestClient(service.app)
        assert {ask(client, way, MASTER)[0] for way in NEEDS} == {200, 404, 415}
        assert {ask(client, way, "correct horse")[0] for way in NEEDS} == {401}
        without = client.get("/model").json()["error"]
        assert without["message"] == "the header X-API-Key is missing"


def test_public_address_requires_a_key(given: Params, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUD3000_API_KEY", raising=False)
    how: dict[str, Any] = {"port": 0, "history": str(history), "model": "challenger"}
    with pytest.raises(
        ParamsError, match=r"--host 0\.0\.0\.0: other machines could reach the service, but it has no API key"
    ):
        Service.open(given, host="0.0.0.0", **how)
    keys.add(given, "shop", ["score"])
    Service.open(given, host="0.0.0.0", **how).close()
    monkeypatch.setenv("FRAUD3000_API_KEY", "short")
    with pytest.raises(ParamsError, match="too short to be a secret"):
        Service.open(given, **how)


def test_key_commands(given: Params) -> None:
    assert keys.list_keys(given).facts["keys"] == 0
    id_ = keys.add(given, "shop", ["score", "read"]).facts["key"].split("_")[1]
    assert keys.list_keys(given).tables[0].rows[0][:3] == (id_, "shop", "score, read")
    assert keys.revoke(given, id_).facts["name"] == "shop"
    assert keys.list_keys(given).tables[0].rows[0][4]
