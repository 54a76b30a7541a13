"""Both sides of an exchange are signed, bound to each other, and bounded whatever comes."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol import cbor, signed
from protocol.bundle import Manifest, part_of
from protocol.enrolment import EnrolAnswer, EnrolRequest, token_id, token_secret
from protocol.errors import ProtocolError
from protocol.exchange import (
    MAX_EARLY,
    MAX_UNPACKED_BYTES,
    MAX_UPLOAD_BYTES,
    MOST_RECORDS,
    Answer,
    Call,
    Receipt,
    Takes,
    Upload,
    early_in,
    pack,
    record_digest,
)
from protocol.journal import Record, genesis
from protocol.query import Approval
from tests.protocol.strategies import MOMENT_MS, RECORDS, WHOLE, changed, octets, texts

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
KIOSK = signed.key_id(PUBLIC)
RECORD = Record(1, bytes(16), b"", b"a header", b"sealed")
UPLOAD = Upload(
    kiosk=KIOSK,
    exchange=bytes(16),
    sent_at_ms=1_790_000_000_000,
    mono_ms=5000,
    boot=bytes(8),
    after_sequence=0,
    after_hash=genesis(KIOSK),
    records=(RECORD,),
    head_sequence=1,
    oldest_unsent_ms=None,
    bundle_version=0,
    app_version="0.1",
)
RECEIPT = Receipt(KIOSK, 1, bytes(32), 1_790_000_000_000)
SENT = UPLOAD.to_bytes(KEY)
ANSWER = Answer(bytes(16), hashlib.sha256(SENT).digest(), 1_790_000_000_000, "ok", RECEIPT.to_signed(KEY), 2)

UPLOADS = st.builds(
    Upload,
    kiosk=st.just(KIOSK),
    exchange=octets(16),
    sent_at_ms=MOMENT_MS,
    mono_ms=WHOLE,
    boot=octets(8),
    after_sequence=WHOLE,
    after_hash=octets(32),
    records=st.lists(RECORDS, max_size=5).map(tuple),
    head_sequence=WHOLE,
    oldest_unsent_ms=st.none() | MOMENT_MS,
    bundle_version=WHOLE,
    app_version=texts(30),
    health=st.lists(st.tuples(texts(20), texts(20)), max_size=4).map(tuple),
    faults=st.lists(texts(20), max_size=4).map(tuple),
)


@given(UPLOADS)
def test_an_upload_comes_back_as_it_went(upload: Upload) -> None:
    data = upload.to_bytes(KEY)
    assert Upload.claimed_kiosk(data) == KIOSK
    assert Upload.from_bytes(data, PUBLIC) == upload


@given(
    st.builds(Receipt, octets(8), WHOLE, octets(32), WHOLE),
    st.lists(st.tuples(WHOLE, texts(20)), max_size=3).map(tuple),
    st.lists(texts(20), max_size=3).map(tuple),
)
def test_an_answer_and_its_receipt_come_back_as_they_went(
    receipt: Receipt, quarantined: tuple[tuple[int, str], ...], commands: tuple[str, ...]
) -> None:
    answer = dataclasses.replace(ANSWER, receipt=receipt.to_signed(KEY), quarantined=quarantined, commands=commands)
    read = Answer.from_signed(answer.to_signed(KEY), PUBLIC, SENT)
    assert read == answer and Receipt.from_signed(read.receipt, PUBLIC) == receipt


CALL = Call("GET", "/bundle/v1/manifest", 1_790_000_000_000, bytes(16))
TOKEN = bytes(range(16))
REQUEST = EnrolRequest.make(KEY, TOKEN, "0.1", "test", 1_790_000_000_000)
REQUEST_BODY = REQUEST.to_body(KEY)
ENROLLED = EnrolAnswer(KIOSK, bytes(6), 1, b"vault", 1_790_000_000_000, hashlib.sha256(REQUEST_BODY).digest())
MANIFEST = Manifest(KIOSK, 3, 1_790_000_000_000, (part_of("policy", b"x"), part_of("trust", b"y")))
APPROVAL = Approval(bytes(32), "li", True, 1_790_000_000_000, "note")

Read = Callable[[bytes], object]
SIGNED: dict[str, tuple[object, bytes, Read]] = {
    "upload": (UPLOAD, SENT, lambda data: Upload.from_bytes(data, PUBLIC)),
    "receipt": (RECEIPT, RECEIPT.to_signed(KEY), lambda data: Receipt.from_signed(data, PUBLIC)),
    "answer": (ANSWER, ANSWER.to_signed(KEY), lambda data: Answer.from_signed(data, PUBLIC, SENT)),
    "call": (CALL, CALL.to_signed(KEY), lambda data: Call.from_signed(data, PUBLIC)),
    "enrol request": (REQUEST, REQUEST_BODY, EnrolRequest.from_body),
    "enrol answer": (
        ENROLLED,
        ENROLLED.to_signed(KEY),
        lambda data: EnrolAnswer.from_signed(data, PUBLIC, REQUEST_BODY),
    ),
    "manifest": (MANIFEST, MANIFEST.to_signed(KEY), lambda data: Manifest.from_signed(data, PUBLIC)),
    "approval": (APPROVAL, APPROVAL.to_signed(KEY), lambda data: Approval.from_signed(data, PUBLIC)),
}


@pytest.mark.parametrize("what", SIGNED)
def test_every_message_comes_back_as_it_went(what: str) -> None:
    value, data, read = SIGNED[what]
    assert read(data) == value


@pytest.mark.parametrize("what", SIGNED)
@given(st.data())
def test_a_message_with_any_changed_byte_is_refused(what: str, data: st.DataObject) -> None:
    _, sent, read = SIGNED[what]
    with pytest.raises(ProtocolError):
        read(data.draw(changed(sent)))


@pytest.mark.parametrize("what", SIGNED)
@given(st.binary(max_size=200))
def test_hostile_bytes_raise_our_error_and_no_other(what: str, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        SIGNED[what][2](data)


@pytest.mark.parametrize("what", SIGNED)
@pytest.mark.parametrize("other", SIGNED)
def test_no_message_passes_for_another_kind(what: str, other: str) -> None:
    if what == other:
        assert SIGNED[what][2](SIGNED[other][1])
        return
    with pytest.raises(ProtocolError):
        SIGNED[what][2](SIGNED[other][1])


PURPOSES = ("receipt 1", "exchange response 1", "call 1", "bundle 1", "approval 1", "enrol response 1")


@pytest.mark.parametrize("purpose", PURPOSES)
@given(st.dictionaries(st.integers(-2, 20), st.none() | st.integers() | st.binary(max_size=40) | st.text(max_size=9)))
def test_a_signed_map_of_anything_raises_our_error_and_no_other(purpose: str, fields: dict[int, object]) -> None:
    """A key that was stolen signs whatever its thief likes."""
    try:
        data = signed.sign(purpose, fields, KEY)
    except ProtocolError:  # an integer that CBOR cannot hold without a tag
        return
    for _, _, read in SIGNED.values():
        with pytest.raises(ProtocolError):
            read(data)


def test_a_message_by_another_key_is_refused() -> None:
    for what, make in (("receipt", RECEIPT.to_signed), ("answer", ANSWER.to_signed), ("call", CALL.to_signed)):
        with pytest.raises(ProtocolError):
            SIGNED[what][2](make(OTHER))


def test_an_upload_speaks_for_its_signer_only() -> None:
    forged = dataclasses.replace(UPLOAD, kiosk=signed.key_id(OTHER.public_key())).to_bytes(KEY)
    with pytest.raises(ProtocolError) as refused:
        Upload.from_bytes(forged, PUBLIC)
    assert refused.value.code == "wrong_device"


def test_records_cannot_be_exchanged_under_a_signed_envelope() -> None:
    other = dataclasses.replace(UPLOAD, records=()).to_bytes(KEY)
    length = 4 + int.from_bytes(SENT[:4], "big")
    with pytest.raises(ProtocolError) as refused:
        Upload.from_bytes(SENT[:length] + other[4 + int.from_bytes(other[:4], "big") :], PUBLIC)
    assert refused.value.code == "changed"


def test_an_answer_belongs_to_one_upload() -> None:
    with pytest.raises(ProtocolError) as refused:
        Answer.from_signed(ANSWER.to_signed(KEY), PUBLIC, SENT + b"x")
    assert refused.value.code == "wrong_upload"


def with_blob(blob: bytes) -> bytes:
    """An upload whose envelope is signed properly over any *blob*."""
    envelope_length = int.from_bytes(SENT[:4], "big")
    fields = signed.verify("exchange request 1", SENT[4 : 4 + envelope_length], PUBLIC)
    values = {key: fields.any(key) for key in range(1, 16)}
    values = {key: value for key, value in values.items() if value is not None} | {9: hashlib.sha256(blob).digest()}
    envelope = signed.sign("exchange request 1", values, KEY)
    return len(envelope).to_bytes(4, "big") + envelope + blob


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        (b"", "too_large"),
        (b"not zlib at all", "bad_compression"),
        (zlib.compress(b"\x80")[:-1], "too_large"),
        (zlib.compress(b"\x80") + b"more", "too_large"),
        (zlib.compress(cbor.encode([RECORD.to_list()] * (MOST_RECORDS + 1))), "bad_list"),
        (zlib.compress(cbor.encode({1: 2})), "bad_list"),
        (zlib.compress(cbor.encode([[1, 2]])), "bad_record"),
        (zlib.compress(b""), "cbor"),
    ],
)
def test_packed_records_that_are_none_are_named(blob: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        Upload.from_bytes(with_blob(blob), PUBLIC)
    assert refused.value.code == code


def test_a_bomb_costs_no_more_memory_than_the_limit() -> None:
    bomb = with_blob(zlib.compress(bytes(60 * 1024 * 1024), 1))
    assert len(bomb) < 1024 * 1024
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        Upload.from_bytes(bomb, PUBLIC)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_UNPACKED_BYTES


def test_an_upload_that_is_too_long_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(ProtocolError) as refused:
        Upload.claimed_kiosk(bytes(MAX_UPLOAD_BYTES + 1))
    assert refused.value.code == "too_large"


def test_an_enrolment_proves_the_token_without_sending_it() -> None:
    assert REQUEST.proves(token_secret(TOKEN)) and not REQUEST.proves(token_secret(bytes(16)))
    assert TOKEN not in REQUEST_BODY and token_secret(TOKEN) not in REQUEST_BODY
    assert REQUEST.token_id == token_id(TOKEN) and len({token_id(TOKEN), token_secret(TOKEN)[:8]}) == 2
    stolen = dataclasses.replace(REQUEST, device_key=OTHER.public_key().public_bytes_raw())
    assert not stolen.proves(token_secret(TOKEN))  # the proof is bound to the device that made it


def test_an_enrolment_answer_belongs_to_one_request() -> None:
    other = EnrolRequest.make(KEY, TOKEN, "0.2", "test", 0).to_body(KEY)
    with pytest.raises(ProtocolError) as refused:
        EnrolAnswer.from_signed(ENROLLED.to_signed(KEY), PUBLIC, other)
    assert refused.value.code == "wrong_request"


def test_a_manifest_names_each_part_once_and_none_too_large() -> None:
    twice = dataclasses.replace(MANIFEST, parts=MANIFEST.parts[:1] * 2).to_signed(KEY)
    huge = dataclasses.replace(MANIFEST, parts=(dataclasses.replace(MANIFEST.parts[0], size=2**40),)).to_signed(KEY)
    for data in (twice, huge):
        with pytest.raises(ProtocolError) as refused:
            Manifest.from_signed(data, PUBLIC)
        assert refused.value.code == "bad_list"


@pytest.mark.parametrize(
    ("commands", "takes"),
    [
        ((), Takes()),
        (("copied", "takes 4000 32"), Takes(4000, 32)),
        (("takes 900000 4000",), Takes(MOST_RECORDS, MAX_EARLY)),  # no more than this version can send
        (("takes 0 0",), Takes(1, 0)),
        *(((text,), Takes()) for text in ("takes", "takes 5", "takes -1 2", "takes 1 2 3", "takes x y", "takes ２ ３")),
    ],
)
def test_what_a_server_takes_is_read_within_bounds(commands: tuple[str, ...], takes: Takes) -> None:
    assert Takes.from_commands(commands) == takes


def test_early_records_travel_in_the_signed_envelope() -> None:
    early = (RECORD._replace(sequence=7), RECORD._replace(sequence=9))
    sent = dataclasses.replace(UPLOAD, early=early).to_bytes(KEY)
    assert Upload.from_bytes(sent, PUBLIC).early == early
    assert early_in(Upload.envelope_of(sent)) == early
    assert record_digest(early[0]) != record_digest(early[1])


@given(st.lists(RECORDS, max_size=5))
def test_packing_ahead_gives_the_same_bytes(records: list[Record]) -> None:
    assert zlib.decompress(pack(records)) == cbor.encode([r.to_list() for r in records])
