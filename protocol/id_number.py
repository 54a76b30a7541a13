"""What is the matter with a resident identity number, if anything: form, check digit, birth date, region. Pure."""

from __future__ import annotations

import unicodedata
from datetime import date
from enum import Enum

from stdnum.cn import ric
from stdnum.exceptions import ValidationError

from protocol.credentials.identity import check_digit

OLDEST_YEARS = 120  # a birth date before this is a slip of the finger
# Residence permits of Hong Kong, Macao and Taiwan people (GA/T 2018 numbering) and the permanent residence card of
# foreigners (2023 model) use the resident number's form and check digit with region codes that name no county.
PERMIT_PREFIXES = ("810000", "820000", "830000")
_SEPARATORS = str.maketrans("", "", " -.\u00a0\u3000\u2010\u2011\u2013\u2014_")


class NumberProblem(Enum):
    """Why a number cannot be that of a resident card, a residence permit or a permanent residence card."""

    LENGTH = "length"  # not 18 characters
    CHARACTERS = "characters"  # something else than digits, and X at the end
    CHECK_DIGIT = "check_digit"
    BIRTH_DATE = "birth_date"  # no date, in the future, or too long ago
    REGION = "region"  # resident cards only


def tidy(typed: str) -> str:
    """Full-width forms made narrow, separators taken out, letters capital."""
    return unicodedata.normalize("NFKC", typed).translate(_SEPARATORS).strip().upper()


def number_problem(number: str, today: date) -> NumberProblem | None:
    """What is wrong with *number* (as `tidy` leaves it), or None: GB 11643-1999, a real birth date not after *today*,
    and for resident cards a region that was known in the year of birth (python-stdnum)."""
    if len(number) != 18:
        return NumberProblem.LENGTH
    if not (number[:17].isascii() and number[:17].isdigit() and number[17] in "0123456789X"):
        return NumberProblem.CHARACTERS
    if number[17] != check_digit(number[:17]):
        return NumberProblem.CHECK_DIGIT
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return NumberProblem.BIRTH_DATE
    if born > today or born.year < today.year - OLDEST_YEARS:
        return NumberProblem.BIRTH_DATE
    if number[0] != "9" and not number.startswith(PERMIT_PREFIXES):
        try:
            ric.validate(number)
        except ValidationError:
            return NumberProblem.REGION
    return None
