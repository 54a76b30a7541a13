"""Numbers as staff type them: what is right, what is wrong, and where to look."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.identity import check_id_number, check_phone

TODAY = date(2026, 11, 21)
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def with_check_digit(first17: str) -> str:
    return first17 + "10X98765432"[sum(int(d) * w for d, w in zip(first17, WEIGHTS, strict=True)) % 11]


@pytest.mark.parametrize(
    "typed",
    [
        "11010519491231002X",  # the example of GB 11643-1999
        "11010519491231002x",
        "１１０１０５１９４９１２３１００２Ｘ",
        "110105 1949 1231 002X",
        "110105-19491231-002X",
        with_check_digit("81000019940823002"),  # residence permit, Hong Kong
        with_check_digit("82000019940823002"),
        with_check_digit("83000019940823002"),
        with_check_digit("91112319940823002"),  # permanent residence card
    ],
)
def test_a_right_number_is_accepted_however_it_is_typed(typed: str) -> None:
    checked = check_id_number(typed, TODAY)
    assert checked.problem is None
    assert len(checked.text) == 18 and checked.text.isascii()


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ("", "18"),
        ("110105491231002", "18"),  # the old number of 15 digits
        ("11010519491231002X1", "18"),
        ("1101051949123100XX", "Digits"),
        ("११०१०५१९४९१२३१००२X", "Digits"),  # other scripts' digits are digits to Python
        ("110105194912310021", "check digit"),
        (with_check_digit("11010520991231002"), "birth date"),
        (with_check_digit("11010518001231002"), "birth date"),
        (with_check_digit("11010519490231002"), "birth date"),
        (with_check_digit("00010519491231002"), "region"),
    ],
)
def test_a_wrong_number_is_refused_with_the_place_to_look_at(typed: str, part: str) -> None:
    problem = check_id_number(typed, TODAY).problem
    assert problem is not None and part in problem.en and problem.zh


@given(st.text(max_size=60))
def test_nothing_that_can_be_typed_breaks_the_checks(typed: str) -> None:
    check_id_number(typed, TODAY)
    check_phone(typed)


@given(st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_is_always_noticed(at: int, by: int) -> None:
    right = "110105194912310037"
    right = with_check_digit(right[:17])
    if right[at] == "X":
        return
    wrong = right[:at] + str((int(right[at]) + by) % 10) + right[at + 1 :]
    assert check_id_number(wrong, TODAY).problem is not None


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("13800138000", "+8613800138000"),
        ("138 0013 8000", "+8613800138000"),
        ("１３８００１３８０００", "+8613800138000"),
        ("+852 5123 4567", "+85251234567"),
        ("010-62345678", "+861062345678"),
    ],
)
def test_a_phone_number_is_kept_in_one_form(typed: str, kept: str) -> None:
    checked = check_phone(typed)
    assert (checked.text, checked.problem) == (kept, None)


@pytest.mark.parametrize("typed", ["", "abc", "12345", "1380013800", "+1"])
def test_a_slip_in_a_phone_number_is_shown(typed: str) -> None:
    assert check_phone(typed).problem is not None
