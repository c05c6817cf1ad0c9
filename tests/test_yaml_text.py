"""YAML as it is written: no key twice, no value changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.errors import ParamsError
from fraud3000.params import yaml_text


def refusal(text: str) -> str:
    with pytest.raises(ParamsError) as caught:
        yaml_text.load(text, thing="my.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prepare: {}\nserve: {}\nprepare: {}\n", "prepare: the key appears twice, in lines 1 and 3"),
        ("prepare:\n  input: a\n  input: b\n", "prepare.input: the key appears twice, in lines 2 and 3"),
        ("prepare:\n  'input': a\n  input: b\n", "prepare.input"),
        ("a:\n- b: 1\n- {c: 1, c: 1}\n", "a.1.c"),
        ("a: &base {b: 1, b: 2}\nc: *base\n", "a.b"),
        ("a: {<<: {b: 1, b: 2}}\n", "a.<<.b"),
        ("a: {<<: {b: 1}, <<: {c: 2}}\n", "a.<<"),
        ("a: {<<: [{b: 1}, {c: 1, c: 2}]}\n", "a.<<.1.c"),
    ],
)
def test_a_key_that_comes_twice_is_refused(text: str, path: str) -> None:
    assert f"my.yaml: {path}" in refusal(text)
    assert "appears twice" in refusal(text)


def test_all_repeated_keys_are_named() -> None:
    told = refusal("{a: 1, a: 2, b: {c: 1, c: 2}}")
    assert "a: the key" in told
    assert "b.c: the key" in told


def test_a_merged_key_may_be_overridden() -> None:
    text = "base: &base {a: 1, b: 2}\nown: &own {<<: *base, b: 3}\nlast: {<<: *own, a: 4}\n"
    assert yaml_text.load(text, thing="x") == {
        "base": {"a": 1, "b": 2},
        "own": {"a": 1, "b": 3},
        "last": {"a": 4, "b": 3},
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not valid YAML"),
        ("a: &a [*a]", "contains itself"),
        ("a: !!int x", "not valid YAML"),
        ("a: !!timestamp 2024-99-99", "not valid YAML"),
        ("[" * 5000, "nested too deep"),
        ("a: 1\n---\nb: 1", "not valid YAML"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, reason: str) -> None:
    assert reason in refusal(text)


TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
    | st.sampled_from(["12:30", "010", "no", "1e-3", "0x1F", "2024-01-01", "1_0", "~", ".nan", "<<", "="]),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
))  # fmt: skip
def test_what_is_written_is_read_back(content: object) -> None:
    assert yaml_text.load(yaml_text.dump(content), thing="x") == content
