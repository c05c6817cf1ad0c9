"""compose.yaml is whole: read by podman-compose, in an order that holds, with secrets from files and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.programs import ROOT, told

COMPOSE = ROOT / "infra" / "compose.yaml"
CONTENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]
ONCE = {"bucket", "tools"}
OURS = {"api", "tools", "mlflow", "bucket"}


def test_a_profile_for_all_and_one_for_the_service_alone() -> None:
    of = {name: set(service["profiles"]) for name, service in SERVICES.items()}
    assert {name for name, profiles in of.items() if "api" in profiles} == {"api"}
    assert {name for name, profiles in of.items() if "full" in profiles} == {*SERVICES} - {"tools"}


def test_what_goes_on_running_has_a_health_check_and_what_it_waits_for_too() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == ONCE
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            ends = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how["condition"] == ends, (name, other)
            assert set(service["profiles"]) <= set(SERVICES[other]["profiles"]), (name, other)


def test_secrets_are_files_and_each_is_used() -> None:
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(CONTENT["secrets"])
    for name, service in SERVICES.items():
        told_of = str(service.get("environment", {})) + str(service.get("command", ""))
        assert {*re.findall(r"/run/secrets/(\w+)", told_of)} <= set(service.get("secrets", [])), name
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"KEY|PASSWORD|SECRET|USER_FILE|CREDENTIALS", variable)
            assert not secret or str(value).startswith("/run/secrets/"), (name, variable)


def test_our_containers_are_read_only_and_drop_what_they_need_not() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_images_are_pinned_and_ports_are_of_this_machine_alone() -> None:
    for name, service in SERVICES.items():
        pinned = service["image"].startswith("fraud3000") or re.search(r":[\w.-]*\d", service["image"])
        assert pinned, name
        assert not service["image"].endswith(":latest"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_files_that_it_mounts_are_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = source in CONTENT["volumes"] or (COMPOSE.parent / source).resolve().exists()
            assert known, (name, volume)


def test_prometheus_asks_as_it_does_beside_a_service() -> None:
    """The two configurations differ in where the service, its key and the Alertmanager are."""
    beside, composed = (
        yaml.safe_load((ROOT / "infra" / path).read_text(encoding="utf-8"))
        for path in ("prometheus/prometheus.yml", "compose/prometheus.yml")
    )
    for content in (beside, composed):
        content.pop("alerting", None)
        for job in content["scrape_configs"]:
            del job["static_configs"], job["http_headers"]["X-API-Key"]["files"]
    assert beside == composed


def test_secrets_are_made_once_and_only_the_owner_may_enter_their_folder(tmp_path: Path) -> None:
    shutil.copytree(COMPOSE.parent / "compose", tmp_path / "compose")
    shutil.rmtree(tmp_path / "compose" / "secrets", ignore_errors=True)
    script, secrets = tmp_path / "compose" / "secrets.sh", tmp_path / "compose" / "secrets"
    told(script)
    assert {path.name for path in secrets.iterdir()} == set(CONTENT["secrets"])
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert len((secrets / "api_key").read_text(encoding="utf-8")) == 64
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert told(script) == ""
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["full", "api"])
def test_podman_compose_reads_it(profile: str, tmp_path: Path) -> None:
    composer = _composer()
    shutil.copytree(COMPOSE.parent, tmp_path / "infra", ignore=shutil.ignore_patterns("terraform", "secrets"))
    told(tmp_path / "infra" / "compose" / "secrets.sh")
    read = told(*composer, "--file", tmp_path / "infra" / "compose.yaml", "--profile", profile, "config")
    services = yaml.safe_load(read[read.index("name:") :])["services"]
    assert set(services) == {name for name, service in SERVICES.items() if profile in service["profiles"]}


def _composer() -> list[str]:
    """The program, or uv to run it: it is no dependency of ours."""
    if shutil.which("podman-compose"):
        return ["podman-compose"]
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    command = [uv, "tool", "run", "--quiet", "podman-compose"]
    tried = (
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        if Path(uv).exists()
        else None
    )
    if tried is None or tried.returncode:
        pytest.skip("podman-compose is not installed and cannot be fetched")
    return command
