"""A small certificate authority of one's own, for servers whose kiosks shall trust nobody else's.

A kiosk believes its server by the Ed25519 key on the enrolment code, whatever stands in between; TLS keeps strangers
from watching who talks when. With `sync.ca_file` a kiosk accepts this authority and no public one.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.errors import GatehouseError

CERTIFICATE, KEY = "ca.pem", "ca-key.pem"
AUTHORITY_LASTS = timedelta(days=3650)
MOST_DAYS = 398  # of a server's certificate, as browsers have it (CA/Browser Forum Baseline Requirements 6.3.2)
BACKDATED = timedelta(days=2)  # a kiosk's clock may be behind


class AuthorityError(GatehouseError):
    """The authority or a certificate was not made. Codes: exists, no_authority, wrong_passphrase, bad_host, disk."""

    code = "authority"


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority's certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate in hex: what to compare when its file is carried to a kiosk."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def make_authority(folder: Path, name: str, now: datetime, passphrase: bytes | None = None) -> Authority:
    """Make `ca.pem` and `ca-key.pem` in *folder*; refuses to write over either. Raises AuthorityError."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _begun(subject, subject, key.public_key(), now, now + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    _write_new(folder / KEY, _key_pem(key, protection), mode=0o600)
    _write_new(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return Authority(certificate, key)


def load_authority(folder: Path, passphrase: bytes | None = None) -> Authority:
    """Read what `make_authority` wrote. Raises AuthorityError."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        key = load_pem_private_key((folder / KEY).read_bytes(), passphrase)
    except OSError as error:
        raise AuthorityError(
            f"{folder} holds no authority: {error.strerror}.",
            hint="Make one with gatehouse admin ca init --out FOLDER.",
            code="no_authority",
        ) from error
    except (ValueError, TypeError) as error:
        raise AuthorityError(
            f"The authority's key in {folder} does not open.",
            hint="Give its passphrase with --passphrase-file, or none if it has none.",
            code="wrong_passphrase",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError(f"Key and certificate in {folder} do not belong together.", code="no_authority")
    return Authority(certificate, key)


def issue(authority: Authority, hosts: Sequence[str], out: Path, now: datetime, *, days: int = MOST_DAYS) -> None:
    """Write a server's certificate for *hosts* (names and addresses) to *out*, its key before it, for the owner alone.

    It lasts *days* (at most MOST_DAYS) and no longer than the authority. Raises AuthorityError.
    """
    names = [_host(host) for host in hosts]
    if not names or not 1 <= days <= MOST_DAYS:
        raise AuthorityError(f"A certificate is for at least one host and 1 to {MOST_DAYS} days.", code="bad_host")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    until = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
    public = authority.key.public_key()
    certificate = (
        _begun(subject, authority.certificate.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    _write_new(out, _key_pem(key, NoEncryption()) + certificate.public_bytes(Encoding.PEM), mode=0o600)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise AuthorityError(
            f"{host!r} is no host name.", hint="Names with other letters are written in Punycode.", code="bad_host"
        ) from error


def _key_pem(key: ec.EllipticCurvePrivateKey, protection: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise AuthorityError(
            f"{path} is there already, and is not written over.", hint="Give another --out.", code="exists"
        ) from error
    except OSError as error:
        raise AuthorityError(f"{path} cannot be written: {error.strerror}.", code="disk") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
