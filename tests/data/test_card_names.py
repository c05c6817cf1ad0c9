"""Cards keep their names while the key of their numbers is changed, and afterwards those that were seen meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from fraud3000.data.cleaning import card_names, cards
from fraud3000.data.cleaning.card_names import CardNames, CardNameStore
from fraud3000.errors import ParamsError, UnavailableError

A, B, C = (cards.new_key() for _ in range(3))
SEEN = pl.Series(["4111111111111111", "5500005555555559", None, "4111 1111 1111 1111"])
UNSEEN = pl.Series(["340000000000009"])


@pytest.fixture
def book(tmp_path):
    return CardNameStore(tmp_path / "data" / "card-names.db")


def test_meanwhile_cards_go_by_their_old_names_and_the_new_ones_are_written_down(book):
    names = CardNames(B, A, book).names(SEEN)
    assert names.to_list() == A.names(SEEN).to_list()
    assert book.first_names(B.names(SEEN).drop_nulls()) == dict(zip(B.names(SEEN)[:2], A.names(SEEN)[:2], strict=True))
    assert len(book) == 2


def test_afterwards_those_that_were_seen_keep_their_names_and_others_begin_anew(book):
    CardNames(B, A, book).names(SEEN)
    after = CardNames(B, None, CardNameStore(book.path))
    assert after.names(SEEN).to_list() == A.names(SEEN).to_list()
    assert after.names(UNSEEN).to_list() == B.names(UNSEEN).to_list()


def test_a_second_change_goes_back_to_the_first_name(book):
    CardNames(B, A, book).names(SEEN)
    assert CardNames(C, B, book).names(SEEN).to_list() == A.names(SEEN).to_list()
    assert CardNames(C, None, book).names(SEEN).to_list() == A.names(SEEN).to_list()


def test_names_that_stand_in_the_data_already_are_taken_for_their_cards(book):
    names = CardNames(B, A, book)
    names.names(SEEN)
    written = pl.Series([A.names(SEEN)[0], B.names(SEEN)[0], B.names(UNSEEN)[0], "no number"])
    expected = [A.names(SEEN)[0], A.names(SEEN)[0], B.names(UNSEEN)[0], "no number"]
    for now in (names, CardNames(B, None, book)):
        assert list(now.names(written.head(3))) == expected[:3]


def test_without_a_change_there_is_no_book(book):
    assert CardNames(A, None, book).names(SEEN).to_list() == A.names(SEEN).to_list()
    assert not book.path.exists()
    assert len(book) == 0


def test_a_name_that_is_forgotten_is_gone(book):
    CardNames(B, A, book).names(SEEN)
    book.delete(A.names(SEEN)[0])
    assert CardNames(B, None, book).names(SEEN).to_list()[:2] == [B.names(SEEN)[0], A.names(SEEN)[1]]


def test_several_write_at_once(book):
    numbers = pl.Series([f"41111111{number:08}" for number in range(400)])

    def name(start):
        return CardNames(B, A, CardNameStore(book.path)).names(numbers[start : start + 200])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(name, range(0, 201, 50)))
    assert len(book) == 400


def test_no_number_stands_in_the_book(book):
    CardNames(B, A, book).names(SEEN)
    assert b"411111" not in book.path.read_bytes()


def test_keys_come_from_the_environment(tmp_path):
    told = {"FRAUD3000_PAN_KEY": B.text(), "FRAUD3000_PAN_KEY_OLD": A.text()}
    names = card_names.load(told, tmp_path / "book")
    assert (names.key, names.old) == (B, A)
    file = tmp_path / "old"
    file.write_text(A.text(), encoding="utf-8")
    assert (
        card_names.load({**told, "FRAUD3000_PAN_KEY_OLD": "", "FRAUD3000_PAN_KEY_OLD_FILE": str(file)}, file).old == A
    )
    assert card_names.load({"FRAUD3000_PAN_KEY": B.text()}, file).old is None
    with pytest.raises(ParamsError, match="FRAUD3000_PAN_KEY_OLD: the same key as FRAUD3000_PAN_KEY"):
        card_names.load({**told, "FRAUD3000_PAN_KEY_OLD": B.text()}, file)
    with pytest.raises(ParamsError, match="FRAUD3000_PAN_KEY_OLD: not a key"):
        card_names.load({**told, "FRAUD3000_PAN_KEY_OLD": "no key"}, file)


def test_a_book_that_cannot_be_read_is_told(book):
    book.path.parent.mkdir()
    book.path.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(UnavailableError, match=r"card-names\.db: the aliases of cards"):
        CardNames(B, A, book).names(SEEN)
