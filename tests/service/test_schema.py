"""What the service answers to anything is what its OpenAPI page says, and what the page forbids is not taken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import Case, CheckContext, Response
from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi import checks

from fraud3000.service.http.api_keys import HEADER, SCOPES, ApiKeys
from fraud3000.stages.serve import Service

FEW, MANY = 5, 2_000

LEFT_OUT = {
    "positive_data_acceptance": {"enabled": False},  # a time must also lie in the span of the model's params
    "negative_data_rejection": {"enabled": False, "expected-statuses": ["4xx"]},  # as refused_in_its_place
}


@schemathesis.serializer("application/x-ndjson")
def one_line(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.deserializer("application/x-ndjson")
def first_line(_: Any, response: Response) -> Any:
    return json.loads(response.content.partition(b"\n")[0])


@schemathesis.check
def refused_in_its_place(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """What the page forbids is refused: the request, or the item among others that are answered."""
    if case.method == "POST" and response.status_code == 200 and b'"error":' in response.content:
        return
    checks.negative_data_rejection(ctx, response, case)


@schemathesis.check
def told_in_one_form(_: CheckContext, response: Response, __: Case[Any]) -> None:
    """Every answer has its id and headers, and every error its form."""
    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == ["nosniff"]
    if response.status_code >= 400 and "ndjson" not in response.headers["content-type"][0]:
        assert set(response.json()["error"]) == {"code", "message", "hint"}


def run(service: Service, headers: Mapping[str, str], examples: int, **left_out: Any) -> tuple[Counter[str], list[str]]:
    """Send what the page describes, and what it forbids.

    Returns
    -------
    tuple
        How many requests were made of each operation, and what was wrong.
    """
    config = {
        "seed": 3000,
        "headers": dict(headers),
        "checks": {**LEFT_OUT, **left_out},
        "generation": {"with-security-parameters": False, "max-examples": examples, "deterministic": True},
        "request-timeout": 60,
        "phases": {"coverage": {"enabled": not headers or examples >= MANY}},
    }
    told = schemathesis.Config.from_dict(config)
    page = schemathesis.openapi.from_asgi("/openapi.json", service.app, config=told, headers=dict(headers))
    asked: Counter[str] = Counter()
    wrong = []
    for event in from_schema(page).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            found = [check for done in event.recorder.checks.values() for check in done]
            wrong += [f"{event.recorder.label}: {one.failure_info.failure}" for one in found if one.failure_info]
            asked[event.recorder.label] += len(event.recorder.interactions)
    return asked, wrong


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_answers_are_as_described(opened: Service, examples: int) -> None:
    asked, wrong = run(opened, {}, examples, ignored_auth={"enabled": False})
    assert wrong == []
    assert min(asked[f"POST /{name}"] for name in ("score", "labels")) > 100


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_answers_to_the_holder_of_a_key_are_too(opened: Service, tmp_path: Path, examples: int) -> None:
    asked, wrong = run(opened, {HEADER: ApiKeys(tmp_path / "service" / "keys.json").add("all", SCOPES)}, examples)
    assert wrong == []
    assert min(asked[f"POST /{name}"] for name in ("score", "labels")) >= examples
