"""A vault that exists only as keys, and kiosks that exist only as a key and a journal in memory."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from protocol import cbor, signed
from protocol.enrolment import ENROL_PATH, EnrolAnswer, EnrolRequest, token_id, token_secret
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, Answer, Call, Receipt, Upload
from protocol.journal import Record, genesis
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp
from protocol.sealing import EpochSealer
from protocol.vault_keys import IdentityKey, SealKey, VaultKeys
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome
from server.accounts.models import User
from server.context import House
from server.ingest.devices import to_ms
from server.kiosks.models import EnrolmentCode
from tests.server.people import LIBRARY, NOON

NOON_MS = to_ms(NOON)


class VaultKeyRing:
    """The keys a vault would hold, and what it exports."""

    def __init__(self) -> None:
        self.signing = Ed25519PrivateKey.generate()
        self.mlkem, self.x25519 = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        self.seal = SealKey.make(
            self.mlkem.public_key().public_bytes_raw(), self.x25519.public_key().public_bytes_raw()
        )
        identity = IdentityKey.make(x25519.X25519PrivateKey.generate().public_key().public_bytes_raw())
        self.exported = VaultKeys(NOON_MS, (self.seal,), (identity,)).to_signed(self.signing)


def install_vault(house: House) -> VaultKeyRing:
    """Put a vault's exported keys where the server looks for them."""
    vault = VaultKeyRing()
    house.settings.vault_public_path.write_bytes(vault.exported)
    return vault


def make_code(house: House, *, valid: timedelta = timedelta(minutes=15), venue: bytes = LIBRARY) -> bytes:
    """Write an enrolment code as the console does; returns its token."""
    token = secrets.token_bytes(16)
    with house.database.writing() as writing:
        by = writing.scalars(select(User.id).where(User.name == "street")).one()
        writing.add(
            EnrolmentCode(
                id=token_id(token).hex(),
                token_hash=token_secret(token),
                venue_id=venue,
                entrance=1,
                kiosk_name="east",
                created_at=house.now(),
                created_by=by,
                expires_at=house.now() + valid,
            )
        )
    return token


def refusal(response: TestResponse) -> str:
    """The stable code of a refusal, which also says in words what is wrong."""
    told = cbor.decode_strict(response.data)
    assert isinstance(told, dict) and set(told) == {1, 2} and told[2]
    return str(told[1])


PASSAGE = Facts(
    direction=Direction.IN,
    mode=EntryMode.SCAN,
    credential=CredentialKind.HEALTH_CODE,
    colour=Colour.GREEN,
    measured=Measured.NORMAL,
    outcome=Outcome.ADMIT,
    reasons=(),
    bundle_version=1,
    bundle_age_s=3,
)


@dataclass
class PaperKiosk:
    """A kiosk's key and journal, without the kiosk."""

    house: House
    client: FlaskClient
    vault: VaultKeyRing
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    boot: bytes = b"bootboot"
    mono_ms: int = 1000
    venue: bytes = LIBRARY

    def __post_init__(self) -> None:
        self.id = signed.key_id(self.key.public_key())
        self.records: list[Record] = []
        self.hashes = [genesis(self.id)]
        self.sealer = self.new_epoch()
        self._wrapped = False

    def new_epoch(self) -> EpochSealer:
        self._wrapped = False
        self.sealer = EpochSealer(self.id, self.vault.seal.load(), os.urandom(48))
        return self.sealer

    def enrol(self, token: bytes | None = None) -> TestResponse:
        token = token or make_code(self.house, venue=self.venue)
        now_ms = to_ms(self.house.now())
        body = EnrolRequest.make(self.key, token, "0.1", "test", now_ms).to_body(self.key)
        response = self.client.post(ENROL_PATH, data=body)
        if response.status_code == 200:
            answer = EnrolAnswer.from_signed(response.data, self.server_key, body)
            assert (answer.kiosk, answer.venue, answer.entrance) == (self.id, self.venue, 1)
        return response

    @property
    def server_key(self):  # type: ignore[no-untyped-def]
        return self.house.keys.server_identity().public_key()

    def walk(self, count: int = 1, *, event: str | None = None, header: bytes | None = None) -> None:
        """Let people walk in (or note an event, or write a nonsense header)."""
        for _ in range(count):
            sequence = len(self.records) + 1
            stamp = Stamp(to_ms(self.house.now()) + sequence, self.mono_ms, self.boot, ClockConfidence.SYNCED)
            place = Place(self.id, self.venue, 1)
            head = header or Header(sequence, place, stamp, None if event else PASSAGE, event).to_bytes()
            personal = b"" if event else Personal(name=f"person {sequence}").to_bytes()
            sealed = self.sealer.seal(sequence, head, personal)
            wrapped = b"" if self._wrapped else self.sealer.wrapped
            self._wrapped = True
            self.add(Record(sequence, self.sealer.epoch, wrapped, head, sealed))

    def add(self, record: Record) -> None:
        self.records.append(record)
        self.hashes.append(record.hash_after(self.hashes[-1]))

    def upload(self, after: int = 0, count: int | None = None, **changes: object) -> bytes:
        """The bytes of an upload of the records after *after*."""
        records = tuple(self.records[after : None if count is None else after + count])
        self.mono_ms += 10
        values: dict[str, object] = {
            "kiosk": self.id,
            "exchange": os.urandom(16),
            "sent_at_ms": to_ms(self.house.now()),
            "mono_ms": self.mono_ms,
            "boot": self.boot,
            "after_sequence": after,
            "after_hash": self.hashes[after],
            "records": records,
            "head_sequence": len(self.records),
            "oldest_unsent_ms": to_ms(self.house.now()) if records else None,
            "bundle_version": 0,
            "app_version": "0.1",
            "health": (("camera", "live"),),
        }
        return Upload(**(values | changes)).to_bytes(self.key)  # type: ignore[arg-type]

    def post(self, body: bytes, content_type: str = CONTENT_TYPE) -> TestResponse:
        return self.client.post(EXCHANGE_PATH, data=body, content_type=content_type)

    def exchange(self, after: int = 0, count: int | None = None, **changes: object) -> Answer:
        body = self.upload(after, count, **changes)
        return self.answer(self.post(body), body)

    def answer(self, response: TestResponse, body: bytes) -> Answer:
        """The verified answer; its receipt is for this kiosk."""
        assert response.status_code == 200, response.data
        answer = Answer.from_signed(response.data, self.server_key, body)
        assert self.receipt(answer).kiosk == self.id
        return answer

    def receipt(self, answer: Answer) -> Receipt:
        return Receipt.from_signed(answer.receipt, self.server_key)

    def call(self, path: str, *, at_ms: int | None = None, method: str = "GET", nonce: bytes | None = None) -> str:
        """The Authorization header for a signed GET."""
        at_ms = to_ms(self.house.now()) if at_ms is None else at_ms
        call = Call(method, path, at_ms, nonce or os.urandom(16)).to_signed(self.key)
        return "Gatehouse " + base64.urlsafe_b64encode(call).decode().rstrip("=")

    def get(self, path: str, etag: str = "", **of_call: object) -> TestResponse:
        headers = {"Authorization": self.call(path, **of_call)}  # type: ignore[arg-type]
        if etag:
            headers["If-None-Match"] = etag
        return self.client.get(path, headers=headers)
