"""Nothing of the machine it was written on is in the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "a home or work folder": re.compile(r"(?<![\w.}])/(?:home|root|Users|work)/\w"),
    # written in pieces, so that this file does not hold them itself
    "a registry host": re.compile("|".join(("py" + r"pi\.org", "files\\.python" + "hosted", r"registry\.np" + r"mjs", r"index" + "-url"))),
    "work left undone": re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b"))),
}  # fmt: skip


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git repository here")
    return [ROOT / name for name in listed.stdout.split("\0") if name and name != "uv.lock" and (ROOT / name).exists()]


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_tracked_text_is_free_of(kind: str) -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FORBIDDEN[kind].finditer(text)]
    assert found == []


def test_no_data_and_nothing_large_is_tracked() -> None:
    large = [path for path in tracked() if path.stat().st_size > 500_000]
    assert large == []
    assert {path.name for path in tracked() if path.is_relative_to(ROOT / "data")} <= {".gitkeep"}
