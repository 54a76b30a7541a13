"""Who may approve: the vault's own list, signed by the vault, so that no row of the web's makes an approver."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from config.files import write_whole
from protocol import signed
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.query import Purpose
from server.vault.approvals import ApproverKey
from server.vault.errors import VaultError

ROSTER_FILE = "roster.cbor"
MAX_APPROVERS = 200
_PURPOSE = "vault roster 1"


@dataclass(frozen=True, slots=True)
class Approver:
    """One person with one key, and what for."""

    name: str  # the user name in the console
    key: ApproverKey
    purposes: tuple[Purpose, ...]
    added_ms: int
    revoked_ms: int | None = None

    def to_fields(self) -> dict[int, object]:
        """As a CBOR map."""
        return without_none(
            {
                1: self.name,
                2: self.key.to_fields(),
                3: [p.value for p in self.purposes],
                4: self.added_ms,
                5: self.revoked_ms,
            }
        )

    @staticmethod
    def from_fields(item: object) -> Approver:
        """Decode; raises ProtocolError."""
        f = Fields(item, "approver")
        try:
            approver = Approver(
                f.text(1, at_most=64),
                ApproverKey.from_fields(f.any(2)),
                tuple(Purpose(p) for p in f.texts(3)),
                f.integer(4),
                f.maybe(5, int),
            )
        except ProtocolError:
            raise
        except ValueError as error:
            raise ProtocolError(f"approver: {error}", code="unknown_word") from error
        f.done()
        return approver


@dataclass(frozen=True, slots=True)
class Roster:
    """The whole list. Its version only grows: the access log remembers it, so that an older list is not believed."""

    version: int
    approvers: tuple[Approver, ...]

    def added(self, approver: Approver) -> Roster:
        """With one more key. Raises VaultError when the key is already there, revoked or not."""
        if any(a.key.fingerprint() == approver.key.fingerprint() for a in self.approvers):
            raise VaultError("This key is already in the roster.", hint="A revoked key stays revoked; make a new one.")
        if len(self.approvers) >= MAX_APPROVERS:
            raise VaultError(f"The roster holds {MAX_APPROVERS} keys and no more.", hint="Begin a new vault folder.")
        if not approver.purposes:
            raise VaultError("An approver needs at least one purpose.", hint="Give --purposes.")
        return Roster(self.version + 1, (*self.approvers, approver))

    def revoked(self, which: str, at_ms: int) -> Roster:
        """With the key(s) of *which*, a name or the start of a fingerprint, revoked; raises VaultError when none is."""
        wanted = which.casefold().replace(" ", "")
        is_print = len(wanted) >= 8
        changed = tuple(
            replace(a, revoked_ms=at_ms)
            if a.revoked_ms is None
            and (a.name.casefold() == which.casefold() or (is_print and a.key.fingerprint().hex().startswith(wanted)))
            else a
            for a in self.approvers
        )
        if changed == self.approvers:
            raise VaultError(f"No key in force belongs to {which!r}.", hint="See: gatehouse vault approvers list")
        return Roster(self.version + 1, changed)

    def keys_of(self, name: str) -> tuple[Approver, ...]:
        """Every entry of *name*, revoked ones too."""
        return tuple(a for a in self.approvers if a.name.casefold() == name.casefold())


EMPTY = Roster(0, ())


def write_roster(folder: Path, roster: Roster, key: Ed25519PrivateKey) -> None:
    """Sign and swap in the list."""
    fields: dict[int, object] = {1: roster.version, 2: [a.to_fields() for a in roster.approvers]}
    write_whole(folder / ROSTER_FILE, signed.sign(_PURPOSE, fields, key))


def read_roster(folder: Path, key: Ed25519PublicKey) -> tuple[Roster, str]:
    """Read and verify the list; returns it with the digest that the log knows it by.

    Raises VaultError when it was not signed by this vault. No file is an empty list: a fresh vault opens nothing.
    """
    path = folder / ROSTER_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return EMPTY, ""
    except OSError as error:
        raise VaultError(f"{path} cannot be read: {error.strerror}.", hint="Check its owner.", code="roster") from error
    try:
        f = signed.verify(_PURPOSE, data, key)
        version, items = f.integer(1, 1), f.take(2, list)
        f.done()
        roster = Roster(version, tuple(Approver.from_fields(item) for item in items))
    except ProtocolError as error:
        raise VaultError(
            f"{path} was not written by this vault: {error}.", hint="Restore it from its backup.", code="roster"
        ) from error
    return roster, hashlib.sha256(data).hexdigest()
