"""One entrance as a process: wires camera, thermometer, gate, journal, sync and screen around the lane."""

from __future__ import annotations

import logging
import queue
import signal
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import cv2

from config.kiosk import KioskSettings
from firmware_bridge.build import make_gate, make_id_card_reader, make_scan_head, make_thermometer
from firmware_bridge.device import SerialDevice, introduce
from kiosk.actions import Action, ActionResult
from kiosk.board import Board, Link, age_text, setup_state
from kiosk.bundle_store import BundleStore
from kiosk.camera import Camera, CameraState
from kiosk.card_health import PartHealth, health_of, look
from kiosk.card_photo import photograph_card
from kiosk.clock import KioskClock
from kiosk.decoder import Decoder
from kiosk.desk import Desk
from kiosk.enrol import EnrolError, Identity, device_code, enrol_by_text, load_identity
from kiosk.inspection import InspectorView, inspect
from kiosk.inspectors import PassAnswer, answer_pass
from kiosk.lane import Lane, RulesInForce
from kiosk.lifeline import RecordView, life_of, list_records
from kiosk.link_state import LinkState
from kiosk.offline_test import EVENT, OfflineTests, Seen, begin
from kiosk.opening import OpeningTests, board_part
from kiosk.panel_session import Operator
from kiosk.provider import make_enquiries
from kiosk.quarantine import quarantine_findings, quarantine_health
from kiosk.screen import Screen
from kiosk.screen_state import Text
from kiosk.service_notify import ServiceNotify
from kiosk.slots import Slots
from kiosk.store import Journal, journal_bytes
from kiosk.syncer import Health, Syncer, SyncStatus
from protocol.bundle import PlaceNames
from protocol.counting import PART
from protocol.credentials.model import Checked
from protocol.policy import EntryPolicy
from protocol.staff import StaffList
from protocol.trust import TrustList
from protocol.words import Direction, Outcome

log = logging.getLogger("gatehouse.kiosk")

_NO_TRUST = TrustList((), issued_at=datetime(2020, 1, 1, tzinfo=UTC))
PREVIEW_WIDTH = 640
FRAME_WAIT_S = 0.1
ASK_ADDRESS_EVERY = 50  # turns of the loop that waits for a code, some seconds
ENROL_PAUSE_S = 5.0  # after a code that did not enrol: let the person read why


def run_kiosk(settings: KioskSettings) -> int:
    """Run the entrance of these settings until SIGTERM or Ctrl-C; returns the exit code.

    Raises GatehouseError for what stands in the way at start (a port in use, a read-only disk, a damaged identity).
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    Entrance(settings).run(stop)
    return 0


class Entrance:
    """The parts of one entrance; `run` enrols when needed and then serves until it is told to stop."""

    def __init__(self, settings: KioskSettings) -> None:
        self.settings = settings
        self.camera = Camera(settings.camera)
        self.lane: Lane | None = None
        self.desk: Desk | None = None
        self.opening: OpeningTests | None = None
        self.machine: tuple[PartHealth, ...] = ()
        self.offline = OfflineTests(settings.data_dir)
        self.service = ServiceNotify()
        screen = replace(settings.screen, voice_cache=settings.data_dir / settings.screen.voice_cache)
        self.screen = Screen(
            screen, frame_source=self._preview, on_action=self._act, on_inspect=self._inspect, on_record=self._record
        )

    def run(self, stop: threading.Event) -> None:
        """Serve until *stop* is set; everything that was started is stopped again, in the opposite order."""
        identity = load_identity(self.settings.data_dir)  # before anything starts: a damaged one ends here
        with self.screen, self.camera:
            log.info("kiosk start screen=%s", self.screen.address)
            self.service.ready()
            if identity is None:
                identity = self._enrol(stop)
            if identity is not None:
                self._serve(identity, stop)
            self.service.stopping()
        log.info("kiosk stop")

    # -- enrolment ---------------------------------------------------------------------------------------------------

    def _enrol(self, stop: threading.Event) -> Identity | None:
        """Wait for the server's enrolment code, at the camera or the scan head; None when told to stop before."""
        scanned: queue.SimpleQueue[str] = queue.SimpleQueue()
        scan_head = make_scan_head(self.settings.scan_head)
        if scan_head is None:
            return self._wait_for_code(stop, scanned, None)
        scan_head.on_code(lambda code: scanned.put(code.text))
        with scan_head:  # the entrance opens it anew
            return self._wait_for_code(stop, scanned, scan_head)

    def _wait_for_code(
        self, stop: threading.Event, scanned: queue.SimpleQueue[str], scan_head: SerialDevice | None
    ) -> Identity | None:
        decoder, number, note = Decoder(), 0, None
        tried: set[str] = set()
        revision = 0
        device = this_device(self.settings.data_dir)

        def publish(note: Text | None) -> None:
            camera = None if self.camera.state is CameraState.OFF else self.camera.status
            self.screen.publish(setup_state(revision, camera, note, scan_head=scan_head, device=device))

        while not stop.is_set():
            revision += 1
            if revision % ASK_ADDRESS_EVERY == 0:
                device = this_device(self.settings.data_dir)
            self.service.alive()
            publish(note)
            frame = self.camera.newest(number, FRAME_WAIT_S)
            seen = [] if frame is None else [code.text for code in decoder.read(frame.image)]
            number = number if frame is None else frame.number
            while not scanned.empty():
                seen.append(scanned.get().strip())
            codes = [text for text in seen if text.startswith("GHE1:") and text not in tried]
            for text in codes[:1]:
                publish(Text("正在登记…", "Enrolling …"))
                try:
                    enrolment = enrol_by_text(self.settings, text)
                except EnrolError as error:
                    log.warning("enrol refused code=%s", error.code)
                    note = Text(f"登记未成功（{error.code}）", f"{error.message} {error.hint}")
                    if error.code in ("unknown_code", "code_used", "code_expired", "code_cancelled", "bad_code"):
                        tried.add(text)  # this code will not work later either
                    else:
                        stop.wait(ENROL_PAUSE_S)
                else:
                    log.info("enrolled kiosk=%s", enrolment.kiosk.hex())
                    begin(self.settings.data_dir)
                    self.offline = OfflineTests(self.settings.data_dir)
                    return load_identity(self.settings.data_dir)
        return None

    # -- service -----------------------------------------------------------------------------------------------------

    def _serve(self, identity: Identity, stop: threading.Event) -> None:
        settings, enrolment = self.settings, identity.enrolment
        bundles = BundleStore(settings.data_dir / "bundle", enrolment)
        journal = Journal(
            settings.journal_path,
            enrolment.kiosk,
            identity.vault.seal[0].load(),
            soft_bytes=settings.journal.soft_bytes,
            most_bytes=settings.journal.most_bytes,
        )
        clock = KioskClock(journal.last_stamp_ms())
        thermometer = make_thermometer(settings.thermometer)
        gate = make_gate(settings.gate, thermometer=thermometer)
        scan_head, id_card = make_scan_head(settings.scan_head), make_id_card_reader(settings.id_card)
        readers: dict[str, SerialDevice] = {}
        if scan_head is not None:
            readers["scanner"] = scan_head
        if id_card is not None:
            readers["id_card"] = id_card
        devices = [device for device in (thermometer, gate, *readers.values()) if device is not None]
        introduce(devices)
        syncer = Syncer(
            identity,
            journal,
            bundles,
            clock,
            settings.sync,
            health=self._health,
            on_commands=lambda commands: self.lane.told(commands) if self.lane else None,
        )
        journal.on_append = lambda stored: syncer.wake()
        board = Board(PlaceNames(enrolment.venue, enrolment.entrance, "", "", "", ""))

        def publish(lane: Lane) -> None:
            self.service.alive()  # the lane calls this once a second at least; a lane that hangs does not
            held = bundles.held
            if held is not None:
                board.names = held.place
            status = syncer.status()
            sound = self.screen.sound_finding()
            findings = tuple(part.what for part in self.machine if not part.is_fine)
            findings += quarantine_findings(lane.journal.quarantine())
            findings += () if sound is None else (sound,)
            test = self.opening.today() if self.opening else None
            link = Link(status.state.value, status.text)
            counts = lane.journal.counts(lane.clock.day())
            self._look_at_offline_test(lane, status, sum(counts.get(outcome.value, 0) for outcome in Outcome))
            now_s = time.monotonic()
            self.screen.publish(board.state(lane, link, now_s, findings, board_part(test), self.offline.parts()))

        self.lane = Lane(
            place=enrolment.place,
            direction=Direction(settings.direction),
            journal=journal,
            clock=clock,
            camera=self.camera,
            rules=BundleRules(bundles, enrolment.server_url),
            thermometer=thermometer,
            gate=gate,
            readers=readers,
            open_ms=settings.gate.open_ms,
            publish=publish,
            is_online=lambda: syncer.is_online,
        )
        lane = self.lane
        self.opening = OpeningTests(lane, sound_finding=self.screen.sound_finding, readers=readers)
        lane.opening_passed = self.opening.has_passed_today
        lane.on_badge = lambda badge: self._badge_shown(badge, bundles)
        lane.on_pass = lambda checked: self._pass_shown(checked, lane)
        enquiries = make_enquiries(settings.provider, f"{enrolment.venue.hex()}-{enrolment.entrance}")
        lane.enquiries = enquiries
        if scan_head is not None:
            scan_head.on_code(lambda code: lane.scanned(code.text, "scan_head"))
        if id_card is not None:
            id_card.on_card(lane.card_laid)
        self.desk = Desk(
            lane,
            lambda: bundles.held.staff if bundles.held else StaffList(),
            self.opening,
            lambda: photograph_card(self.camera),
        )
        for device in devices:
            device.start()
        if enquiries is not None:
            enquiries.start()
        syncer.start()
        try:
            lane.run(stop)
        finally:
            self.desk = None
            syncer.stop()
            if enquiries is not None:
                enquiries.stop()
            for device in reversed(devices):
                device.stop()
            journal.close()

    def _act(self, action: Action) -> ActionResult:
        if self.desk is None:
            return ActionResult(False, Text("本机尚未启用", "This kiosk is not at work yet"))
        return self.desk.act(action)

    def _badge_shown(self, badge: bytes, bundles: BundleStore) -> str | None:
        """A good badge was read: let its holder into the staff panel; their id, or None when it is of elsewhere."""
        held = bundles.held
        member = held.staff.find(held.badges.get(badge, "")) if held is not None else None
        if member is None:
            return None
        self.screen.badge_shown(Operator(member.staff_id, member.name, member.role.value))
        return member.staff_id

    def _pass_shown(self, checked: Checked, lane: Lane) -> PassAnswer:
        """An inspector's pass was read: let them look for as long as it says."""
        stamp = lane.clock.stamp()
        answer = answer_pass(checked, lane.place, lane.clock.now(), stamp.confidence, time.monotonic())
        if answer.operator is not None:
            self.screen.badge_shown(answer.operator)
        return answer

    def _health(self) -> Health:
        """One word a part, and open faults, for the server's fleet page."""
        lane = self.lane
        if lane is None:
            return Health()
        parts = [("camera", self.camera.state.value), ("screen", "shown" if self.screen.pages else "no_page")]
        for name, device in (("thermometer", lane.thermometer), ("gate", lane.gate), *lane.readers.items()):
            parts.append((name, device.status.state.value if device else "none"))
        parts.append((PART, lane.own_count()))
        parts.append(("clock", "sure" if lane.clock.is_sure else "unsure"))
        self._look_at_machine()
        parts += health_of(self.machine)
        parts += Slots(self.settings.program_dir).health()
        parts += self.offline.health()
        parts += quarantine_health(lane.journal.quarantine())
        parts += self.opening.health() if self.opening else ()
        faults = tuple(f for f in lane.degraded() if f != "no_network")
        return Health(tuple(parts), faults)

    def _look_at_offline_test(self, lane: Lane, status: SyncStatus, passages: int) -> None:
        """See whether the test that ends the setting up has gone on; that it passed goes on record."""
        is_offline, is_online = (status.state is state for state in (LinkState.OFFLINE, LinkState.ONLINE))
        if self.offline.look(Seen(is_offline, is_online, passages, status.unsent)):
            lane.submit(lambda: lane.note_event(EVENT, (("result", "passed"),)))

    def _look_at_machine(self) -> None:
        """Card, supply and heat, as often as the server is spoken to; never on the lane's thread."""
        settings = self.settings
        used, most = journal_bytes(settings.journal_path), settings.journal.most_bytes
        self.machine = tuple(look(settings.data_dir, journal_bytes=used, journal_most=most))

    def _inspect(self) -> InspectorView | None:
        """Today's part of the journal for the inspector's page; on a web thread, beside the lane."""
        lane, opening = self.lane, self.opening
        if lane is None or opening is None:
            return None
        rules, test = lane.rules.in_force(), opening.today()
        looked = inspect(lane.journal.path, since_ms=self._midnight_ms(lane))
        return InspectorView(looked, rules.version, age_text(rules.age_s), test.text() if test else None)

    def _record(self, number: int | None, before: int | None) -> RecordView | None:
        """Today's records and the life of one of them, for the panel's page; on a web thread, beside the lane."""
        lane = self.lane
        if lane is None:
            return None
        view = list_records(lane.journal.path, self._midnight_ms(lane), before)
        return view if number is None else replace(view, number=number, life=life_of(lane.journal.path, number))

    def _midnight_ms(self, lane: Lane) -> int:
        midnight = lane.clock.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        return int(midnight.timestamp() * 1000)

    def _preview(self) -> bytes | None:
        """The newest camera picture, small, with an outline round what was read."""
        frame = self.camera.newest()
        if frame is None or self.camera.state is not CameraState.LIVE:
            return None
        image = frame.image if frame.image.ndim == 3 else cv2.cvtColor(frame.image, cv2.COLOR_GRAY2BGR)
        scale = PREVIEW_WIDTH / image.shape[1]
        small = cv2.resize(image, (PREVIEW_WIDTH, round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA)
        for code in list(self.lane.last_codes) if self.lane else []:
            corners = [(round(x * scale), round(y * scale)) for x, y in code.corners]
            for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
                cv2.line(small, a, b, (80, 220, 80), 3)
        done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 70])
        return data.tobytes() if done else None


def this_device(data_dir: Path) -> Text:
    """Which device this is and where the network sees it, for the screen of the first start."""
    try:
        code = device_code(data_dir)
        number = f"{code[:4]} {code[4:8]} {code[8:12]} {code[12:]}"
    except (EnrolError, OSError):
        number = "–"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # RFC 5737 TEST-NET-1; nothing is sent, only the own address is chosen
            address = str(asking.getsockname()[0])
        except OSError:
            return Text(f"本机编号 {number} · 没有网络", f"Device {number} · no network")
    return Text(f"本机编号 {number} · 网络地址 {address}", f"Device {number} · address {address}")


class BundleRules:
    """The rules of the last good bundle, with their age; before the first bundle nobody is judged."""

    def __init__(self, bundles: BundleStore, server_url: str) -> None:
        self._bundles = bundles
        self._hosts = frozenset({urlsplit(server_url).netloc.lower()})

    def in_force(self) -> RulesInForce:
        """Taken from one bundle at a time."""
        held = self._bundles.held
        if held is None:
            return RulesInForce(EntryPolicy(), _NO_TRUST, None, version=0, age_s=0)
        return RulesInForce(
            held.profile.entry,
            held.trust,
            held.status,
            held.version,
            self._bundles.age_s(),
            venue_hosts=self._hosts,
            business=held.rules,
            profile=held.profile,
            venue=held.venue,
            notices=held.notices,
        )
