"""Turns the lane's state into what the screen shows; every sentence comes from `kiosk.texts`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from firmware_bridge.device import DeviceState, SerialDevice
from firmware_bridge.reading import Reading
from kiosk import texts
from kiosk.camera import CameraState, CameraStatus
from kiosk.day_word import day_word
from kiosk.ladder import Rung, rung_of
from kiosk.lane import Lane, RulesInForce
from kiosk.screen_state import Banner, Face, NoticeView, Occupancy, PartStatus, ScreenState, Text, VerdictView, View
from kiosk.station import Idle, Measuring, Noting, Recording, Showing
from protocol.bundle import PlaceNames
from protocol.profile import Mode
from protocol.words import Direction, Outcome

COUNTED = ("admit", "hold", "deny", "proxy", "manual", "waved", "waved_out")
OLD_NOTICES_S = 86_400  # notices that nobody confirmed for a day say how old they are
LEVELS = ("ok", "warn", "bad")
BY_HAND = {Rung.TYPED: "typed", Rung.MANUAL: "manual"}  # rungs that stand in the banner beside on line or off line
NOTHING = Text("", "")
WORKING = Text("正常", "working")


@dataclass(frozen=True, slots=True)
class Link:
    """How the kiosk stands with its server, for the banner."""

    state: str  # "online", "degraded", "offline"
    trouble: Text | None = None  # the last problem in words, while there is one


def setup_state(
    revision: int,
    camera: CameraStatus | None,
    note: Text | None,
    *,
    scan_head: SerialDevice | None = None,
    device: Text | None = None,
) -> ScreenState:
    """The screen of a device that is no kiosk yet: how to enrol it, and what became of the last try.

    *camera* is None where none is set up; *device* says which device this is and where the network sees it.
    """
    parts: tuple[PartStatus, ...] = () if camera is None else (_camera_part(camera),)
    if scan_head is not None:
        parts += (_device_part("scanner", scan_head),)
    return ScreenState(
        revision=revision,
        view=View.SETUP,
        venue=texts.PAGE["title"],
        entrance=NOTHING,
        day_word=NOTHING,
        banner=Banner("warn", texts.MODES["not_enrolled"], NOTHING, 0, None),
        parts=parts,
        counts=(),
        occupancy=None,
        note=note,
        prompt=device,
    )


def face_of(outcome: Outcome, *, cannot_tell: bool) -> Face:
    """The face of a verdict: four, never two (field.md, entrance screen 1)."""
    if outcome is Outcome.ADMIT:
        return Face.PASS
    if outcome is Outcome.DENY:
        return Face.STOP
    return Face.UNKNOWN if cannot_tell else Face.CHECK


class Board:
    """Builds screen states with a growing revision number; used by the lane's thread alone."""

    def __init__(self, names: PlaceNames) -> None:
        self.names = names
        self._revision = 0
        self._surroundings: tuple[float, Banner, tuple[PartStatus, ...]] | None = None

    def state(
        self,
        lane: Lane,
        link: Link,
        now_s: float,
        findings: tuple[Text, ...] = (),
        opening_test: PartStatus | None = None,
        due: tuple[PartStatus, ...] = (),
    ) -> ScreenState:
        """The screen of this moment; *now_s* is the steady clock that the lane's states count by.

        *due*: what is still to be done at a kiosk that was just set up.
        """
        self._revision += 1
        names, station = self.names, lane.station.state
        day = lane.clock.day()
        counts = lane.journal.counts(day)
        view, verdict, note, prompt, progress_ms = View.IDLE, None, None, None, None
        rules = lane.rules.in_force()
        if isinstance(station, Showing):
            view, verdict = View.VERDICT, _verdict(station, lane, now_s)
        elif isinstance(station, Measuring | Recording):
            view = View.MEASURING
            again = isinstance(station, Measuring) and bool(station.results)
            prompt = texts.ADMISSION["measure_again"].next_step if again else texts.PAGE["measuring_how"]
            progress_ms = int((lane.thermometer.rule.window_s if lane.thermometer else 0) * 1000)
        elif isinstance(station, Noting):
            view, note = View.NOTE, _note(station)
        else:
            assert isinstance(station, Idle)
            view, note, prompt = _at_rest(lane, rules)
        banner, parts = self._around(lane, link, now_s, is_urgent=view is View.VERDICT)
        return ScreenState(
            revision=self._revision,
            view=view,
            venue=Text(names.venue_zh, names.venue_en),
            entrance=Text(names.entrance_zh, names.entrance_en),
            day_word=day_word(names.word_key, day),
            banner=banner,
            parts=parts + (() if opening_test is None else (opening_test,)) + due,
            counts=tuple((name, counts.get(name, 0)) for name in COUNTED),
            occupancy=_occupancy(lane, rules),
            verdict=verdict,
            note=note,
            prompt=prompt,
            progress_ms=progress_ms,
            findings=findings,
            notices=() if view is View.VERDICT else _notices(lane, rules),
            notices_age=age_text(rules.age_s) if rules.age_s > OLD_NOTICES_S else None,
            direction=lane.direction.value,
            exit_is_free=lane.direction is Direction.OUT and rules.profile.conduct.exit_is_free,
            is_closed=lane.closed is not None,
            subject=lane.subject,
        )

    def _around(
        self, lane: Lane, link: Link, now_s: float, *, is_urgent: bool
    ) -> tuple[Banner, tuple[PartStatus, ...]]:
        """Banner and parts, made anew; for a verdict that somebody waits for, those of the last second will do."""
        held = self._surroundings
        if held is None or not is_urgent or now_s - held[0] >= 1.0:
            held = self._surroundings = (now_s, _banner(lane, link), _parts(lane, link))
        return held[1], held[2]


def _at_rest(lane: Lane, rules: RulesInForce) -> tuple[View, Text | None, Text | None]:
    """The view while nobody is served: the status board, or that nobody is let in, why, and where to go instead."""
    rung = rung_of(lane.ladder.standing, has_scanner="scanner" in lane.readers)
    if rung is Rung.CLOSED:
        words = texts.ADMISSION["no_rules" if "no_rules" in lane.ladder.standing else "journal_unavailable"]
        return View.CLOSED, words.reason, words.next_step
    if lane.closed is None or lane.direction is Direction.OUT:
        return View.IDLE, None, None
    why = texts.CLOSED[lane.closed.why]
    if (opens := lane.closed.opens_at_min) is not None:
        at = f"{opens // 60:02d}:{opens % 60:02d}"
        why = Text(f"{why.zh}，{at} 开放", f"{why.en}; opens at {at}")
    elsewhere = Text(rules.venue.elsewhere_zh, rules.venue.elsewhere_en)
    return View.CLOSED, why, elsewhere if elsewhere.zh else texts.PAGE["elsewhere"]


def _occupancy(lane: Lane, rules: RulesInForce) -> Occupancy | None:
    if not rules.venue.capacity:
        return None
    return Occupancy(lane.inside(), rules.venue.capacity, lane.fill(rules).value)


def _notices(lane: Lane, rules: RulesInForce) -> tuple[NoticeView, ...]:
    """Those in force now; a clock that is not sure hides none, since it cannot tell which are over."""
    if not rules.notices:
        return ()
    at_ms = int(lane.clock.now().timestamp() * 1000)
    return tuple(
        NoticeView(
            notice.level.value,
            texts.NOTICE_LEVELS[notice.level],
            Text(notice.title_zh, notice.title_en),
            Text(notice.body_zh, notice.body_en),
        )
        for notice in rules.notices
        if notice.holds_at(at_ms) or not lane.clock.is_sure
    )


def _verdict(station: Showing, lane: Lane, now_s: float) -> VerdictView:
    verdict = station.verdict
    face = face_of(verdict.outcome, cannot_tell=verdict.cannot_tell)
    # an admission's reasons are notes for the record (stale rules, an old list): nothing a visitor must act on
    admitted = "signed_out" if lane.direction.value == "out" else "admitted"
    code = admitted if face is Face.PASS or not verdict.reasons else verdict.reasons[0]
    words = texts.words_for(code)
    reading = next((r for r in reversed(station.results) if isinstance(r, Reading)), None)
    credential = station.person.checked.credential
    return VerdictView(
        face=face,
        headline=texts.headline(face, lane.direction.value),
        reason=words.reason if words else None,
        next_step=words.next_step if words else None,
        staff=words.staff if words else None,
        code=code,
        temperature=f"{reading.shown_celsius:.1f}" if reading and face is not Face.STOP else None,
        masked_name=credential.name_masked if credential and face is not Face.STOP else None,
        reference=f"#{station.sequence:06d}" if station.sequence else "",
        closes_in_ms=max(0, int((station.until_s - now_s) * 1000)) if face is Face.PASS else None,
        direction=lane.direction.value,
    )


def _note(station: Noting) -> Text:
    words = texts.words_for(station.code)
    note = words.reason if words else NOTHING
    if station.minutes_ago is not None:
        ago = Text("刚刚", "just now") if station.minutes_ago == 0 else age_text(station.minutes_ago * 60)
        return Text(f"{note.zh}（{ago.zh}）", f"{note.en} ({ago.en})")
    return note


def age_text(seconds: int) -> Text:
    """An age in the largest unit that says something."""
    for size, zh, en in ((86400, "天", "d"), (3600, "小时", "h"), (60, "分钟", "min")):
        if seconds >= size:
            return Text(f"{seconds // size} {zh}前", f"{seconds // size} {en} ago")
    return Text("刚刚", "just now")


def _banner(lane: Lane, link: Link) -> Banner:
    rules = lane.rules.in_force()
    age = age_text(rules.age_s)
    is_emergency = rules.venue.mode is Mode.EMERGENCY
    if is_emergency and rules.version:  # until when is worth more there than the number
        rules_text = Text(f"规则 {age.zh}确认", f"rules confirmed {age.en}")
        if rules.venue.mode_until_ms:
            at = datetime.fromtimestamp(rules.venue.mode_until_ms / 1000, UTC).astimezone().strftime("%m-%d %H:%M")
            rules_text = Text(f"应急至 {at}；{rules_text.zh}", f"until {at}; {rules_text.en}")
    elif rules.version == 0:
        rules_text = Text("尚无规则", "no rules yet")
    else:
        rules_text = Text(f"规则第 {rules.version} 版，{age.zh}确认", f"rules {rules.version}, confirmed {age.en}")
    if rules.business is not None:
        old = age_text(int(rules.business.age(lane.clock.now()).total_seconds()))
        rules_text = Text(
            f"{rules_text.zh}；证书规则第 {rules.business.version} 版（{old.zh}）",
            f"{rules_text.en}; certificate rules {rules.business.version} ({old.en})",
        )
        if rules.business.agreed is not None:
            since = age_text(int(rules.business.agreed.age(lane.clock.now()).total_seconds()))
            rules_text = Text(
                f"{rules_text.zh}；代码表第 {rules.business.agreed.version} 版（{since.zh}）",
                f"{rules_text.en}; value sets {rules.business.agreed.version} ({since.en})",
            )
    oldest_ms = lane.journal.oldest_unsent_ms()
    oldest = None
    if oldest_ms is not None:
        at = datetime.fromtimestamp(oldest_ms / 1000, UTC).astimezone().strftime("%H:%M")
        oldest = Text(f"最早 {at}", f"oldest {at}")
    told = lane.ladder.standing
    rung = rung_of(told, has_scanner="scanner" in lane.readers)
    if rung is Rung.CLOSED:
        mode, level = texts.MODES["closed"], 2
    else:
        mode = texts.MODES["offline" if link.state == "offline" else "online"]
        level = 0 if link.state == "online" and not set(told) - {"no_network"} else 1
        if rung in BY_HAND:
            by_hand = texts.MODES[BY_HAND[rung]]
            mode = Text(f"{mode.zh}，{by_hand.zh}", f"{mode.en}, {by_hand.en}")
    profile = texts.PROFILES[rules.venue.mode]
    mode = Text(f"{profile.zh}·{mode.zh}", f"{profile.en} · {mode.en}")
    level = max(level, int(is_emergency))
    return Banner(LEVELS[level], mode, rules_text, lane.journal.unsent_count(), oldest)


def _camera_part(camera: CameraStatus) -> PartStatus:
    if camera.state is CameraState.LIVE:
        return PartStatus("camera", True, WORKING)
    return PartStatus("camera", False, Text(camera.words_zh, camera.words_en))


def _device_part(part: str, device: SerialDevice) -> PartStatus:
    """A serial device in a word or two; the part's name stands beside it, so it is not said twice."""
    status = device.status
    if status.state is DeviceState.READY:
        return PartStatus(part, True, WORKING)
    return PartStatus(
        part, False, Text(status.zh.removeprefix(device.zh_name), status.en.partition(": ")[2] or status.en)
    )


def _parts(lane: Lane, link: Link) -> tuple[PartStatus, ...]:
    parts = [_camera_part(lane.camera.status)]
    if lane.thermometer is None:
        parts.append(PartStatus("thermometer", False, Text("未接，手工测温", "none: measure by hand")))
    else:
        parts.append(_device_part("thermometer", lane.thermometer))
    if lane.gate is not None:
        parts.append(_device_part("gate", lane.gate))
    parts.extend(_device_part(part, reader) for part, reader in lane.readers.items())
    parts.append(
        PartStatus(
            "network",
            link.state == "online",
            link.trouble or (Text("在线", "online") if link.state == "online" else Text("离线", "offline")),
        )
    )
    sure = lane.clock.is_sure
    parts.append(
        PartStatus(
            "clock", sure, Text("可信", "believable") if sure else Text("不准，请联网校时", "unsure: set the time")
        )
    )
    problem = lane.journal_problem
    parts.append(
        PartStatus(
            "disk",
            problem is None,
            WORKING if problem is None else texts_of_journal(problem.code),
        )
    )
    return tuple(parts)


def texts_of_journal(code: str) -> Text:
    """What is wrong with the journal, for the part's line and the banner."""
    return {
        "disk_full": Text("存储已满", "storage full"),
        "read_only": Text("存储只读", "storage is read-only"),
        "journal_full": Text("记录已达上限，请上传或导出", "the journal is at its limit: send or carry it off"),
        "busy": Text("记录被其他程序占用", "the journal is used by another program"),
    }.get(code, Text("记录损坏", "the journal is damaged"))
