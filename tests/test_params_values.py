"""Values of a params file: each is taken as it is written, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from fraud3000 import params
from fraud3000.errors import ParamsError
from fraud3000.models.training import estimators

WITHOUT_UNIT = [
    "7", "-7", "0", "0.5", "1_000", "0x10", "010", "1e3", "12:30", "true", "no", "on", "2024-01-01", ".inf", ".nan", "'7'", "[7d]",
]  # fmt: skip


def load(tmp_path: Path, text: str) -> params.Params:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return params.load(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(str(tmp_path / "my.yaml"), "my.yaml")


def nested(key: str, value: str) -> str:
    """A params file with one key, in flow style."""
    *sections, last = key.split(".")
    return "".join(f"{{{section}: " for section in sections) + f"{{{last}: {value}}}" + "}" * len(sections)


def keys_of(kind: type, model: type[BaseModel] = params.Params, above: str = "") -> list[str]:
    """Every key of a params file whose value has this type, or is null."""
    found = []
    for name, field in model.model_fields.items():
        listed = get_origin(field.annotation) in {tuple, dict}
        parts = [part for part in get_args(field.annotation) or (field.annotation,) if part is not type(None)]
        plain = get_args(parts[0])[0] if get_origin(parts[0]) is Annotated else parts[0]
        if isinstance(plain, type) and not listed and issubclass(plain, BaseModel):
            found += keys_of(kind, plain, f"{above}{name}.")
        elif len(parts) == 1 and not listed and plain is kind:
            found.append(f"{above}{name}")
    return [key for key in found if key != "prepare.labels.time.start"]


def test_the_keys_of_each_type_are_found() -> None:
    assert {"prepare.label_delay", "backtest.window", "serve.retention.journal"} <= set(keys_of(timedelta))
    assert {"simulate.rows", "serve.port", "policy.lost_sale"} <= set(keys_of(int))
    assert {"policy.review_stops", "serve.requests_per_second"} <= set(keys_of(float))
    assert {"prepare.earliest", "evaluate.label_date"} <= set(keys_of(datetime))


@pytest.mark.parametrize("value", WITHOUT_UNIT)
def test_a_duration_without_a_unit_is_refused(tmp_path: Path, value: str) -> None:
    for key in keys_of(timedelta):
        message = refusal(tmp_path, nested(key, value))
        assert message.startswith(f"my.yaml: {key}: "), message
        assert "such as '7d'" in message


@pytest.mark.parametrize("value", WITHOUT_UNIT)
@pytest.mark.parametrize("key", ["length", "delay", "bucket", "over"])
def test_a_window_without_a_unit_is_refused(tmp_path: Path, key: str, value: str) -> None:
    entry = {"key": "card_id", "aggregate": "mean", "length": "7d", key: value}
    text = ", ".join(f"{name}: {part}" for name, part in entry.items())
    message = refusal(tmp_path, f"featurize: {{features: [{{{text}}}]}}")
    assert message.startswith(f"my.yaml: featurize.features.0.{key}: "), message


def test_the_message_names_the_key_what_was_found_and_what_to_write(tmp_path: Path) -> None:
    assert refusal(tmp_path, "prepare: {label_delay: 7}") == (
        "my.yaml: prepare.label_delay: a duration needs a unit, found 7\n"
        "Hint: Write a whole number and one unit of s, m, h, d, w, such as '7d'."
    )


def test_durations_with_a_unit_are_read(tmp_path: Path) -> None:
    read = load(tmp_path, "{prepare: {label_delay: 0d}, serve: {reload: '90s'}, backtest: {window: 2w}}")
    assert (read.prepare.label_delay, read.serve.reload) == (timedelta(0), timedelta(seconds=90))
    assert read.backtest.window == timedelta(days=14)


@pytest.mark.parametrize("digits", ["7", "9" * 30])
def test_a_duration_beyond_a_hundred_years_is_refused(tmp_path: Path, digits: str) -> None:
    text = f"prepare: {{label_delay: {digits}00000d}}"
    assert "is more than 36600d" in refusal(tmp_path, text)


@pytest.mark.parametrize("value", ["true", "no", "010", "12:30", "1.0", "1e3", "'5'", ".nan", "2024-01-01"])
def test_a_count_is_a_whole_number_as_it_is_written(tmp_path: Path, value: str) -> None:
    for key in keys_of(int):
        assert f"{key}: " in refusal(tmp_path, nested(key, value)), key


@pytest.mark.parametrize("value", ["true", "no", "'0.5'", ".inf", "-.inf", ".nan", "1:30.5", "2024-01-01"])
def test_a_rate_is_a_finite_number(tmp_path: Path, value: str) -> None:
    for key in keys_of(float):
        assert refusal(tmp_path, nested(key, value)).startswith(f"my.yaml: {key}: "), key


@pytest.mark.parametrize("value", ["true", "20240131", "1700000000", "'1700000000'", "0.5", "2024-13-01", "12:30"])
def test_a_moment_is_no_number(tmp_path: Path, value: str) -> None:
    for key in keys_of(datetime):
        assert refusal(tmp_path, nested(key, value)).startswith(f"my.yaml: {key}: "), key


@pytest.mark.parametrize("value", ["true", "5", "0.5", "0x10", ".nan"])
def test_a_number_is_no_text(tmp_path: Path, value: str) -> None:
    message = refusal(tmp_path, f"registry: {{name: {value}}}")
    assert message.endswith("Hint: Put the value in quotes, so that it is read as text.")


@pytest.mark.parametrize("value", ["[true]", "[0.5, no]", "[.nan]", "{a: 1}", "0.5"])
def test_lists_of_rates_hold_numbers(tmp_path: Path, value: str) -> None:
    assert refusal(tmp_path, f"evaluate: {{fpr: {value}}}").startswith("my.yaml: evaluate.fpr")


@pytest.mark.parametrize("value", ["true", "1.0", "'1'", "2"])
def test_a_sign_is_one_or_minus_one(tmp_path: Path, value: str) -> None:
    assert refusal(tmp_path, f"train: {{monotone: {{amount: {value}}}}}").startswith("my.yaml: train.monotone.amount: ")


def test_values_that_are_written_as_they_are_meant(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        "{simulate: {rows: 1_000}, policy: {review_stops: 1}, train: {undersample_to: 5e-2, monotone: {amount: -1}},"
        " backtest: {refit: no, seeds: [1, 2]}, registry: {name: no, experiment: '010'}, evaluate: {fpr: [1, .5]},"
        " prepare: {earliest: 2001-02-03, latest: 2002-03-04T05:06:07Z, source_precedence: [12:30, yes, 2024-01-01]}}",
    )
    assert (read.simulate.rows, read.policy.review_stops, read.train.undersample_to) == (1000, 1.0, 0.05)
    assert (read.backtest.refit, read.backtest.seeds, read.train.monotone) == (False, (1, 2), {"amount": -1})
    assert (read.registry.name, read.registry.experiment, read.evaluate.fpr) == ("no", "010", (1.0, 0.5))
    assert read.prepare.earliest == datetime(2001, 2, 3)
    assert read.prepare.latest == datetime(2002, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert read.prepare.source_precedence == ("12:30", "yes", "2024-01-01")


def test_a_variable_of_the_environment_is_a_number_where_one_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_NUMBER", "8000")
    monkeypatch.setenv("SOME_TIME", "8000s")
    read = load(
        tmp_path, "{serve: {port: '${SOME_NUMBER}', reload: '${SOME_TIME}'}, registry: {name: '${SOME_NUMBER}'}}"
    )
    assert (read.serve.port, read.serve.reload, read.registry.name) == (8000, timedelta(seconds=8000), "8000")
    assert "needs a unit" not in refusal(tmp_path, "serve: {reload: '${SOME_NUMBER}'}")


@pytest.mark.parametrize(
    "content", [{"max_depth": True}, {"n_estimators": True}, {"max_features": float("nan")}, {"max_depth": "010"}]
)
def test_params_of_a_learner_hold_numbers(content: dict[str, Any]) -> None:
    train = params.TrainModelParams(estimator="random_forest", estimator_params=content)
    with pytest.raises(ParamsError, match=r"train\.estimator_params"):
        estimators.check(train)
