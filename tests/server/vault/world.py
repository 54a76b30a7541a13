"""A small sealed world for the vault's tests: kiosks that seal, people who pass, and a vault as a real process."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.credentials.identity import Identity, identity_info, seal_identity
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.query import Approval, Purpose, Query, Reveal
from protocol.sealing import EpochSealer
from protocol.vault_keys import VaultKeys, claimed_fingerprint
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome
from server.vault.approvals import ApproverKey, KeyKind, KeyWord
from server.vault.client import VaultAway, VaultClient
from server.vault.keyfile import VaultSecrets, new_secrets, write_keys, write_public
from server.vault.person import Person, seal_person
from server.vault.roster import EMPTY, Approver, write_roster
from server.vault.wire import SealedRecord

PASSPHRASE = b"a long passphrase for tests"
VENUE, OTHER_VENUE = b"venue1", b"venue2"
NAME, ID_NUMBER, PHONE = "欧阳小明", "11010519491231002X", "+8613800138000"
TOP = Path(__file__).resolve().parents[3]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Kiosk:
    """Seals records as a real kiosk does."""

    keys: VaultKeys
    id: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    sequence: int = 0
    sealer: EpochSealer | None = None

    def start_epoch(self) -> None:
        self.sealer = EpochSealer(self.id, self.keys.seal[0].load(), secrets.token_bytes(48))

    def seal(self, personal: Personal, *, venue: bytes = VENUE, at_ms: int | None = None) -> SealedRecord:
        if self.sealer is None:
            self.start_epoch()
        assert self.sealer
        self.sequence += 1
        stamp = Stamp(at_ms or now_ms() - 60_000, 1000, bytes(8), ClockConfidence.SYNCED)
        facts = Facts(
            Direction.IN,
            EntryMode.SCAN,
            CredentialKind.HEALTH_CODE,
            Colour.GREEN,
            Measured.NORMAL,
            Outcome.ADMIT,
            (),
            1,
            5,
        )
        header = Header(self.sequence, Place(self.id, venue, 1), stamp, facts=facts).to_bytes()
        sealed = self.sealer.seal(self.sequence, header, personal.to_bytes())
        return SealedRecord(self.id, self.sealer.epoch, self.sealer.wrapped, self.sequence, header, sealed)

    def pass_with_code(self, identity: Identity, **where: object) -> SealedRecord:
        """A passage by a code that carries *identity*, sealed by its issuer to the vault."""
        cti, pseudonym = secrets.token_bytes(8), secrets.token_bytes(8)
        sealed = seal_identity(identity, self.keys.identity[0].load(), info=identity_info(cti, pseudonym))
        personal = Personal(
            name=identity.name[0] + "*",
            pseudonym=pseudonym,
            cti=cti,
            identity_sealed=sealed,
            temperature=Temperature("infrared", 35.1, 22.0, 36.61),
        )
        return self.seal(personal, **where)  # type: ignore[arg-type]


@dataclass
class World:
    """One vault folder with an approver, and everything needed to ask it."""

    folder: Path
    secrets: VaultSecrets
    approval_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    district_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @staticmethod
    def make(folder: Path) -> World:
        folder.mkdir(mode=0o700)
        world = World(folder, new_secrets(now_ms()))
        # most tests provoke refusals by the dozen; the bound has tests of its own
        (folder / "vault.toml").write_text('folder = "."\nrefusals_a_minute = 100000\n')
        write_keys(folder, world.secrets, PASSPHRASE)
        write_public(folder, world.secrets, now_ms())
        world.enrol("anna", world.approval_key)
        return world

    def enrol(self, name: str, key: Ed25519PrivateKey, *purposes: Purpose) -> None:
        """Make *name* the roster's only further approver."""
        roster = getattr(self, "_roster", EMPTY)
        entry = ApproverKey(KeyKind.KEY, key.public_key().public_bytes_raw())
        self._roster = roster.added(Approver(name, entry, purposes or (Purpose.EPI_TRACE, Purpose.DRILL), now_ms()))
        self.write_roster()

    def write_roster(self) -> None:
        write_roster(self.folder, self._roster, self.secrets.signing_key())

    def revoke_approver(self, name: str) -> None:
        self._roster = self._roster.revoked(name, now_ms())
        self.write_roster()

    @property
    def keys(self) -> VaultKeys:
        data = (self.folder / "vault-public.cbor").read_bytes()
        return VaultKeys.from_signed(data, claimed_fingerprint(data))

    def kiosk(self) -> Kiosk:
        return Kiosk(self.keys)

    def query(self, **changes: object) -> Query:
        now = now_ms()
        query = Query(
            query_id=secrets.token_bytes(16),
            requester="boris",
            purpose=Purpose.EPI_TRACE,
            case_reference="EPI-2026-17",
            legal_ground="传染病防治法 第三十九条",
            venues=(VENUE,),
            from_ms=now - 86_400_000,
            to_ms=now,
            person=None,
            reveal=(Reveal.MASKED,),
            max_rows=10,
            created_ms=now - 1000,
            expires_ms=now + 3_600_000,
        )
        return replace(query, **changes)  # type: ignore[arg-type]

    def query_for(self, person: Person, **changes: object) -> Query:
        query = self.query(**changes)
        return replace(query, person=seal_person(person, query.query_id, self.keys.identity[0]))

    def approve(
        self,
        query: Query,
        *,
        key: Ed25519PrivateKey | None = None,
        approver: str = "anna",
        approved: bool = True,
        at_ms: int | None = None,
    ) -> bytes:
        approval = Approval(query.digest(), approver, approved, at_ms or now_ms())
        return KeyWord(approver, approval.to_signed(key or self.approval_key)).to_bytes()

    @contextlib.contextmanager
    def running(self, **environment: str) -> Iterator[VaultClient]:
        """The vault as its own process, as an operator starts it."""
        process = self.start(**environment)
        try:
            yield self.client()
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0

    def client(self) -> VaultClient:
        return VaultClient(self.folder / "vault.sock", seconds=20)

    def start(self, *arguments: str, patch: str = "", **environment: str) -> subprocess.Popen[str]:
        """Start the vault; *patch* is Python that runs in its process first, to hurt it at a chosen step."""
        program = f"{patch}\nimport sys\nfrom gatehouse.cli import main\nsys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, "vault", "run", "--dir", str(self.folder), *arguments]
        process = subprocess.Popen(
            command,
            cwd=TOP,
            env={**os.environ, "GATEHOUSE_VAULT_PASSPHRASE": PASSPHRASE.decode(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        for line in process.stdout:
            if line.startswith("vault ready"):
                return process
        process.stdout.close()
        raise AssertionError(f"the vault ended with {process.wait()}")


def is_away(client: VaultClient) -> bool:
    try:
        client.status()
    except VaultAway:
        return True
    return False
