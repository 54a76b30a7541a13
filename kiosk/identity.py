"""Checks a typed ID number or phone number the moment it is typed: advice for the staff, who may overrule it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat
from stdnum.cn import ric
from stdnum.exceptions import ValidationError

from kiosk.screen_state import Text

OLDEST_YEARS = 120  # a birth date before this is a slip of the finger
_SEPARATORS = str.maketrans("", "", " -.\u00a0\u3000\u2010\u2011\u2013\u2014_")
# Residence permits of Hong Kong, Macao and Taiwan people (GA/T 2018 numbering) and the permanent residence card of
# foreigners (2023 model) use the resident number's form and check digit with region codes that name no county.
PERMIT_PREFIXES = ("810000", "820000", "830000")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999, also ISO 7064 MOD 11-2


@dataclass(frozen=True, slots=True)
class Checked:
    """A typed number: as it is kept, and what is the matter with it (None: nothing)."""

    text: str
    problem: Text | None


def tidy(typed: str) -> str:
    """Full-width forms made narrow, separators taken out, letters capital."""
    return unicodedata.normalize("NFKC", typed).translate(_SEPARATORS).strip().upper()


def check_id_number(typed: str, today: date) -> Checked:
    """Check an 18-digit number of a resident ID card, a residence permit or a permanent residence card.

    Form, check digit, real birth date not after *today*; for resident cards also the region (python-stdnum).
    """
    number = tidy(typed)
    if len(number) != 18:
        return Checked(
            number, Text(f"应为 18 位，现为 {len(number)} 位", f"18 characters expected, {len(number)} typed")
        )
    if not (number[:17].isascii() and number[:17].isdigit() and number[17] in "0123456789X"):
        return Checked(number, Text("只能是数字，末位可为 X", "Digits only; the last may be X"))
    expected = "10X98765432"[sum(int(d) * w for d, w in zip(number[:17], _WEIGHTS, strict=True)) % 11]
    if number[17] != expected:
        return Checked(number, Text("校验位不符，请核对每一位", "The check digit does not fit; compare each digit"))
    born = _birth_date(number)
    if born is None or born > today or born.year < today.year - OLDEST_YEARS:
        return Checked(number, Text("出生日期有误（第 7 至 14 位）", "The birth date is wrong (characters 7 to 14)"))
    if number[0] != "9" and not number.startswith(PERMIT_PREFIXES):
        try:
            ric.validate(number)
        except ValidationError:
            return Checked(number, Text("地区码有误（前 6 位）", "The region is unknown (first 6 digits)"))
    return Checked(number, None)


def _birth_date(number: str) -> date | None:
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None


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
