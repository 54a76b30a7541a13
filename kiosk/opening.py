"""The opening test (开门自检): every part an entrance stands on is tried once, and the result goes on record.

Run it from the staff panel before the doors open, or with `gatehouse doctor`. It warns and blocks nobody: what a part
that is missing means for a verdict is decided passage by passage.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from config.files import write_whole
from firmware_bridge.device import DeviceState, SerialDevice
from firmware_bridge.reading import Frame
from firmware_bridge.thermometer import Thermometer
from kiosk import texts
from kiosk.camera import Camera, CameraState
from kiosk.lane import Lane, RulesInForce
from kiosk.screen_state import PartStatus, Text

EVENT = "opening_test"
FILE = "opening-test.json"
PROBE_BYTES = 256 * 1024  # written and read back; more than the cache of a cheap card's controller holds per block
AMBIENT_CELSIUS = (0.0, 50.0)  # hardware.md 3.1: outside this no reading is taken for a person's
EMPTY_CELSIUS = (-20.0, 60.0)  # what an infrared sensor may see when nobody stands there
FRAME_WAIT_S = 2.0
OLD_UNSENT_MS = 7 * 86_400_000

FINE = frozenset({"ok", "none"})  # "none": not set up at this entrance, which is no fault


@dataclass(frozen=True, slots=True)
class Probe:
    """One part and what came of trying it: a stable word; "ok" and "none" are fine."""

    part: str
    word: str

    @property
    def is_fine(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.word in FINE


@dataclass(frozen=True, slots=True)
class OpeningTest:
    """One run: when, on which day (by the kiosk's clock), and what came of each part."""

    at_ms: int
    day: str
    probes: tuple[Probe, ...]

    @property
    def passed(self) -> bool:
        """Whether every part is fine."""
        return all(probe.is_fine for probe in self.probes)

    @property
    def result(self) -> str:
        """In one word, for records and health."""
        return "passed" if self.passed else "failed"

    def detail(self) -> tuple[tuple[str, str | int], ...]:
        """As an event's detail."""
        return (("result", self.result), *((probe.part, probe.word) for probe in self.probes))

    def text(self) -> Text:
        """For the screen: when, and passed or which parts failed."""
        at = datetime.fromtimestamp(self.at_ms / 1000, UTC).astimezone().strftime("%H:%M")
        if self.passed:
            return Text(f"{at} 通过", f"passed at {at}")
        bad = [probe.part for probe in self.probes if not probe.is_fine]
        names = [texts.TEST_PARTS.get(part, Text(part, part)) for part in bad]
        return Text(f"{at} 未通过：{'、'.join(n.zh for n in names)}", f"{at} failed: {', '.join(n.en for n in names)}")

    def to_json(self) -> bytes:
        """For the file."""
        probes = [[probe.part, probe.word] for probe in self.probes]
        return json.dumps({"at_ms": self.at_ms, "day": self.day, "probes": probes}).encode()

    @staticmethod
    def from_json(data: bytes) -> OpeningTest:
        """Read back; raises ValueError for anything else."""
        values = json.loads(data)
        try:
            probes = tuple(Probe(str(part), str(word)) for part, word in values["probes"])
            return OpeningTest(int(values["at_ms"]), str(values["day"]), probes)
        except (KeyError, TypeError) as error:
            raise ValueError("not an opening test") from error


def disk_word(folder: Path) -> str:
    """Write, put on disk, forget the cache, read back: "ok", "full", "read_only", "wrong" or "failed"."""
    path = folder / f".write-test-{secrets.token_hex(4)}"
    data = secrets.token_bytes(PROBE_BYTES)
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so that the card itself answers
                file.seek(0)
                return "ok" if file.read() == data else "wrong"
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        return {28: "full", 30: "read_only", 13: "read_only"}.get(error.errno or 0, "failed")


def camera_word(camera: Camera) -> str:
    """Whether a picture comes now."""
    if camera.state is CameraState.OFF:
        return "none"
    return "ok" if camera.newest(0, FRAME_WAIT_S) is not None and camera.state is CameraState.LIVE else "no_picture"


def device_word(device: SerialDevice | None) -> str:
    """A serial device's state, "none" when none is set up."""
    if device is None:
        return "none"
    return "ok" if device.status.state is DeviceState.READY else device.status.state.value


def thermometer_word(device: Thermometer | None) -> str:
    """Its state, and whether what it says of room and empty space can be true."""
    word = device_word(device)
    if device is None or word != "ok":
        return word
    frame = _next_frame(device)
    if (trouble := device.trouble()) is not None:
        return trouble.detail
    if frame is None:
        return "silent"
    ambient, seen = frame.ambient_celsius, frame.object_celsius
    if ambient is not None and not AMBIENT_CELSIUS[0] <= ambient <= AMBIENT_CELSIUS[1]:
        return "ambient_implausible"
    return "ok" if EMPTY_CELSIUS[0] <= seen <= EMPTY_CELSIUS[1] else "implausible"


def _next_frame(device: Thermometer) -> Frame | None:
    """The next frame that the device sends; None when it sends none in time."""
    came: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    unsubscribe = device.subscribe(came.put)
    try:
        return came.get(timeout=FRAME_WAIT_S)
    except queue.Empty:
        return None
    finally:
        unsubscribe()


def rules_word(rules: RulesInForce) -> str:
    """Whether there are rules, and fresh ones."""
    if rules.version == 0:
        return "none_yet"
    return "stale" if rules.age_s > rules.policy.bundle_max_age_s else "ok"


class OpeningTests:
    """Runs the test of one lane and remembers the last one, over restarts too. Safe to use from several threads."""

    def __init__(
        self,
        lane: Lane,
        *,
        sound_finding: Callable[[], Text | None] = lambda: None,
        readers: Mapping[str, SerialDevice] | None = None,  # scan head and card reader, by the part's name
    ) -> None:
        self._lane, self._sound_finding, self._readers = lane, sound_finding, readers or {}
        self._path = lane.journal.path.with_name(FILE)
        self.last = _read(self._path)

    def run(self, operator: str) -> OpeningTest:
        """Try every part (about a second; not on the lane's thread), and let the lane put the result on record."""
        lane = self._lane
        oldest_ms = lane.journal.oldest_unsent_ms()
        stamp = lane.clock.stamp()
        old = oldest_ms is not None and stamp.at_ms - oldest_ms > OLD_UNSENT_MS
        words = (
            ("camera", camera_word(lane.camera)),
            ("thermometer", thermometer_word(lane.thermometer)),
            ("gate", device_word(lane.gate)),
            *((part, device_word(reader)) for part, reader in self._readers.items()),
            ("sound", "ok" if self._sound_finding() is None else "silent"),
            ("clock", "ok" if lane.clock.is_sure else "unsure"),
            ("disk", disk_word(self._path.parent)),
            ("rules", rules_word(lane.rules.in_force())),
            ("queue", lane.journal_problem.code if lane.journal_problem else "old" if old else "ok"),
        )
        test = OpeningTest(stamp.at_ms, lane.clock.day(), tuple(Probe(part, word) for part, word in words))
        lane.submit(lambda: lane.note_event(EVENT, (("operator", operator), *test.detail())))
        self.last = test
        try:
            write_whole(self._path, test.to_json())
        except OSError:
            pass  # the disk's own probe says so; the record and the screen have the result
        return test

    def today(self) -> OpeningTest | None:
        """The last test when it is of this day."""
        last = self.last
        return last if last is not None and last.day == self._lane.clock.day() else None

    def has_passed_today(self) -> bool:
        """Whether this day's last test found everything fine."""
        today = self.today()
        return today is not None and today.passed

    def health(self) -> tuple[tuple[str, str], ...]:
        """For the server's fleet page: the last result and when it was, by this kiosk's clock."""
        last = self.last
        return () if last is None else ((EVENT, last.result), (f"{EVENT}_at_ms", str(last.at_ms)))


def _read(path: Path) -> OpeningTest | None:
    try:
        return OpeningTest.from_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def board_part(today: OpeningTest | None) -> PartStatus:
    """The line on the status board: today's result, or that nobody has tested yet."""
    if today is None:
        return PartStatus("test", False, texts.INSPECT["no_test"])
    return PartStatus("test", today.passed, today.text())
