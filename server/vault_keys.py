"""The vault's public keys, from the file that the vault signed and exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from config.errors import GatehouseError
from protocol.errors import ProtocolError
from protocol.vault_keys import VaultKeys, claimed_fingerprint


class VaultKeysError(GatehouseError):
    """The vault's public keys are missing, damaged or another vault's."""

    code = "vault_keys"


@dataclass(frozen=True, slots=True)
class PublishedVault:
    """What the server hands on of the vault; it can open nothing with it."""

    fingerprint: bytes  # 16 bytes; kiosks pin it at enrolment
    keys: VaultKeys
    signed: bytes  # the file as the vault signed it


def read_vault_keys(path: Path, fingerprint: str = "") -> PublishedVault:
    """Read and verify *path*. With a *fingerprint* (32 hex digits) the file must be that vault's.

    Without one the file is believed as it is: whoever can write it could then name another vault, so set
    `vault.fingerprint` in production. Raises VaultKeysError.
    """
    try:
        signed = path.read_bytes()
        pinned = bytes.fromhex(fingerprint) if fingerprint else claimed_fingerprint(signed)
        return PublishedVault(pinned, VaultKeys.from_signed(signed, pinned), signed)
    except FileNotFoundError:
        raise VaultKeysError(
            f"The vault's public keys are not at {path}.", hint="Export them with: gatehouse vault export"
        ) from None
    except (OSError, ProtocolError, ValueError) as error:
        raise VaultKeysError(
            f"The vault's public keys in {path} cannot be used: {error}.",
            hint="Export them again, and compare vault.fingerprint with what the vault prints.",
        ) from error
