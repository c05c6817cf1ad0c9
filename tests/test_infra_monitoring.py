"""Dashboard and alarms ask for what the service tells, in words that Prometheus reads, and each alarm has its page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from fraud3000 import params as params_files
from fraud3000 import wire
from fraud3000.stages.serve import Service

ROOT = Path(__file__).parents[1]
RULES = ROOT / "infra" / "prometheus" / "alerts.yml"
RULE_TESTS = RULES.with_name("alerts.test.yml")
SCRAPING = RULES.with_name("prometheus.yml")
DASHBOARD = json.loads((ROOT / "infra" / "grafana" / "fraud3000.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
READ = yaml.safe_load(RULES.read_text(encoding="utf-8"))
ALL_RULES = [rule for group in READ["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
PAGE = ROOT / "docs" / "operations.md"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def asked() -> Iterator[tuple[str, str]]:
    """Every query of dashboard and rules, with where it stands."""
    for panel in PANELS:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    yield from ((rule.get("alert") or rule["record"], rule["expr"]) for rule in ALL_RULES)


QUERIES = list(asked())


@pytest.fixture(scope="module")
def told(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names that a service's metrics have after some requests, and their labels."""
    place = tmp_path_factory.mktemp("monitored")
    raw = pl.read_parquet(trained / "data/raw/transactions.parquet").sort("ts", "transaction_id")
    raw.head(-1).write_parquet(place / "history.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        params = params_files.load()
        serve = params.serve.model_copy(update={"store": str(place / "service")})
        given = params.model_copy(update={"serve": serve})
        with closing(
            Service.open(given, port=0, history=str(place / "history.parquet"), model="challenger")
        ) as service:
            client = TestClient(service.app)
            last = raw.row(-1, named=True)
            one = {name: last[name] for name in ("transaction_id", "card_id", "terminal_id", "category")}
            one |= {"ts": last["ts"].strftime("%Y-%m-%dT%H:%M:%SZ"), "amount": 100}
            assert client.post("/score", json=one).status_code == 200
            client.post("/score", json={**one, "amount": "x"})
            client.post("/labels", json={"transaction_id": "a", "is_fraud": True, "source": "chargeback"})
            text = client.get("/metrics").text
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize(("place", "query"), QUERIES, ids=[place for place, _ in QUERIES])
def test_every_metric_that_is_asked_for_is_told_by_the_service(
    told: dict[str, set[str]], place: str, query: str
) -> None:
    named = set(re.findall(r"\b(?:fraud3000|process|python)_[a-z0-9_]+", query))
    recorded = set(re.findall(r"\bfraud3000:[a-z0-9_:]+", query))
    assert named | recorded or query in {"vector($capacity)", 'up{job="fraud3000"} == 0 or absent(up{job="fraud3000"})'}
    assert named - set(told) == set()
    assert recorded - {rule.get("record") for rule in ALL_RULES} == set()
    for name, inside in re.findall(r"\b((?:fraud3000|process)_[a-z0-9_]+)\{([^}]*)\}", query):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)) - {"job", "instance"}
        assert labels - told[name] == set()


def test_every_metric_of_the_service_is_on_the_dashboard(told: dict[str, set[str]]) -> None:
    shown = " ".join(query for _, query in QUERIES)
    families = {
        re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in told if name.startswith("fraud3000")
    }
    assert {family for family in families if not re.search(rf"\b{family}(_|\b)", shown)} == set()


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    assert [panel["id"] for panel in PANELS if not (panel["title"] and panel["description"])] == []
    assert [panel["title"] for panel in PANELS if not panel["fieldConfig"]["defaults"].get("unit")] == []
    titles = [panel["title"] for panel in PANELS]
    assert sorted(titles) == sorted(set(titles))


def test_the_dashboard_belongs_to_no_installation() -> None:
    assert "uid" not in DASHBOARD
    assert DASHBOARD["id"] is None
    [source] = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"]
    wanted = {"type": "prometheus", "uid": f"${{{source['name']}}}"}
    sources = [panel["datasource"] for panel in PANELS]
    sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    sources += [one["datasource"] for one in DASHBOARD["annotations"]["list"] if "expr" in one]
    assert [one for one in sources if one != wanted] == []


def test_panels_have_a_place_each() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARD["panels"]]
    assert [title for title, at in places if at["x"] + at["w"] > 24] == []
    assert [(one, other) for (one, a), (other, b) in combinations(places, 2) if _overlap(a, b)] == []


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in (("x", "w"), ("y", "h"))
    )


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alarm_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / page == PAGE
    sections = re.split(r"^#{3,4} ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    [section] = [one for one in sections if _anchor(one.partition("\n")[0]) == anchor]
    assert f"`{rule['alert']}`" in section, "its page names it"


def _anchor(heading: str) -> str:
    """As GitHub and the usual makers of sites do it."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).strip().replace(" ", "-")


def test_every_alarm_is_proved_to_fire_and_to_be_silent() -> None:
    cases = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    expected = [sample["labels"] for case in cases for one in case["promql_expr_test"] for sample in one["exp_samples"]]
    assert {re.findall(r'"(\w+)"', labels)[0] for labels in expected} == {rule["alert"] for rule in ALERTS}
    ordinary = cases[0]
    assert all(one["exp_samples"] == [] for one in ordinary["promql_expr_test"])
    fed = " ".join(one["series"] for one in ordinary["input_series"])
    needed = {name for rule in ALL_RULES for name in re.findall(r"\b(?:fraud3000|process)_[a-z0-9_]+", rule["expr"])}
    assert {name for name in needed if name not in fed} == set()


def test_prometheus_brings_the_key_from_a_file_and_reads_the_rules() -> None:
    read = yaml.safe_load(SCRAPING.read_text(encoding="utf-8"))
    [job] = read["scrape_configs"]
    assert job["job_name"] == "fraud3000", "the rules ask for it by that name"
    assert list(job["http_headers"]) == [wire.API_KEY_HEADER]
    assert list(job["http_headers"][wire.API_KEY_HEADER]) == ["files"]
    assert [(SCRAPING.parent / name).exists() for name in read["rule_files"]] == [True]


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_promtool_reads_the_rules() -> None:
    assert f"SUCCESS: {len(ALL_RULES)} rules found" in promtool("check", "rules", "--lint-fatal", RULES)


@needs_promtool
def test_promtool_sees_alarms_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)


@needs_promtool
def test_promtool_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    macros = {"$__rate_interval": "5m", "$capacity": "100", "$instance": ".*", "$job": "fraud3000"}
    rules = []
    for number, (_, query) in enumerate(one for one in QUERIES if not one[1].startswith("label_values")):
        for name, value in macros.items():
            query = query.replace(name, value)  # noqa: PLW2901
        rules.append({"record": f"dashboard:query{number}", "expr": query})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


@needs_promtool
def test_promtool_reads_the_configuration(tmp_path: Path) -> None:
    read = yaml.safe_load(SCRAPING.read_text(encoding="utf-8"))
    version = re.search(r"version (\d+)\.(\d+)", promtool("--version"))
    assert version is not None
    if tuple(map(int, version.groups())) < (2, 55):  # it knows no headers, and is shown the rest
        del read["scrape_configs"][0]["http_headers"]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(read))
    (tmp_path / "fraud3000.key").write_text("f3k_0123abcd_secret\n")
    shutil.copy(RULES, tmp_path)
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_the_page_explains_every_metric(told: dict[str, set[str]]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in told if name.startswith("fraud3000")}
    assert {family for family in families if f"`{family}`" not in page and f"`{family}_total`" not in page} == set()
