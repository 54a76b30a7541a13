"""How a kiosk becomes known: it proves that it saw the one-time code and binds it to the key it made itself."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import signed
from protocol.errors import ProtocolError
from protocol.passage import KIOSK_ID_BYTES, VENUE_ID_BYTES

ENROL_PATH = "/kiosks/v1/enrol"
TOKEN_BYTES = 16
_REQUEST = "enrol request 1"
_RESPONSE = "enrol response 1"


def token_id(token: bytes) -> bytes:
    """What the server stores of a one-time token: enough to find it, useless to somebody who copies the table."""
    return hashlib.sha256(b"gatehouse token id 1" + token).digest()[:8]


def token_proof(token: bytes, device_key: bytes) -> bytes:
    """HMAC-SHA256 that binds a token to one device key; the token itself never travels."""
    return hmac.digest(token_secret(token), b"gatehouse enrol 1" + device_key, "sha256")


def token_secret(token: bytes) -> bytes:
    """The key of the proof; the server keeps this instead of the token until it is used or expired."""
    return hashlib.sha256(b"gatehouse token secret 1" + token).digest()


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A new device introduces itself."""

    device_key: bytes  # raw Ed25519 public key
    token_id: bytes
    proof: bytes
    app_version: str
    hardware: str
    sent_at_ms: int

    @staticmethod
    def make(device: Ed25519PrivateKey, token: bytes, app_version: str, hardware: str, sent_at_ms: int) -> EnrolRequest:
        """Build the request for a scanned *token* (16 bytes)."""
        public = device.public_key().public_bytes_raw()
        return EnrolRequest(public, token_id(token), token_proof(token, public), app_version, hardware, sent_at_ms)

    def to_body(self, device: Ed25519PrivateKey) -> bytes:
        """Sign with the new device key; the body is the 32 bytes of the public key and the signed request."""
        return self.device_key + signed.sign(
            _REQUEST,
            {
                1: self.device_key,
                2: self.token_id,
                3: self.proof,
                4: self.app_version,
                5: self.hardware,
                6: self.sent_at_ms,
            },
            device,
        )

    @staticmethod
    def from_body(body: bytes) -> EnrolRequest:
        """Verify that the holder of the key at its start made this request; raises ProtocolError."""
        if not 32 < len(body) <= 4096:
            raise ProtocolError(f"enrolment: a body of {len(body)} bytes", code="bad_length")
        device_key = body[:32]
        f = signed.verify(_REQUEST, body[32:], Ed25519PublicKey.from_public_bytes(device_key))
        request = EnrolRequest(
            f.octets(1, exactly=32),
            f.octets(2, exactly=8),
            f.octets(3, exactly=32),
            f.text(4, at_most=64),
            f.text(5, at_most=64),
            f.take(6, int),
        )
        f.done()
        if request.device_key != device_key:
            raise ProtocolError("enrolment: signed by another key than it names", code="wrong_device")
        return request

    def proves(self, secret: bytes) -> bool:
        """Whether the device saw the token behind *secret* (see `token_secret`)."""
        return hmac.compare_digest(self.proof, hmac.digest(secret, b"gatehouse enrol 1" + self.device_key, "sha256"))


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """What the server tells an enrolled kiosk; signed with the key whose 32 bytes stood on the code."""

    kiosk: bytes
    venue: bytes
    entrance: int
    vault_keys: bytes  # signed by the vault; checked against the fingerprint on the code
    at_ms: int
    request_digest: bytes

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign as the server."""
        return signed.sign(
            _RESPONSE,
            {
                1: self.kiosk,
                2: self.venue,
                3: self.entrance,
                4: self.vault_keys,
                5: self.at_ms,
                6: self.request_digest,
            },
            key,
        )

    @staticmethod
    def from_signed(data: bytes, server: Ed25519PublicKey, request: bytes) -> EnrolAnswer:
        """Verify that the server on the code answers exactly this *request*; raises ProtocolError."""
        f = signed.verify(_RESPONSE, data, server)
        answer = EnrolAnswer(
            f.octets(1, exactly=KIOSK_ID_BYTES),
            f.octets(2, exactly=VENUE_ID_BYTES),
            f.integer(3, 0, 65535),
            f.octets(4),
            f.integer(5),
            f.octets(6, exactly=32),
        )
        f.done()
        if answer.request_digest != hashlib.sha256(request).digest():
            raise ProtocolError("enrolment: the answer belongs to another request", code="wrong_request")
        return answer
