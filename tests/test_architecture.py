"""ARCHITECTURE.md and CONTRIBUTING.md name files that exist, and ARCHITECTURE.md names every package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")
NAME = re.compile(r"`([\w./-]+?(?:\.(?:py|md|yml|yaml|toml)|/))`|([\w/]+\.py)")


def paths(text: str) -> list[str]:
    """Names of files and folders in code spans, code blocks and diagrams."""
    return [span or bare for span, bare in NAME.findall(text)]


def exists(name: str) -> bool:
    """Whether a path exists from the root or from the package; a bare file name may be anywhere in the package."""
    beside = any((ROOT / "fraud3000").rglob(name)) if "/" not in name else False
    return (ROOT / name).exists() or (ROOT / "fraud3000" / name).exists() or beside


@pytest.mark.parametrize("page", PAGES)
def test_paths_named_in_a_page_exist(page: str) -> None:
    found = paths((ROOT / page).read_text(encoding="utf-8"))
    assert len(found) > 10
    assert [name for name in found if not exists(name)] == []


def test_every_package_is_named_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = [path.parent.relative_to(ROOT / "fraud3000").as_posix() for path in ROOT.glob("fraud3000/*/__init__.py")]
    assert [name for name in packages if f"{name}/" not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_functions_named_in_a_page_are_in_their_file(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)` in `([\w/]+\.py)`", text)
    files = {
        path: next(base / path for base in (ROOT, ROOT / "fraud3000") if (base / path).exists()) for _, path in named
    }
    assert [f"{name} in {path}" for name, path in named if not re.search(rf"\b{name}\b", files[path].read_text())] == []


def test_a_missing_path_is_found() -> None:
    assert [name for name in paths("`data/gone.py` and `errors.py`") if not exists(name)] == ["data/gone.py"]
