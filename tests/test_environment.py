"""Secrets are taken from variables or from the files that they name, and never told."""

from __future__ import annotations

import pytest

from fraud3000 import secrets, wire
from fraud3000.client.calls import auth_headers
from fraud3000.data.cleaning import cards
from fraud3000.errors import ParamsError
from fraud3000.service.http import api_keys
from fraud3000.service.journal import hash_chain

NAMES = (cards.VARIABLE, wire.API_KEY_VARIABLE, hash_chain.VARIABLE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nsecond line\n"])
def test_a_file_holds_it_in_its_first_line(tmp_path, name, ending):
    file = tmp_path / "secret"
    file.write_bytes(b"very secret text" + ending.encode())
    assert secrets.read_secret({f"{name}_FILE": str(file)}, name) == "very secret text"


def test_every_key_may_come_from_a_file(tmp_path):
    card_key, file = cards.new_key(), tmp_path / "secret"
    file.write_text(card_key.text() + "\n", encoding="utf-8")
    assert cards.load_key({"FRAUD3000_PAN_KEY_FILE": str(file)}) == card_key
    assert hash_chain.audit_key({"FRAUD3000_AUDIT_KEY_FILE": str(file)}) == card_key.text().encode()
    assert api_keys.master_key({"FRAUD3000_API_KEY_FILE": str(file)}) == card_key.text()
    assert auth_headers(None, {"FRAUD3000_API_KEY_FILE": str(file)}) == {"X-API-Key": card_key.text()}


def test_one_that_is_set_twice_is_refused(tmp_path):
    file = tmp_path / "secret"
    file.write_text("very secret text", encoding="utf-8")
    with pytest.raises(
        ParamsError, match="FRAUD3000_API_KEY: both FRAUD3000_API_KEY and FRAUD3000_API_KEY_FILE are set"
    ) as refused:
        api_keys.master_key({"FRAUD3000_API_KEY": "other secret text", "FRAUD3000_API_KEY_FILE": str(file)})
    assert "secret text" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"", "no secret"), (b"\n secret", "no secret"), (b"\xff\xfe", "not text")],
)
def test_a_file_that_holds_none_is_named(tmp_path, content, problem):
    file = tmp_path / "key.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ParamsError, match=problem) as refused:
        secrets.read_secret({"FRAUD3000_API_KEY_FILE": str(file)}, "FRAUD3000_API_KEY")
    assert "key.txt" in str(refused.value)
