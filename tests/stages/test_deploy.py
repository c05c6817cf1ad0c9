"""What `fraud3000 deploy` refuses and decides without AWS; with it: tests/infra/test_deploy.py."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from typing import Any

import pytest
from botocore import exceptions
from loguru import logger

from fraud3000.deploy import aws
from fraud3000.deploy.definitions import container_name, with_tag
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.services import EcsService
from fraud3000.deploy.tasks import log_stream
from fraud3000.errors import FraudError, ParamsError, UnavailableError
from fraud3000.stages import deploy, deploy_run
from fraud3000.stages.shared import ecs_options


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ecs_options.CLUSTER, ecs_options.SERVICE, "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("cluster", "service", "environ", "message"),
    [
        (None, "api", {}, "--cluster is not given, and FRAUD3000_ECS_CLUSTER is not set"),
        (None, "api", {ecs_options.CLUSTER: " "}, "--cluster is not given, and FRAUD3000_ECS_CLUSTER is empty"),
        ("bank", None, {}, "--service is not given, and FRAUD3000_ECS_SERVICE is not set"),
    ],
)
def test_a_name_that_is_missing(
    cluster: str | None, service: str | None, environ: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for command in (deploy.status, lambda *names: deploy.redeploy(*names, pace=Pace(1))):
        with pytest.raises(ParamsError) as caught:
            command(cluster, service)
        assert caught.value.message == message


@pytest.mark.parametrize("tag", ["", "a b", "fraud3000:a1", "-a", "a" * 129])
def test_a_tag_that_cannot_be(tag: str) -> None:
    with pytest.raises(ParamsError, match=r"--image-tag: .* is not a valid image tag"):
        deploy.redeploy("bank", "api", tag=tag, pace=Pace(1))


def test_a_time_that_is_none() -> None:
    with pytest.raises(ParamsError, match="--timeout: 'soon' is not a duration"):
        ecs_options.parse_timeout("soon")


def test_security_groups_without_a_network() -> None:
    assert deploy_run.Network.from_options("", "") is None
    with pytest.raises(ParamsError, match="--security-groups: given without --subnets"):
        deploy_run.Network.from_options("", "sg-1")


def test_nothing_of_aws_is_loaded_before_it_is_asked() -> None:
    code = "import sys; from fraud3000.stages import deploy; print({'boto3', 'botocore'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("image", "tagged"),
    [
        ("fraud3000", "fraud3000:b2"),
        ("fraud3000:a1", "fraud3000:b2"),
        ("host:5000/x/fraud3000", "host:5000/x/fraud3000:b2"),
        ("host/fraud3000:a1@sha256:0c", "host/fraud3000:b2"),
    ],
)
def test_a_tag_takes_the_place_of_tag_and_digest(image: str, tagged: str) -> None:
    assert with_tag(image, "b2") == tagged


def test_the_container_named_counts_before_what_is_likely() -> None:
    two = {"family": "web", "containerDefinitions": [{"name": "api"}, {"name": "proxy"}]}
    assert container_name(two, "proxy", ["api"]) == "proxy"
    assert container_name(two, None, [None, "api"]) == "api"
    with pytest.raises(ParamsError, match="no container 'job'"):
        container_name({**two, "containerDefinitions": [{"name": "api"}]}, "job")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"logConfiguration": {"logDriver": "awsfirelens"}},
        {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/g"}}},
    ],
)
def test_a_container_that_logs_elsewhere(settings: dict[str, Any]) -> None:
    assert log_stream({"containerDefinitions": [{"name": "api", **settings}]}, "api", "task/7f") is None


def told(*deployments: tuple[str, str], running: int = 1) -> EcsService:
    """A service by status and rollout state of its deployments."""
    listed = [
        {"id": status, "status": status, "rolloutState": state, "taskDefinition": f"web:{9 - place}"}
        for place, (status, state) in enumerate(deployments)
    ]
    counts = {"runningCount": running, "desiredCount": 1}
    return EcsService("bank", "api", {"taskDefinition": "web:9", "deployments": listed, **counts})


@pytest.mark.parametrize(
    ("service", "steady", "former"),
    [
        (told(("PRIMARY", "COMPLETED")), True, "web:9"),
        (told(("PRIMARY", "COMPLETED"), running=0), False, "web:9"),
        (told(("PRIMARY", "IN_PROGRESS")), False, "web:9"),
        (told(("PRIMARY", "COMPLETED"), ("ACTIVE", "COMPLETED")), False, "web:9"),
        (told(("PRIMARY", "IN_PROGRESS"), ("ACTIVE", "COMPLETED")), False, "web:8"),
        (told(("PRIMARY", "FAILED"), ("ACTIVE", "FAILED")), False, "web:9"),
        (told(), True, "web:9"),
    ],
)
def test_what_is_steady_and_what_ran_before(service: EcsService, steady: bool, former: str) -> None:
    assert (service.steady, service.previous) == (steady, former)


def test_an_error_of_the_network_in_a_region_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    away = exceptions.EndpointConnectionError(endpoint_url="https://me:secret@ecs.eu-wset-1.amazonaws.com")
    with pytest.raises(ParamsError, match=r"^AWS region 'eu-wset-1': unknown; nearest: 'eu-west-1'"):
        ask(away, "eu-wset-1")
    with pytest.raises(
        UnavailableError, match="the cluster: the endpoint does not respond to ecs:DescribeServices"
    ) as caught:
        ask(away, "eu-west-1")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="the endpoint does not respond"):
        ask(away, "anywhere")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (exceptions.SSLError(endpoint_url="https://x", error="self-signed"), UnavailableError, "the certificate of"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="KEY"), ParamsError, "no usable AWS credentials"),
        (exceptions.ParamValidationError(report="Invalid length"), ParamsError, "invalid parameters for"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), UnavailableError, "the endpoint does not respond"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), UnavailableError, "the endpoint does not respond"),
    ],
)
def test_other_errors_of_a_request(error: Exception, kind: type[FraudError], message: str) -> None:
    with pytest.raises(kind, match=message):
        ask(error, "eu-west-1")


def ask(error: Exception, region: str) -> None:
    with aws._translated_errors("ecs:DescribeServices", "the cluster", region):
        raise error


class Closing(io.RawIOBase):
    """Interrupts its own end, as a signal may that comes while a response is given up."""

    def close(self) -> None:
        if not self.closed:
            super().close()
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_python_drops_is_sent_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    Closing()
    with pytest.raises(KeyboardInterrupt), aws.resend_lost_signals():
        Closing()
    assert signal.getsignal(signal.SIGINT) is before


def interrupted() -> None:
    """Begin something that fails, and is stopped at the end of its block as by a signal that waited."""
    with ecs_options.report_interruption() as begun:
        begun.append("the deployment of web:2")
        try:
            raise UnavailableError("web:2 was registered and is not deployed")
        finally:
            raise KeyboardInterrupt


def test_interrupted_both_what_goes_on_and_what_failed_are_told() -> None:
    said: list[str] = []
    number = logger.add(lambda message: said.append(message.record["message"]))
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    logger.remove(number)
    assert said == ["web:2 was registered and is not deployed", "interrupted: the deployment of web:2 continues in AWS"]
