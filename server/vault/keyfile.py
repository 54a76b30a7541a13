"""The vault's one key file: every private key it has, under a passphrase.

The file is CBOR `{1: format, 2: salt, 3: [iterations, memory KiB, lanes], 4: nonce, 5: ciphertext}`; the first three
are the associated data of the last. Argon2id stretches the passphrase, ChaCha20-Poly1305 encrypts.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from config.files import write_whole
from protocol import cbor
from protocol.checkin import CheckinKey
from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.sealing import SealPrivateKey
from protocol.vault_keys import IdentityKey, SealKey, VaultKeys, vault_fingerprint
from server.vault.errors import VaultError
from server.vault.locked import lock, unlock

KEY_FILE = "vault-keys.bin"
PUBLIC_FILE = "vault-public.cbor"
MIN_PASSPHRASE_BYTES = 12
_FORMAT = "gatehouse vault keys 1"
_MLKEM_SEED_BYTES = 64  # FIPS 203: d and z
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SealSecret:
    """One key pair that epochs are wrapped to."""

    mlkem_seed: bytes = field(repr=False)
    x25519: bytes = field(repr=False)
    made_ms: int

    def public(self) -> SealKey:
        """Its public half."""
        return SealKey.make(
            MLKEM768PrivateKey.from_seed_bytes(self.mlkem_seed).public_key().public_bytes_raw(),
            X25519PrivateKey.from_private_bytes(self.x25519).public_key().public_bytes_raw(),
        )

    def load(self) -> SealPrivateKey:
        """The key as `EpochOpener` takes it."""
        return SealPrivateKey(
            self.public().key_id,
            MLKEM768X25519PrivateKey(
                MLKEM768PrivateKey.from_seed_bytes(self.mlkem_seed), X25519PrivateKey.from_private_bytes(self.x25519)
            ),
        )


@dataclass(frozen=True, slots=True)
class IdentitySecret:
    """One key that identities on codes, and the persons of queries, are sealed to."""

    x25519: bytes = field(repr=False)
    made_ms: int

    def load(self) -> X25519PrivateKey:
        """The private key."""
        return X25519PrivateKey.from_private_bytes(self.x25519)

    def public(self) -> IdentityKey:
        """Its public half."""
        return IdentityKey.make(self.load().public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class CheckinSecret:
    """One key that browsers seal check-ins to; P-256, because that is what an old browser has."""

    scalar: bytes = field(repr=False)
    made_ms: int

    def load(self) -> ec.EllipticCurvePrivateKey:
        """The private key."""
        return ec.derive_private_key(int.from_bytes(self.scalar, "big"), ec.SECP256R1())

    def public(self) -> CheckinKey:
        """Its public half."""
        form = serialization.PublicFormat.UncompressedPoint
        return CheckinKey.make(self.load().public_key().public_bytes(serialization.Encoding.X962, form))


@dataclass(frozen=True, slots=True)
class VaultSecrets:
    """Everything the vault must keep to itself. The newest key stands first in each list."""

    signing_seed: bytes = field(repr=False)
    seal: tuple[SealSecret, ...]
    identity: tuple[IdentitySecret, ...]
    id_number_tags: bytes = field(repr=False)  # HMAC keys, one a field, so that no tag of one is a tag of another
    phone_tags: bytes = field(repr=False)
    log_tags: bytes = field(repr=False)  # names a looked-up person in the access log
    checkin: tuple[CheckinSecret, ...] = ()  # empty in a key file from before check-ins by phone, until it is rotated

    def signing_key(self) -> Ed25519PrivateKey:
        """The vault's identity: signs its public keys, its roster and its access log."""
        return Ed25519PrivateKey.from_private_bytes(self.signing_seed)

    def fingerprint(self) -> bytes:
        """The 16 bytes by which this vault is pinned."""
        return vault_fingerprint(self.signing_key().public_key())

    def exported(self, now_ms: int) -> bytes:
        """The signed public keys, as `VaultKeys.from_signed` reads them."""
        keys = VaultKeys(
            now_ms,
            tuple(s.public() for s in self.seal),
            tuple(s.public() for s in self.identity),
            tuple(s.public() for s in self.checkin),
        )
        return keys.to_signed(self.signing_key())

    def rotated(self, now_ms: int) -> VaultSecrets:
        """With a fresh key of each kind in front; the older ones still open what was made for them."""
        return replace(
            self,
            seal=(_new_seal(now_ms), *self.seal),
            identity=(_new_identity(now_ms), *self.identity),
            checkin=(_new_checkin(now_ms), *self.checkin),
        )

    def forgetting(self, key_id: bytes) -> VaultSecrets:
        """Without the key *key_id*: what was sealed to it is unreadable for ever, in every backup.

        Raises VaultError when it is the newest of its kind, or unknown.
        """
        if key_id in {kind[0].public().key_id for kind in (self.seal, self.identity, self.checkin) if kind}:
            raise VaultError(f"Key {key_id.hex()} is in use.", hint="Rotate first: gatehouse vault rotate")
        kept = replace(
            self,
            seal=tuple(s for s in self.seal if s.public().key_id != key_id),
            identity=tuple(s for s in self.identity if s.public().key_id != key_id),
            checkin=tuple(s for s in self.checkin if s.public().key_id != key_id),
        )
        if kept == self:
            raise VaultError(f"This vault has no key {key_id.hex()}.", hint="See: gatehouse vault keys")
        return kept


def new_secrets(now_ms: int) -> VaultSecrets:
    """Make a vault's keys."""
    return VaultSecrets(
        signing_seed=secrets.token_bytes(_KEY_BYTES),
        seal=(_new_seal(now_ms),),
        identity=(_new_identity(now_ms),),
        id_number_tags=secrets.token_bytes(_KEY_BYTES),
        phone_tags=secrets.token_bytes(_KEY_BYTES),
        log_tags=secrets.token_bytes(_KEY_BYTES),
        checkin=(_new_checkin(now_ms),),
    )


def write_keys(folder: Path, keys: VaultSecrets, passphrase: bytes, *, replacing: bool = False) -> None:
    """Write the key file (0600) and sync it. Raises VaultError when one is there and *replacing* is not said."""
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise VaultError(
            f"The vault's passphrase has fewer than {MIN_PASSPHRASE_BYTES} bytes.",
            hint="Take a long one; a file made with: head -c 32 /dev/urandom | base64",
        )
    path = folder / KEY_FILE
    if path.exists() and not replacing:
        raise VaultError(
            f"{path} already holds a vault's keys.", hint="Nothing was changed. Another vault: another folder."
        )
    write_whole(path, lock(secrets_to(keys), passphrase, _FORMAT))


def read_keys(folder: Path, passphrase: bytes) -> VaultSecrets:
    """Open the key file in *folder*; raises VaultError when it is absent, changed or under another passphrase."""
    path = folder / KEY_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise VaultError(
            f"There is no vault in {folder}.", hint="Make one with: gatehouse vault init --dir DIR"
        ) from None
    except OSError as error:
        raise VaultError(
            f"{path} cannot be read: {error.strerror}.", hint="Run this as the vault's own user."
        ) from error
    if path.stat().st_mode & 0o077:
        raise VaultError(f"{path} can be read by others.", hint=f"Only its owner may: chmod 600 {path}")
    try:
        return secrets_from(unlock(data, passphrase, _FORMAT))
    except (ProtocolError, ValueError, TypeError) as error:
        raise VaultError(
            f"{path} does not open: {error}.", hint="Check the passphrase, or restore it from its backup."
        ) from error


def write_public(folder: Path, keys: VaultSecrets, now_ms: int) -> Path:
    """Export the signed public keys for the web server and the kiosks; returns the file's path."""
    path = folder / PUBLIC_FILE
    write_whole(path, keys.exported(now_ms), mode=0o644)
    return path


def spoken(fingerprint: bytes) -> str:
    """A fingerprint as people compare it: groups of four letters and digits."""
    text = fingerprint.hex()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def _new_seal(now_ms: int) -> SealSecret:
    return SealSecret(secrets.token_bytes(_MLKEM_SEED_BYTES), secrets.token_bytes(_KEY_BYTES), now_ms)


def _new_identity(now_ms: int) -> IdentitySecret:
    return IdentitySecret(secrets.token_bytes(_KEY_BYTES), now_ms)


def _new_checkin(now_ms: int) -> CheckinSecret:
    scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return CheckinSecret(scalar.to_bytes(_KEY_BYTES, "big"), now_ms)


def secrets_to(keys: VaultSecrets) -> bytes:
    """Every secret in the clear, for the key file and for custody; seal it at once."""
    return cbor.encode(
        {
            1: keys.signing_seed,
            2: [[s.mlkem_seed, s.x25519, s.made_ms] for s in keys.seal],
            3: [[s.x25519, s.made_ms] for s in keys.identity],
            4: keys.id_number_tags,
            5: keys.phone_tags,
            6: keys.log_tags,
            7: [[s.scalar, s.made_ms] for s in keys.checkin],
        }
    )


def secrets_from(clear: bytes) -> VaultSecrets:
    """Undo `secrets_to`; raises ProtocolError, ValueError or TypeError for other bytes."""
    f = Fields(cbor.decode_strict(clear), "vault keys")
    keys = VaultSecrets(
        signing_seed=f.octets(1, exactly=_KEY_BYTES),
        seal=tuple(SealSecret(*row) for row in f.take(2, list)),
        identity=tuple(IdentitySecret(*row) for row in f.take(3, list)),
        id_number_tags=f.octets(4, exactly=_KEY_BYTES),
        phone_tags=f.octets(5, exactly=_KEY_BYTES),
        log_tags=f.octets(6, exactly=_KEY_BYTES),
        checkin=tuple(CheckinSecret(*row) for row in f.maybe(7, list) or []),
    )
    f.done()
    return keys
