"""The vault's keys in the hands of several people: any m of n of them bring it back, fewer learn nothing.

`vault-custody.cbor` holds, for anybody to see, a public key and how many sheets there are. `vault-custody.bin` holds
the vault's secrets sealed to that key with HPKE; it is written anew whenever the keys change, and copies of it may lie
anywhere. The private half exists on paper only: its 32-byte seed is split by SLIP-39 (Shamir's scheme, with words and
checksums) into n sheets.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shamir_mnemonic
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from config.files import write_whole
from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.vault_keys import SealKey
from server.vault.errors import VaultError
from server.vault.keyfile import VaultSecrets, secrets_from, secrets_to

CUSTODY_FILE = "vault-custody.cbor"
SEALED_FILE = "vault-custody.bin"
MOST_SHEETS = 16  # SLIP-39
SEED_BYTES = 32
WORDS_A_SHEET = 33  # of a 256-bit secret, SLIP-39

_FORMAT = "gatehouse vault custody 1"
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)  # as for epochs: sealed for decades


@dataclass(frozen=True, slots=True)
class Custody:
    """How this vault's keys are held; no secret in it."""

    need: int  # sheets that bring the keys back
    of: int
    holders: tuple[str, ...]  # who got sheet 1, 2 ...; names of offices or people, as they were given
    made_ms: int
    key: SealKey

    def __post_init__(self) -> None:
        if not 2 <= self.need <= self.of <= MOST_SHEETS:
            raise VaultError(
                f"{self.need} of {self.of} sheets is no custody.",
                hint=f"At least two people, at most {MOST_SHEETS}, and no more needed than there are.",
                code="custody",
            )
        if len(self.holders) != self.of or len(set(self.holders)) != self.of or not all(self.holders):
            raise VaultError(
                f"{self.of} sheets want {self.of} different holders, {len(set(self.holders))} are named.",
                hint="Name each holder once: --holders 'A,B,C'",
                code="custody",
            )

    def to_bytes(self) -> bytes:
        """As it is stored."""
        fields: dict[int, object] = {1: _FORMAT, 2: self.need, 3: self.of, 4: list(self.holders), 5: self.made_ms}
        return cbor.encode({**fields, 6: self.key.mlkem768, 7: self.key.x25519})

    @staticmethod
    def from_bytes(data: bytes) -> Custody:
        """Raises VaultError `custody` for anything `to_bytes` did not write."""
        try:
            f = Fields(cbor.decode_strict(data), "custody")
            if f.text(1) != _FORMAT:
                raise ProtocolError("custody: another version", code="bad_format")
            custody = Custody(
                f.integer(2),
                f.integer(3),
                f.texts(4),
                f.integer(5),
                SealKey.make(f.octets(6, exactly=1184), f.octets(7, exactly=32)),
            )
            f.done()
        except (ProtocolError, ValueError) as error:
            raise VaultError(f"{CUSTODY_FILE} cannot be read: {error}", hint="Split again.", code="custody") from error
        return custody


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one holder keeps."""

    number: int
    holder: str
    words: tuple[str, ...]


def split(
    folder: Path, keys: VaultSecrets, need: int, holders: Sequence[str], now_ms: int
) -> tuple[Custody, list[Sheet]]:
    """Make a new custody of *keys*: the files in *folder*, and the sheets, which exist nowhere but in what is returned.

    Sheets of an earlier custody stop working for the files written from now on.
    """
    seed = secrets.token_bytes(SEED_BYTES)
    mlkem, x25519 = _halves(seed)
    key = SealKey.make(mlkem.public_key().public_bytes_raw(), x25519.public_key().public_bytes_raw())
    custody = Custody(need, len(holders), tuple(holders), now_ms, key)
    (group,) = shamir_mnemonic.generate_mnemonics(1, [(need, len(holders))], seed)
    sheets = [
        Sheet(n, holder, tuple(words.split())) for n, (holder, words) in enumerate(zip(holders, group, strict=True), 1)
    ]
    write_whole(folder / SEALED_FILE, _sealed(custody, keys))
    write_whole(folder / CUSTODY_FILE, custody.to_bytes(), mode=0o644)
    return custody, sheets


def held(folder: Path) -> Custody | None:
    """The custody of the vault in *folder*, or None when its keys were never split."""
    try:
        return Custody.from_bytes((folder / CUSTODY_FILE).read_bytes())
    except FileNotFoundError:
        return None


def refresh(folder: Path, keys: VaultSecrets) -> bool:
    """Seal *keys* anew after they changed; needs no sheet. False when there is no custody."""
    custody = held(folder)
    if custody is None:
        return False
    write_whole(folder / SEALED_FILE, _sealed(custody, keys))
    return True


def combine(folder: Path, sheets: Sequence[str]) -> VaultSecrets:
    """The vault's secrets from *sheets* (each the words of one, any case and spacing) and the sealed file in *folder*.

    Raises VaultError `custody` that says which is missing or wrong; a wrong word is found by its sheet's checksum.
    """
    custody = held(folder)
    if custody is None:
        raise VaultError(f"{folder} has no {CUSTODY_FILE}.", hint="Copy both custody files there.", code="custody")
    cleaned = [" ".join(sheet.lower().split()) for sheet in sheets]
    for number, words in enumerate(cleaned, 1):
        try:
            shamir_mnemonic.Share.from_mnemonic(words)
        except (shamir_mnemonic.MnemonicError, ValueError) as error:
            raise VaultError(
                f"Sheet {number} of those you gave has a wrong or missing word.",
                hint=f"A sheet has {WORDS_A_SHEET} words; compare them with the paper.",
                code="custody",
            ) from error
    if len(set(cleaned)) < custody.need:
        raise VaultError(
            f"{len(set(cleaned))} different sheets were given, {custody.need} of {custody.of} are needed.",
            hint="Ask another holder: " + ", ".join(custody.holders),
            code="custody",
        )
    try:
        seed = shamir_mnemonic.combine_mnemonics(cleaned[: custody.need])
        mlkem, x25519 = _halves(seed)
        private = MLKEM768X25519PrivateKey(mlkem, x25519)
        clear = _SUITE.decrypt((folder / SEALED_FILE).read_bytes(), private, info=_info(custody))
        return secrets_from(clear)
    except (shamir_mnemonic.MnemonicError, InvalidTag, OSError, ProtocolError, ValueError) as error:
        raise VaultError(
            "These sheets do not open this custody.",
            hint="They may be of an earlier split, or the files of another vault.",
            code="custody",
        ) from error


def _halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """Both key pairs from the one seed that is on the sheets (RFC 5869)."""
    material = HKDF(algorithm=hashes.SHA256(), length=96, salt=None, info=_FORMAT.encode()).derive(seed)
    return MLKEM768PrivateKey.from_seed_bytes(material[:64]), X25519PrivateKey.from_private_bytes(material[64:])


def _info(custody: Custody) -> bytes:
    return _FORMAT.encode() + custody.key.key_id


def _sealed(custody: Custody, keys: VaultSecrets) -> bytes:
    return _SUITE.encrypt(secrets_to(keys), custody.key.load().key, info=_info(custody))
