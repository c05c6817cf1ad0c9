"""Test the infrastructure; prints a line per step: its seconds, and ok, failed, or skipped with the reason.

The steps are the tests under tests/infra; arguments are passed to pytest, such as `-k terraform`. Exit code 6 if one fails.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_WIDTH = 96


class StepReporter:
    """Pytest plugin that prints each step when it ends, and collects failures."""

    def __init__(self) -> None:
        self.failed: list[pytest.TestReport] = []
        self.skipped = self.passed = 0
        self._seconds = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds = report.duration + (self._seconds if report.when != "setup" else 0.0)
        if report.failed:
            self.failed.append(report)
            self._line(report, "failed")
        elif report.skipped:
            self.skipped += 1
            self._line(report, f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}")  # type: ignore[index]
        elif report.when == "call":
            self.passed += 1
            detail = dict(report.user_properties).get("told")
            self._line(report, f"ok ({detail})" if detail else "ok")

    def _line(self, report: pytest.TestReport, outcome: str) -> None:
        file, _, name = report.nodeid.partition("::")
        part = Path(file).stem.removeprefix("test_").replace("_", " ")
        step = re.sub(r"[\s\[\]_-]+", " ", name.removeprefix("test_")).strip()
        print(f"{f'{part}: {step}':{_WIDTH}.{_WIDTH}} {self._seconds:7.1f} s  {outcome}", flush=True)


def main() -> int:
    """Run every step, then print failures and totals."""
    steps, begin = StepReporter(), time.perf_counter()
    quietly = ["-p", "no:terminalreporter", "-p", "no:cacheprovider", "-p", "no:warnings", "--no-cov", "-n0"]
    code = pytest.main([str(ROOT / "tests" / "infra"), *quietly, "-m", "slow or not slow", *sys.argv[1:]], [steps])
    for report in steps.failed:
        print(f"\n{report.nodeid}\n{report.longreprtext[-4_000:]}")
    passed = f"{steps.passed} ok, {steps.skipped} skipped, {len(steps.failed)} failed"
    print(f"\ncheck-infra: {passed} in {time.perf_counter() - begin:.0f} s")
    return 6 if steps.failed or code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED} else 0


if __name__ == "__main__":
    sys.exit(main())
