"""Reads what somebody typed about a resident into an identity in its one normal form, or says what is wrong. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from protocol.credentials.identity import MAX_NAME_CHARS, Identity
from protocol.id_number import NumberProblem, number_problem, tidy
from server.residents.errors import ResidentError

# Passports and travel permits: letters first, as they do everywhere we know of; a resident number starts with a digit.
OTHER_DOCUMENT = re.compile(r"[A-Z]{1,3}[0-9]{5,12}[A-Z]?")
NUMBER_PROBLEMS: dict[NumberProblem, str] = {
    NumberProblem.LENGTH: "An ID number has 18 characters; a passport begins with a letter.",
    NumberProblem.CHARACTERS: "An ID number has digits only; the last may be X.",
    NumberProblem.CHECK_DIGIT: "The check digit does not fit; compare each digit.",
    NumberProblem.BIRTH_DATE: "The birth date is wrong (characters 7 to 14).",
    NumberProblem.REGION: "The region is unknown (first 6 digits).",
}


def read_entry(name: str, id_number: str, phone: str, today: date) -> Identity:
    """The identity that was typed; the phone may be empty. Raises ResidentError for the first thing that is wrong."""
    clean_name = " ".join(unicodedata.normalize("NFC", name).split())
    if not clean_name or len(clean_name) > MAX_NAME_CHARS or not clean_name.isprintable():
        raise ResidentError("A name has 1 to 40 characters.", "name")
    return Identity(clean_name, read_number(id_number, today), read_phone(phone))


def read_number(typed: str, today: date) -> str:
    """An ID number that holds, or the number of a passport or travel permit; raises ResidentError."""
    number = tidy(typed)
    if OTHER_DOCUMENT.fullmatch(number):
        return number
    problem = number_problem(number, today)
    if problem is not None:
        raise ResidentError(NUMBER_PROBLEMS[problem], "id_number")
    return number


def read_phone(typed: str) -> str:
    """The phone in E.164, or "" when none was given; numbers of the mainland need no country code."""
    text = unicodedata.normalize("NFKC", typed).strip()
    if not text:
        return ""
    try:
        parsed = phonenumbers.parse(text, "CN")
    except NumberParseException:
        raise ResidentError("This does not look like a phone number.", "phone") from None
    if not phonenumbers.is_possible_number(parsed):
        raise ResidentError("This does not look like a phone number.", "phone")
    return str(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))
