"""`fraud3000 deploy` against an AWS that moto plays, and a stand-in for the states that moto does not know.

moto's deployments never fail, take no time and are never throttled, its tasks always end with 0, and it has no service
deployments to stop: these answers come from a small server that speaks as ECS does.
"""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from loguru import logger

from fraud3000.deploy.pace import Pace
from fraud3000.errors import CheckFailed, DataError, FraudError, ParamsError, ScorerError, UnavailableError
from fraud3000.stages import deploy, deploy_run

ROOT = Path(__file__).parents[2]
Console = Callable[..., subprocess.CompletedProcess[str]]

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/fraud3000"
KIND = "application/vnd.oci.image.manifest.v1+json"
LOGS = {"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "task"}
API = {
    "name": "main",
    "image": f"{IMAGE}:a1",
    "essential": True,
    "memory": 256,
    "logConfiguration": {"logDriver": "awslogs", "options": LOGS},
}
WEB = {"family": "web", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"]}
LONG = Pace(20, poll=0.01)


def soon() -> Pace:
    """Ten minutes that are over at once."""
    passed = [0.0]
    return Pace(600, poll=150, clock=lambda: passed[0], sleep=lambda seconds: passed.append(passed.pop() + seconds))


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Nothing of the machine's own AWS, and no names by default."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FRAUD3000_ECS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    number = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(number)


@pytest.fixture
def aws(_object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an account in which nothing was made yet, and all of it in the environment.

    It is that of the tests of S3: emptying one with all of AWS's own policies takes seconds.
    """
    urllib.request.urlopen(urllib.request.Request(f"{_object_store}/moto-api/reset", method="POST")).close()
    enter(monkeypatch, _object_store)
    return _object_store


def enter(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def ecs(aws: str) -> Any:
    """A client of ECS where the cluster `bank` has `api`, steady with two tasks, and `stuck`."""
    return bank()


def bank() -> Any:
    """Make the cluster, and return a client of ECS."""
    ecr, ecs = client("ecr"), client("ecs")
    ecr.create_repository(repositoryName="fraud3000")
    for tag in ("a1", "b2"):
        manifest = json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": {"digest": f"sha256:{tag * 32}"}})
        ecr.put_image(repositoryName="fraud3000", imageTag=tag, imageManifest=manifest)
    ecs.create_cluster(clusterName="bank")
    tags = [{"key": "env", "value": "test"}]
    ecs.register_task_definition(**WEB, containerDefinitions=[API], tags=tags)
    # moto calls the deployment of a service that begins with no task completed, and of others under way for ever
    made = {"taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": network()}
    ecs.create_service(cluster="bank", serviceName="api", desiredCount=0, **made)
    ecs.update_service(cluster="bank", service="api", desiredCount=2)
    ecs.create_service(cluster="bank", serviceName="stuck", desiredCount=1, **made)
    return ecs


def client(api: str) -> Any:
    return _client(api, os.environ["AWS_ENDPOINT_URL"])


@functools.cache
def _client(api: str, url: str) -> Any:
    return boto3.client(api, endpoint_url=url)


def network() -> dict[str, Any]:
    ec2 = client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    return {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group], "assignPublicIp": "DISABLED"}}


def runs(ecs: Any, service: str = "api") -> str:
    told = ecs.describe_services(cluster="bank", services=[service])["services"][0]
    return str(told["taskDefinition"]).rpartition("/")[2]


def image_of(ecs: Any, definition: str) -> str:
    told = ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    return str(told["containerDefinitions"][0]["image"])


def deployment_of(ecs: Any) -> str:
    return str(ecs.describe_services(cluster="bank", services=["api"])["services"][0]["deployments"][0]["id"])


class TestRedeploy:
    def test_the_same_again(self, ecs: Any) -> None:
        before = deployment_of(ecs)
        done = deploy.redeploy("bank", "api", pace=LONG)
        assert done.facts["task definition"] == done.facts["task definition before"] == "web:1"
        assert (done.facts["running"], done.facts["desired"], done.facts["region"]) == (2, 2, "eu-west-1")
        assert done.facts["deployment"] == deployment_of(ecs) != before

    def test_another_image_is_a_new_revision_with_all_else_as_it_was(self, ecs: Any) -> None:
        done = deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        assert (done.facts["task definition before"], done.facts["task definition"]) == ("web:1", "web:2")
        assert (runs(ecs), image_of(ecs, "web:2")) == ("web:2", f"{IMAGE}:b2")
        old, new = (ecs.describe_task_definition(taskDefinition=f"web:{n}", include=["TAGS"]) for n in (1, 2))
        assert new["tags"] == old["tags"] == [{"key": "env", "value": "test"}]
        for told in (old["taskDefinition"], new["taskDefinition"]):
            del told["taskDefinitionArn"], told["revision"], told["containerDefinitions"][0]["image"]
        assert new["taskDefinition"] == old["taskDefinition"]
        again = deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        assert again.facts["task definition"] == "web:2", "no revision for an image that it has already"

    def test_a_dry_run_changes_nothing(self, ecs: Any) -> None:
        before = deployment_of(ecs)
        would = deploy.redeploy("bank", "api", tag="b2", dry_run=True, pace=LONG)
        assert would.facts["image"] == f"{IMAGE}:b2"
        assert would.facts["would"] == "register a new revision of web:1 with this image, and deploy it"
        assert deploy.redeploy("bank", "api", dry_run=True, pace=LONG).facts["would"] == "redeploy web:1"
        assert (runs(ecs), deployment_of(ecs)) == ("web:1", before)
        assert len(ecs.list_task_definitions()["taskDefinitionArns"]) == 1

    def test_not_steady_in_time_it_goes_back(self, ecs: Any) -> None:
        with pytest.raises(UnavailableError) as caught:
            deploy.redeploy("bank", "stuck", tag="b2", pace=soon())
        assert caught.value.message == (
            "service 'stuck' of cluster 'bank': web:2: not steady after 10m (running 0 of 1)\n"
            "  started to roll back to web:1"
        )
        assert runs(ecs, "stuck") == "web:1"

    def test_not_steady_in_time_it_stays_if_that_is_asked(self, ecs: Any) -> None:
        with pytest.raises(UnavailableError, match="not rolled back \\(--no-rollback\\); the deployment continues"):
            deploy.redeploy("bank", "stuck", tag="b2", rollback=False, pace=soon())
        assert runs(ecs, "stuck") == "web:2"

    def test_the_container_that_is_meant(self, ecs: Any) -> None:
        other = {**API, "name": "proxy", "image": "nginx@sha256:0c", "essential": False}
        ecs.register_task_definition(**WEB, containerDefinitions=[API, other])
        ecs.update_service(cluster="bank", service="api", taskDefinition="web:2")
        with pytest.raises(ParamsError, match=r"it has several containers, and none is chosen; found: 'main', 'proxy'"):
            deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        deploy.redeploy("bank", "api", tag="b2", container="main", pace=LONG)
        told = ecs.describe_task_definition(taskDefinition="web:3")["taskDefinition"]
        assert [one["image"] for one in told["containerDefinitions"]] == [f"{IMAGE}:b2", "nginx@sha256:0c"]


class TestByTheCommand:
    def test_from_one_image_to_the_next_in_an_account_of_its_own(
        self, account: Any, monkeypatch: pytest.MonkeyPatch, console: Console
    ) -> None:
        enter(monkeypatch, account.url)
        monkeypatch.setenv("FRAUD3000_ECS_CLUSTER", "bank")
        monkeypatch.setenv("FRAUD3000_ECS_SERVICE", "api")
        bank()
        done = console("deploy", "redeploy", "--image-tag", "b2", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["facts"]["task definition"] == "web:2"
        assert "deploy redeploy done" in done.stderr
        told = console("deploy", "status")
        assert (told.returncode, told.stdout.splitlines()[9]) == (0, f"  images           {IMAGE}:b2")

    @pytest.mark.parametrize(
        ("target", "runs"),
        [
            (["redeploy-ecs-service"], "deploy redeploy"),
            (
                ["redeploy-ecs-service", "CLUSTER=bank", "SERVICE=api", "TAG=b2", "ARGS=--dry-run"],
                "deploy redeploy --cluster bank --service api --image-tag b2 --dry-run",
            ),
            (["promote-model", "ARGS=--dry-run"], "promote --dry-run"),
            (["promote-model", "MODEL_NAME=cards", "STAGE=staging"], "promote --model cards --stage staging"),
        ],
    )
    def test_the_targets_of_make(self, target: list[str], runs: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in ("MODEL_NAME", "STAGE")}
        command = ["make", "--dry-run", "--no-print-directory", "-C", str(ROOT), *target]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept)
        words = shlex.split(done.stdout.replace("\\\n", " "))
        assert " ".join(words[words.index(".venv/bin/fraud3000") + 1 :]) == runs


class TestStatus:
    def test_steady(self, ecs: Any) -> None:
        told = deploy.status("bank", "api")
        assert (told.facts["steady"], told.facts["running"], told.facts["desired"]) == (True, 2, 2)
        assert (told.facts["task definition"], told.facts["images"]) == ("web:1", [f"{IMAGE}:a1"])
        assert told.tables[0].rows[0][:2] == ("primary", "completed")
        assert (told.refused, told.warnings) == (None, ())

    def test_scaled_to_nothing(self, ecs: Any) -> None:
        ecs.update_service(cluster="bank", service="api", desiredCount=0)
        assert deploy.status("bank", "api").warnings == ("it is scaled to 0 tasks, so it serves no requests",)

    def test_not_steady_is_a_no(self, ecs: Any, console: Console) -> None:
        done = console("deploy", "status", "--cluster", "bank", "--service", "stuck")
        assert done.returncode == 6
        assert "  steady           no\n" in done.stdout
        assert done.stderr.endswith(
            "Error: service 'stuck' of cluster 'bank': not steady: running 0 of 1, rollout in progress\n"
        )


class TestNotThere:
    @pytest.mark.parametrize(
        ("cluster", "service", "tag", "message"),
        [
            ("bnk", "api", None, "cluster 'bnk': not found in eu-west-1; nearest: 'bank'"),
            ("bank", "apo", None, "service 'apo' of cluster 'bank': not found in eu-west-1; nearest: 'api'"),
            ("bank", "api", "c3", f"image {IMAGE}:c3: no tag 'c3' in ECR in eu-west-1"),
        ],
    )
    def test_is_told_with_what_is(self, ecs: Any, cluster: str, service: str, tag: str | None, message: str) -> None:
        with pytest.raises(ParamsError) as caught:
            deploy.redeploy(cluster, service, tag=tag, pace=LONG)
        assert caught.value.message == message
        assert caught.value.hint
        assert (runs(ecs), len(ecs.list_task_definitions()["taskDefinitionArns"])) == ("web:1", 1)

    def test_a_service_that_was_deleted(self, ecs: Any) -> None:
        ecs.delete_service(cluster="bank", service="api", force=True)
        with pytest.raises(ParamsError, match="service 'api' of cluster 'bank': not found"):
            deploy.status("bank", "api")

    def test_a_repository(self, ecs: Any) -> None:
        client("ecr").delete_repository(repositoryName="fraud3000", force=True)
        with pytest.raises(ParamsError, match="no such repository in ECR in eu-west-1"):
            deploy.redeploy("bank", "api", pace=LONG)

    def test_a_task_definition(self, ecs: Any) -> None:
        with pytest.raises(ParamsError, match=r"task definition 'job': ecs:DescribeTaskDefinition is refused"):
            deploy_run.run("bank", deploy_run.Task("job", ["promote"], like="api"), pace=LONG)

    def test_another_region(self, ecs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        with pytest.raises(ParamsError, match="cluster 'bank': not found in eu-central-1"):
            deploy.status("bank", "api")


class TestAccess:
    def test_no_credentials(self, aws: str, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        done = console("deploy", "status", "--cluster", "bank", "--service", "api")
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr == (
            "Error: service 'api' of cluster 'bank': no usable AWS credentials (Unable to locate credentials)\n"
            "Hint: Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.\n"
        )

    def test_no_region(self, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(ParamsError, match="no AWS region is set"):
            deploy.status("bank", "api")

    @pytest.mark.parametrize(("name", "value"), [("AWS_REGION", "eu west"), ("AWS_PROFILE", "nobody")])
    def test_settings_that_cannot_be(self, aws: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ParamsError, match=f"AWS settings: .*{value}"):
            deploy.status("bank", "api")

    def test_denied_names_the_action(self, ecs: Any, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
        client("iam").create_user(UserName="nobody")
        key = client("iam").create_access_key(UserName="nobody")["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        authenticate(aws, "0")
        try:
            with pytest.raises(ParamsError) as caught:
                deploy.status("bank", "api")
        finally:
            authenticate(aws, "inf")
        assert caught.value.message.endswith("access denied: ecs:DescribeServices is not allowed in eu-west-1")
        assert key["SecretAccessKey"] not in str(caught.value)

    def test_an_endpoint_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            enter(monkeypatch, f"http://me:secret@127.0.0.1:{bound.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        done = console("deploy", "status", "--cluster", "bank", "--service", "api")
        assert (done.returncode, done.stdout) == (7, "")
        assert "service 'api' of cluster 'bank': the endpoint does not respond to ecs:DescribeServices" in done.stderr
        assert "secret" not in done.stderr
        assert "Traceback" not in done.stderr


def authenticate(url: str, after: str) -> None:
    """Let moto check permissions after so many requests."""
    asked = urllib.request.Request(f"{url}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"})
    urllib.request.urlopen(asked).close()


class TestRun:
    def test_a_command_in_the_network_of_a_service(self, ecs: Any, said: list[str]) -> None:
        def logs(_: float) -> None:
            (arn,) = ecs.list_tasks(cluster="bank")["taskArns"]
            if not client("logs").describe_log_groups()["logGroups"]:
                write_log(client("logs"), arn.rpartition("/")[2])

        wanted = deploy_run.Task("web", ["promote", "--stage", "production"], like="api")
        done = deploy_run.run("bank", wanted, pace=Pace(20, poll=0.01, sleep=logs))
        (arn,) = ecs.list_tasks(cluster="bank")["taskArns"]
        (task,) = ecs.describe_tasks(cluster="bank", tasks=[arn])["tasks"]
        assert task["overrides"]["containerOverrides"] == [
            {"name": "main", "command": ["promote", "--stage", "production"]}
        ]
        assert (task["launchType"], task["startedBy"]) == ("FARGATE", "fraud3000")
        assert (done.facts["command"], done.facts["exit code"]) == ("promote --stage production", 0)
        assert said[-2:] == ["| promote", "|   verdict  version 1 is the champion"]
        assert f"task {done.facts['task']}: stopped" in said

    def test_in_a_network_that_is_named(self, ecs: Any, said: list[str]) -> None:
        place = network()["awsvpcConfiguration"]
        plain = [{"name": "job", "image": "fraud3000", "memory": 256}]
        ecs.register_task_definition(**{**WEB, "family": "plain"}, containerDefinitions=plain)
        named = deploy_run.Network.from_options(place["subnets"][0], place["securityGroups"][0])
        done = deploy_run.run("bank", deploy_run.Task("plain", ["audit", "verify"], network=named), pace=LONG)
        assert (done.facts["task definition"], done.facts["log"]) == ("plain:1", None)
        (arn,) = ecs.list_tasks(cluster="bank")["taskArns"]
        details = ecs.describe_tasks(cluster="bank", tasks=[arn])["tasks"][0]["attachments"][0]["details"]
        assert {"name": "subnetId", "value": place["subnets"][0]} in details
        assert said[-1].startswith("no log lines: the container does not log to CloudWatch")

    def test_without_a_network(self, ecs: Any) -> None:
        with pytest.raises(
            ParamsError, match=r"--like-service \(or --subnets\) is not given, and FRAUD3000_ECS_SERVICE"
        ):
            deploy_run.run("bank", deploy_run.Task("web", ["promote"]), pace=LONG)


def write_log(logs: Any, task: str) -> None:
    names = {"logGroupName": "/ecs/web", "logStreamName": f"task/main/{task}"}
    logs.create_log_group(logGroupName="/ecs/web")
    logs.create_log_stream(**names)
    now = int(time.time() * 1_000)
    lines = ["promote", "  verdict  version 1 is the champion"]
    logs.put_log_events(**names, logEvents=[{"timestamp": now, "message": line} for line in lines])


class StandIn(http.server.ThreadingHTTPServer):
    """Answers as ECS does, from a list for each action; the last answer is given for ever.

    Attributes
    ----------
    asked
        Actions and what they were given.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Iterator[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def tell(self, action: str, *answers: Any) -> None:
        self.answers[action] = itertools.chain(answers, itertools.repeat(answers[-1]))

    def given(self, action: str) -> list[dict[str, Any]]:
        return [given for asked, given in self.asked if asked == action]


class Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        action = self.headers["X-Amz-Target"].rpartition(".")[2]
        self.server.asked.append((action, given))
        answer = (
            next(self.server.answers[action]) if action in self.server.answers else refused("AccessDeniedException")
        )
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def refused(code: str, status: int = 400) -> tuple[int, dict[str, str]]:
    return status, {"__type": code, "message": "the secret reason"}


def deployment(number: int, revision: int, state: str, **more: Any) -> dict[str, Any]:
    counts = {"runningCount": 1, "desiredCount": 1, "createdAt": 1_700_000_000}
    return {
        "id": f"ecs-svc/{number}",
        "status": "PRIMARY",
        "taskDefinition": arn(revision),
        "rolloutState": state,
        **counts,
        **more,
    }


def service(*deployments: dict[str, Any], events: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A service that deploys these, newest first, with its events in the order they came."""
    told = [
        {"id": f"{number}", "message": said, "createdAt": 1_700_000_000 + number} for number, said in enumerate(events)
    ]
    return {
        "serviceName": "api",
        "status": "ACTIVE",
        "runningCount": 1,
        "desiredCount": 1,
        "pendingCount": 0,
        "taskDefinition": deployments[0]["taskDefinition"],
        "deployments": deployments,
        "events": told[::-1],
        **more,
    }


def arn(revision: int) -> str:
    return f"arn:aws:ecs:eu-west-1:123456789012:task-definition/web:{revision}"


def seen(*told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"services": [one], "failures": []} for one in told]


BEFORE = service(deployment(1, 1, "COMPLETED"), events=("(service api) has reached a steady state.",))
BEGUN = service(deployment(2, 2, "IN_PROGRESS"), deployment(1, 1, "COMPLETED", status="ACTIVE"))
FAILED = service(
    deployment(2, 2, "FAILED", rolloutStateReason="ECS: tasks failed to start."),
    deployment(1, 1, "COMPLETED", status="ACTIVE"),
    events=("(service api) has reached a steady state.", "(service api) (deployment ecs-svc/2) deployment failed."),
)
HEALS = {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """ECS with a service that runs web:1, and that deploys web:2 when it is asked to."""
    server = StandIn()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    enter(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    plain = {"family": "web", "revision": 1, "taskDefinitionArn": arn(1)}
    server.tell(
        "DescribeTaskDefinition",
        {"taskDefinition": {**plain, "containerDefinitions": [{**API, "image": "fraud3000:a1"}]}},
    )
    server.tell("RegisterTaskDefinition", {"taskDefinition": {**plain, "revision": 2, "taskDefinitionArn": arn(2)}})
    server.tell("UpdateService", {"service": BEGUN})
    yield server
    server.shutdown()
    server.server_close()


def fail(tag: str | None = "b2", pace: Pace | None = None, **how: Any) -> UnavailableError:
    with pytest.raises(UnavailableError) as caught:
        deploy.redeploy("bank", "api", tag=tag, pace=pace or soon(), **how)
    return caught.value


class TestAWait:
    def test_events_are_told_once_and_in_their_order_as_they_come(self, stand_in: StandIn, said: list[str]) -> None:
        events = ("(service api) has reached a steady state.", "has started 1 tasks", "has stopped 1 running tasks")
        first = service(*BEGUN["deployments"], events=events[:2])
        last = service(deployment(2, 2, "COMPLETED"), events=events)
        # the first answer is one from before: what AWS tells may be some seconds old
        stand_in.tell("DescribeServices", *seen(BEFORE, BEFORE, first, first, last))
        done = deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        assert (done.facts["task definition"], done.facts["deployment"]) == ("web:2", "ecs-svc/2")
        assert said == list(events[1:])
        assert stand_in.given("RegisterTaskDefinition")[0]["containerDefinitions"][0]["image"] == "fraud3000:b2"
        (update,) = stand_in.given("UpdateService")
        assert (update["taskDefinition"], update["forceNewDeployment"]) == (arn(2), True)

    def test_a_failed_deployment_is_rolled_back(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE, BEGUN, FAILED))
        stand_in.tell("ListTasks", {"taskArns": ["task/1", "task/2"]})
        pull = "CannotPullContainerError: fraud3000:b2: not found"
        stopped = [{"startedBy": "ecs-svc/1"}, {"startedBy": "ecs-svc/2", "stoppedReason": pull}]
        stand_in.tell("DescribeTasks", {"tasks": stopped})
        error = fail(pace=LONG)
        assert error.message.splitlines() == [
            "service 'api' of cluster 'bank': web:2: its deployment failed (ECS: tasks failed to start.)",
            "  started to roll back to web:1",
            f"  a task stopped: {pull}",
            "  event: (service api) (deployment ecs-svc/2) deployment failed.",
        ]
        assert [one["taskDefinition"] for one in stand_in.given("UpdateService")] == [arn(2), arn(1)]

    def test_what_ecs_rolled_back_itself_is_left_alone(self, stand_in: StandIn) -> None:
        failed = service(*FAILED["deployments"], **HEALS)
        back = service(
            deployment(
                1, 1, "IN_PROGRESS", rolloutStateReason="circuit breaker: rolling back to deploymentId ecs-svc/1"
            ),
            deployment(2, 2, "FAILED", status="ACTIVE"),
            **HEALS,
        )
        stand_in.tell("DescribeServices", *seen(BEFORE, failed, failed, back))
        error = fail(pace=LONG)
        assert "ECS rolled it back to web:1" in error.message
        assert len(stand_in.given("UpdateService")) == 1

    def test_what_ecs_does_not_roll_back_in_time_is_rolled_back(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE, service(*FAILED["deployments"], **HEALS)))
        assert "its deployment failed" in fail().message
        assert [one["taskDefinition"] for one in stand_in.given("UpdateService")] == [arn(2), arn(1)]

    def test_a_deployment_of_somebody_else_is_left_alone(self, stand_in: StandIn) -> None:
        other = service(deployment(3, 9, "IN_PROGRESS"), deployment(2, 2, "IN_PROGRESS", status="ACTIVE"))
        stand_in.tell("DescribeServices", *seen(BEFORE, BEGUN, other))
        assert "not rolled back: web:9 was deployed in the meantime" in fail(pace=LONG).message
        assert len(stand_in.given("UpdateService")) == 1

    def test_the_way_back_leads_past_a_deployment_that_never_became_steady(self, stand_in: StandIn) -> None:
        half = service(deployment(2, 5, "IN_PROGRESS"), deployment(1, 4, "COMPLETED", status="ACTIVE"))
        stand_in.tell("DescribeServices", *seen(half, BEGUN))
        assert "started to roll back to web:4" in fail().message

    def test_the_same_task_definition_is_rolled_back_by_ecs(self, stand_in: StandIn) -> None:
        again = service(deployment(2, 1, "IN_PROGRESS"), deployment(1, 1, "COMPLETED", status="ACTIVE"))
        stand_in.tell("DescribeServices", *seen(BEFORE, again))
        stand_in.tell("UpdateService", {"service": again})
        stand_in.tell("ListServiceDeployments", {"serviceDeployments": [{"serviceDeploymentArn": "arn:2"}]})
        stand_in.tell("StopServiceDeployment", {"serviceDeploymentArn": "arn:2"})
        assert "ECS was asked to stop it and to restore the service's last revision of web:1" in fail(None).message
        assert stand_in.given("StopServiceDeployment") == [{"serviceDeploymentArn": "arn:2", "stopType": "ROLLBACK"}]
        stand_in.tell("ListServiceDeployments", {"serviceDeployments": []})
        stand_in.tell("DescribeServices", *seen(BEFORE, again))
        assert "not rolled back: the deployment has ended, and web:1 ran before it as well" in fail(None).message

    def test_a_rollback_that_is_not_allowed_is_told(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE, BEGUN))
        stand_in.tell("UpdateService", {"service": BEGUN}, refused("AccessDeniedException"))
        told = fail().message
        assert "could not be rolled back to web:1: service 'api' of cluster 'bank': access denied: ecs:Upd" in told

    def test_aws_may_be_away_for_a_while(self, stand_in: StandIn, said: list[str]) -> None:
        done = service(deployment(2, 2, "COMPLETED"))
        stand_in.tell("DescribeServices", *seen(BEFORE), refused("ServerException", 503), *seen(done))
        deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        assert "ecs:DescribeServices failed in AWS" in said[0]

    def test_denied_on_the_way_the_deployment_goes_on(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE), refused("ExpiredTokenException"))
        with pytest.raises(ParamsError) as caught:
            deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        assert caught.value.message.endswith(
            "the AWS credentials are not accepted (ExpiredTokenException); the deployment of web:2 continues"
        )

    def test_what_was_registered_and_not_deployed_is_told(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE))
        stand_in.tell("UpdateService", refused("AccessDeniedException"))
        with pytest.raises(
            ParamsError, match=r"ecs:UpdateService is not allowed.*; web:2 was registered but is not depl"
        ):
            deploy.redeploy("bank", "api", tag="b2", pace=LONG)
        stand_in.tell("UpdateService", refused("ServerException", 500))
        assert fail().message.endswith(
            "web:2 was registered but is not deployed; the deployment may have started nevertheless"
        )

    @pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_interrupted_it_says_that_the_deployment_goes_on(
        self, stand_in: StandIn, console_command: str, sent: int, code: int
    ) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE, BEGUN))
        command = [console_command, "deploy", "redeploy", "--cluster", "bank", "--service", "api", "--image-tag", "b2"]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be so there too
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, before)
        while running.poll() is None and len(stand_in.given("DescribeServices")) < 2:
            time.sleep(0.01)
        running.send_signal(sent)
        told, errors = running.communicate(timeout=20)
        assert (running.returncode, told) == (code, "")
        assert "interrupted: the deployment of web:2 continues in AWS" in errors
        assert "Traceback" not in errors
        assert len(stand_in.given("UpdateService")) == 1


class TestThrottling:
    @pytest.mark.parametrize("refusal", [refused("ThrottlingException"), refused("ServerException", 500)])
    def test_for_a_while_is_waited_out(
        self, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, refusal: tuple[int, Any]
    ) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
        stand_in.tell("DescribeServices", refusal, refusal, *seen(BEFORE))
        assert deploy.status("bank", "api").facts["steady"]
        assert len(stand_in.given("DescribeServices")) == 3

    def test_for_ever_ends_with_7(self, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
        stand_in.tell("DescribeServices", refused("ThrottlingException"))
        done = console("deploy", "status", "--cluster", "bank", "--service", "api")
        assert done.returncode == 7
        assert done.stderr == (
            "Error: service 'api' of cluster 'bank': ecs:DescribeServices was throttled (ThrottlingException, 3 attempts)\n"
            "Hint: Wait, and run the command again.\n"
        )

    def test_an_image_that_may_not_be_looked_for_is_deployed(self, stand_in: StandIn, said: list[str]) -> None:
        definition = {"family": "web", "revision": 1, "taskDefinitionArn": arn(1), "containerDefinitions": [API]}
        stand_in.tell("DescribeTaskDefinition", {"taskDefinition": definition})
        stand_in.tell("DescribeServices", *seen(BEFORE, service(deployment(2, 2, "COMPLETED"))))
        assert deploy.redeploy("bank", "api", tag="b2", pace=LONG).facts["task definition"] == "web:2"
        (line,) = said
        assert line.startswith(f"could not check whether the image exists: image {IMAGE}:b2: access denied: ecr:Desc")


class TestTheEndOfATask:
    def ended(self, stand_in: StandIn, **container: Any) -> FraudError:
        stand_in.tell("DescribeServices", *seen(BEFORE))
        stand_in.tell("RunTask", {"tasks": [{"taskArn": "arn:aws:ecs:eu-west-1:1:task/bank/7f"}], "failures": []})
        task = {"containers": [{"name": "main", **container}], "stoppedReason": "Essential container in task exited"}
        running = {"tasks": [{"lastStatus": "RUNNING"}]}
        stand_in.tell("DescribeTasks", {"tasks": []}, running, running, {"tasks": [{"lastStatus": "STOPPED", **task}]})
        stand_in.tell("GetLogEvents", {"events": [{"message": "version 2 is not promoted", "timestamp": 0}]})
        with pytest.raises(FraudError) as caught:
            deploy_run.run("bank", deploy_run.Task("web", ["promote", "--why", "a test"], like="api"), pace=LONG)
        return caught.value

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (1, FraudError),
            (3, DataError),
            (4, ParamsError),
            (5, ScorerError),
            (6, CheckFailed),
            (7, UnavailableError),
            (2, FraudError),
            (137, FraudError),
        ],
    )
    def test_is_the_end_of_the_command(
        self, stand_in: StandIn, said: list[str], code: int, kind: type[FraudError]
    ) -> None:
        error = self.ended(stand_in, exitCode=code)
        assert (type(error), error.exit_code) == (kind, code)
        assert error.message == (
            f"task 7f: `promote --why 'a test'` ended with exit code {code} (Essential container in task exited)"
        )
        assert error.hint == "Read its log: /ecs/web task/main/7f."
        assert said == ["task 7f: running", "task 7f: stopped", "| version 2 is not promoted"]

    @pytest.mark.parametrize(
        ("reason", "kind"),
        [
            ("CannotPullContainerError: fraud3000:b2: not found", ParamsError),
            ("CannotPullContainerError: dial tcp: i/o timeout", UnavailableError),
        ],
    )
    def test_a_task_that_never_ran(self, stand_in: StandIn, reason: str, kind: type[FraudError]) -> None:
        error = self.ended(stand_in, reason=reason)
        assert (type(error), error.message) == (kind, f"task 7f: `promote --why 'a test'` did not run: {reason}")

    def test_no_room(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE))
        stand_in.tell("RunTask", {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time"}]})
        with pytest.raises(UnavailableError, match="no task was started \\(Capacity is unavailable at this time\\)"):
            deploy_run.run("bank", deploy_run.Task("web", ["promote"], like="api"), pace=LONG)

    def test_by_the_command(self, stand_in: StandIn, console: Console) -> None:
        self.ended(stand_in, exitCode=6)
        stopped = {"lastStatus": "STOPPED", "containers": [{"name": "main", "exitCode": 6}]}
        stand_in.tell("DescribeTasks", {"tasks": [stopped]})
        names = ["--cluster", "bank", "--task-definition", "web", "--like-service", "api", "--timeout", "60s"]
        done = console("deploy", "run", *names, "--", "promote", "--stage", "staging", "--why", "new")
        assert (done.returncode, done.stdout) == (6, "")
        assert "info    | version 2 is not promoted\n" in done.stderr
        assert "`promote --stage staging --why new` ended with exit code 6" in done.stderr
        (override,) = stand_in.given("RunTask")[-1]["overrides"]["containerOverrides"]
        assert override == {"name": "main", "command": ["promote", "--stage", "staging", "--why", "new"]}

    def test_later_than_is_waited_for(self, stand_in: StandIn) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE))
        stand_in.tell("RunTask", {"tasks": [{"taskArn": "task/7f"}]})
        stand_in.tell("DescribeTasks", {"tasks": [{"lastStatus": "RUNNING"}]})
        with pytest.raises(UnavailableError, match="task 7f: still running after 10m; it continues"):
            deploy_run.run("bank", deploy_run.Task("web", ["promote"], like="api"), pace=soon())

    def test_a_log_that_may_not_be_read_hides_no_exit_code(self, stand_in: StandIn, said: list[str]) -> None:
        stand_in.tell("DescribeServices", *seen(BEFORE))
        stand_in.tell("RunTask", {"tasks": [{"taskArn": "task/7f"}]})
        stand_in.tell(
            "DescribeTasks", {"tasks": [{"lastStatus": "STOPPED", "containers": [{"name": "main", "exitCode": 0}]}]}
        )
        done = deploy_run.run("bank", deploy_run.Task("web", ["promote"], like="api"), pace=LONG)
        assert done.facts["exit code"] == 0
        assert (
            "its log could not be read: log stream /ecs/web task/main/7f: access denied: logs:GetLogEvents" in said[-1]
        )
