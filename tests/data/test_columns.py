from __future__ import annotations

from typing import Any

import pytest

from fraud3000.data.reading.columns import ColumnLayout, normalised, resolve
from fraud3000.errors import LeakageError, ParamsError, SchemaError
from fraud3000.params import ColumnMapping


def layout(there: list[str], optional: tuple[str, ...] = (), **mapping: Any) -> ColumnLayout:
    mapping["columns"] = {"amount": "amount"} | mapping.get("columns", {})
    return resolve(there, ColumnMapping.model_validate(mapping), thing="a.csv", optional=optional)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Is Fraud?", "is_fraud"),
        ("TX_DATETIME", "tx_datetime"),
        ("transactionID", "transaction_id"),
        ("TransactionDT", "transaction_dt"),
        ("V28", "v28"),
        ("  a -- b ", "a_b"),
        ("", "column_1"),
        ("???", "column_1"),
        ("Größe (m²)", "größe_m2"),
    ],
)
def test_names_become_snake_case(raw: str, name: str) -> None:
    assert normalised([raw]) == {raw: name}


def test_raw_and_normalised_names_both_find_their_column() -> None:
    found = layout(
        ["Amount", "User", "Use Chip", "MCC", "?"], columns={"card_id": "user"}, categorical=["Use Chip", "mcc"]
    )
    assert found.roles == {"amount": ("Amount",), "card_id": ("User",)}
    assert found.categorical == {"use_chip": "Use Chip", "mcc": "MCC"}
    assert found.unused == ("?",)


def test_dropped_columns_are_neither_used_nor_unused() -> None:
    found = layout(["", "amount", "Zip Code"], drop=["", "zip_code", "not there"])
    assert (found.dropped, found.unused) == (("", "Zip Code"), ())


def test_all_missing_columns_are_named_at_once_with_the_nearest() -> None:
    with pytest.raises(SchemaError) as caught:
        layout(["Amt", "Timestamp", "card"], columns={"ts": "time_stamp", "card_id": ["card", "user"]}, numeric=["v1"])
    assert "column 'amount' is missing" in caught.value.message
    assert "column 'time_stamp' is missing; nearest: 'timestamp'" in caught.value.message.lower()
    assert "column 'user' is missing" in caught.value.message
    assert "column 'v1' is missing" in caught.value.message
    assert "'card' is missing" not in caught.value.message


def test_optional_roles_may_be_missing_as_a_whole() -> None:
    columns = {"is_fraud": "label", "reported_at": ["day", "hour"]}
    assert layout(["amount"], optional=("is_fraud", "reported_at"), columns=columns).roles == {"amount": ("amount",)}
    with pytest.raises(SchemaError, match="'hour'"):
        layout(["amount", "label", "day"], optional=("is_fraud", "reported_at"), columns=columns)


def test_two_columns_of_one_normalised_name_are_named_unless_one_is_dropped() -> None:
    with pytest.raises(SchemaError, match="'Is Fraud' and 'is_fraud' would both be named 'is_fraud'"):
        layout(["amount", "Is Fraud", "is_fraud"])
    assert layout(["amount", "Is Fraud", "is_fraud"], drop=["Is Fraud"]).unused == ("is_fraud",)


@pytest.mark.parametrize("name", ["fraud_scenario", "TX_FRAUD_SCENARIO", "Fraud Scenario"])
@pytest.mark.parametrize("use", [{"numeric": True}, {"categorical": True}, {"role": True}])
def test_the_scenario_is_never_an_input(name: str, use: dict[str, bool]) -> None:
    mapping: dict[str, Any] = {key: [name] for key in use if key != "role"}
    mapping["columns"] = {"terminal_id": name} if "role" in use else {}
    with pytest.raises(LeakageError, match=name):
        layout(["amount", name], **mapping)
    assert layout(["amount", name]).unused == (name,)


@pytest.mark.parametrize("role", ["is_fraud", "reported_at"])
def test_the_label_and_its_report_are_no_inputs(role: str) -> None:
    with pytest.raises(LeakageError, match="'told'"):
        layout(["amount", "told"], columns={role: "told"}, numeric=["told"])


def test_mistaken_mappings_are_told() -> None:
    with pytest.raises(ParamsError, match=r"columns\.amount"):
        layout(["x"], columns={"amount": None})
    with pytest.raises(ParamsError, match="'shop' is both mapped and dropped"):
        layout(["amount", "shop"], columns={"terminal_id": "shop"}, drop=["shop"])
    with pytest.raises(ParamsError, match="numeric and as categorical"):
        layout(["amount", "x"], numeric=["x"], categorical=["x"])
    with pytest.raises(SchemaError, match="'Status' is passed through under a reserved name"):
        layout(["amount", "Status"], categorical=["Status"])
