"""The opening test tries every part, is on record, on the screen and in health, and notices each fault on its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.device import DeviceState
from firmware_bridge.reading import Frame
from kiosk.actions import SelfTest
from kiosk.desk import Desk
from kiosk.lane import RulesInForce
from kiosk.opening import (
    FILE,
    OpeningTest,
    OpeningTests,
    Probe,
    board_part,
    disk_word,
    rules_word,
    thermometer_word,
)
from kiosk.screen_state import Text
from protocol.journal import header_of
from protocol.policy import EntryPolicy
from protocol.staff import StaffList, StaffRole
from tests.kiosk.test_desk import STAFF, member
from tests.rig import Air, FixedRules, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as running:
        yield running


def words(test: OpeningTest) -> dict[str, str]:
    return {probe.part: probe.word for probe in test.probes}


def events(rig: Rig) -> list[dict[str, object]]:
    """The details of the opening tests on record, once the lane has written what it was handed."""
    done: list[bool] = []
    rig.lane.submit(lambda: done.append(True))
    deadline = time.monotonic() + 10
    while not done:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    headers = [header_of(r, rig.device.id) for r in rig.journal.records_after(0, 1000)]
    return [dict(header.detail) for header in headers if header.event == "opening_test"]


def test_a_kiosk_in_order_passes_and_the_record_names_each_part(rig: Rig) -> None:
    test = OpeningTests(rig.lane).run("li.na")
    assert test.passed, words(test)
    assert set(words(test)) == {"camera", "thermometer", "gate", "sound", "clock", "disk", "rules", "queue"}
    (told,) = events(rig)
    assert told == {"operator": "li.na", "result": "passed", **words(test)}


def test_the_result_stands_on_the_board_and_in_health_until_the_day_is_over(rig: Rig) -> None:
    tests = OpeningTests(rig.lane)
    assert tests.today() is None and not board_part(tests.today()).good and tests.health() == ()
    test = tests.run("li.na")
    part = board_part(tests.today())
    assert part.good and "通过" in part.text.zh
    assert dict(tests.health()) == {"opening_test": "passed", "opening_test_at_ms": str(test.at_ms)}
    tests.last = replace(test, day="2020-01-01")
    assert tests.today() is None and tests.health()


def test_a_restart_remembers_the_test_and_a_damaged_note_is_no_test(rig: Rig) -> None:
    test = OpeningTests(rig.lane).run("li.na")
    assert OpeningTests(rig.lane).last == test
    for damage in (b"", b"{}", b"[1]", b'{"at_ms": "x", "day": "d", "probes": []}', b"\xff\xfe", b'{"probes": 3}'):
        rig.journal.path.with_name(FILE).write_bytes(damage)
        assert OpeningTests(rig.lane).last is None


@pytest.mark.parametrize(
    ("part", "word"),
    [("sound", "silent"), ("rules", "stale"), ("rules", "none_yet"), ("thermometer", "none"), ("thermometer", "lost")],
)
def test_each_fault_is_noticed_by_itself(rig: Rig, part: str, word: str) -> None:
    silent = Text("没有声音", "no sound")
    lane = rig.lane
    rules = lane.rules.in_force()
    if word == "stale":
        lane.rules = FixedRules(replace(rules, age_s=10**9))
    elif word == "none_yet":
        lane.rules = FixedRules(replace(rules, version=0))
    elif word == "none":
        lane.thermometer = None
    elif word == "lost":
        rig.air._tell(DeviceState.LOST, "unplugged", "断开", "lost")
    test = OpeningTests(lane, sound_finding=lambda: silent if part == "sound" else None).run("li.na")
    assert words(test)[part] == word
    assert [p for p in words(test) if p != part and not Probe(p, words(test)[p]).is_fine] == []
    assert test.passed is (word == "none")
    if word != "none":
        assert "未通过" in test.text().zh and not board_part(test).good


class Says(Air):
    """A thermometer in order that answers each question after the next frame with the same one."""

    def __init__(self, seen: float, ambient: float | None) -> None:
        super().__init__()
        self._tell(DeviceState.READY, "ready", "正常", "ready")
        now = self.clock.mono_s()
        self.frame, self.answers = Frame(seen, ambient, now, now, (1, 2)), True

    def subscribe(self, listener: Callable[[Frame], None]) -> Callable[[], None]:
        if self.answers:
            listener(self.frame)
        return super().subscribe(listener)


@pytest.mark.parametrize(
    ("seen", "ambient", "word"),
    [
        (22.0, 21.0, "ok"),
        (22.0, None, "ok"),
        (22.0, 85.0, "ambient_implausible"),
        (22.0, -40.0, "ambient_implausible"),
        (380.0, 21.0, "implausible"),
        (-70.0, 21.0, "implausible"),
    ],
)
def test_a_thermometer_that_says_what_cannot_be_fails(seen: float, ambient: float | None, word: str) -> None:
    assert thermometer_word(Says(seen, ambient)) == word


def test_a_thermometer_that_says_nothing_more_is_silent() -> None:
    air = Says(22.0, 21.0)
    air.publish(air.frame)  # one frame before the test is none during the test
    air.answers = False
    assert thermometer_word(air) == "silent"


def test_the_disk_is_written_and_read_back_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk_word(tmp_path) == "ok" and list(tmp_path.iterdir()) == []
    assert disk_word(tmp_path / "missing") == "failed"
    for number, word in ((28, "full"), (30, "read_only"), (5, "failed")):

        def broken(descriptor: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", broken)
        assert disk_word(tmp_path) == word and list(tmp_path.iterdir()) == []


def test_rules_are_fresh_up_to_the_policys_age() -> None:
    from kiosk.app import _NO_TRUST

    age = EntryPolicy().bundle_max_age_s
    for age_s, word in ((age, "ok"), (age + 1, "stale")):
        assert rules_word(RulesInForce(EntryPolicy(), _NO_TRUST, None, version=1, age_s=age_s)) == word


def test_staff_run_it_from_the_panel_and_an_inspector_cannot(rig: Rig) -> None:
    staff = StaffList((*STAFF.members, member("keeper", "1111", StaffRole.KEEPER)))
    desk = Desk(rig.lane, lambda: staff)
    refused = desk.act(SelfTest("jian.cha"))
    assert not refused.done and events(rig) == []
    answer = desk.act(SelfTest("keeper"))
    assert answer.done and answer.message is not None and "自检" in answer.message.zh
    assert [told["operator"] for told in events(rig)] == ["keeper"]
