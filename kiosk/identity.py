"""Checks a typed ID number or phone number the moment it is typed: advice for the staff, who may overrule it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from kiosk.screen_state import Text
from protocol.id_number import PERMIT_PREFIXES, NumberProblem, number_problem, tidy

__all__ = ["PERMIT_PREFIXES", "Checked", "check_id_number", "check_phone", "tidy"]

_PROBLEMS: dict[NumberProblem, Text] = {
    NumberProblem.CHARACTERS: Text("只能是数字，末位可为 X", "Digits only; the last may be X"),
    NumberProblem.CHECK_DIGIT: Text("校验位不符，请核对每一位", "The check digit does not fit; compare each digit"),
    NumberProblem.BIRTH_DATE: Text("出生日期有误（第 7 至 14 位）", "The birth date is wrong (characters 7 to 14)"),
    NumberProblem.REGION: Text("地区码有误（前 6 位）", "The region is unknown (first 6 digits)"),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A typed number: as it is kept, and what is the matter with it (None: nothing)."""

    text: str
    problem: Text | None


def check_id_number(typed: str, today: date) -> Checked:
    """Check an 18-digit number of a resident ID card, a residence permit or a permanent residence card.

    Form, check digit, real birth date not after *today*; for resident cards also the region (python-stdnum).
    """
    number = tidy(typed)
    problem = number_problem(number, today)
    if problem is NumberProblem.LENGTH:
        return Checked(
            number, Text(f"应为 18 位，现为 {len(number)} 位", f"18 characters expected, {len(number)} typed")
        )
    return Checked(number, None if problem is None else _PROBLEMS[problem])


def check_phone(typed: str) -> Checked:
    """Check a phone number; mainland numbers need no country code. Kept as E.164 when it can be read at all."""
    number = unicodedata.normalize("NFKC", typed).strip()
    try:
        parsed = phonenumbers.parse(number, "CN")
    except NumberParseException:
        return Checked(number[:32], Text("不像电话号码", "This does not look like a phone number"))
    kept = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if not phonenumbers.is_valid_number(parsed):
        return Checked(kept, Text("没有这样的号段，请核对", "No such number range; please compare"))
    return Checked(kept, None)
