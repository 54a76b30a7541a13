"""What the entrance screen is told: mode and profile, who is inside, notices with their age, and that it is closed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kiosk.board import Board, Link
from kiosk.closing import ClosedWhy
from kiosk.lane import Lane
from kiosk.screen_state import ScreenState, View
from kiosk.screen_view import sound_of
from kiosk.station import Idle, Showing
from kiosk.store import JournalError
from protocol.bundle import PlaceNames
from protocol.notice import Notice, NoticeLevel
from protocol.policy import EntryPolicy
from protocol.profile import Conduct, Hours, Mode, Profile, VenueRules
from protocol.words import Direction
from tests.rig import FixedRules, Rig

PLACE = PlaceNames(bytes(6), 1, "锦江图书馆", "Jinjiang Library", "东门", "East gate")
HOUR_MS = 3_600_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        yield rig


def board(lane: Lane, link: str = "online") -> ScreenState:
    return Board(PLACE).state(lane, Link(link), time.monotonic())


def hold(
    rig: Rig, *, venue: VenueRules | None = None, age_s: int = 5, notices: tuple[Notice, ...] = (), **more: object
) -> None:
    """Put other rules in force."""
    profile = Profile("", Mode.NORMAL, EntryPolicy(), Conduct(**more))  # type: ignore[arg-type]
    held = rig.lane.rules.in_force()
    rig.lane.rules = FixedRules(
        dataclasses.replace(held, venue=venue or VenueRules(), age_s=age_s, notices=notices, profile=profile)
    )
    until(rig, lambda: True)


def until(rig: Rig, is_so: Callable[[], bool]) -> None:
    """Wait for the lane to have looked at its door again, and for *is_so*."""
    looked: list[object] = []
    rig.lane.submit(lambda: looked.append(rig.lane.watch_door()))
    deadline = time.monotonic() + 20
    while not (looked and is_so()):
        assert time.monotonic() < deadline, rig.lane.station.state
        time.sleep(0.005)


def notice(name: str, from_ms: int, until_ms: int, level: NoticeLevel = NoticeLevel.TIP) -> Notice:
    return Notice(name, level, name, name, "文", "body", from_ms, until_ms)


def test_the_banner_names_the_profile_in_force(rig: Rig) -> None:
    assert board(rig.lane).banner.mode.zh == "常态·在线"
    until_ms = int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp() * 1000)
    hold(rig, venue=VenueRules(mode=Mode.EMERGENCY, mode_since_ms=1, mode_until_ms=until_ms))
    banner = board(rig.lane).banner
    assert banner.mode.zh == "应急·在线" and banner.mode.en == "Emergency · Online"
    assert banner.level == "warn" and banner.rules.zh.startswith("应急至 11-2")


def test_how_full_it_is_stands_there_where_a_capacity_is_set(rig: Rig) -> None:
    assert board(rig.lane).occupancy is None
    hold(rig, venue=VenueRules(capacity=10))
    for people, fill in ((8, "free"), (9, "near"), (10, "full"), (12, "full")):
        rig.lane.submit(lambda people=people: rig.lane.set_inside("li.na", people))  # type: ignore[misc]
        until(rig, lambda people=people: rig.lane.inside() == people)  # type: ignore[misc]
        shown = board(rig.lane).occupancy
        assert shown is not None and (shown.inside, shown.capacity, shown.fill) == (people, 10, fill)


def test_notices_stand_there_while_they_hold_and_say_when_they_may_be_old(rig: Rig) -> None:
    now_ms = int(time.time() * 1000)
    over, now, later = (
        notice(n, now_ms + a * HOUR_MS, now_ms + b * HOUR_MS)
        for n, a, b in (("over", -2, -1), ("now", -1, 1), ("later", 1, 2))
    )
    hold(rig, notices=(over, now, later))
    shown = board(rig.lane)
    assert [n.title.zh for n in shown.notices] == ["now"] and shown.notices_age is None
    hold(rig, notices=(now,), age_s=3 * 86_400)
    aged = board(rig.lane).notices_age
    assert aged is not None and aged.zh == "3 天前"


@pytest.mark.parametrize("why", list(ClosedWhy))
def test_a_closed_entrance_says_why_and_where_to_go(rig: Rig, why: ClosedWhy) -> None:
    if why is ClosedWhy.HOURS:
        hold(rig, venue=VenueRules(hours=(Hours(0, 0),) * 7, elsewhere_zh="请走西门", elsewhere_en="Use the West gate"))
    else:
        rig.lane.submit(lambda: rig.lane.closing.close(why))
        until(rig, lambda: rig.lane.closed is not None)
    shown = board(rig.lane)
    assert shown.view is View.CLOSED and shown.is_closed
    assert shown.note is not None and shown.prompt is not None and shown.prompt.zh
    if why is ClosedWhy.HOURS:
        assert shown.prompt.en == "Use the West gate"
    rig.lane.direction = Direction.OUT
    assert board(rig.lane).view is View.IDLE  # people get out as ever


def test_a_kiosk_that_cannot_record_stands_there_as_out_of_service(rig: Rig) -> None:
    held = rig.lane.rules.in_force()
    rig.lane.rules = FixedRules(dataclasses.replace(held, version=0))
    until(rig, lambda: "no_rules" in rig.lane.ladder.standing)
    shown = board(rig.lane)
    assert shown.view is View.CLOSED and not shown.is_closed and shown.banner.level == "bad"


def test_a_stop_tells_those_behind_no_figure(tmp_path: Path) -> None:
    with Rig(tmp_path, body_celsius=38.6) as rig:
        rig.walk([rig.issuer.code(datetime.now(UTC), 1)])
        until(rig, lambda: isinstance(rig.lane.station.state, Showing))
        shown = board(rig.lane).verdict
        assert shown is not None and (shown.code, shown.temperature, shown.masked_name) == ("fever", None, None)


def test_two_people_with_the_same_answer_are_both_heard(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that refuses gives each person the same words and no reference; the second one must be heard too."""

    def refuse(*_: object, **__: object) -> None:
        raise JournalError("full", code="disk_full")

    monkeypatch.setattr(rig.journal, "append", refuse)
    keys = []
    for who in (1, 2):
        rig.lane.submit(rig.lane._presence.forget)
        subject = rig.lane.subject
        rig.pictures.show(rig.issuer.code(datetime.now(UTC), who))
        until(
            rig, lambda subject=subject: rig.lane.subject > subject + 1 and isinstance(rig.lane.station.state, Showing)
        )  # type: ignore[misc]
        state = board(rig.lane)
        assert state.verdict is not None and (state.verdict.code, state.verdict.reference) == (
            "journal_unavailable",
            "",
        )
        keys.append(sound_of(state).key)
        rig.pictures.show(None)
        rig.lane.submit(lambda: rig.lane.carry_out(rig.lane.station.acknowledge()))
        until(rig, lambda: isinstance(rig.lane.station.state, Idle))
    assert keys[0] != keys[1]
