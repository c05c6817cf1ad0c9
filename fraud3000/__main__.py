"""Entry point of `fraud3000` and `python -m fraud3000`: run a command, and map errors to exit codes."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from fraud3000.errors import FraudError
from fraud3000.redact import mask
from fraud3000.signals import Stop


def main() -> int:
    """Run the command line and return its exit code; the codes are those of `fraud3000.errors`."""
    sys.excepthook = _report_bug
    stop = Stop()
    stop.install()
    try:
        from fraud3000 import cli

        cli.run()
    except BaseException as error:
        if stop.code is not None:
            return stop.code
        if isinstance(error, FraudError):
            print(mask(f"Error: {error}"), file=sys.stderr)
            return error.exit_code
        raise
    return 0


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(mask("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
    print("This is a bug in fraud3000, not in your data: please report it with the lines above.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
