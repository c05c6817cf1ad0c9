"""Write docs/openapi.json: the description of a service whose model was trained on simulated transactions.

The training takes half a minute, so there is no --check: tests/service/test_schema.py compares the file with its service.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from fraud3000.params import parse
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.serve import Service
from fraud3000.stages.simulate import simulate
from fraud3000.stages.train import train

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"
PARAMS = {
    "simulate": {"rows": 20_000, "days": 160, "cards": 300, "terminals": 120},
    "featurize": {"burn_in": "40d"},
    "train": {"estimator": "logistic_regression"},
}


def description(service: Service) -> dict[str, Any]:
    """Return the OpenAPI description of a service, without the version of its model."""
    with TestClient(service.app) as client:
        found: dict[str, Any] = client.get("/openapi.json").json()
    found["info"]["version"] = ""
    return found


def main() -> int:
    """Train a model, start the service and write its description."""
    params = parse(PARAMS)
    with tempfile.TemporaryDirectory(prefix="openapi-") as folder, contextlib.chdir(folder):
        for stage in (simulate, prepare, featurize, train):
            stage(params)
        raw = "data/raw/transactions.parquet"
        with contextlib.closing(Service.open(params, port=0, history=raw, model="challenger")) as service:
            FILE.write_text(json.dumps(description(service), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
