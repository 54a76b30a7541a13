"""What stands for an approver's word: a signature by their own key, or by their passkey, over the query's digest.

On the wire and in the database it is CBOR: `{1: 1, 2: approver, 3: COSE_Sign1}` for a key,
`{1: 2, 2: approver, 4: credential id, 5: authenticator data, 6: client data JSON, 7: signature}` for a passkey.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from webauthn import verify_authentication_response
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import AuthenticationCredential, AuthenticatorAssertionResponse

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.query import Approval

CREDENTIAL_ID_BYTES = 1023  # at most; WebAuthn level 2, section 4
MAX_PUBLIC_KEY_BYTES = 1024
FINGERPRINT_BYTES = 16


class KeyKind(IntEnum):
    """How an approver signs."""

    KEY = 1  # Ed25519, on their own machine (gatehouse approve)
    PASSKEY = 2  # WebAuthn, in the browser


@dataclass(frozen=True, slots=True)
class KeyWord:
    """An approval signed with an approval key."""

    approver: str
    signed: bytes

    def to_bytes(self) -> bytes:
        """As sent and stored."""
        return cbor.encode({1: int(KeyKind.KEY), 2: self.approver, 3: self.signed})


@dataclass(frozen=True, slots=True)
class PasskeyWord:
    """An approval by passkey: a WebAuthn assertion whose challenge is the query's digest."""

    approver: str
    credential_id: bytes
    authenticator_data: bytes
    client_data_json: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """As sent and stored."""
        return cbor.encode(
            {
                1: int(KeyKind.PASSKEY),
                2: self.approver,
                4: self.credential_id,
                5: self.authenticator_data,
                6: self.client_data_json,
                7: self.signature,
            }
        )


def read_word(data: bytes) -> KeyWord | PasskeyWord:
    """Decode an approval's outer shape; raises ProtocolError. Nothing in it may be believed yet."""
    f = Fields(cbor.decode_strict(data, max_bytes=16384), "approval")
    kind, approver = f.integer(1, 1, 2), f.text(2, at_most=64)
    word: KeyWord | PasskeyWord
    if kind == KeyKind.KEY:
        word = KeyWord(approver, f.octets(3, at_most=2048))
    else:
        word = PasskeyWord(
            approver,
            f.octets(4, at_most=CREDENTIAL_ID_BYTES),
            f.octets(5, at_most=2048),
            f.octets(6, at_most=4096),
            f.octets(7, at_most=1024),
        )
    f.done()
    return word


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """The public key that one approver signs with."""

    kind: KeyKind
    public_key: bytes  # 32 raw bytes of Ed25519, or a passkey's COSE_Key
    credential_id: bytes = b""  # passkeys only

    def fingerprint(self) -> bytes:
        """What approver and custodian compare before this key is believed."""
        item = cbor.encode([int(self.kind), self.credential_id, self.public_key])
        return hashlib.sha256(b"gatehouse approver 1" + item).digest()[:FINGERPRINT_BYTES]

    def to_fields(self) -> dict[int, object]:
        """As a CBOR map."""
        return without_none({1: int(self.kind), 2: self.public_key, 3: self.credential_id or None})

    @staticmethod
    def from_fields(item: object) -> ApproverKey:
        """Decode and check the bounds; raises ProtocolError."""
        f = Fields(item, "approver's key")
        kind = KeyKind(f.integer(1, 1, 2))
        public_key = f.octets(2, at_most=MAX_PUBLIC_KEY_BYTES)
        credential_id = f.maybe_octets(3, at_most=CREDENTIAL_ID_BYTES) or b""
        f.done()
        if (kind is KeyKind.KEY) != (len(public_key) == 32 and not credential_id):
            raise ProtocolError("approver's key: not a key of the kind it says", code="bad_key")
        return ApproverKey(kind, public_key, credential_id)


@dataclass(frozen=True, slots=True)
class Offer:
    """A key that somebody asks to approve with; the web keeps it, the custodian takes it to the vault."""

    name: str  # the user name
    key: ApproverKey

    def to_bytes(self) -> bytes:
        """As the custodian's file."""
        return cbor.encode({1: "gatehouse approver 1", 2: self.name, 3: self.key.to_fields()})

    @staticmethod
    def from_bytes(data: bytes) -> Offer:
        """Decode; raises ProtocolError."""
        f = Fields(cbor.decode_strict(data, max_bytes=8192), "approver's offer")
        form, name, key = f.text(1), f.text(2, at_most=64), ApproverKey.from_fields(f.any(3))
        f.done()
        if form != "gatehouse approver 1" or not name.strip():
            raise ProtocolError("approver's offer: not in a form this version knows", code="bad_offer")
        return Offer(name, key)


def check_key_word(word: KeyWord, key: ApproverKey, digest: bytes) -> Approval:
    """Verify an approval key's signature over *digest*; raises ProtocolError. The caller judges what it says."""
    approval = Approval.from_signed(word.signed, Ed25519PublicKey.from_public_bytes(key.public_key))
    if approval.query_digest != digest:
        raise ProtocolError("approval: given for another query", code="other_query")
    if approval.approver != word.approver:
        raise ProtocolError("approval: signed in another name", code="other_approver")
    return approval


def check_passkey_word(
    word: PasskeyWord, key: ApproverKey, digest: bytes, *, relying_party: str, origins: tuple[str, ...]
) -> None:
    """Verify a passkey assertion over *digest* (WebAuthn level 2, section 7.2), user verification included.

    Raises ProtocolError. The signature counter is not compared: the same assertion is verified again at every look.
    """
    if word.credential_id != key.credential_id:
        raise ProtocolError("approval: made with another passkey", code="bad_signature")
    credential = AuthenticationCredential(
        id=base64.urlsafe_b64encode(word.credential_id).rstrip(b"=").decode(),
        raw_id=word.credential_id,
        response=AuthenticatorAssertionResponse(
            client_data_json=word.client_data_json,
            authenticator_data=word.authenticator_data,
            signature=word.signature,
        ),
    )
    try:
        verify_authentication_response(
            credential=credential,
            expected_challenge=digest,
            expected_rp_id=relying_party,
            expected_origin=list(origins),
            credential_public_key=key.public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(
            "approval: the passkey's assertion does not hold for this query", code="bad_signature"
        ) from error
