"""Params files: known keys, checked values, the environment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fraud3000 import params
from fraud3000.errors import ParamsError

ROOT = Path(__file__).parents[1]


def refused(content: dict[str, object]) -> str:
    with pytest.raises(ParamsError) as caught:
        params.parse(content, thing="my.yaml")
    return str(caught.value)


def test_the_default_file_says_what_the_defaults_are() -> None:
    assert params.load(ROOT / "params.yaml") == params.Params()


def test_repr_lists_what_differs_from_the_defaults() -> None:
    assert repr(params.Params()) == "Params()"
    changed = params.parse({"train": {"estimator": "random_forest"}, "promote": {}, "workspace": "x" * 100})
    assert repr(changed) == f"Params(workspace='{'x' * 58}…, train.estimator='random_forest')"


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_repr_is_short(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAUD3000_DATASETS", str(tmp_path))
    assert len(repr(params.load(path))) < 1_000


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert params.load() == params.Params()
    (tmp_path / "params.yaml").write_text("workspace: elsewhere\n")
    assert params.load().workspace == "elsewhere"


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_params_file_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAUD3000_DATASETS", str(tmp_path))
    loaded = params.load(path)
    assert loaded.workspace == f"data/runs/{path.stem}"
    assert loaded.prepare.input.startswith(str(tmp_path))


def test_unknown_keys_name_those_there_are() -> None:
    told = refused({"policy": {"cards_a_day": 50}})
    assert told.startswith("my.yaml: policy.cards_a_day: unknown key\nHint: Keys of policy: threshold, cards_per_day")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"policy": {"cards_per_day": 0}}, "policy.cards_per_day: Input should be greater than or equal to 1, found 0"),
        ({"policy": {"review_cost": -1}}, "policy.review_cost: Input should be greater than or equal to 0, found -1"),
        ({"policy": {"lost_sale": -5}}, "policy.lost_sale: Input should be greater than or equal to 0, found -5"),
        ({"train": {"estimator": "xgboost"}}, "train.estimator: Input should be 'hist_gradient_boosting'"),
        ({"prepare": {"label_delay": "1mo"}}, "prepare.label_delay: '1mo' is not a duration"),
        ({"featurize": {"zone": "Mars/Olympus"}}, "'Mars/Olympus' is not a time zone"),
        ({"featurize": {"split": {"train": 0.9}}}, "must be above 0 and sum to 1, found 1.3"),
        ({"featurize": {"split": {"by": "dates"}}}, "by 'dates' needs [first, last) dates"),
        (
            {"featurize": {"split": {"by": "dates", **{part: ["2018-02-01", "2018-01-01"] for part in ("train", "valid", "test")}}}},
            "the first date of a span must be before its last date",
        ),
        ({"featurize": {"split": {"by": "time", "test": ["2018-01-01", "2018-02-01"]}}}, "by 'time' needs fractions"),
    ],
)  # fmt: skip
def test_bad_values_are_told_with_what_was_found(content: dict[str, object], message: str) -> None:
    assert message in refused(content)


def test_all_problems_at_once() -> None:
    told = refused({"train": {"seed": -1}, "evaluate": {"replicates": 3}, "epochs": 9})
    assert all(key in told for key in ("train.seed", "evaluate.replicates", "epochs: unknown key"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workspace: [", "not valid YAML"),
        ("- a\n- b\n", "expected keys and values, found a list"),
        ("workspace: ${FRAUD3000_NOWHERE}\n", "workspace: the environment variable FRAUD3000_NOWHERE is not set"),
    ],
)
def test_unusable_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message):
        params.load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="cannot be read"):
        params.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("workspace: donn\xe9es\n".encode("latin-1"))
    with pytest.raises(ParamsError, match="not UTF-8"):
        params.load(tmp_path / "latin.yaml")


def test_the_environment_is_expanded_and_empty_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("prepare: {input: '${PLACE}/a.csv', mapping: {numeric: ['${PLACE}']}}\n")
    monkeypatch.setenv("PLACE", "/somewhere")
    loaded = params.load(path).prepare
    assert (loaded.input, loaded.mapping) == ("/somewhere/a.csv", {"numeric": ["/somewhere"]})
    monkeypatch.setenv("PLACE", "")
    with pytest.raises(ParamsError, match=r"prepare\.input: the environment variable PLACE is empty"):
        params.load(path)


def test_durations_go_there_and_back() -> None:
    loaded = params.parse({"prepare": {"label_delay": "36h"}}).prepare
    assert loaded.label_delay == timedelta(hours=36)
    assert loaded.model_dump(mode="json")["label_delay"] == "36h"


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("")
    assert params.load(tmp_path / "my.yaml") == params.Params()


def test_params_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        params.Params().workspace = "elsewhere"  # type: ignore[misc]
