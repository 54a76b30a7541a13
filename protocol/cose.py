"""COSE_Sign1 (RFC 9052), the one signature format of the house, with no room for a clever header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from protocol.cbor import MAX_BYTES, CborError, decode_strict, encode
from protocol.errors import ProtocolError

TAG_SIGN1: Final = 18  # RFC 9052 table 1
TAG_CWT: Final = 61  # RFC 8392 6; may stand around tag 18
HEADER_ALG: Final = 1  # RFC 9052 table 3
HEADER_CRIT: Final = 2
HEADER_KID: Final = 4
MAX_KID_BYTES: Final = 64
MIN_RSA_BITS: Final = 2048

_TAGS: Final = frozenset({TAG_SIGN1, TAG_CWT})
_ES256_SIGNATURE_BYTES: Final = 64  # r || s, RFC 9053 2.1
_ED25519_SIGNATURE_BYTES: Final = 64

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Alg(IntEnum):
    """The signature algorithms we know, with their COSE numbers (IANA COSE Algorithms; RFC 9053, RFC 9864)."""

    ES256 = -7  # ECDSA P-256 with SHA-256
    ESP256 = -9  # the same, fully specified
    EDDSA = -8  # Ed25519 only; Ed448 is not read
    ED25519 = -19  # the same, fully specified
    PS256 = -37  # RSA-PSS with SHA-256; only verified, never made


# Two numbers, one algorithm: a header may use either name of the algorithm that the trusted key is bound to.
_SAME_AS: Final = {Alg.ESP256: Alg.ES256, Alg.ED25519: Alg.EDDSA}


class CoseError(ProtocolError):
    """Not a COSE_Sign1 that we accept. Codes: cose_structure, cose_tag, cose_critical, cose_algorithm,
    cose_signature, cose_key."""

    code = "cose_structure"


@dataclass(frozen=True, slots=True)
class Sign1:
    """A COSE_Sign1 taken apart and not yet verified; nothing in it may be believed."""

    protected: bytes  # as it came, because these bytes are signed
    alg: int | None  # from the protected header only
    kid: bytes | None  # protected first, else unprotected
    payload: bytes
    signature: bytes


def parse1(data: bytes, *, max_bytes: int = MAX_BYTES) -> Sign1:
    """Take a COSE_Sign1 apart: bare, under tag 18, or under tags 61 and 18.

    Raises CoseError for any other shape, for duplicate keys and trailing bytes, for a header that asks for an extension
    to be understood (`crit`; we know none), and for a detached payload.
    """
    try:
        item = decode_strict(data, tags_allowed=_TAGS, max_depth=8, allow_indefinite=True, max_bytes=max_bytes)
    except CborError as error:
        raise CoseError(error.message, code="cose_tag" if error.code == "cbor_tag" else "cose_structure") from error
    tags: list[int] = []
    while isinstance(item, cbor2.CBORTag):
        tags.append(item.tag)
        item = item.value
    if tags not in ([], [TAG_SIGN1], [TAG_CWT, TAG_SIGN1]):
        raise CoseError(f"The tags {tags} do not introduce a COSE_Sign1.", code="cose_tag")
    if not isinstance(item, list | tuple) or len(item) != 4:
        raise CoseError("A COSE_Sign1 is an array of four.")
    protected, unprotected, payload, signature = item
    if not isinstance(protected, bytes) or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise CoseError("Protected header, payload and signature are byte strings.")
    if not isinstance(unprotected, Mapping):
        raise CoseError("The unprotected header is a map.")
    header = _header(protected) if len(protected) <= _CACHED_HEADER_BYTES else _header.__wrapped__(protected)
    if header.is_critical or HEADER_CRIT in unprotected:
        raise CoseError("The header makes an extension critical, and we know none.", code="cose_critical")
    kid = header.kid if header.names_key else unprotected.get(HEADER_KID)
    if kid is not None and (not isinstance(kid, bytes) or not 1 <= len(kid) <= MAX_KID_BYTES):
        raise CoseError("The key id is not a byte string of sensible length.")
    return Sign1(protected, header.alg, kid, payload, signature)


class _Header(NamedTuple):
    alg: int | None
    names_key: bool
    kid: object
    is_critical: bool


_CACHED_HEADER_BYTES: Final = 128


@lru_cache(maxsize=256)  # an issuer's messages all begin with the same few bytes
def _header(protected: bytes) -> _Header:
    try:
        header = decode_strict(protected, max_depth=4, allow_indefinite=True) if protected else {}
    except CborError as error:
        raise CoseError("The protected header is not a CBOR map.") from error
    if not isinstance(header, dict):
        raise CoseError("The protected header is not a CBOR map.")
    alg = header.get(HEADER_ALG)
    if alg is not None and type(alg) is not int:
        raise CoseError("Only algorithms with a number are known.", code="cose_algorithm")
    return _Header(alg, HEADER_KID in header, header.get(HEADER_KID), HEADER_CRIT in header)


def verify1(
    message: Sign1 | bytes,
    key: PublicKey,
    *,
    alg: int,
    external_aad: bytes = b"",
) -> bytes:
    """Verify a COSE_Sign1 with a trusted *key* that is bound to the algorithm *alg*; returns the payload.

    The steps, each of which can refuse:
    (1) take it apart (see `parse1`), (2) the protected header names the very algorithm the key is trusted for,
    (3) the key is of that algorithm's type, (4) the signature has the only length it can have, (5) it verifies.
    Raises CoseError and nothing else. Which key to try is the caller's choice, by `Sign1.kid`; keys with another
    key id must not be tried.
    """
    if isinstance(message, bytes):  # (1)
        message = parse1(message)
    if message.alg is None:  # (2)
        raise CoseError("The protected header names no algorithm.", code="cose_algorithm")
    if _canonical(message.alg) != _canonical(alg):
        raise CoseError("The header names another algorithm than the trusted key's.", code="cose_algorithm")
    signed = _to_be_signed(message.protected, external_aad, message.payload)
    verify_raw(signed, message.signature, key, alg=alg)  # (3) (4) (5)
    return message.payload


def verify_raw(signed: bytes, signature: bytes, key: PublicKey, *, alg: int) -> None:
    """Verify a bare signature in COSE and JOSE form (r || s for ECDSA); raises CoseError when it does not hold."""
    name = _canonical(alg)
    try:
        if name == Alg.ES256:
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                raise CoseError("ES256 wants a P-256 key.", code="cose_key")
            if len(signature) != _ES256_SIGNATURE_BYTES:
                raise CoseError("An ES256 signature has 64 bytes.", code="cose_signature")
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(utils.encode_dss_signature(r, s), signed, _ECDSA_SHA256)
        elif name == Alg.EDDSA:
            if not isinstance(key, ed25519.Ed25519PublicKey):
                raise CoseError("EdDSA wants an Ed25519 key.", code="cose_key")
            if len(signature) != _ED25519_SIGNATURE_BYTES:
                raise CoseError("An Ed25519 signature has 64 bytes.", code="cose_signature")
            key.verify(signature, signed)
        elif name == Alg.PS256:
            if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_RSA_BITS:
                raise CoseError("PS256 wants an RSA key of at least 2048 bits.", code="cose_key")
            key.verify(signature, signed, _PSS_SHA256, _SHA256)
        else:
            raise CoseError("This algorithm is not known.", code="cose_algorithm")
    except InvalidSignature as error:
        raise CoseError("The signature does not hold.", code="cose_signature") from error


def sign1(
    payload: bytes,
    key: PrivateKey,
    *,
    alg: int,
    kid: bytes,
    external_aad: bytes = b"",
    tagged: bool = True,
) -> bytes:
    """Make a COSE_Sign1 with algorithm and key id in the protected header.

    ECDSA draws its own randomness inside `cryptography`; Ed25519 gives the same bytes every time. Raises CoseError
    when *key* is not of the type *alg* wants.
    """
    protected = _protected(int(alg), kid)
    signature = sign_raw(_to_be_signed(protected, external_aad, payload), key, alg=alg)
    message = [protected, {}, payload, signature]  # byte strings and an empty map: nothing to put in order
    return cbor2.dumps(cbor2.CBORTag(TAG_SIGN1, message) if tagged else message)


@lru_cache(maxsize=64)  # whoever signs has a key or two
def _protected(alg: int, kid: bytes) -> bytes:
    return encode({HEADER_ALG: alg} | ({HEADER_KID: kid} if kid else {}))


def sign_raw(signed: bytes, key: PrivateKey, *, alg: int) -> bytes:
    """Make a bare signature in COSE form; raises CoseError when key and algorithm do not fit."""
    name = _canonical(alg)
    if name == Alg.ES256 and isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        r, s = utils.decode_dss_signature(key.sign(signed, _ECDSA_SHA256))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if name == Alg.EDDSA and isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    raise CoseError("This key cannot sign with this algorithm.", code="cose_key")


_SHA256: Final = hashes.SHA256()
_ECDSA_SHA256: Final = ec.ECDSA(_SHA256)
_PSS_SHA256: Final = padding.PSS(padding.MGF1(_SHA256), padding.PSS.DIGEST_LENGTH)  # RFC 8230 2: salt as long as hash


def _canonical(alg: int) -> int:
    return _SAME_AS.get(alg, alg)  # type: ignore[call-overload, no-any-return]


def _to_be_signed(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    # RFC 9052 4.4; an empty protected header is signed as an empty byte string, which is how it came
    return cbor2.dumps(["Signature1", protected, external_aad, payload])
