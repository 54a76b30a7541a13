"""The station loop of one entrance: looks, checks, measures, decides, records, opens, shows - in that order.

One thread runs it. Everything that can block (camera, serial lines, network, browsers) lives in other threads and is
only ever polled here, so that the queue at the door moves on whatever is broken.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from firmware_bridge.codecs.sam_v import CardUnreadable, IdCard
from firmware_bridge.device import DeviceState, SerialDevice
from firmware_bridge.gate import Gate, Pulse
from firmware_bridge.reading import Cause, NoReading, Reading
from firmware_bridge.thermometer import Thermometer, Window
from kiosk.admission import Rules, Why
from kiosk.camera import Camera, CameraState
from kiosk.clock import KioskClock
from kiosk.closing import FILE as CLOSED_FILE
from kiosk.closing import Closed, Closing
from kiosk.decoder import Code, Decoder
from kiosk.id_card import personal_of
from kiosk.inspectors import PassAnswer
from kiosk.ladder import Ladder, rung_of
from kiosk.occupancy import Fill, VenueDay, fill_of
from kiosk.presence import Presence, Presented, Showing
from kiosk.provider import Enquiries, Enquiry
from kiosk.station import (
    NOT_A_PASSAGE,
    CloseWindow,
    Effect,
    Idle,
    Measuring,
    Noting,
    OpenGate,
    OpenWindow,
    Person,
    Record,
    Show,
    Station,
    Surroundings,
)
from kiosk.station import Showing as OnScreen
from kiosk.store import Journal, JournalError, Stored
from protocol.counting import count_to_text, from_commands
from protocol.credentials import check
from protocol.credentials.model import Checked, refused
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.replay import ReplayWindow
from protocol.credentials.rules import RuleSet
from protocol.notice import Notice
from protocol.passage import ClockConfidence, Personal, Place
from protocol.policy import EntryPolicy
from protocol.profile import Conduct, Mode, Profile, VenueRules
from protocol.status_list import StatusLists
from protocol.trust import TrustList
from protocol.words import CredentialKind, Direction, EntryMode, Outcome

log = logging.getLogger("gatehouse.lane")

CARD_SAID_AGAIN_S = 60.0  # a card laid down again this soon after an admission is the same visit
REMEMBERED = 256  # codes whose outcome is remembered for "already recorded"
FRAME_WAIT_S = 0.05
UNREAD_AFTER_S = 2.5  # of a code in view that cannot be read, until the person is told
UNREAD_AGAIN_AFTER_S = 3.0  # without it in view, until the next one is told: a hand may cover it for a moment
REFRESH_S = 1.0  # the screen's clock, banner and part states move at least this often


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """What the last good bundle says, taken together so that a verdict never mixes two bundles."""

    policy: EntryPolicy
    trust: TrustList
    status: StatusLists | None
    version: int
    age_s: int
    venue_hosts: frozenset[str] = frozenset()
    business: RuleSet | None = None  # rules over foreign certificates
    profile: Profile = Profile("", Mode.NORMAL, EntryPolicy())  # whose `entry` is `policy`; here for mode and conduct
    venue: VenueRules = VenueRules()
    notices: tuple[Notice, ...] = ()


def check_policy(rules: RulesInForce) -> CheckPolicy:
    """How strictly this entrance looks at a credential, as its bundle says."""
    policy = rules.policy
    return CheckPolicy(
        clock_skew=timedelta(seconds=policy.clock_skew_s),
        health_code_max_life=timedelta(seconds=policy.health_code_max_age_s),
        status_old_after=timedelta(seconds=policy.status_max_age_s),
        status_too_old_after=timedelta(seconds=policy.status_max_age_s * 3),
        when_status_too_old="hold" if policy.stale_rules_hold else "mark",
        venue_hosts=rules.venue_hosts,
        rules=rules.business,
        value_sets=rules.business.agreed.lookup() if rules.business and rules.business.agreed else None,
    )


class RulesSource(Protocol):
    """Where the lane gets its rules; a fetch of a new bundle happens elsewhere."""

    def in_force(self) -> RulesInForce:
        """The rules of this moment; cheap."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one verdict cost, in seconds, without the temperature window."""

    decode_s: float
    verify_s: float
    decide_s: float
    seal_s: float
    commit_s: float
    publish_s: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """What the next code is judged by, gathered while nobody waits for it: before each look, so a picture old."""

    rules: RulesInForce
    strictness: CheckPolicy
    around: Surroundings


@dataclass(frozen=True, slots=True)
class _Answered:
    outcome: Outcome
    at_ms: int


@dataclass(frozen=True, slots=True)
class _Asking:
    enquiry: Enquiry
    seen: Presented
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Proxy:
    operator: str
    helper: Personal
    reading: Reading | None
    until_s: float


class Lane:
    """One entrance. `run` until *stop* is set; `submit` brings work from other threads (scan heads, staff, screen)."""

    def __init__(
        self,
        *,
        place: Place,
        direction: Direction,
        journal: Journal,
        clock: KioskClock,
        camera: Camera,
        rules: RulesSource,
        thermometer: Thermometer | None,
        gate: Gate | None,
        open_ms: int,
        publish: Callable[[Lane], None],
        is_online: Callable[[], bool],
        readers: Mapping[str, SerialDevice] | None = None,  # by the part's name: "scanner", "id_card"
    ) -> None:
        self.place, self.direction = place, direction
        self.journal, self.clock, self.camera, self.rules = journal, clock, camera, rules
        self.thermometer, self.gate, self.open_ms = thermometer, gate, open_ms
        self.readers: Mapping[str, SerialDevice] = readers or {}
        self.station = Station()
        self.on_timing: Callable[[Timing], None] | None = None
        self.on_badge: Callable[[bytes], str | None] = lambda badge: None  # id of a good badge -> whose, if of here
        self.on_pass: Callable[[Checked], PassAnswer] = lambda checked: PassAnswer("inspector_wrong", ())
        self.enquiries: Enquiries | None = None  # who is asked about codes that cannot be verified here
        self.last_codes: list[Code] = []  # of the newest frame, for the outline in the preview
        self.journal_problem: JournalError | None = None
        self.last_pulse: Pulse | None = None
        self.closing = Closing(journal.path.with_name(CLOSED_FILE))
        self.closed: Closed | None = None  # why nobody is let in now, as of the last second
        self.opening_passed: Callable[[], bool] = lambda: True  # whether today's opening test did
        self.subject = 0  # grows with each person or thing answered, so that an equal answer is heard again
        self.venue_day = VenueDay(journal.last_inside_day())
        self._elsewhere = ("", 0)  # a venue's day, and what its other kiosks counted on it, as the server last said
        self._today = self.venue_day.at(clock.stamp())
        self._barred: tuple[str, ...] = ()
        self._publish, self._is_online = publish, is_online
        self._decoder = Decoder()
        self._presence = Presence()
        self._told_unread_s = -UNREAD_AGAIN_AFTER_S  # monotonic: when somebody who was told was last seen
        self._answered: OrderedDict[bytes, _Answered] = OrderedDict()
        self._admitted = ReplayWindow()  # dynamic codes that admitted somebody, each while it lives
        self._asking: _Asking | None = None
        self._window: Window | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._current = b""  # digest of the code of the person being served
        self._around: Surroundings | None = None  # of the person being served
        self._ready: _Ready | None = None
        self._cost = dict.fromkeys(("decode", "verify", "decide", "seal", "commit", "publish"), 0.0)
        self.ladder = Ladder()  # what people are told to be out of order
        self._proxy: _Proxy | None = None
        self._frame_number, self._refreshed_s = 0, 0.0
        self.defects = 0  # turns that ended in a defect of ours; shown on the health page, should stay 0
        self._card_key = os.urandom(16)  # there are few ID numbers: without a key their digests could be turned round

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Serve the entrance until *stop* is set."""
        self.note_event("started")
        self.watch_door()
        while not stop.is_set():
            try:
                self._turn()
            except Exception:  # the top of a loop that must live: a defect must not close the entrance
                self.defects += 1
                if (
                    self.defects.bit_count() == 1
                ):  # the first, second, fourth ...: a defect on every frame fills no disk
                    log.exception("turn failed defects=%d", self.defects)
                self.station.reset()
                self._window = None
                stop.wait(FRAME_WAIT_S)
        self.note_event("stopped")

    def _turn(self) -> None:
        """One look, and whatever is due."""
        self._ready = self._get_ready()
        frame = self.camera.newest(self._frame_number, FRAME_WAIT_S)
        self._poll_window()  # before this frame is decoded: whoever waits for a verdict waits for no picture
        if frame is not None:
            self._frame_number = frame.number
            started = time.perf_counter()
            codes = self._decoder.read(frame.image)
            self._cost["decode"] = time.perf_counter() - started
            self.last_codes = codes
            for seen in self._presence.see((code.text for code in codes), time.monotonic()):
                self._present(seen)
            self._note_unread()
        elif self.camera.state is not CameraState.LIVE:
            self.last_codes = []
        self._work()
        self._poll_provider()
        self._poll_window()
        self.carry_out(self.station.tick(time.monotonic()))
        now = time.monotonic()
        if now - self._refreshed_s >= REFRESH_S:
            self._refreshed_s = now
            self._watch()
            self._publish(self)

    def submit(self, job: Callable[[], None]) -> None:
        """Let the lane's own thread run *job*, at once if it only waits for a picture; from any thread."""
        self._jobs.put(job)
        self.camera.nudge()

    def scanned(self, text: str, source: str) -> None:
        """A scan head read *text*; from any thread. Whichever of camera and scan head speaks first makes the event."""
        self.submit(lambda: self._scanned(text, source))

    def _scanned(self, text: str, source: str) -> None:
        for seen in self._presence.see([text], time.monotonic(), source):
            self._present(seen)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            try:
                job()
            except Exception:  # a defect in one button must not end the entrance; whoever asked gets the error
                log.exception("job failed")

    def _note_unread(self) -> None:
        """Tell somebody who holds up a code that cannot be read, once while they hold it and when nobody is served."""
        now_s, unread_s = time.monotonic(), self._decoder.unread_for_s
        if now_s - self._told_unread_s < UNREAD_AGAIN_AFTER_S:
            if unread_s > 0:
                self._told_unread_s = now_s  # still the same presentation
        elif unread_s >= UNREAD_AFTER_S and isinstance(self.station.state, Idle):
            self._told_unread_s = now_s
            self.note_event("note", (("code", "code_unreadable"),))
            self._answer("code_unreadable")

    # -- codes -------------------------------------------------------------------------------------------------------

    def _present(self, seen: Presented) -> None:
        digest = hashlib.blake2b(seen.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        before = self._answered.get(digest)
        if seen.showing is Showing.AGAIN and before is not None:
            if before.outcome is Outcome.ADMIT:
                minutes = max(0, self.clock.stamp().at_ms - before.at_ms) // 60_000
                self._answer("same_again", minutes_ago=minutes)
                return
            state = self.station.state
            if isinstance(state, OnScreen) and digest == self._current and not state.results:
                return  # the answer to this very code still stands on the screen
        if isinstance(self.station.state, Measuring) and digest == self._current:
            return
        if self._asking is not None and self._asking.digest == digest:
            return  # its answer is on the way
        started = time.perf_counter()
        ready = self._ready or self._get_ready()
        checked = check(
            seen.text, ready.rules.trust, at=self.clock.now(), status=ready.rules.status, policy=ready.strictness
        )
        self._cost["verify"] = time.perf_counter() - started
        if checked.kind in NOT_A_PASSAGE:
            self._answer_note(checked)
            return
        if checked.kind is CredentialKind.UNKNOWN and self.enquiries is not None and self.enquiries.takes(seen.text):
            self._asking = _Asking(self.enquiries.begin(seen.text), seen, digest)
            self._poll_provider()
            return
        self._begin(checked, seen, digest)

    def _poll_provider(self) -> None:
        """Go on with the person whose code a provider is asked about, once there is an answer or its time is over."""
        asking = self._asking
        if asking is None:
            return
        checked = asking.enquiry.poll(self.clock.now())
        if checked is not None:
            self._begin(checked, asking.seen, asking.digest)
        elif not isinstance(self.station.state, Noting):
            self._answer("asking_provider")

    def _begin(self, checked: Checked, seen: Presented, digest: bytes) -> None:
        shown_before = Reason.SEEN_BEFORE in checked.reasons or self._is_replay(checked)
        proxy, self._proxy = self._proxy, None
        if proxy is not None and time.monotonic() < proxy.until_s:
            self.serve(
                Person(
                    checked, EntryMode.PROXY, operator=proxy.operator, shown_before=shown_before, typed=proxy.helper
                ),
                digest,
            )
            if proxy.reading is not None:
                self.typed_reading(proxy.reading)
            return
        self.serve(Person(checked, EntryMode.SCAN, shown_before=shown_before, seen_s=seen.at_s), digest)

    # -- ID cards ----------------------------------------------------------------------------------------------------

    def card_laid(self, card: IdCard | CardUnreadable) -> None:
        """The reader read a card, or could not; from any thread."""
        self.submit(lambda: self._card_laid(card))

    def _card_laid(self, card: IdCard | CardUnreadable) -> None:
        now_s = time.monotonic()
        if isinstance(card, CardUnreadable):
            self.note_event("note", (("code", "card_unreadable"), ("why", card.code)))
            self._answer("card_unreadable")
            return
        digest = hashlib.blake2b(card.number.encode(), key=self._card_key, digest_size=16).digest()
        person = personal_of(card, self.clock.now().astimezone().date())
        proxy, self._proxy = self._proxy, None
        if proxy is not None and now_s < proxy.until_s:
            helper = proxy.helper
            typed = replace(
                person, helper_name=helper.helper_name, helper_phone=helper.helper_phone, relation=helper.relation
            )
            self.serve(
                Person(refused(CredentialKind.UNKNOWN), EntryMode.PROXY, operator=proxy.operator, typed=typed), digest
            )
            if proxy.reading is not None:
                self.typed_reading(proxy.reading)
            return
        if digest == self._current and isinstance(self.station.state, Measuring | OnScreen):
            return  # this very card is being served
        before = self._answered.get(digest)
        if before is not None and before.outcome is Outcome.ADMIT:
            ago_ms = max(0, self.clock.stamp().at_ms - before.at_ms)
            if ago_ms < CARD_SAID_AGAIN_S * 1000:
                self._answer("same_again", minutes_ago=0)
                return
        self.serve(Person(refused(CredentialKind.UNKNOWN), EntryMode.ID_CARD, typed=person), digest)

    def expect_proxy(self, operator: str, helper: Personal, reading: Reading | None, within_s: float) -> None:
        """The next code or card is shown for somebody else (代扫); *helper* says who helps and how related."""
        self._proxy = _Proxy(operator, helper, reading, time.monotonic() + within_s)

    def _is_replay(self, checked: Checked) -> bool:
        """Whether this very code already admitted somebody here (pass-back); a held one may be shown again."""
        credential = checked.credential
        return credential is not None and self._admitted.first_shown(credential, self.clock.now()) is not None

    def _answer_note(self, checked: Checked) -> None:
        if checked.kind is CredentialKind.INSPECTOR_PASS:
            answer = self.on_pass(checked)
            self.note_event(answer.code, answer.detail)
            self._answer(answer.code)
            return
        operator = None
        if checked.kind is CredentialKind.VENUE_CODE:
            here = checked.credential is not None and checked.credential.venue_id == self.place.venue
            code = "poster_ok" if checked.valid and here else "poster_wrong"
            if Reason.REVOKED in checked.reasons or Reason.REPLACED in checked.reasons:
                code = "poster_revoked"
        elif checked.kind is CredentialKind.STAFF_BADGE:
            badge = checked.credential.holder_id if checked.valid and checked.credential else None
            operator = self.on_badge(badge) if badge is not None else None
            code = "badge_in" if operator is not None else "badge_wrong"
        else:
            code = "already_enrolled"
        self.note_event("note", (("code", code), *((("operator", operator),) if operator is not None else ())))
        self._answer(code)

    def _answer(self, code: str, *, minutes_ago: int | None = None) -> None:
        """Say something short that is no verdict; each time it is heard, whatever was said before."""
        effects = self.station.note(code, time.monotonic(), minutes_ago=minutes_ago)
        self.subject += bool(effects)
        self.carry_out(effects)

    def let_out(self) -> bool:
        """Somebody leaves without a code; False where that is not allowed, or while somebody else is served."""
        if not (isinstance(self.station.state, Idle) and self.surroundings().lets_out_freely):
            return False
        self.serve(Person(refused(CredentialKind.UNKNOWN), EntryMode.SCAN))
        return True

    def serve(self, person: Person, digest: bytes = b"") -> None:
        """Begin with a person: from a code with its *digest*, or from what staff typed. Runs in the lane's thread."""
        started = time.perf_counter()
        self._current = digest
        self.subject += 1
        self._asking = None  # whoever waited for a provider's answer was overtaken; it is kept for their next try
        self._around = (self._ready or self._get_ready()).around
        effects = self.station.code(person, self._around, time.monotonic())
        self._cost["decide"] = time.perf_counter() - started
        self.carry_out(effects)

    def typed_reading(self, reading: Reading) -> None:
        """Staff typed a temperature for the person being served. Runs in the lane's thread."""
        self._measured(reading)

    # -- temperature -------------------------------------------------------------------------------------------------

    def _poll_window(self) -> None:
        if self._window is None:
            if isinstance(self.station.state, Measuring) and self.station.state.window_open:
                self._measured(NoReading(Cause.NO_THERMOMETER, "none_set_up"))
            return
        result = self._window.poll()
        if result is not None:
            self._window = None
            self._measured(result)

    def _measured(self, result: Reading | NoReading) -> None:
        started = time.perf_counter()
        effects = self.station.measurement(result, self._around or self.surroundings(), time.monotonic())
        self._cost["decide"] += time.perf_counter() - started  # what `serve` took of it stands there already
        self.carry_out(effects)

    # -- effects -----------------------------------------------------------------------------------------------------

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the station asked for, in order. Runs in the lane's thread."""
        while effects:
            effect, *effects = effects
            if isinstance(effect, OpenWindow):
                self._window = self.thermometer.begin_window() if self.thermometer else None
            elif isinstance(effect, CloseWindow):
                if self._window is not None:
                    self._window.close()
                    self._window = None
            elif isinstance(effect, Record):
                effects = [*effects, *self._record(effect)]
            elif isinstance(effect, OpenGate):
                self._open_gate()
            elif isinstance(effect, Show):
                started = time.perf_counter()
                self._publish(self)
                self._cost["publish"] = time.perf_counter() - started
                if isinstance(self.station.state, OnScreen) and self.station.state.sequence:
                    self._report_timing()

    def _record(self, effect: Record) -> list[Effect]:
        """Commit before anything opens or turns green."""
        around = self._around or self.surroundings()
        self.subject += 1
        try:
            stored = self.commit(effect)
        except JournalError as error:
            if self.journal_problem is None or self.journal_problem.code != error.code:
                log.error("journal code=%s", error.code)
            self.journal_problem = error
            return self.station.not_recorded(around, time.monotonic())
        self.journal_problem = None
        self._cost["seal"], self._cost["commit"] = stored.seal_s, stored.commit_s
        self._remember(effect)
        return self.station.recorded(stored.sequence, around, time.monotonic())

    def commit(self, effect: Record) -> Stored:
        """Write one passage to the journal; raises JournalError when it is not on disk."""
        outcome, mode = effect.facts.outcome.value, effect.facts.mode.value
        return self.journal.append(
            self.place,
            self.clock.stamp(),
            effect.facts,
            effect.personal,
            count=(outcome, mode, self.direction.value) if outcome == "admit" else (outcome, mode),
            day=self.clock.day(),
            inside=self._moves(self.direction) if outcome == "admit" else None,
        )

    def _remember(self, effect: Record) -> None:
        answered = _Answered(effect.facts.outcome, self.clock.stamp().at_ms)
        credential = effect.person.checked.credential
        if credential is not None and answered.outcome is Outcome.ADMIT:
            self._admitted.show(credential, self.clock.now())
        if self._current:
            self._answered[self._current] = answered
            self._answered.move_to_end(self._current)
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)

    def _open_gate(self) -> None:
        if self.gate is not None:
            self.last_pulse = self.gate.open_for(self.open_ms)

    def _report_timing(self) -> None:
        if self.on_timing is not None:
            c = self._cost
            self.on_timing(Timing(c["decode"], c["verify"], c["decide"], c["seal"], c["commit"], c["publish"]))

    # -- surroundings ------------------------------------------------------------------------------------------------

    def degraded(self) -> tuple[str, ...]:
        """What is out of order now, in stable words; stands in each record."""
        rules = self.rules.in_force()
        found = [
            (not self._is_online(), "no_network"),
            (rules.version == 0, "no_rules"),
            (rules.age_s > rules.policy.bundle_max_age_s, "rules_stale"),
            (self.camera.state not in (CameraState.LIVE, CameraState.OFF), "no_camera"),
            (self.thermometer is None or self.thermometer.trouble() is not None, "no_thermometer"),
            (self.gate is not None and self.gate.status.state.value != "ready", "no_gate"),
            *((reader.state is not DeviceState.READY, f"no_{part}") for part, reader in self.readers.items()),
            (not self.clock.is_sure, "clock_unsure"),
            (self.journal_problem is not None, "journal_unavailable"),
        ]
        return tuple(word for is_so, word in found if is_so)

    def _get_ready(self) -> _Ready:
        rules = self.rules.in_force()
        return _Ready(rules, check_policy(rules), self.surroundings())

    def surroundings(self) -> Surroundings:
        """What a decision at this moment rests on."""
        rules, degraded = self.rules.in_force(), self.degraded()
        return Surroundings(
            policy=rules.policy,
            rules=Rules(rules.version, rules.age_s, clock_sure="clock_unsure" not in degraded),
            degraded=degraded,
            direction=self.direction,
            conduct=rules.profile.conduct,
            barred=self._barred_now(rules),
        )

    def _watch(self) -> None:
        """Once a second: a moved clock and a changed mode become records of their own."""
        jumped_ms = self.clock.take_jump_ms()
        if jumped_ms is not None:
            self.note_event("clock_moved", (("by_ms", jumped_ms),))
        conduct = self.watch_door()
        told, self.ladder = self.ladder.standing, self.ladder.step(self.degraded(), time.monotonic(), conduct)
        if self.ladder.standing != told:
            rung = rung_of(self.ladder.standing, has_scanner="scanner" in self.readers)
            self.note_event("mode", (("degraded", " ".join(self.ladder.standing)), ("rung", rung.value)))

    # -- who is inside, and whether anybody may come in ---------------------------------------------------------------

    def inside(self) -> int:
        """How many people are inside by what this and the venue's other kiosks counted today; never negative."""
        return max(0, self._counted())

    def _counted(self) -> int:
        day, elsewhere = self._elsewhere
        return self.journal.inside(self._today) + (elsewhere if day == self._today else 0)

    def told(self, commands: tuple[str, ...]) -> None:
        """Take what the venue's other kiosks counted from the server's *commands*; from any thread."""
        found = from_commands(commands)
        if found is not None:
            self._elsewhere = found

    def own_count(self) -> str:
        """What this kiosk counted by itself, for the server; from any thread."""
        return count_to_text(self._today, self.journal.inside(self._today))

    def fill(self, rules: RulesInForce) -> Fill:
        """How full the venue is by that count."""
        return fill_of(self.inside(), rules.venue.capacity, rules.profile.conduct.near_full_percent)

    def _moves(self, direction: Direction) -> tuple[str, int]:
        """The venue's day, and what one person who passes changes.

        A way in does not count out whom nobody counted in; a way out counts for the venue's other kiosks.
        """
        if direction is Direction.IN:
            return self._today, 1
        return self._today, -1 if self.direction is Direction.OUT or self._counted() > 0 else 0

    def waved_through(self, operator: str, direction: Direction) -> None:
        """Staff let somebody pass without a scan: counted, and counted in or out."""
        count = "waved" if direction is Direction.IN else "waved_out"
        detail = (("operator", operator), ("direction", direction.value))
        self.note_event("waved_through", detail, count=(count,), inside=self._moves(direction))

    def set_inside(self, operator: str, people: int) -> None:
        """Staff counted themselves: that many people are inside now. Both figures and who it was go on record."""
        before = self.inside()
        change = people - self._counted()
        detail = (("operator", operator), ("from", before), ("to", people))
        self.note_event("inside_corrected", detail, inside=(self._today, change))

    def watch_door(self) -> Conduct:
        """Note the venue's day and whether the entrance is open; a change of the latter becomes a record.

        Runs in the lane's thread, once a second and after staff closed or opened.
        """
        stamp, rules = self.clock.stamp(), self.rules.in_force()
        self._today = self.venue_day.at(stamp)
        sure = stamp.confidence is not ClockConfidence.UNSURE
        before, self.closed = (
            self.closed,
            self.closing.state(rules.venue, self.clock.now().astimezone(), clock_sure=sure),
        )
        if (self.closed and self.closed.why) != (before and before.why):
            self.note_event("door", (("state", self.closed.why.value if self.closed else "open"),))
        conduct = rules.profile.conduct
        found = [
            (self.closed is not None, Why.ENTRANCE_CLOSED),
            (conduct.opening_test_blocks and not self.opening_passed(), Why.OPENING_TEST),
        ]
        self._barred = tuple(why.value for is_so, why in found if is_so)
        return conduct

    def _barred_now(self, rules: RulesInForce) -> tuple[str, ...]:
        if rules.profile.conduct.full_holds and self.fill(rules) is Fill.FULL:
            return (*self._barred, Why.VENUE_FULL.value)
        return self._barred

    def note_event(
        self,
        event: str,
        detail: tuple[tuple[str, str | int], ...] = (),
        *,
        count: tuple[str, ...] = (),
        inside: tuple[str, int] | None = None,
    ) -> None:
        """Put an event of the kiosk itself into the journal; a journal that refuses is shown, never raised."""
        try:
            self.journal.append(
                self.place, self.clock.stamp(), event, detail=detail, count=count, day=self.clock.day(), inside=inside
            )
            self.journal_problem = None
        except JournalError as error:
            self.journal_problem = error
