"""Plots are deterministic, take the colours of the page, and are readable on a phone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from fraud3000.report.canvas import NARROW, TEXT, VARIABLES, WIDE, Picture, Sheet
from fraud3000.report.evaluation_sections import sections


@pytest.fixture(scope="module")
def drawn_sections(make):
    return [section for section in sections(make()) if section.picture]


def test_every_topic_has_a_plot(drawn_sections):
    assert [section.name for section in drawn_sections] == [
        "caught", "precision-recall", "workload", "calibration", "scores", "weeks", "amounts", "by-category", "features",
    ]  # fmt: skip


def test_equal_input_gives_equal_bytes(drawn_sections, make):
    again = [section.picture for section in sections(make()) if section.picture]
    for one, other in zip(again[::4], [section.picture for section in drawn_sections][::4], strict=True):
        assert (one.wide, one.narrow, one.svg, one.png) == (other.wide, other.narrow, other.svg, other.png)


def test_colours_and_font_come_from_the_page(drawn_sections):
    for section in drawn_sections:
        for svg in (section.picture.wide, section.picture.narrow):
            assert not re.findall(r"#[0-9a-fA-F]{6}\b", svg), section.name
            assert "font-family" not in svg
            assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(VARIABLES.values())


def test_text_stays_readable_on_a_phone_of_320_pixels():
    assert TEXT * (320 - 32) / NARROW >= 11
    assert WIDE <= 720


def test_every_plot_has_its_finding_as_label(drawn_sections):
    for section in drawn_sections:
        for svg in (section.picture.wide, section.picture.narrow):
            element = ET.fromstring(svg)
            assert element.get("role") == "img"
            assert element.get("aria-label") == section.finding


def test_ids_are_unique_within_a_page(drawn_sections):
    ids = [
        found
        for section in drawn_sections
        for svg in (section.picture.wide, section.picture.narrow)
        for found in re.findall(r'\bid="([^"]+)"', svg)
    ]
    assert len(ids) == len(set(ids))
    used = {
        found
        for section in drawn_sections
        for found in re.findall(r'(?:href="#|url\(#)([^")]+)', section.picture.wide + section.picture.narrow)
    }
    assert used <= set(ids)


def test_svg_and_png_files_are_complete(drawn_sections):
    for section in drawn_sections[::4]:
        root = ET.fromstring(section.picture.svg)
        assert root.find("{*}title").text == section.finding
        assert "var(--" not in section.picture.svg
        assert section.picture.png.startswith(b"\x89PNG")
        assert not re.findall(r"\d{4}-\d\d-\d\dT", section.picture.svg)


def test_labels_are_drawn_literally(recwarn):
    def draw(sheet: Sheet) -> None:
        sheet.axes().set_xlabel("$x^2$ <b> 食品 & more")

    drawn = Picture("hostile", "<script>alert(1)</script>", draw, 100, 100)
    assert "$x^2$ &lt;b&gt; 食品 &amp; more" in drawn.wide
    assert "<script" not in drawn.wide + drawn.svg
    assert drawn.png
    assert not recwarn.list


def test_unknown_intervals_are_not_drawn(make, scored):
    frauds = scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1)).head(1)
    few = pl.concat([frauds, scored.filter(pl.col("is_fraud") == 0)])
    by_name = {section.name: section for section in sections(make(few))}
    assert by_name["caught"].picture
    assert by_name["precision-recall"].picture
    assert by_name["calibration"].picture is None
    assert by_name["amounts"].picture is None
    assert by_name["amounts"].table
