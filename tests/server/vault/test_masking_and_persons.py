"""The tables of masks and of normal forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.vault.masking import mask_id_number, mask_name, mask_phone
from server.vault.person import Person, PersonKind


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("", "*"),
        ("李", "*"),
        ("李四", "李*"),
        ("王小明", "王*明"),
        ("欧阳小明", "欧**明"),
        ("Al", "A*"),
        (" 李四 ", "李*"),
    ],
)
def test_names_keep_their_first_and_last_character(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("11010519491231002X", "110*************2X"),
        ("E12345678", "E12****78"),
        ("1234567", "*******"),
        ("12", "***"),
        ("", "***"),
    ],
)
def test_id_numbers_keep_three_and_two(number: str, masked: str) -> None:
    assert mask_id_number(number) == masked


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+8613800138000", "+86138****8000"),
        ("13800138000", "138****8000"),
        ("+447911123456", "+44******3456"),
        ("110", "***"),
        ("", "***"),
    ],
)
def test_phones_keep_three_and_four(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@given(st.text(max_size=40))
def test_no_mask_ever_gives_a_whole_value_away(text: str) -> None:
    for mask in (mask_name, mask_id_number, mask_phone):
        shown = mask(text)
        assert "*" in shown
        assert not text.strip() or text.strip() not in shown or "*" in text  # a star of its own may stand for ours


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (PersonKind.PHONE, "138 0013-8000", "+8613800138000"),
        (PersonKind.PHONE, "+86 138 0013 8000", "+8613800138000"),
        (PersonKind.PHONE, "0086 13800138000", "+8613800138000"),
        (PersonKind.PHONE, "１３８００１３８０００", "+8613800138000"),
        (PersonKind.PHONE, "abc", None),
        (PersonKind.PHONE, "", None),
        (PersonKind.ID_NUMBER, "11010519491231002x", "11010519491231002X"),
        (PersonKind.ID_NUMBER, " 110105 19491231 002X ", "11010519491231002X"),
        (PersonKind.ID_NUMBER, "1" * 33, None),
        (PersonKind.ID_NUMBER, "", None),
    ],
)
def test_one_person_has_one_form(kind: PersonKind, typed: str, value: str | None) -> None:
    person = Person.make(kind, typed)
    assert (person.value if person else None) == value


def test_tags_do_not_tie_days_venues_or_kinds_together() -> None:
    person = Person(PersonKind.PHONE, "+8613800138000")
    as_number = Person(PersonKind.ID_NUMBER, "+8613800138000")
    day = 86_400_000
    tags = {
        person.tag(b"k" * 32, b"venue1", day),
        person.tag(b"k" * 32, b"venue2", day),
        person.tag(b"k" * 32, b"venue1", 2 * day),
        person.tag(b"j" * 32, b"venue1", day),
        as_number.tag(b"k" * 32, b"venue1", day),
        person.log_tag(b"k" * 32),
    }
    assert len(tags) == 6
    assert person.tag(b"k" * 32, b"venue1", day) == person.tag(b"k" * 32, b"venue1", 2 * day - 1)


def test_a_person_is_not_in_its_own_repr() -> None:
    assert "138" not in repr(Person(PersonKind.PHONE, "+8613800138000"))
