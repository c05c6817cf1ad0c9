"""Images for tests: the project's own, on python:3.12-slim where that can be had, else on a stand-in made of Debian."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.infra.programs import ROOT, needs, told

PUBLISHED, STAND_IN = "docker.io/library/python:3.12-slim", "localhost/python:3.12-slim"
_NAME = "localhost/fraud3000"
_DEBIAN = (
    "ca-certificates,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,libgomp1,"
    "libncursesw6,libuuid1,netbase,tzdata"
)
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
_NOT_SHIPPED = ("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "config-*", "__pycache__", "site-packages")


@cache
def built(target: str = "serve") -> str:
    """The image of a target of the Dockerfile, built of the project as it is."""
    needs("podman")
    name = f"{_NAME}-{target}:test"
    arguments = ["--target", target, "--build-arg", f"PYTHON_IMAGE={base()}", "--tag", name]
    told("podman", "build", "--format", "docker", "--isolation", "chroot", "--network", "host", *arguments, ROOT)
    return name


@cache
def base() -> str:
    """The image that the project's are built on."""
    needs("podman")
    try:
        told("podman", "pull", "--quiet", PUBLISHED, seconds=120)
    except (RuntimeError, subprocess.TimeoutExpired):
        return _stand_in()
    return PUBLISHED


def size(image: str) -> int:
    """Bytes of an image, its base included."""
    return int(json.loads(told("podman", "image", "inspect", image))[0]["Size"])


def _stand_in() -> str:
    """Debian's smallest system with Python 3.12 of this machine: what the published image is made of, but not its files."""
    if subprocess.run(["podman", "image", "exists", STAND_IN], check=False).returncode == 0:
        return STAND_IN
    needs("debootstrap")
    python = _python()
    root = Path(told("mktemp", "--directory")) / "root"
    try:
        told("debootstrap", "--variant=minbase", f"--include={_DEBIAN}", "bookworm", root)
        for left_out in _LEFT_OUT:
            shutil.rmtree(root / left_out)
            (root / left_out).mkdir()
        _lay_python(python, root / "usr" / "local")
        trusted = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        shutil.copy(trusted, root / "etc/ssl/certs/ca-certificates.crt")
        told("chroot", root, "ldconfig")
        told("chroot", root, "python3", "-m", "ensurepip")
        told("chroot", root, "ln", "-s", "pip3", "/usr/local/bin/pip")
        tar = root.with_suffix(".tar")
        told("tar", "-C", root, "-cf", tar, ".")
        trusting = (f"ENV {name}=/etc/ssl/certs/ca-certificates.crt" for name in ("SSL_CERT_FILE", "PIP_CERT"))
        changes = ("ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", *trusting)
        told("podman", "import", *(word for change in changes for word in ("--change", change)), tar, STAND_IN)
    finally:
        shutil.rmtree(root.parent)
    return STAND_IN


def _python() -> Path:
    """The folder of a Python 3.12 that stands by itself."""
    asked = [shutil.which("python3.12"), *sorted(map(str, Path.home().glob(".pyenv/versions/3.12*/bin/python3.12")))]
    asked += sorted(map(str, Path("/").glob("*/.pyenv/versions/3.12*/bin/python3.12")))
    for command in filter(None, [sys.executable, *asked]):
        tell = "import sys; print(sys.base_prefix if sys.version_info[:2] == (3, 12) else '')"
        done = subprocess.run([command, "-c", tell], capture_output=True, text=True, check=False)
        prefix = done.stdout.strip()
        if done.returncode == 0 and prefix not in {"", "/usr"}:
            return Path(prefix)
    pytest.skip("no Python 3.12 in a folder of its own")


def _lay_python(python: Path, to: Path) -> None:
    for part in ("bin", "lib"):
        shutil.copytree(
            python / part,
            to / part,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(*_NOT_SHIPPED, "*.a", "pip", "pip3*", "idle3*", "2to3*", "pydoc3*"),
        )
    (to / "lib" / "python3.12" / "site-packages").mkdir()
