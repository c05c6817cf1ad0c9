"""A snapshot of a catalogue's state, made beside a running service by a process of its own.

The service goes on: the process reads history and journal, as a start without the service's memory would, so that what it
finds is a second opinion of the state too.
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
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.service.engine import feature_state
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.sqlite import SqliteJournal


@dataclass(frozen=True)
class BuiltSnapshot:
    """A snapshot: where it lies, the number of the last entry it has seen, and the state's checksum."""

    path: str
    number: int
    checksum: str


def build(root: Path, catalogue: Catalogue) -> BuiltSnapshot:
    """Make a catalogue's state of the files of a service, and write a snapshot of it.

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


async def built(root: Path, catalogue: Catalogue) -> BuiltSnapshot:
    """Do that in a process of its own.

    Raises
    ------
    UnavailableError
        The process failed; with what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(root)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for the service, which ends this
    )
    try:
        out, err = await process.communicate(json.dumps(catalogue.to_dict()).encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        said = err.decode(errors="replace").strip().splitlines()
        raise UnavailableError(
            f"{root}: no snapshot could be made ({said[-1] if said else f'exit code {process.returncode}'})",
            hint="The service goes on without; its next start takes longer.",
        )
    return BuiltSnapshot(**json.loads(out))


def main() -> None:
    """Build by the catalogue that comes in, and tell what was built."""
    logs.set_up()
    catalogue = Catalogue.from_dict(json.loads(sys.stdin.read()))
    try:
        told = build(Path(sys.argv[1]), catalogue)
    except FraudError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    print(json.dumps(asdict(told)))  # noqa: T201


if __name__ == "__main__":
    main()
