"""The published vectors are what this implementation makes, byte for byte, and what it can read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol import signed
from protocol.bundle import Manifest
from protocol.enrolment import EnrolAnswer, EnrolRequest
from protocol.exchange import TAKES, Answer, Receipt, Takes, Upload, record_digest
from protocol.passage import Header, Personal
from protocol.query import Approval, Query
from protocol.sealing import EpochOpener
from protocol.vault_keys import VaultKeys
from tests.vectors.make_protocol import (
    APPROVER,
    DEVICE,
    FACTS,
    FILE,
    KIOSK,
    PERSONAL,
    SERVER,
    kept_wrapped,
    seal_private,
    vault_keys,
    vectors,
)

PUBLISHED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
BY_READING = {  # zlib may pack differently elsewhere
    ("exchange", "upload_by_reading_only"),
    ("exchange", "upload_with_early_record_by_reading_only"),
}
CASES = [
    (group, name)
    for group, values in PUBLISHED.items()
    if isinstance(values, dict)
    for name in values
    if (group, name) not in BY_READING
]


def octets(group: str, name: str) -> bytes:
    return bytes.fromhex(PUBLISHED[group][name])


@pytest.mark.parametrize(("group", "name"), CASES)
def test_a_published_vector_is_made_again_byte_for_byte(group: str, name: str) -> None:
    made = vectors(kept_wrapped())
    if (group, name) in {("exchange", "answer")}:  # it carries the digest of the packed upload
        upload = octets("exchange", "upload_by_reading_only")
        assert Answer.from_signed(octets(group, name), SERVER.public_key(), upload).result == "ok"
        return
    assert made[group][name] == PUBLISHED[group][name]


def test_no_vector_is_missing() -> None:
    made = vectors(kept_wrapped())
    assert {g: list(v) if isinstance(v, dict) else None for g, v in made.items()} == {
        g: list(v) if isinstance(v, dict) else None for g, v in PUBLISHED.items()
    }


def test_the_sealed_record_opens_with_the_published_private_keys() -> None:
    private = seal_private()
    epoch, wrapped = octets("sealing", "epoch"), octets("sealing", "wrapped_by_opening_only")
    opener = EpochOpener.unwrap(KIOSK, epoch, wrapped, {private.key_id: private})
    personal = opener.open(2, octets("passage", "passage_header"), octets("sealing", "sealed"))
    assert Personal.from_bytes(personal) == PERSONAL
    assert Header.from_bytes(octets("passage", "passage_header")).facts == FACTS


def test_every_published_message_is_read_by_whoever_should() -> None:
    server, device = SERVER.public_key(), DEVICE.public_key()
    sent = octets("exchange", "upload_by_reading_only")
    upload = Upload.from_bytes(sent, device)
    last = octets("journal", "genesis")
    for record in upload.records:
        last = record.hash_after(last)
    assert last == octets("journal", "hash_after_2")
    catching_up = Upload.from_bytes(octets("exchange", "upload_with_early_record_by_reading_only"), device)
    assert (catching_up.records, catching_up.early) == (upload.records[:1], upload.records[1:])
    assert record_digest(catching_up.early[0]) == octets("exchange", "early_record_digest")
    assert Takes.from_commands([PUBLISHED["exchange"]["takes_command"]]) == TAKES
    answer = Answer.from_signed(octets("exchange", "answer"), server, sent)
    assert Receipt.from_signed(answer.receipt, server).head == last
    body = octets("enrolment", "request_body")
    assert EnrolRequest.from_body(body).proves(octets("enrolment", "token_secret"))
    enrolled = EnrolAnswer.from_signed(octets("enrolment", "answer"), server, body)
    assert enrolled.kiosk == KIOSK == signed.key_id(device)
    assert VaultKeys.from_signed(enrolled.vault_keys, octets("keys", "vault_fingerprint")) == vault_keys()
    assert Manifest.from_signed(octets("bundle", "manifest"), server).kiosk == KIOSK
    approval = Approval.from_signed(octets("query", "approval"), APPROVER.public_key())
    assert approval.query_digest == Query.from_bytes(octets("query", "query")).digest()
