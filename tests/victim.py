"""A kiosk process that kills itself with SIGKILL at a chosen step of a passage, and leaves a trace of what it did."""

from __future__ import annotations

import os
import pickle
import signal
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import kiosk.store
from kiosk.lane import Lane
from kiosk.station import Showing
from protocol.sealing import EpochSealer
from tests.fakes import Device, VaultKey
from tests.rig import Issuer, Rig


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one kiosk, its vault and its issuer, as bytes that another process can load."""

    device: bytes
    mlkem: bytes
    x25519: bytes
    issuer: bytes

    @staticmethod
    def make() -> Keys:
        issuer = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Keys(
            Ed25519PrivateKey.generate().private_bytes_raw(),
            mlkem.MLKEM768PrivateKey.generate().private_bytes_raw(),
            x25519.X25519PrivateKey.generate().private_bytes_raw(),
            issuer,
        )

    def load(self) -> tuple[Device, VaultKey, Issuer]:
        device = Device(Ed25519PrivateKey.from_private_bytes(self.device))
        vault = VaultKey(
            mlkem.MLKEM768PrivateKey.from_seed_bytes(self.mlkem),
            x25519.X25519PrivateKey.from_private_bytes(self.x25519),
        )
        issuer = Issuer()
        key = serialization.load_pem_private_key(self.issuer, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        issuer.key = key
        return device, vault, issuer


class Steps:
    """Names the steps of a run, "after COMMIT 2" for the second of its kind, and dies at the one it is told."""

    def __init__(self, folder: Path, kill_at: str) -> None:
        self.seen: Counter[str] = Counter()
        self.kill_at = kill_at
        self._trace = os.open(folder / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        os.write(self._trace, (" ".join(map(str, words)) + "\n").encode())

    def step(self, name: str) -> None:
        self.seen[name] += 1
        numbered = f"{name} {self.seen[name]}"
        if numbered == self.kill_at:
            self.write("killed", numbered)
            os.kill(os.getpid(), signal.SIGKILL)
        if not self.kill_at:
            self.write("step", numbered)

    def around(self, owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {name}")
            result = inner(*args, **kwargs)
            self.step(f"after {name}")
            return result

        setattr(owner, name, stepped)


class SteppedDatabase:
    """A database connection with a step before and after each statement of a transaction."""

    def __init__(self, db: Any, steps: Steps) -> None:
        self._db, self._steps = db, steps

    def execute(self, sql: str, *args: Any) -> Any:
        name = " ".join(sql.split()[:3])  # "INSERT INTO chain"
        writes = name.startswith(("BEGIN", "INSERT", "UPDATE", "COMMIT"))
        if writes:
            self._steps.step(f"before {name}")
        result = self._db.execute(sql, *args)
        if writes:
            self._steps.step(f"after {name}")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def live(folder: Path, packed_keys: bytes, people: int, kill_at: str) -> None:
    """Be a kiosk for *people* passages; die at the step *kill_at* when one is named. Runs as a process of its own."""
    keys: Keys = pickle.loads(packed_keys)
    device, vault, issuer = keys.load()
    steps = Steps(folder, kill_at)
    sealed = EpochSealer.seal

    def noted_seal(self: EpochSealer, sequence: int, header: bytes, personal: bytes) -> bytes:
        steps.step("before seal")
        result = sealed(self, sequence, header, personal)
        if personal:
            steps.write("sealed", self.epoch.hex(), sequence, result.hex())
        steps.step("after seal")
        return result

    kiosk.store.EpochSealer.seal = noted_seal  # type: ignore[method-assign]

    drawn: set[int] = set()  # the same verdict is drawn again each second while it stands

    def publish(lane: Lane) -> None:
        state = lane.station.state
        if isinstance(state, Showing) and state.sequence and state.sequence not in drawn:
            drawn.add(state.sequence)
            steps.step("before publish")
            steps.write("shown", state.sequence, state.verdict.outcome.value)
            steps.step("after publish")

    with Rig(folder, device=device, vault=vault, issuer=issuer, publish=publish) as rig:
        rig.journal._db = SteppedDatabase(rig.journal._db, steps)  # type: ignore[assignment]
        steps.around(rig.lane, "_present")
        steps.around(rig.lane, "serve")
        steps.around(rig.lane, "_measured")
        steps.around(rig.lane, "commit")
        opened = rig.door.open_for

        def noted_open(open_ms: int) -> None:
            state = rig.lane.station.state
            steps.step("before gate")
            steps.write("opened", state.sequence if isinstance(state, Showing) else 0)
            opened(open_ms)
            steps.step("after gate")

        rig.door.open_for = noted_open  # type: ignore[method-assign]
        now = datetime.now(UTC)
        rig.walk([issuer.code(now, who) for who in range(1, people + 1)])
