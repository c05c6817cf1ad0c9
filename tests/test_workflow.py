"""The workflow checks what the project promises."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
[JOB] = WORKFLOW["jobs"].values()


def test_every_promised_python_is_tried() -> None:
    tried = JOB["strategy"]["matrix"]["python"]
    first, last = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert tried == [f"3.{minor}" for minor in range(int(first), int(last))]
    assert [f"Programming Language :: Python :: {version}" for version in tried] == [
        said for said in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", said)
    ]


def test_it_runs_lint_types_and_tests_by_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = re.findall(r"^make (\S+)", "\n".join(step.get("run", "") for step in JOB["steps"]), re.MULTILINE)
    assert {"lint", "types", "test"} <= set(called) <= targets


def test_it_may_only_read_and_pins_what_it_uses() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    used = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one)] == []
