"""The enrolment code: what is made is read back; anything else is refused with our own error."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cbor import encode
from protocol.credentials import Reason, base45, check
from protocol.credentials.enrolment_code import EnrolmentCode, EnrolmentCodeError, make, parse
from protocol.words import CredentialKind

from .makers import NOW, TRUST

CODE = EnrolmentCode(
    server_url="https://gate.example:8443",
    token=bytes(16),
    server_key=bytes(range(32)),
    vault_fingerprint=bytes(32),
    expires_at=datetime(2026, 11, 21, 9, 0, tzinfo=UTC),
    entrance_name="北门 North",
)


def test_an_enrolment_code_is_read_back_as_it_was_made() -> None:
    assert parse(make(CODE)) == CODE
    assert len(make(CODE)) < 260


def test_the_door_recognises_one_and_says_when_it_has_expired() -> None:
    checked = check(make(CODE), TRUST, at=NOW)
    assert (checked.kind, checked.valid) == (CredentialKind.ENROLMENT_CODE, True)
    assert check(make(CODE), TRUST, at=CODE.expires_at).reasons == (Reason.EXPIRED,)


BODY: dict[int, object] = {
    1: 1,
    2: "http://127.0.0.1:8000",
    3: bytes(16),
    4: bytes(32),
    5: bytes(16),
    6: 1_800_000_000,
}


@pytest.mark.parametrize(
    "change",
    [
        {1: 2},
        {1: True},
        {2: "file:///etc/passwd"},
        {2: "https://user:pw@gate.example"},
        {2: "https://gate.example/path"},
        {2: "https://gate.example?q"},
        {2: "https://[broken"},
        {2: "https://gäte.example"},
        {2: "https://" + "g" * 200},
        {2: b"https://gate.example"},
        {3: bytes(15)},
        {3: "x" * 16},
        {4: bytes(31)},
        {5: bytes(15)},
        {5: bytes(33)},
        {6: -1},
        {6: 2**60},
        {6: 1.5},
        {7: ""},
        {7: "x" * 61},
        {8: 1},
    ],
)
def test_a_wrong_field_is_refused(change: dict[int, object]) -> None:
    assert parse("GHE1:" + base45.encode(encode(BODY)))
    with pytest.raises(EnrolmentCodeError):
        parse("GHE1:" + base45.encode(encode(BODY | change)))


def test_a_missing_field_is_refused() -> None:
    for label in BODY:
        with pytest.raises(EnrolmentCodeError):
            parse("GHE1:" + base45.encode(encode({k: v for k, v in BODY.items() if k != label})))


@given(st.text(max_size=80) | st.text(alphabet="0123456789ABCDEF $%*+-./:", max_size=80))
def test_no_text_raises_anything_else(text: str) -> None:
    for candidate in (text, "GHE1:" + text):
        with pytest.raises(EnrolmentCodeError):
            parse(candidate)
