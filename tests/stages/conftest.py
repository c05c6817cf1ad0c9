"""Fixtures that tests of several stages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from markupsafe import escape

from fraud3000.report.canvas import Picture


@pytest.fixture
def blank_pictures() -> Iterator[None]:
    """Leave the plots of reports blank: drawing them takes more than half of an evaluation.

    For tests that look at no plot. tests/report draws each plot, and test_evaluate.py draws those of an evaluation.
    """
    with pytest.MonkeyPatch.context() as patch:
        for form in ("wide", "narrow"):
            patch.setattr(Picture, form, property(lambda picture, form=form: _element(picture.title, form)))
        patch.setattr(Picture, "svg", property(lambda picture: f"<svg><title>{escape(picture.title)}</title></svg>"))
        patch.setattr(Picture, "png", property(lambda _: b"\x89PNG"))
        yield


@pytest.fixture(scope="module")
def blank_pictures_in_module() -> Iterator[None]:
    """The same for a whole file and its fixtures."""
    yield from blank_pictures.__wrapped__()


def _element(title: str, form: str) -> str:
    return f'<svg class="{form}" role="img" aria-label="{escape(title)}" viewBox="0 0 1 1"></svg>'
