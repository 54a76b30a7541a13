"""The EU Digital COVID Certificate (`HC1:`): somebody else's signature over a vaccination, test or recovery."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from protocol.credentials import base45
from protocol.credentials.model import Checked, Credential, believed
from protocol.credentials.packed import unpack
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.rules import rule_reasons
from protocol.credentials.signed import (
    CLAIM_EXP,
    CLAIM_IAT,
    CLAIM_ISS,
    CLAIM_NBF,
    Refused,
    claims_of,
    key_time_reasons,
    parse_message,
    time_claim,
    time_reasons,
    verify_message,
)
from protocol.trust import TrustedKey, TrustList
from protocol.words import CredentialKind

PREFIX: Final = "HC1:"
MAX_TEXT_CHARS: Final = 4300  # more than a QR code of the largest version can hold (4,296)
MAX_UNPACKED_BYTES: Final = 65_536
CLAIM_HCERT: Final = -260  # electronic health certificate container, hcert specification 3.3.1
HCERT_DCC: Final = 1
TYPES: Final = ("v", "t", "r")


def check(text: str, trust: TrustList, *, at: datetime, policy: CheckPolicy) -> Checked:
    """Verify one certificate. Raises Refused when nothing in it may be believed.

    (1) length, (2) base45, (3) zlib, (4) COSE, (5) key and signature, (6) claims, (7) content by the schema,
    (8) may this key sign this type, (9) time, (10) value sets and (11) business rules where the policy has them.
    """
    if len(text) > MAX_TEXT_CHARS:  # (1)
        raise Refused(Reason.TOO_LONG)
    try:  # (2)
        packed = base45.decode(text[len(PREFIX) :])
    except base45.Base45Error as error:
        raise Refused(Reason.BAD_ENCODING) from error
    message = parse_message(unpack(packed, raw=False, max_bytes=MAX_UNPACKED_BYTES))  # (3) (4)
    key = verify_message(message, trust, CredentialKind.EU_DCC.value)  # (5)
    claims = claims_of(message.payload, foreign=True)  # (6)
    container = claims.get(CLAIM_HCERT)
    certificate = container.get(HCERT_DCC) if isinstance(container, dict) else None
    if not isinstance(certificate, dict) or not all(isinstance(name, str) for name in certificate):
        raise Refused(Reason.BAD_STRUCTURE)
    issuer = claims.get(CLAIM_ISS)
    issued_at, not_before = time_claim(claims, CLAIM_IAT), time_claim(claims, CLAIM_NBF)
    credential = Credential(
        kind=CredentialKind.EU_DCC,
        scheme="HC1",
        issuer=issuer if isinstance(issuer, str) and len(issuer) <= 80 else key.country,
        kid=key.kid,
        issued_at=issued_at,
        expires_at=time_claim(claims, CLAIM_EXP),
        not_before=not_before or issued_at,
        claims=certificate,
    )
    reasons = content_reasons(certificate, at=at)  # (7)
    if not key.dcc_types.issuperset(_types(certificate)):  # (8)
        reasons.append(Reason.KEY_NOT_FOR_THIS)
    reasons += _time_reasons(credential, key, at=at, policy=policy)  # (9)
    if policy.value_sets is not None and not _values_known(certificate, policy.value_sets):  # (10)
        reasons.append(Reason.VALUE_UNKNOWN)
    if policy.rules is not None and not any(reason.refuses for reason in reasons):  # (11)
        reasons += rule_reasons(policy.rules, credential, at=at)
    return believed(credential, *reasons)


def _time_reasons(credential: Credential, key: TrustedKey, *, at: datetime, policy: CheckPolicy) -> list[Reason]:
    reasons = time_reasons(not_before=credential.not_before, expires_at=credential.expires_at, at=at, policy=policy)
    reasons += key_time_reasons(key, at=at)
    # Some states signed old results in the first days of a key; it is marked, not refused (credentials.md 2.2)
    if key.not_before is not None and credential.issued_at is not None and credential.issued_at < key.not_before:
        reasons.append(Reason.SIGNED_BEFORE_KEY)
    return reasons


def _types(certificate: Mapping[str, object]) -> list[str]:
    return [name for name in TYPES if certificate.get(name) is not None]


def content_reasons(certificate: Mapping[str, object], *, at: datetime) -> list[Reason]:
    """What is wrong with the content, by the rules of the DCC schema 1.3 (eHealth Network, JSON schema guidelines).

    What is null counts as absent. The birth date may be partial or empty, but may not lie after *at*.
    """
    types = _types(certificate)
    groups = [certificate[name] for name in types]
    reasons = []
    if len(groups) > 1 or any(isinstance(group, list) and len(group) > 1 for group in groups):
        reasons.append(Reason.SEVERAL_ENTRIES)
    good_date = _matches(certificate.get("dob"), _BIRTH_DATE)
    if (
        not groups
        or not good_date
        or not _matches(certificate.get("ver"), _VERSION)
        or not _is_name(certificate.get("nam"))
        or not all(_is_group(name, certificate[name]) for name in types)
    ):
        reasons.append(Reason.CONTENT_WRONG)
    born = certificate.get("dob")
    if isinstance(born, str) and good_date and born[:10] > at.date().isoformat()[: len(born)]:
        reasons.append(Reason.BORN_IN_THE_FUTURE)
    return reasons


_VERSION: Final = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
# Some issuers write midnight behind the day; the day counts
_BIRTH_DATE: Final = re.compile(r"((19|20)\d\d(-\d\d){0,2}(?:(?<=-\d\d-\d\d)T[\d:.]+Z?)?)?", re.ASCII)
_ICAO_NAME: Final = re.compile(r"[A-Z<]*")
_CAPITAL: Final = re.compile(r"[A-Z]")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# RFC 3339, and what issuers write instead: a space, no zone, an hour as the zone
_DATE_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?([Zz]|[+-]\d{1,2}(:?\d\d)?)?", re.ASCII
)
_MAX_CHARS: Final = 80


def _matches(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _short_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_CHARS


def _dose(value: object) -> bool:
    return type(value) is int and value >= 1


def _country(value: object) -> bool:
    return isinstance(value, str) and _CAPITAL.search(value) is not None  # the schema's pattern is not anchored


def _day(value: object) -> bool:
    """A date; a few issuers write a date-time where a date belongs, and the day in it is what counts."""
    if not isinstance(value, str):
        return False
    found = _DATE.fullmatch(value) or _DATE_TIME.fullmatch(value)
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        return False
    return found is not None


def _moment(value: object) -> bool:
    return _day(value) and _matches(value, _DATE_TIME)


@dataclass(frozen=True, slots=True)
class _Fields:
    """What the schema asks of the fields of one group, by sort; a loop a sort is cheaper than a call a field."""

    texts: tuple[str, ...]
    short_texts: tuple[str, ...]
    doses: tuple[str, ...]
    days: tuple[str, ...]
    moments: tuple[str, ...]
    optional_texts: tuple[str, ...] = ()
    optional_short_texts: tuple[str, ...] = ()


_FIELDS: Final = {
    "v": _Fields(("tg", "vp", "mp", "ma"), ("is", "ci"), ("dn", "sd"), ("dt",), ()),
    "t": _Fields(("tg", "tt", "tr"), ("is", "ci"), (), (), ("sc",), ("ma",), ("nm", "tc")),
    "r": _Fields(("tg",), ("is", "ci"), (), ("fr", "df", "du"), ()),
}


def _is_name(value: object) -> bool:
    """At least one name in ICAO spelling; null means absent, here and in the entries."""
    if not isinstance(value, dict):
        return False
    spelled = [part for part in (value.get("fnt"), value.get("gnt")) if part is not None]
    written = [part for part in (value.get("fn"), value.get("gn")) if part is not None]
    return (
        bool(spelled)
        and all(_short_text(part) and _matches(part, _ICAO_NAME) for part in spelled)
        and all(_short_text(part) for part in written)
    )


def _is_group(name: str, group: object) -> bool:
    return isinstance(group, list) and len(group) >= 1 and all(_is_entry(name, entry) for entry in group)


def _is_entry(name: str, entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    fields, value_of = _FIELDS[name], entry.get  # null counts as absent
    for field in fields.texts:
        if type(value_of(field)) is not str:
            return False
    for field in fields.short_texts:
        if not _short_text(value_of(field)):
            return False
    for field in fields.doses:
        if not _dose(value_of(field)):
            return False
    return (
        _country(value_of("co"))
        and all(_day(value_of(field)) for field in fields.days)
        and all(_moment(value_of(field)) for field in fields.moments)
        and all(isinstance(value_of(field), str | None) for field in fields.optional_texts)
        and all(value_of(field) is None or _short_text(value_of(field)) for field in fields.optional_short_texts)
    )


# Which field of which group is held against which value set (the sets' own ids)
VALUE_SETS: Final[dict[tuple[str, str], str]] = {
    ("v", "tg"): "disease-agent-targeted",
    ("v", "vp"): "sct-vaccines-covid-19",
    ("v", "mp"): "vaccines-covid-19-names",
    ("v", "ma"): "vaccines-covid-19-auth-holders",
    ("v", "co"): "country-2-codes",
    ("t", "tg"): "disease-agent-targeted",
    ("t", "tt"): "covid-19-lab-test-type",
    ("t", "ma"): "covid-19-lab-test-manufacturer-and-name",
    ("t", "tr"): "covid-19-lab-result",
    ("t", "co"): "country-2-codes",
    ("r", "tg"): "disease-agent-targeted",
    ("r", "co"): "country-2-codes",
}


def _values_known(certificate: Mapping[str, object], sets: Mapping[str, frozenset[str]]) -> bool:
    for name in _types(certificate):
        group = certificate[name]
        for entry in group if isinstance(group, list) else []:
            for (group_name, field), set_id in VALUE_SETS.items():
                if group_name == name and isinstance(entry, dict) and field in entry and set_id in sets:
                    if entry[field] not in sets[set_id]:
                        return False
    return True
