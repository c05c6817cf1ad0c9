"""Responses conform to the OpenAPI description, and requests that violate it are rejected."""

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

from fraud3000.service.http.api_keys import SCOPES, ApiKeys
from fraud3000.stages.serve import Service
from fraud3000.wire import API_KEY_HEADER
from scripts import generate_openapi

FEW, MANY = 5, 2_000

LEFT_OUT = {
    "positive_data_acceptance": {"enabled": False},  # a time must also lie in the span of the model's params
    "negative_data_rejection": {"enabled": False, "expected-statuses": ["4xx"]},  # as invalid_items_are_rejected
}


@schemathesis.serializer("application/x-ndjson")
def one_line(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.deserializer("application/x-ndjson")
def first_line(_: Any, response: Response) -> Any:
    return json.loads(response.content.partition(b"\n")[0])


@schemathesis.check
def invalid_items_are_rejected(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that violates the schema is rejected, or its invalid item has an error."""
    if case.method == "POST" and response.status_code == 200 and b'"error":' in response.content:
        return
    checks.negative_data_rejection(ctx, response, case)


@schemathesis.check
def responses_have_the_common_form(_: CheckContext, response: Response, __: Case[Any]) -> None:
    """Every response has a request id and security headers, and every error the common form."""
    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == ["nosniff"]
    if response.status_code >= 400 and "ndjson" not in response.headers["content-type"][0]:
        assert set(response.json()["error"]) == {"code", "message", "hint"}


def run(service: Service, headers: Mapping[str, str], examples: int, **left_out: Any) -> tuple[Counter[str], list[str]]:
    """Send requests that conform to the description and requests that violate it.

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


def test_the_docs_show_the_description(opened: Service) -> None:
    """`make docs` writes it."""
    shown = json.loads(generate_openapi.FILE.read_text(encoding="utf-8"))
    assert shown == generate_openapi.description(opened)


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_responses_conform_to_the_description(opened: Service, examples: int) -> None:
    asked, wrong = run(opened, {}, examples, ignored_auth={"enabled": False})
    assert wrong == []
    assert min(asked[f"POST /{name}"] for name in ("score", "labels")) > 100


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_responses_with_a_key_conform_to_the_description(opened: Service, tmp_path: Path, examples: int) -> None:
    asked, wrong = run(
        opened, {API_KEY_HEADER: ApiKeys(tmp_path / "service" / "keys.json").add("all", SCOPES)}, examples
    )
    assert wrong == []
    assert min(asked[f"POST /{name}"] for name in ("score", "labels")) >= examples
