"""The HTML report is self-contained, safe and accessible, and fits every screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import polars as pl
import pytest

from fraud3000.report.evaluation_sections import sections
from fraud3000.report.formatting import plain
from fraud3000.report.html_page import page

WIDTHS = (320, 360, 768, 1280)


def page_of(evidence):
    return page(evidence, sections(evidence))


@pytest.fixture(scope="module")
def html(make):
    return page_of(make())


class Outline(HTMLParser):
    """Opening tags in order, with attributes and first text; checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), ""))
        if tag not in {"meta", "br", "path", "use"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in {"path", "use"}:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.found and data.strip():
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text or data.strip())

    def all(self, *tags):
        return [one for one in self.found if one[0] in tags]


def test_makes_no_request_to_other_hosts(html):
    assert not re.findall(r"https?:|//\w+\.|\bsrc=|@import|<link|<script|<iframe", html)
    assert not re.findall(r"url\((?!#)", html)
    assert not re.findall(r'href="(?!#)', html)
    assert "default-src 'none'" in html


def test_equal_input_gives_equal_bytes(html, make):
    assert page_of(make()) == html


def test_conclusion_comes_first_and_headings_are_in_order(html):
    outline = Outline(html)
    assert outline.open == []
    headings = outline.all("h1", "h2", "h3")
    assert headings[0][0] == "h1"
    assert plain(headings[0][2]).startswith("With ")
    levels = [int(tag[1]) for tag, _, _ in headings]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert outline.found[0] == ("html", {"lang": "en"}, "")


def test_every_figure_has_a_caption_and_a_text_alternative(html):
    figures = re.findall(r"<figure>.*?</figure>", html, flags=re.DOTALL)
    assert len(figures) == 9
    for figure in figures:
        assert len(re.findall(r'role="img" aria-label="[^"]{20,}"', figure)) == 2
        assert re.search(r"<figcaption>.{10,}</figcaption>", figure, flags=re.DOTALL)


def test_table_headers_have_scopes_and_links_have_targets(html):
    outline = Outline(html)
    assert outline.all("table")
    assert all(attributes.get("scope") in {"col", "row"} for _, attributes, _ in outline.all("th"))
    links = {attributes["href"].removeprefix("#") for _, attributes, _ in outline.all("a")}
    assert links <= {attributes.get("id") for _, attributes, _ in outline.found}


def test_contains_no_card_or_terminal_id(html, scored):
    assert not [one for one in scored["card_id"].unique() if one in html]
    assert not [one for one in scored["terminal_id"].unique() if one in html]


def test_escapes_categories_and_masks_card_numbers(make, scored):
    hostile = {"food": '<script>alert("x")</script>', "fuel": "4111 1111 1111 1111"}
    html = page_of(make(scored.with_columns(pl.col("category").replace(hostile))))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "1111" not in html
    assert "[card number]" in html


def test_a_model_below_the_baselines_gets_a_warning(html, make, scored):
    assert 'class="bad"' not in html
    bad = scored.with_columns(score=1 - pl.col("score"), alert=pl.col("score") < 0.01)
    assert re.search(r'<p class="bad">The model does not beat the best baseline: ', page_of(make(bad)))


LACKING = {
    "time": lambda rows: rows.drop("ts"),
    "cards": lambda rows: rows.drop("card_id"),
    "cards, terminals and categories": lambda rows: rows.drop("card_id", "terminal_id", "category"),
    "everything but scores": lambda rows: rows.drop("ts", "card_id", "terminal_id", "category"),
    "frauds": lambda rows: rows.with_columns(is_fraud=pl.lit(0)),
    "all but frauds": lambda rows: rows.filter(pl.col("is_fraud") == 1),
    "known labels": lambda rows: rows.with_columns(is_fraud=pl.lit(None, pl.Int8), evaluated=False),
    "all but a few rows": lambda rows: rows.sort("is_fraud", descending=True, nulls_last=True).head(4),
    "alerts": lambda rows: rows.with_columns(alert=False),
    "money": lambda rows: rows.with_columns(amount=pl.lit(0, pl.Int64)),
    "different scores": lambda rows: rows.with_columns(score=0.5, alert=True),
}


@pytest.mark.parametrize("what", LACKING)
def test_report_states_what_incomplete_data_lacks(make, scored, what):
    evidence = make(LACKING[what](scored))
    if what in {"frauds", "known labels"}:
        evidence = replace(evidence, importance=evidence.importance.clear())
    html = page_of(evidence)
    Outline(html)
    assert not re.findall(
        r"\b(?:nan|None(?! of)|inf)\b",
        re.sub(r"<svg.*?</svg>|<style.*?</style>", "", html, flags=re.DOTALL).replace("'none'", ""),
    )
    assert not re.findall(r"\bnan\b", html)
    if what == "frauds":
        assert "Not shown: no known fraud." in html
    if "ts" not in evidence.scored.columns:
        assert "Not shown: the data has no time." in html


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """<body style="margin:0">{frames}<script>
onload = () => {{ document.title = [...document.querySelectorAll("iframe")].map(frame => {{
  const root = frame.contentDocument.documentElement;
  const seen = [...root.querySelectorAll("body *:not(svg *)")].filter(one => !one.closest(".scroll > *"));
  return Math.ceil(Math.max(root.scrollWidth, ...seen.map(one => one.getBoundingClientRect().right)));
}}).join(" ") }};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_nothing_overflows_a_screen(html, tmp_path):
    own = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    (tmp_path / "report.html").write_text(own, encoding="utf-8")
    frames = "".join(
        f'<iframe src="report.html" style="border:0;width:{width}px;height:800px"></iframe>' for width in WIDTHS
    )
    (tmp_path / "probe.html").write_text(PROBE.format(frames=frames), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
    ]
    command = [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", str(tmp_path / "probe.html")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    widths = [int(one) for one in re.search(r"<title>([\d ]+)</title>", shown)[1].split()]
    assert [width <= most for width, most in zip(widths, WIDTHS, strict=True)] == [True] * len(WIDTHS), widths
