"""The site of docs/ has every page and every public name, and builds without a warning."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fraud3000
from scripts import site_hooks

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_navigation_has_every_page() -> None:
    listed = set(re.findall(r"^ +- [^:\n]+: (\S+\.(?:md|ipynb))$", CONFIG, re.MULTILINE))
    pages = {path.name for path in (ROOT / "docs").glob("*.*") if path.suffix != ".json"} | {"adr/README.md"}
    assert {name for name in listed if not name.startswith("project/")} == pages


def test_the_navigation_has_four_groups() -> None:
    groups = re.findall(r"^  - (\w+):(?: index\.md)?$", CONFIG.partition("\nnav:\n")[2], re.MULTILINE)
    assert groups == ["Home", "Tutorial", "Guides", "Reference", "Background"]


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: fraud3000\.(\w+)$", page, re.MULTILINE)
    assert sorted(named) == sorted(set(fraud3000.__all__) - {"__version__"})


def test_the_hooks_do_what_their_examples_show() -> None:
    assert doctest.testmod(site_hooks).failed == 0


def test_fences_keep_their_language_and_the_name_of_a_file() -> None:
    page = '```yaml file=a.yaml\nx: [a](b.md)\n```\n```console notest reason="a day"\n$ true\n```\n'
    assert site_hooks.rewrite(page, "index.md", "") == (
        '```yaml title="a.yaml"\nx: [a](b.md)\n```\n```console\n$ true\n```\n'
    )


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: make test-slow installs it"
)
def test_it_builds_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "REPO_URL": ""}
    )
    assert done.returncode == 0, done.stderr
    loaded = re.compile(r'<(?:script|img|link)\b[^>]*\b(?:src|href)="https?://[^"]+"')
    found = [match for page in tmp_path.rglob("*.html") for match in loaded.findall(page.read_text(encoding="utf-8"))]
    assert [match for match in found if 'rel="canonical"' not in match] == []
