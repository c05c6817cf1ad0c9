"""dvc.yaml: its stages are the commands, in their order, and every file it names is one that the command writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fraud3000 import params as params_files
from fraud3000.stages.shared.workspace import Workspace

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
DVC = Path(sys.executable).with_name("dvc")


def names(listed: list[object]) -> set[str]:
    return {next(iter(one)) if isinstance(one, dict) else str(one) for one in listed}


def made(stage: str) -> set[str]:
    return {path for part in ("outs", "metrics", "plots") for path in names(STAGES[stage].get(part, []))}


def test_its_stages_are_the_commands_one_to_one() -> None:
    assert list(STAGES) == ["simulate", "prepare", "featurize", "train", "evaluate"]
    assert {stage: of["cmd"] for stage, of in STAGES.items()} == {stage: f"fraud3000 {stage}" for stage in STAGES}


def test_each_stage_depends_on_what_earlier_ones_make_and_on_params_that_there_are() -> None:
    params = params_files.load(ROOT / "params.yaml").model_dump()
    before: set[str] = set()
    for stage, of in STAGES.items():
        assert names(of.get("deps", [])) <= before, stage
        for key in of["params"]:
            section = params
            for part in key.split("."):
                section = section[part]
        before |= made(stage)


def test_its_files_are_those_of_the_workspace() -> None:
    workspace = Workspace.from_params(params_files.load(ROOT / "params.yaml"))
    declared = set().union(*(made(stage) for stage in STAGES))
    known = [
        workspace.raw, workspace.transactions, workspace.quarantine, workspace.labels, workspace.features, workspace.boundaries,
        workspace.catalogue, workspace.scored, workspace.metrics, workspace.figures, workspace.report, workspace.plots, workspace.card, workspace.trained,
        *map(workspace.split, ("train", "valid", "test")),
    ]  # fmt: skip
    assert {str(path) for path in known} <= declared


def test_params_hold_nothing_that_dvc_cannot_read() -> None:
    """DVC reads no dates in params: they stand there as text."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values = [value for section in content.values() if isinstance(section, dict) for value in section.values()]
    assert {type(value) for value in values} <= {str, int, float, bool, list, dict, type(None)}


def test_without_git_it_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "Makefile", tmp_path)
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run([DVC, "repro"], cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "is not a git repository" in done.stderr
    recipe = [
        "make", "-o", "environment", "repro", "RUN=.", "UV=true",
    ]  # fmt: skip
    asked = subprocess.run(recipe, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "Error: DVC needs a git repository, and this folder is none" in asked.stderr
    assert "Hint: git init" in asked.stderr


def test_its_analytics_are_off() -> None:
    done = subprocess.run([DVC, "config", "core.analytics"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "not a git repository" in done.stderr:
        pytest.skip("no git repository here")
    assert done.stdout.strip() == "false"
