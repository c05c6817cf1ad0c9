"""The service as a process of its own, asked over a socket."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("fraud3000"))


def started(place: Path, *args: str) -> tuple[subprocess.Popen[str], int]:
    """The service on the params and the history of a folder, and the port where it listens."""
    command = [COMMAND, "serve", "--port", "0", "--history", str(place / "history.parquet"), *args]
    command += ["--params", str(place / "params.yaml"), "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert running.stdout is not None
    told = "".join(itertools.takewhile(lambda line: line != "}\n", running.stdout)) + "}"
    return running, int(json.loads(told)["facts"]["listening at"].rpartition(":")[2])


def ask(port: int, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What was answered; None where nothing was, or 503."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asked.request("POST", "/score", json.dumps({"transactions": rows}), {"Content-Type": "application/json"})
        answer = asked.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        asked.close()
    if answer.status == 503:
        return None
    assert answer.status == 200, body
    return dict(json.loads(body))
