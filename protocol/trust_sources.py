"""From what issuers publish (certificates, key sets, DID documents, revocation lists) to entries of our trust list.

This is the only module that looks into certificates, and it runs where the list is made, never on a kiosk. It is
tolerant where credentials.md 2.2 says that real issuers are odd, and says in a note what it left out and why.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from protocol.cose import MIN_RSA_BITS, Alg, PublicKey
from protocol.trust import DCC_TYPES, USES, KeyRevocations, TrustedKey, TrustError, load_spki, spki_of
from protocol.words import CredentialKind

DCC_KID_BYTES: Final = 8  # first bytes of the certificate's SHA-256 (hcert specification 3.3)
OWN_KEYS_MEMBER: Final = "gatehouse_keys"

# Extended key usage of document signers (EU DCC specification volume 5); issuers also write the first arc with a
# superfluous 0 in it, and both spellings count.
_TYPE_OF_USAGE: Final = {
    f"1.3.6.1.4.1.{arc}1847.2021.1.{number}": name
    for arc in ("", "0.")
    for number, name in ((1, "t"), (2, "v"), (3, "r"))
}
_RID: Final = re.compile(r"([A-Za-z0-9_-]{1,24})(?:\.(\d{1,12}))?", re.ASCII)
_USAGE_OID: Final = bytes.fromhex("0603551d25")  # 2.5.29.37, extended key usage, as DER


@dataclass(slots=True)
class Found:
    """What one source gave: entries, and a note for everything left out."""

    keys: list[TrustedKey] = field(default_factory=list)
    revocations: list[KeyRevocations] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take over everything of *other*."""
        self.keys += other.keys
        self.revocations += other.revocations
        self.notes += other.notes


def from_json(text: str, *, issuer: str | None = None) -> Found:
    """Read any of the JSON shapes we know; which one it is shows in its members. Raises TrustError for another.

    *issuer*: for a key set that does not say whose it is, the issuer's address.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrustError("This is not JSON.") from error
    if isinstance(content, dict):
        if OWN_KEYS_MEMBER in content:
            return from_own_keys(content)
        if "verificationMethod" in content:
            return from_did_document(content)
        if "keys" in content:
            return from_jwks(content, issuer=issuer)
        if "rids" in content:
            return from_card_revocations(content)
        if content and all(isinstance(value, list | str) for value in content.values()):
            return from_dcc_trust_list(content)
    raise TrustError(
        "This JSON is none of: a DCC trust list {kid: [certificate]}, a key set, a card revocation list, "
        "a DID document, our own keys."
    )


# --- certificates -----------------------------------------------------------------------------------------------------


def from_dcc_trust_list(content: Mapping[str, object]) -> Found:
    """`{key id: [base64 of a certificate, ...]}`. The key id is worked out again from each certificate."""
    found = Found()
    for name, entries in content.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            try:
                data = base64.b64decode(str(entry), validate=True)
                found.keys += from_certificate(data)
            except (binascii.Error, ValueError) as error:
                found.notes.append(f"certificate {name[:32]!r} left out: {error}")
    return found


def from_certificate(data: bytes) -> list[TrustedKey]:
    """The entries of one certificate file: DER, PEM (one or several), or base64 of either. Raises TrustError."""
    if not data.startswith(b"\x30"):  # DER may well end in a byte that looks like white space
        data = data.strip()
    if data.startswith(b"-----BEGIN"):
        try:
            return [_from_x509(certificate) for certificate in x509.load_pem_x509_certificates(data)]
        except ValueError as error:
            raise TrustError("The PEM certificate cannot be read.") from error
    if not data.startswith(b"\x30"):
        try:
            return from_certificate(base64.b64decode(data, validate=True)) if data else []
        except (binascii.Error, RecursionError) as error:
            raise TrustError("This is no certificate.") from error
    try:
        return [_from_x509(x509.load_der_x509_certificate(data))]
    except TrustError:
        raise
    except ValueError as error:
        raise TrustError("The certificate cannot be read.") from error


def _from_x509(certificate: x509.Certificate) -> TrustedKey:
    der = certificate.public_bytes(Encoding.DER)
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError("The certificate's key cannot be read.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise TrustError("The certificate's key is of a kind we do not verify with.")
    return TrustedKey(
        kid=hashlib.sha256(der).digest()[:DCC_KID_BYTES],
        alg=_algorithm_of(key),
        spki=spki_of(key),
        uses=frozenset({CredentialKind.EU_DCC.value}),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        dcc_types=dcc_types_of(der),
        country=_country_of(certificate),
    )


def _country_of(certificate: x509.Certificate) -> str | None:
    """The country in the subject, for people to read; an odd subject is no reason to leave a key out."""
    try:
        countries = certificate.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)
    except ValueError:
        return None
    return str(countries[0].value)[:8] if countries else None


def _algorithm_of(key: PublicKey) -> Alg:
    """The one algorithm a key is believed with. A P-384 key is refused: the DCC specification asks for P-256."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return Alg.ES256
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return Alg.PS256
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Alg.EDDSA
    raise TrustError("only P-256, RSA of 2048 bits and more, and Ed25519 keys are believed")


def dcc_types_of(der: bytes) -> frozenset[str]:
    """Which certificate types ("t", "v", "r") the extended key usage in a DER certificate allows.

    No usage extension, an empty one, or one that names none of the DCC usages restricts nothing. Reads only what it
    needs: some real certificates encode another extension in a way that strict parsers refuse as a whole.
    """
    at = der.find(_USAGE_OID)
    if at < 0:
        return DCC_TYPES
    try:
        tag, body, _ = _element(der, at + len(_USAGE_OID))
        if tag == 0x01:  # the optional `critical` flag comes first
            after = at + len(_USAGE_OID) + 2 + len(body)
            tag, body, _ = _element(der, after)
        if tag != 0x04:
            return DCC_TYPES
        tag, usages, _ = _element(body, 0)
        names = {_TYPE_OF_USAGE.get(oid) for oid in _object_ids(usages)} if tag == 0x30 else set()
    except IndexError:
        return DCC_TYPES
    types = frozenset(name for name in names if name is not None)
    return types or DCC_TYPES


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the DER element at *at*. Raises IndexError when it is cut off."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise IndexError("cut off")
    return tag, data[start : start + length], start + length


def _object_ids(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        tag, body, at = _element(data, at)
        if tag != 0x06 or not body:
            continue
        arcs, number = [], 0
        for byte in body:
            number = number << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(number)
                number = 0
        first = min(arcs[0] // 40, 2) if arcs else 0
        yield ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]])) if arcs else ""


# --- JSON Web Keys ----------------------------------------------------------------------------------------------------


def from_jwks(content: Mapping[str, object], *, issuer: str | None = None) -> Found:
    """A SMART Health Cards key set. Whose keys they are: `issuers` {address: [kid]} beside `keys`, else *issuer*."""
    found = Found()
    keys, issuers = content.get("keys"), content.get("issuers")
    if not isinstance(keys, list):
        raise TrustError("A key set has a list of keys.")
    if issuers is None and issuer is not None:
        issuers = {issuer: [key.get("kid") for key in keys if isinstance(key, dict)]}
    if not isinstance(issuers, dict):
        raise TrustError("This key set does not say whose keys it holds; give the issuer's address with --issuer.")
    for jwk in keys:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        try:
            if not isinstance(jwk, dict) or not isinstance(kid, str):
                raise TrustError("a key without an id")
            key = _card_key(jwk)
            if kid != thumbprint(jwk):
                raise TrustError("its id is not its thumbprint (RFC 7638), as health cards ask for")
        except TrustError as error:
            found.notes.append(f"key {str(kid)[:48]!r} left out: {error}")
            continue
        names = [name for name, kids in issuers.items() if isinstance(kids, list) and kid in kids]
        if not names:
            found.notes.append(f"key {kid!r} left out: no issuer names it")
        for name in names:
            found.keys.append(
                TrustedKey(
                    kid=kid.encode(),
                    alg=Alg.ES256,
                    spki=spki_of(key),
                    uses=frozenset({CredentialKind.SMART_HEALTH_CARD.value}),
                    issuer=name,
                )
            )
        version = jwk.get("crlVersion")
        if isinstance(version, int) and version > 0 and names:
            # The issuer revokes cards: until its list is here (`settle_revocations`), revocation is unknown
            found.revocations.append(KeyRevocations(kid.encode(), None, {}, readable=False, counter=version))
    return found


def _card_key(jwk: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    if "d" in jwk:
        raise TrustError("its private half was published with it")
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise TrustError("only P-256 keys are believed")
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", "ES256") != "ES256":
        raise TrustError("it is not for ES256 signatures")
    try:
        x, y = (_coordinate(jwk.get(name)) for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except (ValueError, binascii.Error) as error:
        raise TrustError("its coordinates are no point of P-256") from error


def _coordinate(value: object) -> int:
    data = base64.urlsafe_b64decode(str(value) + "=" * (-len(str(value)) % 4))
    if len(data) != 32:
        raise ValueError("a coordinate has 32 bytes")
    return int.from_bytes(data, "big")


def thumbprint(jwk: Mapping[str, object]) -> str:
    """The JWK thumbprint (RFC 7638) of an EC key."""
    members = {name: jwk.get(name) for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def from_card_revocations(content: Mapping[str, object]) -> Found:
    """A card revocation list of one key (`kid`, `method`, `ctr`, `rids`).

    A malformed list stays on the trust list as "not readable", with the entries that could be read: whoever it should
    have stopped must not pass unmarked because of its fault.
    """
    found = Found()
    kid, rids = content.get("kid"), content.get("rids")
    if not isinstance(kid, str) or not kid or not isinstance(rids, list):
        raise TrustError("A card revocation list names a key and has a list of ids.")
    counter = content.get("ctr")
    good = content.get("method") == "rid" and type(counter) is int and counter >= 1
    entries: dict[str, float | None] = {}
    for rid in rids:
        parts = _RID.fullmatch(rid) if isinstance(rid, str) else None
        if parts is None or parts[1] in entries:
            good = False
        if parts is not None:
            before = float(parts[2]) if parts[2] else None
            entries[parts[1]] = None if entries.get(parts[1], before) is None else before
    if not good:
        found.notes.append(f"revocation list of key {kid[:48]!r} is malformed: its cards are marked, not called good")
    found.revocations.append(
        KeyRevocations(kid.encode(), None, entries, good, counter if type(counter) is int and counter > 0 else 0)
    )
    return found


def settle_revocations(entries: Iterable[KeyRevocations]) -> tuple[KeyRevocations, ...]:
    """Bring together what a key set announces and what the revocation lists hold, one entry a key.

    Readable when a readable list is there whose counter is at least the announced one; all known ids are kept.
    """
    by_kid: dict[tuple[bytes, str | None], list[KeyRevocations]] = {}
    for entry in entries:
        by_kid.setdefault((entry.kid, entry.issuer), []).append(entry)
    settled = []
    for (kid, issuer), group in by_kid.items():
        newest = max(entry.counter for entry in group)
        rids: dict[str, float | None] = {}
        for entry in group:
            for rid, before in entry.rids.items():
                known = rids.get(rid, before)
                rids[rid] = None if known is None or before is None else max(known, before)
        lists = [entry for entry in group if entry.readable or entry.rids]
        readable = any(entry.readable and entry.counter >= newest for entry in lists)
        settled.append(KeyRevocations(kid, issuer, rids, readable, newest))
    return tuple(settled)


# --- DID documents ----------------------------------------------------------------------------------------------------


def from_did_document(content: Mapping[str, object]) -> Found:
    """A did:web document of an NZ COVID Pass issuer: P-256 JWKs that stand under `assertionMethod`."""
    found = Found()
    methods, asserted = content.get("verificationMethod"), content.get("assertionMethod")
    if not isinstance(methods, list):
        raise TrustError("A DID document has a list of verification methods.")
    allowed = {entry for entry in asserted if isinstance(entry, str)} if isinstance(asserted, list) else set()
    for method in methods:
        name = method.get("id") if isinstance(method, dict) else None
        try:
            if not isinstance(method, dict) or not isinstance(name, str) or name.count("#") != 1:
                raise TrustError("a method without an id of the form did:web:HOST#KEY")
            did, kid = name.split("#")
            if name not in allowed:
                raise TrustError("it does not stand under assertionMethod")
            if not did.startswith("did:web:") or not kid or method.get("type") != "JsonWebKey2020":
                raise TrustError("only JsonWebKey2020 keys of did:web are believed")
            jwk = method.get("publicKeyJwk")
            if not isinstance(jwk, dict):
                raise TrustError("it has no publicKeyJwk")
            key = _card_key(jwk)
        except TrustError as error:
            found.notes.append(f"verification method {str(name)[:80]!r} left out: {error}")
            continue
        found.keys.append(
            TrustedKey(
                kid=kid.encode(),
                alg=Alg.ES256,
                spki=spki_of(key),
                uses=frozenset({CredentialKind.NZ_COVID_PASS.value}),
                issuer=did,
            )
        )
    return found


# --- our own keys -----------------------------------------------------------------------------------------------------


def from_own_keys(content: Mapping[str, object]) -> Found:
    """Keys of a Gatehouse server: `{"gatehouse_keys": [{kid, alg, spki, uses, issuer?, not_before?, not_after?}]}`.

    kid in hex, spki in base64, times in ISO 8601. Raises TrustError: our own file has no excuse for being odd.
    """
    found = Found()
    rows = content.get(OWN_KEYS_MEMBER)
    if not isinstance(rows, list):
        raise TrustError(f"{OWN_KEYS_MEMBER} is a list.")
    for row in rows:
        try:
            key = TrustedKey(
                kid=bytes.fromhex(row["kid"]),
                alg=int(row["alg"]),
                spki=base64.b64decode(row["spki"], validate=True),
                uses=frozenset(row["uses"]),
                issuer=row.get("issuer"),
                not_before=_iso(row.get("not_before")),
                not_after=_iso(row.get("not_after")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TrustError(f"A key of {OWN_KEYS_MEMBER} lacks a field or has a wrong one: {error}") from error
        if not key.uses <= USES:
            raise TrustError(f"Unknown uses {sorted(key.uses - USES)}; known are {sorted(USES)}.")
        load_spki(key.spki)
        found.keys.append(key)
    return found


def to_own_keys(keys: Iterable[TrustedKey]) -> dict[str, object]:
    """The reverse of `from_own_keys`, for a server to publish its issuer keys."""
    rows = []
    for key in keys:
        row: dict[str, object] = {
            "kid": key.kid.hex(),
            "alg": int(key.alg),
            "spki": base64.b64encode(key.spki).decode(),
            "uses": sorted(key.uses),
        }
        if key.issuer is not None:
            row["issuer"] = key.issuer
        if key.not_before is not None:
            row["not_before"] = key.not_before.isoformat()
        if key.not_after is not None:
            row["not_after"] = key.not_after.isoformat()
        rows.append(row)
    return {OWN_KEYS_MEMBER: rows}


def _iso(value: object) -> datetime | None:
    if value is None:
        return None
    time = datetime.fromisoformat(str(value))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
