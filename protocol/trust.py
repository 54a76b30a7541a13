"""The trust list: which key may sign what, prepared where certificates can be read, signed, and sent to every door."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from protocol.cbor import CborError, decode_strict, encode
from protocol.cose import Alg, CoseError, PublicKey, parse1, sign1, verify1
from protocol.errors import ProtocolError
from protocol.words import CredentialKind

VERSION: Final = 1
MAX_LIST_BYTES: Final = 8 * 1024 * 1024
STATUS_LIST_USE: Final = "status_list"  # beside the values of CredentialKind: may sign status lists
UPDATE_USE: Final = "update"  # may sign new versions of the kiosk's program
USES: Final = frozenset({kind.value for kind in CredentialKind} | {STATUS_LIST_USE, UPDATE_USE})
DCC_TYPES: Final = frozenset({"t", "v", "r"})  # test, vaccination, recovery


class TrustError(ProtocolError):
    """A trust list, or something to be put on one, that cannot be believed or understood."""

    code = "trust"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key and what it may be believed about."""

    kid: bytes  # as credentials name it; for JWKs and DID documents the id's text in UTF-8
    alg: int  # COSE number; the only algorithm this key is believed with
    spki: bytes  # SubjectPublicKeyInfo, DER; no certificate reaches the kiosk
    uses: frozenset[str]  # of USES
    issuer: str | None = None  # when given, the credential must name this very issuer
    not_before: datetime | None = None
    not_after: datetime | None = None
    dcc_types: frozenset[str] = DCC_TYPES  # for EU DCC: certificate types this key may sign
    country: str | None = None  # of the certificate's subject, for people

    @property
    def public_key(self) -> PublicKey:
        """The key object; loaded once per key and process. Raises TrustError when it is none."""
        return load_spki(self.spki)

    def is_valid(self, at: datetime) -> bool:
        """Whether the key may be relied on at that time."""
        return (self.not_before is None or at >= self.not_before) and (self.not_after is None or at <= self.not_after)


@lru_cache(maxsize=4096)
def load_spki(spki: bytes) -> PublicKey:
    """Load a public key from DER. Raises TrustError when it is none of the kinds we verify with."""
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError("A public key on the trust list cannot be read.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise TrustError("A public key on the trust list is of a kind we do not verify with.")
    return key


def spki_of(key: PublicKey) -> bytes:
    """The DER form of *key* that `TrustedKey.spki` holds."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class KeyRevocations:
    """The revoked cards of one SMART Health Card key (health cards specification, revocation)."""

    kid: bytes
    issuer: str | None  # None: of any issuer that uses this key id
    rids: Mapping[str, float | None]  # rid -> revoked when issued before that second; None: always
    readable: bool = True  # False: the issuer's list was malformed, so revocation is not known
    counter: int = 0


@dataclass(frozen=True)
class TrustList:
    """All keys that a place believes, with the lists of cards their issuers revoked. Values, no behaviour over time."""

    keys: tuple[TrustedKey, ...]
    issued_at: datetime
    revocations: tuple[KeyRevocations, ...] = ()
    signer: bytes | None = field(default=None, compare=False)  # raw Ed25519 key that signed it, when it came signed

    @cached_property
    def _by_kid(self) -> Mapping[bytes, tuple[TrustedKey, ...]]:
        table: dict[bytes, list[TrustedKey]] = {}
        for key in self.keys:
            table.setdefault(key.kid, []).append(key)
        return {kid: tuple(keys) for kid, keys in table.items()}

    def with_kid(self, kid: bytes | None) -> tuple[TrustedKey, ...]:
        """All keys of that key id, whatever they may be used for; usually one, empty for an unknown or absent id."""
        return self._by_kid.get(kid, ()) if kid else ()

    def revocations_of(self, kid: bytes, issuer: str | None) -> tuple[KeyRevocations, ...]:
        """The revocation lists for cards of that key and issuer; empty when the issuer publishes none."""
        return tuple(r for r in self.revocations if r.kid == kid and r.issuer in (None, issuer))

    def to_signed(self, key: ed25519.Ed25519PrivateKey) -> bytes:
        """Serialise and sign: CBOR in a COSE_Sign1 that names its signer (docs/credentials.md)."""
        signer = key.public_key().public_bytes_raw()
        body = {
            1: VERSION,
            2: int(self.issued_at.timestamp()),
            3: [_key_to_map(entry) for entry in self.keys],
            4: [_revocations_to_map(entry) for entry in self.revocations],
            5: signer,
        }
        return sign1(encode(body), key, alg=Alg.EDDSA, kid=signer_kid(signer), external_aad=_CONTEXT)

    @classmethod
    def from_signed(cls, data: bytes, signer_public_key: bytes | None) -> TrustList:
        """Verify and read what `to_signed` made.

        *signer_public_key*: the 32 raw bytes of the Ed25519 key that must have signed it. With None the list's own
        statement is used, which proves only that nothing was damaged. Raises TrustError otherwise.
        """
        try:
            message = parse1(data, max_bytes=MAX_LIST_BYTES)
            body = decode_strict(message.payload, max_bytes=MAX_LIST_BYTES)
            if not isinstance(body, dict) or body.get(1) != VERSION:
                raise TrustError("This is no trust list of the version we read.")
            signer = body.get(5)
            if not isinstance(signer, bytes) or len(signer) != 32:
                raise TrustError("The trust list does not name its signer.")
            if signer_public_key is not None and signer != signer_public_key:
                raise TrustError(
                    "The trust list was signed by another key than the one you trust.", code="trust_signer"
                )
            verify1(
                message,
                ed25519.Ed25519PublicKey.from_public_bytes(signer),
                alg=Alg.EDDSA,
                external_aad=_CONTEXT,
            )
            return cls(
                keys=tuple(_key_from_map(entry) for entry in _list(body.get(3))),
                issued_at=_time(body.get(2)),
                revocations=tuple(_revocations_from_map(entry) for entry in _list(body.get(4))),
                signer=signer,
            )
        except (CborError, CoseError) as error:
            raise TrustError(f"The trust list is damaged or not ours: {error}") from error


_CONTEXT: Final = b"gatehouse trust list 1"  # as external_aad, so that no other signature of the key passes for a list


def signer_kid(public_key: bytes) -> bytes:
    """The key id of a raw Ed25519 public key: the first 8 bytes of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:8]


def merge(lists: Iterable[TrustList], issued_at: datetime) -> TrustList:
    """Join lists into one; the same key for the same use stands once."""
    keys: dict[TrustedKey, None] = {}
    revocations: list[KeyRevocations] = []
    for part in lists:
        keys |= dict.fromkeys(part.keys)
        revocations += [entry for entry in part.revocations if entry not in revocations]
    return TrustList(tuple(keys), issued_at, tuple(revocations))


def _key_to_map(key: TrustedKey) -> dict[int, object]:
    row: dict[int, object] = {1: key.kid, 2: int(key.alg), 3: key.spki, 4: sorted(key.uses)}
    if key.issuer is not None:
        row[5] = key.issuer
    if key.not_before is not None:
        row[6] = int(key.not_before.timestamp())
    if key.not_after is not None:
        row[7] = int(key.not_after.timestamp())
    if key.dcc_types != DCC_TYPES:
        row[8] = sorted(key.dcc_types)
    if key.country is not None:
        row[9] = key.country
    return row


def _key_from_map(row: object) -> TrustedKey:
    if not isinstance(row, dict):
        raise TrustError("A key on the trust list is not a map.")
    kid, alg, spki = row.get(1), row.get(2), row.get(3)
    if not isinstance(kid, bytes) or not kid or not isinstance(alg, int) or not isinstance(spki, bytes):
        raise TrustError("A key on the trust list lacks its id, algorithm or value.")
    load_spki(spki)  # a list with a key that cannot be used is refused as a whole, now, and not at the door
    types = row.get(8)
    return TrustedKey(
        kid=kid,
        alg=alg,
        spki=spki,
        uses=frozenset(_texts(row.get(4))),
        issuer=_optional_text(row.get(5)),
        not_before=None if row.get(6) is None else _time(row.get(6)),
        not_after=None if row.get(7) is None else _time(row.get(7)),
        dcc_types=DCC_TYPES if types is None else frozenset(_texts(types)),
        country=_optional_text(row.get(9)),
    )


def _revocations_to_map(entry: KeyRevocations) -> dict[int, object]:
    return {1: entry.kid, 2: entry.issuer, 3: dict(entry.rids), 4: entry.readable, 5: entry.counter}


def _revocations_from_map(row: object) -> KeyRevocations:
    if not isinstance(row, dict) or not isinstance(row.get(1), bytes) or not isinstance(row.get(3), dict):
        raise TrustError("A revocation list on the trust list is malformed.")
    rids: dict[str, float | None] = {}
    for rid, before in row[3].items():
        if not isinstance(rid, str) or not (before is None or isinstance(before, int | float)):
            raise TrustError("A revocation entry is malformed.")
        rids[rid] = before
    counter = row.get(5)
    return KeyRevocations(
        kid=row[1],
        issuer=_optional_text(row.get(2)),
        rids=rids,
        readable=row.get(4) is True,
        counter=counter if isinstance(counter, int) else 0,
    )


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TrustError("A list is missing in the trust list.")
    return value


def _texts(value: object) -> list[str]:
    texts = _list(value)
    if not all(isinstance(text, str) for text in texts):
        raise TrustError("A list in the trust list holds something else than text.")
    return [str(text) for text in texts]


def _optional_text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TrustError("A text on the trust list is none.")
    return value


def _time(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 253_402_300_799:
        raise TrustError("A time on the trust list is none.")
    return datetime.fromtimestamp(value, UTC)
