"""The server's own keys: files in one folder, encrypted with a passphrase, never in the database.

    keys/server-identity.pem       Ed25519: signs receipts, exchanges and bundles
    keys/issuer-USE-KID.pem        ES256 (P-256): signs one sort of code, or status lists; several overlap
    keys/residents-data.bin        the AEAD key of residents' identity data at rest
    keys/index.json                which key is for what, and from when to when; no secret

Every secret file is 0600. Private keys are PKCS#8 under the passphrase; the passphrase that `gatehouse admin init`
makes is 32 random bytes, so the weak key stretching of PKCS#8 does not matter. A short human passphrase would be a
mistake.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from config.errors import GatehouseError
from protocol.cose import Alg
from protocol.trust import TrustedKey, spki_of

ENVIRONMENT = "GATEHOUSE_PASSPHRASE"
ALG = Alg.ES256  # of every issuer key
KID_BYTES = 4  # credentials.md 4.1
PSEUDONYM_BYTES = 8  # credentials.md 4.1
WORD_KEY_BYTES = 16
NUMBER_TAG_BYTES = 16
ISSUER_VALID = timedelta(days=730)
OVERLAP = timedelta(days=30)  # a new key is published this long before it signs, so that offline kiosks know it
_NONCE_BYTES = 12  # RFC 8439
_RESIDENTS_LABEL = b"gatehouse residents-data"
_SALT_BYTES = 16
_SCRYPT = {"length": 32, "n": 2**14, "r": 8, "p": 1}  # RFC 7914 interactive figures: 16 MiB


class KeyStoreError(GatehouseError):
    """A key that is missing, unreadable, or not valid at the time asked for."""

    code = "keystore"


class IssuerUse(Enum):
    """What an issuer key may sign, as trust lists name it (protocol/trust.py); a kiosk refuses it for anything else."""

    HEALTH_CODE = "health_code"
    PAPER_CODE = "paper_code"
    STAFF_BADGE = "staff_badge"
    VENUE_CODE = "venue_code"
    STATUS_LIST = "status_list"


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """The public half of an issuer key, as it goes into trust lists."""

    kid: bytes
    use: IssuerUse
    public_key: ec.EllipticCurvePublicKey  # P-256, for ES256
    not_before: datetime  # signatures made before are refused
    not_after: datetime  # signatures made from then on are refused
    retired_at: datetime | None  # withdrawn: nothing new is signed; still trusted until not_after

    def signs_at(self, at: datetime) -> bool:
        """Whether this key may make a signature at *at*."""
        return self.not_before <= at < self.not_after and (self.retired_at is None or at < self.retired_at)


@dataclass(frozen=True, slots=True)
class IssuerSigningKey:
    """An issuer key that can sign."""

    kid: bytes
    private_key: ec.EllipticCurvePrivateKey


class KeyStore:
    """The opened key store; make it with `KeyStore.create` and `KeyStore.open`."""

    def __init__(self, folder: Path, passphrase: bytes) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._private: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._server = self._load_ed25519("server-identity.pem")
        self._residents = self._unwrap((folder / "residents-data.bin").read_bytes())
        self._index: list[dict[str, str | None]] = []
        self._index_stamp = -1
        self._refresh()

    @classmethod
    def create(cls, folder: Path, passphrase: bytes, *, now: datetime) -> KeyStore:
        """Make every key in the empty *folder* and open it. Raises KeyStoreError when keys are already there."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / "server-identity.pem").exists():
            raise KeyStoreError(
                f"{folder} already holds keys.",
                hint="Nothing was changed; move them away if they are not wanted.",
            )
        _check_passphrase(passphrase)
        _write_secret(folder / "residents-data.bin", _wrap(secrets.token_bytes(32), passphrase))
        _write_index(folder, [])
        _write_secret(folder / "server-identity.pem", _pem(ed25519.Ed25519PrivateKey.generate(), passphrase))
        store = cls(folder, passphrase)
        store.add_missing_issuer_keys(now)
        return store

    @classmethod
    def open(cls, folder: Path, passphrase: bytes) -> KeyStore:
        """Open the keys in *folder*; raises KeyStoreError when they are absent or the passphrase is another."""
        if not (folder / "server-identity.pem").exists():
            raise KeyStoreError(f"There are no keys in {folder}.", hint="Make them with: gatehouse admin init")
        _check_passphrase(passphrase)
        return cls(folder, passphrase)

    def server_identity(self) -> ed25519.Ed25519PrivateKey:
        """The key that signs receipts, exchanges and bundles; a kiosk learns its public half at enrolment."""
        return self._server

    def issuer_signing_key(self, use: IssuerUse, at: datetime) -> IssuerSigningKey:
        """The newest key that may sign *use* at *at*; raises KeyStoreError when there is none."""
        able = [key for key in self.issuer_keys() if key.use is use and key.signs_at(at)]
        if not able:
            raise KeyStoreError(
                f"No {use.value} key is valid at {at.isoformat()}.",
                hint=f"Make one with: gatehouse admin keys rotate {use.value}",
            )
        newest = max(able, key=lambda key: key.not_before)
        return IssuerSigningKey(newest.kid, self._issuer_private(use, newest.kid))

    def issuer_keys(self) -> list[IssuerKey]:
        """Every issuer key, old ones too, oldest first."""
        self._refresh()
        keys = []
        for row in self._index:
            use, kid = IssuerUse(str(row["use"])), bytes.fromhex(str(row["kid"]))
            retired = row["retired_at"]
            keys.append(
                IssuerKey(
                    kid,
                    use,
                    self._issuer_private(use, kid).public_key(),
                    datetime.fromisoformat(str(row["not_before"])),
                    datetime.fromisoformat(str(row["not_after"])),
                    datetime.fromisoformat(retired) if retired else None,
                )
            )
        return sorted(keys, key=lambda key: key.not_before)

    def issuer_trust_entries(self, at: datetime) -> list[TrustedKey]:
        """The keys a kiosk must know at *at*: those not yet over, those that will begin included."""
        return [
            TrustedKey(
                kid=key.kid,
                alg=ALG,
                spki=spki_of(key.public_key),
                uses=frozenset({key.use.value}),
                not_before=key.not_before,
                not_after=key.not_after,
            )
            for key in self.issuer_keys()
            if at < key.not_after
        ]

    def add_issuer_key(self, use: IssuerUse, *, not_before: datetime) -> IssuerKey:
        """Make a further key for *use* that signs from *not_before* on (give kiosks OVERLAP to learn it)."""
        private = ec.generate_private_key(ec.SECP256R1())
        kid = secrets.token_bytes(KID_BYTES)
        _write_secret(self._folder / f"issuer-{use.value}-{kid.hex()}.pem", _pem(private, self._passphrase))
        row: dict[str, str | None] = {
            "kid": kid.hex(),
            "use": use.value,
            "not_before": not_before.astimezone(UTC).isoformat(),
            "not_after": (not_before + ISSUER_VALID).astimezone(UTC).isoformat(),
            "retired_at": None,
        }
        self._refresh()
        _write_index(self._folder, [*self._index, row])
        return next(key for key in self.issuer_keys() if key.kid == kid)

    def add_missing_issuer_keys(self, now: datetime) -> list[IssuerKey]:
        """Make a key that signs from *now* on for each use that never had one (a later version brings new uses)."""
        had = {key.use for key in self.issuer_keys()}
        return [self.add_issuer_key(use, not_before=now) for use in IssuerUse if use not in had]

    def retire_issuer_key(self, kid: bytes, *, at: datetime) -> None:
        """Sign nothing new with *kid* from *at* on; what it has signed stays trusted until it runs out."""
        self._refresh()
        if kid.hex() not in {row["kid"] for row in self._index}:
            raise KeyStoreError(f"There is no issuer key {kid.hex()}.", hint="See: gatehouse admin keys list")
        rows = [
            {**row, "retired_at": at.astimezone(UTC).isoformat()} if row["kid"] == kid.hex() else row
            for row in self._index
        ]
        _write_index(self._folder, rows)

    def encrypt_resident(self, clear: bytes, *, resident_id: str) -> bytes:
        """Encrypt identity data for the database; bound to *resident_id*, so that rows cannot be swapped."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + ChaCha20Poly1305(self._residents).encrypt(nonce, clear, _resident_context(resident_id))

    def decrypt_resident(self, sealed: bytes, *, resident_id: str) -> bytes:
        """Undo `encrypt_resident`; raises KeyStoreError when the data or its owner is not what was encrypted."""
        try:
            return ChaCha20Poly1305(self._residents).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _resident_context(resident_id)
            )
        except (InvalidTag, ValueError):
            raise KeyStoreError(
                "A resident's identity data does not open with this server's key.",
                hint="The row was changed, or keys and database come from different backups.",
            ) from None

    def seal_account_secret(self, clear: bytes, *, user_id: str) -> bytes:
        """Encrypt what proves who an account is (a TOTP secret) for the database; bound to *user_id*."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + ChaCha20Poly1305(self._accounts_key()).encrypt(nonce, clear, _account_context(user_id))

    def open_account_secret(self, sealed: bytes, *, user_id: str) -> bytes:
        """Undo `seal_account_secret`; raises KeyStoreError when the data or its owner is not what was sealed."""
        try:
            return ChaCha20Poly1305(self._accounts_key()).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _account_context(user_id)
            )
        except (InvalidTag, ValueError):
            raise KeyStoreError(
                "An account's second factor does not open with this server's key.",
                hint="Reset it: gatehouse admin reset-second-factor NAME",
            ) from None

    def seal_file(self, clear: bytes, *, file_id: str) -> bytes:
        """Encrypt a file or a text that somebody sent in, for the database; bound to *file_id*."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + ChaCha20Poly1305(self._files_key()).encrypt(nonce, clear, b"gatehouse file " + file_id.encode())

    def open_file(self, sealed: bytes, *, file_id: str) -> bytes:
        """Undo `seal_file`; raises KeyStoreError when the data or its id is not what was sealed."""
        try:
            return ChaCha20Poly1305(self._files_key()).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], b"gatehouse file " + file_id.encode()
            )
        except (InvalidTag, ValueError):
            raise KeyStoreError(
                "A file does not open with this server's key.",
                hint="The row was changed, or keys and database come from different backups.",
            ) from None

    def _files_key(self) -> bytes:
        return hmac.digest(self._residents, b"gatehouse files 1", "sha256")

    def account_code_hash(self, user_id: str, code: str) -> bytes:
        """The 32 bytes that stand for a recovery code in the database; without the key nobody can try codes out."""
        return hmac.digest(self._accounts_key(), f"recovery code\0{user_id}\0{code}".encode(), "sha256")

    def _accounts_key(self) -> bytes:
        return hmac.digest(self._residents, b"gatehouse account secrets 1", "sha256")

    def resident_pseudonym(self, resident_id: str, day: date) -> bytes:
        """The 8 bytes that stand for a resident on codes of one *day*: without the key, two days cannot be linked."""
        day_key = hmac.digest(self._residents, b"gatehouse pseudonyms of " + day.isoformat().encode(), "sha256")
        return hmac.digest(day_key, resident_id.encode(), "sha256")[:PSEUDONYM_BYTES]

    def resident_number_tag(self, id_number: str) -> bytes:
        """The 16 bytes by which an ID number is known to be registered: without the key they tell nothing of it."""
        tag_key = hmac.digest(self._residents, b"gatehouse resident numbers 1", "sha256")
        return hmac.digest(tag_key, id_number.encode(), "sha256")[:NUMBER_TAG_BYTES]

    def venue_word_key(self, venue_id: bytes) -> bytes:
        """The 16 bytes from which a venue's kiosks draw their word of the day (protocol/bundle.py, PlaceNames)."""
        secret = self.server_identity().private_bytes_raw()
        return hmac.digest(secret, b"gatehouse word of the day 1" + venue_id, "sha256")[:WORD_KEY_BYTES]

    def _refresh(self) -> None:
        """Read the index again when another process has written it (`gatehouse admin keys rotate`)."""
        path = self._folder / "index.json"
        stamp = path.stat().st_mtime_ns
        if stamp != self._index_stamp:
            self._index = json.loads(path.read_text(encoding="utf-8"))
            self._index_stamp = stamp

    def _issuer_private(self, use: IssuerUse, kid: bytes) -> ec.EllipticCurvePrivateKey:
        name = f"issuer-{use.value}-{kid.hex()}.pem"
        if name not in self._private:
            key = self._load(name)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise KeyStoreError(f"{name} is not a P-256 key.", hint="Restore the key folder from its backup.")
            self._private[name] = key
        return self._private[name]

    def _load_ed25519(self, name: str) -> ed25519.Ed25519PrivateKey:
        key = self._load(name)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise KeyStoreError(f"{name} is not an Ed25519 key.", hint="Restore the key folder from its backup.")
        return key

    def _load(self, name: str) -> object:
        path = self._folder / name
        try:
            return serialization.load_pem_private_key(path.read_bytes(), self._passphrase)
        except OSError as error:
            raise KeyStoreError(
                f"{path} cannot be read: {error.strerror}.", hint="Restore the key folder from its backup."
            ) from error
        except (ValueError, TypeError):
            raise KeyStoreError(
                f"{path} does not open with this passphrase.", hint=f"Check passphrase_file, or {ENVIRONMENT}."
            ) from None

    def _unwrap(self, wrapped: bytes) -> bytes:
        salt, nonce, sealed = (
            wrapped[:_SALT_BYTES],
            wrapped[_SALT_BYTES : _SALT_BYTES + _NONCE_BYTES],
            wrapped[_SALT_BYTES + _NONCE_BYTES :],
        )
        try:
            return ChaCha20Poly1305(_stretch(self._passphrase, salt)).decrypt(nonce, sealed, _RESIDENTS_LABEL)
        except (InvalidTag, ValueError):
            raise KeyStoreError(
                "residents-data.bin does not open with this passphrase.", hint="Restore the key folder from its backup."
            ) from None


def read_passphrase(path: Path) -> bytes:
    """The passphrase from the environment, else from *path*; raises KeyStoreError when there is neither."""
    from_environment = os.environ.get(ENVIRONMENT)
    if from_environment:
        return from_environment.encode()
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        raise KeyStoreError(
            f"There is no passphrase file at {path}, and {ENVIRONMENT} is not set.",
            hint="Make both keys and passphrase with: gatehouse admin init",
        ) from None
    except OSError as error:
        raise KeyStoreError(f"{path} cannot be read: {error.strerror}.", hint="Check its owner and mode.") from error


def write_secret_file(path: Path, content: bytes) -> None:
    """Write *content* to the new file *path*, readable by its owner only, and make sure it is on the disk."""
    _write_secret(path, content)


def _check_passphrase(passphrase: bytes) -> None:
    if len(passphrase) < 16:
        raise KeyStoreError(
            "The key store's passphrase is shorter than 16 bytes.", hint="Use the one that gatehouse admin init makes."
        )


def _account_context(user_id: str) -> bytes:
    return b"gatehouse account " + user_id.encode()


def _resident_context(resident_id: str) -> bytes:
    return b"gatehouse resident " + resident_id.encode()


def _stretch(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, **_SCRYPT).derive(passphrase)


def _wrap(clear: bytes, passphrase: bytes) -> bytes:
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    return salt + nonce + ChaCha20Poly1305(_stretch(passphrase, salt)).encrypt(nonce, clear, _RESIDENTS_LABEL)


def _pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_index(folder: Path, rows: Iterable[dict[str, str | None]]) -> None:
    """Swap the index in whole: a reader sees the old one or the new one."""
    fresh = folder / f"index.{secrets.token_hex(4)}.new"
    _write_secret(fresh, json.dumps(list(rows), indent=1).encode())
    os.replace(fresh, folder / "index.json")
