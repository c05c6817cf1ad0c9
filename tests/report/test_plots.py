"""The pictures: the same bytes again, no colour of their own in the page, readable anywhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from fraud3000.report.canvas import NARROW, TEXT, VARIABLES, WIDE, Picture, Sheet
from fraud3000.report.sections import sections


@pytest.fixture(scope="module")
def told(make):
    return [section for section in sections(make()) if section.picture]


def test_every_topic_has_its_picture(told):
    assert [section.name for section in told] == [
        "caught", "precision-recall", "workload", "calibration", "scores", "weeks", "amounts", "by-category", "features",
    ]  # fmt: skip


def test_equal_input_gives_equal_bytes(told, make):
    again = [section.picture for section in sections(make()) if section.picture]
    for one, other in zip(again[::4], [section.picture for section in told][::4], strict=True):
        assert (one.wide, one.narrow, one.svg, one.png) == (other.wide, other.narrow, other.svg, other.png)


def test_the_page_sets_every_colour_and_the_font(told):
    for section in told:
        for svg in (section.picture.wide, section.picture.narrow):
            assert not re.findall(r"#[0-9a-fA-F]{6}\b", svg), section.name
            assert "font-family" not in svg
            assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(VARIABLES.values())


def test_text_stays_readable_on_a_phone_of_320_pixels():
    assert TEXT * (320 - 32) / NARROW >= 11
    assert WIDE <= 720


def test_every_picture_says_its_finding_to_a_screen_reader(told):
    for section in told:
        for svg in (section.picture.wide, section.picture.narrow):
            element = ET.fromstring(svg)
            assert element.get("role") == "img"
            assert element.get("aria-label") == section.finding


def test_ids_are_unique_within_a_page(told):
    ids = [
        found
        for section in told
        for svg in (section.picture.wide, section.picture.narrow)
        for found in re.findall(r'\bid="([^"]+)"', svg)
    ]
    assert len(ids) == len(set(ids))
    used = {
        found
        for section in told
        for found in re.findall(r'(?:href="#|url\(#)([^")]+)', section.picture.wide + section.picture.narrow)
    }
    assert used <= set(ids)


def test_files_of_their_own_are_whole_and_on_white(told):
    for section in told[::4]:
        root = ET.fromstring(section.picture.svg)
        assert root.find("{*}title").text == section.finding
        assert "var(--" not in section.picture.svg
        assert section.picture.png.startswith(b"\x89PNG")
        assert not re.findall(r"\d{4}-\d\d-\d\dT", section.picture.svg)


def test_names_are_drawn_as_they_are(recwarn):
    def draw(sheet: Sheet) -> None:
        sheet.axes().set_xlabel("$x^2$ <b> 食品 & more")

    drawn = Picture("hostile", "<script>alert(1)</script>", draw, 100, 100)
    assert "$x^2$ &lt;b&gt; 食品 &amp; more" in drawn.wide
    assert "<script" not in drawn.wide + drawn.svg
    assert drawn.png
    assert not recwarn.list


def test_intervals_that_are_not_known_are_not_drawn(make, scored):
    frauds = scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1)).head(1)
    few = pl.concat([frauds, scored.filter(pl.col("is_fraud") == 0)])
    told = {section.name: section for section in sections(make(few))}
    assert told["caught"].picture
    assert told["precision-recall"].picture
    assert told["calibration"].picture is None
    assert told["amounts"].picture is None
    assert told["amounts"].shown
