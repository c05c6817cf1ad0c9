"""What an installation without the extras does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # as if it were not installed
sys.argv = ["fraud3000", *{arguments!r}]
from fraud3000 import __main__
sys.exit(__main__.main())
"""


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("boto3", "s3", ["score-file", "s3://bank/march.csv", "--cold-start"]),
        ("boto3", "s3", ["deploy", "status", "--cluster", "bank", "--service", "scoring"]),
        ("dvc", None, ["simulate", "--rows", "100"]),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, missing: str, extra: str | None, arguments: list[str]) -> None:
    program = WITHOUT.format(missing=[missing], arguments=arguments)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if extra is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 4
        assert missing in done.stderr
        assert f'Hint: Install it with `pip install "fraud3000[{extra}]"`.' in done.stderr
