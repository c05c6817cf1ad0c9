"""The Terraform configuration: read, planned, made in an AWS of moto, taken away again, and looked through for weak places."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.infra.programs import Account

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "infra" / "terraform"
FILES = sorted(SOURCE.rglob("*.tf"))
PROVIDER = "registry.terraform.io/hashicorp/aws"
MIRRORS = (
    "/opt",
    "/opt/*",
    "/usr/share/terraform/*",
    "/usr/local/share/terraform/*",
    "~/.terraform.d/*",
    "~/.local/share/terraform/*",
)
TERRAFORM = shutil.which("terraform")
CHECKOV = "checkov==3.3.30"
SAME_ACCOUNT = {
    "certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
    "github_repository": "owner/fraud3000",
}

needs_terraform = pytest.mark.skipif(TERRAFORM is None, reason="terraform is not installed")

PLANNED_ONLY = {"aws_appautoscaling_policy", "aws_appautoscaling_target", "aws_efs_backup_policy"}
"""What moto lacks and `tests/moto.tfvars` leaves out."""

UNTOLD = {
    # moto takes these and does not give them back, so that Terraform would set them again
    ("aws_db_parameter_group", "parameter"),
    ("aws_ecs_service", "availability_zone_rebalancing"),
    ("aws_ecs_service", "health_check_grace_period_seconds"),
    ("aws_vpc_security_group_egress_rule", "description"),
    ("aws_vpc_security_group_ingress_rule", "description"),
}

UNDELETABLE = "module.volume.aws_efs_file_system_policy.this"
"""moto has no way to delete it; it goes with its file system."""


@dataclass(frozen=True)
class Terraform:
    """Terraform in a copy of the configuration.

    Attributes
    ----------
    folder
        The copy.
    environ
        What it runs with.
    """

    folder: Path
    environ: dict[str, str]

    def run(self, *words: str, code: int = 0) -> str:
        """What it prints, if it ends with the exit code."""
        command = [str(TERRAFORM), *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, (done.stdout + done.stderr)[-6_000:]
        return done.stdout + done.stderr

    def inside(self, account: Account) -> Terraform:
        """The same, in an account, with its state in the folder."""
        (self.folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
        made = replace(self, environ={**account.environ, **self.environ})
        made.run("init", "-lockfile=readonly")
        return made

    def planned(self, *words: str) -> list[dict[str, Any]]:
        """The changes of a plan."""
        self.run("plan", "-out=made.tfplan", *words)
        changes: list[dict[str, Any]] = json.loads(self.run("show", "-json", "made.tfplan"))["resource_changes"]
        return [one for one in changes if one["change"]["actions"] not in (["no-op"], ["read"])]


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Terraform is told to find its provider: what the environment says, else a mirror on this machine."""
    given = Path(os.environ.get("TF_CLI_CONFIG_FILE", ""))
    if given.is_file():
        return given
    places = [place for pattern in MIRRORS for place in Path("/").glob(str(Path(pattern).expanduser()).lstrip("/"))]
    mirror = next((place for place in places if (place / PROVIDER).is_dir()), None)
    if mirror is None:
        pytest.skip(f"no mirror of {PROVIDER} on this machine; TF_CLI_CONFIG_FILE may name one")
    config = tmp_path_factory.mktemp("terraform") / "config.tfrc"
    config.write_text(
        f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n',
        encoding="utf-8",
    )
    return config


@pytest.fixture
def terraform(plugins: Path, tmp_path: Path) -> Terraform:
    """Terraform in a copy, which knows what differs from account to account."""
    folder = tmp_path / "terraform"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
    told = {f"TF_VAR_{name}": value for name, value in SAME_ACCOUNT.items()}
    settings = {
        "TF_CLI_CONFIG_FILE": str(plugins),
        "TF_CLI_ARGS": "-no-color",
        "TF_INPUT": "0",
        "TF_IN_AUTOMATION": "1",
    }
    return Terraform(folder, {**kept, **told, **settings})


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """Each block of a kind, with where it stands and its body."""
    for path in FILES:
        for match in re.finditer(
            rf"^{kind} (.+?) {{\n(.*?)^}}", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            yield f"{path.relative_to(SOURCE)}: {match[1]}", match[2]


@needs_terraform
def test_the_files_have_their_one_format() -> None:
    done = subprocess.run(
        [str(TERRAFORM), "fmt", "-check", "-recursive", str(SOURCE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_variable_has_a_type_and_says_what_it_is() -> None:
    told = dict(blocks("variable"))
    assert len(told) > 50
    assert [
        name for name, body in told.items() if not re.search(r'^  description = "\S.*\."$', body, re.MULTILINE)
    ] == []
    assert [name for name, body in told.items() if not re.search(r"^  type +=", body, re.MULTILINE)] == []


def test_every_variable_is_used_in_its_module() -> None:
    unused = []
    for path in SOURCE.rglob("variables.tf"):
        names = re.findall(r'^variable "(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
        others = [one for one in path.parent.glob("*.tf") if one != path]
        code = "\n".join(one.read_text(encoding="utf-8") for one in others)
        unused += [f"{path.parent.name}: {name}" for name in names if not re.search(rf"\bvar\.{name}\b", code)]
    assert unused == []


def test_every_module_has_its_place() -> None:
    named = {re.sub(r'.*"\./modules/(\w+)".*', r"\1", body, flags=re.DOTALL) for _, body in blocks("module")}
    assert named == {path.name for path in (SOURCE / "modules").iterdir()}


def test_no_value_of_a_secret_is_in_the_files_or_the_state() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    assert "aws_secretsmanager_secret_version" not in code
    assert not re.search(r"^\s*(master_)?password\s*=", code, re.MULTILINE)


def test_the_page_names_what_is_planned_only() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert [kind for kind in [*PLANNED_ONLY, UNDELETABLE.split(".")[2]] if f"`{kind}`" not in page] == []


def test_mlflow_reaches_its_database_with_any_password(tmp_path: Path) -> None:
    stand_in = tmp_path / "mlflow"
    stand_in.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$MLFLOW_BACKEND_STORE_URI" "${DATABASE_PASSWORD-gone}" "$*"\n', encoding="utf-8"
    )
    stand_in.chmod(0o755)
    told = {
        "DATABASE_USER": "mlflow",
        "DATABASE_PASSWORD": "a/b:c@d%e?f#g $(h)",
        "DATABASE_HOST": "database",
        "PORT": "5000",
        "ARTIFACTS": "s3://bucket",
        "ALLOWED_HOSTS": "one:5000,two:5000",
        "PATH": f"{tmp_path}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
    }
    command = ["sh", "-c", (SOURCE / "mlflow.sh").read_text(encoding="utf-8")]
    uri, password, words = subprocess.run(
        command, env=told, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert uri == "postgresql://mlflow:a%2Fb%3Ac%40d%25e%3Ff%23g%20%24%28h%29@database:5432/mlflow?sslmode=require"
    assert password == "gone"
    assert words == (
        "server --host 0.0.0.0 --port 5000 --workers 2 --artifacts-destination s3://bucket --serve-artifacts"
        " --allowed-hosts one:5000,two:5000"
    )


@needs_terraform
@pytest.mark.slow
def test_the_configuration_is_valid(terraform: Terraform) -> None:
    terraform.run("init", "-backend=false", "-lockfile=readonly")
    assert "The configuration is valid" in terraform.run("validate")


@needs_terraform
@pytest.mark.slow
def test_a_missing_variable_is_named(terraform: Terraform, account: Account) -> None:
    inside = terraform.inside(account)
    del inside.environ["TF_VAR_certificate_arn"]
    told = inside.run("plan", "-var-file=dev.tfvars", code=1)
    assert 'The root module input variable "certificate_arn" is not set' in told


@needs_terraform
@pytest.mark.slow
def test_its_own_tests_pass(terraform: Terraform) -> None:
    terraform.run("init", "-backend=false", "-lockfile=readonly")
    assert re.search(r"Success! \d+ passed, 0 failed", terraform.run("test"))


@needs_terraform
@pytest.mark.slow
@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_all_of_an_environment_can_be_planned(environment: str, terraform: Terraform, account: Account) -> None:
    changes = terraform.inside(account).planned(f"-var-file={environment}.tfvars")
    assert {action for one in changes for action in one["change"]["actions"]} == {"create"}
    assert {one["type"] for one in changes} >= PLANNED_ONLY
    names = [str((one["change"]["after"] or {}).get("name", "")) for one in changes if one["type"] == "aws_ecs_cluster"]
    assert names == [f"fraud3000-{environment}"]


@needs_terraform
@pytest.mark.slow
def test_what_moto_has_is_made_stays_as_it_is_and_goes_again(terraform: Terraform, account: Account) -> None:
    inside = terraform.inside(account)
    inside.environ["TF_VAR_certificate_arn"] = aws(account, "acm").request_certificate(DomainName="fraud.example")[
        "CertificateArn"
    ]
    given = ("-var-file=dev.tfvars", "-var-file=tests/moto.tfvars")

    assert re.search(r"Apply complete! Resources: \d+ added, 0 changed", inside.run("apply", "-auto-approve", *given))
    ecs = aws(account, "ecs")
    [service] = ecs.describe_services(cluster="fraud3000-dev", services=["api"])["services"]
    [container] = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"][
        "containerDefinitions"
    ]
    assert service["desiredCount"] == 1
    assert container["command"] == ["serve", "--host", "0.0.0.0", "--port", "8000"]
    assert {secret["name"] for secret in container["secrets"]} == {
        f"FRAUD3000_{name}_KEY" for name in ("API", "AUDIT", "PAN")
    }
    schedule = aws(account, "scheduler").get_schedule(Name="fraud3000-dev-retrain")
    assert ":task-definition/fraud3000-dev-tools:" in schedule["Target"]["EcsParameters"]["TaskDefinitionArn"]

    again = {(one["type"], name) for one in inside.planned(*given) for name in changed(one["change"])}
    assert again <= UNTOLD

    inside.run("state", "rm", UNDELETABLE)
    assert "Destroy complete!" in inside.run("destroy", "-auto-approve", *given)
    assert inside.run("state", "list") == ""
    assert aws(account, "s3").list_buckets()["Buckets"] == []


@needs_terraform
@pytest.mark.slow
def test_the_state_is_kept_in_a_bucket_and_locked(terraform: Terraform, account: Account) -> None:
    store = aws(account, "s3")
    store.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    remote = replace(terraform, environ={**account.environ, **terraform.environ})
    remote.run("init", "-lockfile=readonly", "-backend-config=dev.s3.tfbackend", "-backend-config=bucket=state")
    keys = ("-var-file=dev.tfvars", "-target=module.keys")
    remote.run("apply", "-auto-approve", *keys)
    [kept] = store.list_objects_v2(Bucket="state")["Contents"]
    assert kept["Key"] == "fraud3000/dev.tfstate"  # and no lock that is left over
    assert store.head_object(Bucket="state", Key=kept["Key"])["ServerSideEncryption"] == "AES256"

    lock = {"ID": "1", "Operation": "OperationTypeApply", "Who": "somebody else", "Path": "state/fraud3000/dev.tfstate"}
    store.put_object(Bucket="state", Key="fraud3000/dev.tfstate.tflock", Body=json.dumps(lock).encode())
    told = remote.run("plan", *keys, code=1)
    assert "Error acquiring the state lock" in told
    assert "somebody else" in told


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_checkov_finds_nothing_that_is_not_explained(environment: str) -> None:
    uvx = shutil.which("uvx", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if uvx is None:
        pytest.skip("uvx, which runs checkov, is not installed")
    given = ["--framework", "terraform", "--skip-download", "--soft-fail", "--output", "json"]
    command = [uvx, CHECKOV, "--directory", str(SOURCE), "--var-file", str(SOURCE / f"{environment}.tfvars"), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"checkov cannot be had: {done.stderr.strip()[-300:]}")
    found = json.loads(done.stdout)["results"]
    assert [f"{one['check_id']} {one['resource']}" for one in found["failed_checks"]] == []
    assert len(found["passed_checks"]) > 200
    assert all(one["check_result"]["suppress_comment"] for one in found["skipped_checks"])
    assert found["parsing_errors"] == []


def aws(account: Account, service: str) -> Any:
    """A client of the account."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "eu-west-1"}
    return boto3.client(service, endpoint_url=account.url, **keys)


def changed(change: dict[str, Any]) -> set[str]:
    """Attributes that a plan would change."""
    before, after = change["before"] or {}, change["after"] or {}
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
