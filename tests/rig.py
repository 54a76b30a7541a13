"""A whole lane on a bench: real decoder, verifier, journal; only pictures, air and door are ours."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import qrcode
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray

from config.camera import CameraSettings
from firmware_bridge.device import DeviceState, DeviceStatus, SerialDevice
from firmware_bridge.gate import Gate
from firmware_bridge.measuring import MeasuringRule
from firmware_bridge.port import Link
from firmware_bridge.reading import Frame
from firmware_bridge.thermometer import Thermometer
from kiosk.camera import Camera, CameraError
from kiosk.clock import KioskClock
from kiosk.lane import Lane, RulesInForce
from kiosk.store import Journal
from protocol.cose import Alg
from protocol.credentials import health_code
from protocol.credentials.identity import Identity, identity_info, seal_identity
from protocol.journal import header_of
from protocol.policy import EntryPolicy
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.words import Colour, CredentialKind, Direction
from tests.fakes import Device, VaultKey

KID = b"rig1"
Image = NDArray[np.uint8]


class Issuer:
    """An issuer of health codes with a trust list that believes it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def trust(self, at: datetime) -> TrustList:
        entry = TrustedKey(
            kid=KID,
            alg=int(Alg.ES256),
            spki=spki_of(self.key.public_key()),
            uses=frozenset({CredentialKind.HEALTH_CODE.value}),
        )
        return TrustList((entry,), issued_at=at)

    def code(
        self,
        at: datetime,
        who: int,
        colour: Colour = Colour.GREEN,
        *,
        lifetime_s: int = 300,
        identity: Identity | None = None,
        vault: object | None = None,
    ) -> str:
        cti, pseudonym = os.urandom(8), who.to_bytes(8, "big")
        sealed = None
        if identity is not None:
            sealed = seal_identity(identity, vault, info=identity_info(cti, pseudonym))  # type: ignore[arg-type]
        return health_code.issue(
            key=self.key,
            alg=Alg.ES256,
            kid=KID,
            colour=colour,
            issued_at=at,
            cti=cti,
            name_masked="张*三",
            pseudonym=pseudonym,
            lifetime=timedelta(seconds=lifetime_s),
            identity_sealed=sealed,
        )


@dataclass(frozen=True, slots=True)
class FixedRules:
    """A bundle that never changes."""

    rules: RulesInForce

    def in_force(self) -> RulesInForce:
        return self.rules


def fixed_rules(issuer: Issuer, at: datetime) -> FixedRules:
    return FixedRules(RulesInForce(EntryPolicy(), issuer.trust(at), None, version=1, age_s=5))


def picture(text: str | None, size: tuple[int, int] = (720, 1280)) -> Image:
    """A plain frame: a grey lobby, and a phone's code in the middle when there is a *text*."""
    frame: Image = np.full((*size, 3), 96, np.uint8)
    if text is not None:
        code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=4)
        code.add_data(text)
        code.make(fit=True)
        modules = np.array(code.get_matrix(), np.uint8)
        side = min(360, size[0] - 40)
        white: Image = np.where(cv2.resize(modules, (side, side), interpolation=cv2.INTER_NEAREST) > 0, 20, 235).astype(
            np.uint8
        )
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        frame[top : top + side, left : left + side] = white[:, :, None]
    return frame


def _three(image: Image) -> tuple[Image, Image, Image]:
    """Three copies that differ in one pixel: made once, since copying a frame holds up every other thread."""
    copies = (image, image.copy(), image.copy())
    for n, copy in enumerate(copies):
        copy[0, 0] = n
    return copies


class Pictures:
    """Something of `cv2.VideoCapture`'s shape that shows what it is told; never two frames alike."""

    def __init__(self, fps: float = 30.0) -> None:
        self._lock = threading.Lock()
        self._frames: tuple[Image, ...] = _three(picture(None))
        self._period_s = 1.0 / fps
        self._next_s = time.monotonic()
        self._n = 0
        self._gone = False

    def show(self, text: str | None) -> None:
        self.show_film(_three(picture(text)))

    def show_film(self, frames: Sequence[Image]) -> None:
        """Show *frames* over and over."""
        with self._lock:
            self._frames = tuple(frames)

    def read(self) -> tuple[bool, Image]:
        self._next_s = max(self._next_s + self._period_s, time.monotonic() - self._period_s)
        pause = self._next_s - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        if self._gone:
            raise CameraError("The rig's camera was unplugged.")
        self._n += 1
        with self._lock:
            return True, self._frames[self._n % len(self._frames)]

    def get(self, prop: int) -> float:
        return 0.0

    def set(self, prop: int, value: float) -> bool:
        return False

    def isOpened(self) -> bool:
        return True

    def unplug(self) -> None:
        self._gone = True

    def release(self) -> None:
        return None


class Air(Thermometer):
    """A thermometer without a line: publishes frames of whatever stands in front of it, 100 times a second."""

    kind = "air"

    def __init__(self, body_celsius: float = 36.5) -> None:
        super().__init__("air", rule=MeasuringRule(min_stable_ms=40, window_s=1.0), warm_at_start=True)
        self.skin_celsius = (body_celsius + 0.19 * 25.0) / 1.19  # heat balance of hardware.md 3.1, turned round
        self._air_thread: threading.Thread | None = None

    def handshake(self, link: Link) -> str:
        return "air"

    def serve(self, link: Link) -> None:
        return None

    def start(self) -> None:
        self._tell(DeviceState.READY, "ready", "正常", "ready")
        self._air_thread = threading.Thread(target=self._blow, daemon=True)
        self._air_thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        self._stopping.set()
        if self._air_thread is not None:
            self._air_thread.join(wait_s)

    def _blow(self) -> None:
        n = 0
        while not self._stopping.wait(0.01):
            n += 1
            now = self.clock.mono_s()
            wobble = (n * 7 % 5 - 2) * 0.02
            words = (int((self.skin_celsius + wobble) * 100), 2500 + n % 3)
            self.publish(Frame(self.skin_celsius + wobble, 25.0, now, now, words))


class Door(Gate):
    """A gate without a line: counts how often it was asked to open."""

    kind = "door"

    def __init__(self) -> None:
        super().__init__("door")
        self.opened = 0

    def handshake(self, link: Link) -> str:
        return "door"

    def serve(self, link: Link) -> None:
        return None

    def is_hardware_timed(self) -> bool:
        return True

    def open_for(self, open_ms: int) -> None:  # type: ignore[override]
        self.opened += 1

    @property
    def status(self) -> DeviceStatus:
        return DeviceStatus(DeviceState.READY, "ready", "正常", "ready", 0.0)


class Rig:
    """A lane that runs in a thread of its own; `with` starts and stops everything."""

    def __init__(
        self,
        folder: Path,
        *,
        device: Device | None = None,
        vault: VaultKey | None = None,
        issuer: Issuer | None = None,
        publish: Callable[[Lane], None] = lambda lane: None,
        body_celsius: float = 36.5,
        fps: float = 30.0,
        readers: Mapping[str, SerialDevice] | None = None,
    ) -> None:
        self.device, self.vault, self.issuer = device or Device(), vault or VaultKey(), issuer or Issuer()
        self.pictures = Pictures(fps)
        self.air, self.door = Air(body_celsius), Door()
        self.camera = Camera(CameraSettings(source="rig", own_process=False), lambda: self.pictures)
        self.journal = Journal(folder / "journal.db", self.device.id, self.vault.public)
        self.clock = KioskClock(self.journal.last_stamp_ms())
        self.lane = Lane(
            place=self.device.place,
            direction=Direction.IN,
            journal=self.journal,
            clock=self.clock,
            camera=self.camera,
            rules=fixed_rules(self.issuer, datetime.now(UTC)),
            thermometer=self.air,
            gate=self.door,
            readers=readers,
            open_ms=300,
            publish=publish,
            is_online=lambda: True,
        )
        self._looked_at = (0, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.lane.run, args=(self._stop,), name="lane", daemon=True)

    def __enter__(self) -> Rig:
        self.camera.start()
        self.air.start()
        self._thread.start()
        deadline = time.monotonic() + 20
        while self.journal.head()[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.005)  # until "started" is on record
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self.camera.close()
        self.air.stop()
        self.journal.close()

    def walk(self, texts: Iterable[str], *, each_s: float = 20.0) -> list[int]:
        """Show each text until its passage is recorded; returns the sequences it stands under (0: none in time)."""
        found = []
        for text in texts:
            before = self.last_passage()
            self.pictures.show(text)
            deadline = time.monotonic() + each_s
            while self.last_passage() == before and time.monotonic() < deadline:
                time.sleep(0.005)
            found.append(self.last_passage() if self.last_passage() > before else 0)
            self.pictures.show(None)
        return found

    def obey(self, rules: RulesInForce, *, each_s: float = 20.0) -> None:
        """Put other rules in force, and wait until the running lane judges by them: it holds them for one look."""
        self.lane.rules = FixedRules(rules)
        deadline = time.monotonic() + each_s
        while (ready := self.lane._ready) is None or ready.rules is not rules:
            assert time.monotonic() < deadline, "the lane does not take new rules"
            time.sleep(0.005)

    def last_passage(self) -> int:
        """The sequence of the newest record that is a passage and not an event; 0 when there is none."""
        head = self.journal.head()[0]
        if head != self._looked_at[0]:
            _, _, records = self.journal.unsent(100_000, limit_bytes=10**9)
            passages = [r.sequence for r in records if header_of(r, self.device.id).facts]
            self._looked_at = (head, passages[-1] if passages else 0)
        return self._looked_at[1]
