"""Build a snapshot of a feature state in a separate process, while the service runs.

The process reads history and journal, as a start of the service would, and not the service's memory. So it also verifies
the state in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from fraud3000 import logs
from fraud3000.errors import FraudError, UnavailableError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.service.engine import feature_state
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.sqlite import SqliteJournal


@dataclass(frozen=True)
class BuiltSnapshot:
    """A snapshot: its path, the number of the last entry in it, and the state's checksum."""

    path: str
    number: int
    checksum: str


def build(root: Path, catalogue: Catalogue) -> BuiltSnapshot:
    """Compute the feature state of a catalogue from the files of a service, and write a snapshot of it.

    Raises
    ------
    CheckFailed
        The journal is damaged.
    UnavailableError
        The snapshot cannot be written.
    """
    with closing(SqliteJournal(root / "journal.db", key=hash_chain.audit_key(os.environ), create=False)) as journal:
        store, _, last = feature_state.build(root, catalogue, journal)
        path = feature_state.save(root, store, (last, journal.seal_of(last) or hash_chain.START))
    return BuiltSnapshot(str(path), last, store.checksum())


async def build_in_process(root: Path, catalogue: Catalogue) -> BuiltSnapshot:
    """Run `build` in a separate process.

    Raises
    ------
    UnavailableError
        The process failed; the message has its last line of stderr.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(root)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C signals the service only, which ends this process
    )
    try:
        out, err = await process.communicate(json.dumps(catalogue.to_dict()).encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = err.decode(errors="replace").strip().splitlines()
        raise UnavailableError(
            f"{root}: building a snapshot failed ({lines[-1] if lines else f'exit code {process.returncode}'})",
            hint="The service keeps running without it; its next start takes longer.",
        )
    return BuiltSnapshot(**json.loads(out))


def main() -> None:
    """Build a snapshot of the catalogue on stdin, and print a `BuiltSnapshot` as JSON."""
    logs.set_up()
    catalogue = Catalogue.from_dict(json.loads(sys.stdin.read()))
    try:
        snapshot = build(Path(sys.argv[1]), catalogue)
    except FraudError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    print(json.dumps(asdict(snapshot)))  # noqa: T201


if __name__ == "__main__":
    main()
