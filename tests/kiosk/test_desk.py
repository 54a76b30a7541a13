"""The staff panel's actions on a real lane: operators are named, typed people are recorded, a stop stays a stop."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from kiosk.actions import ActionResult, parse_action
from kiosk.desk import Desk
from kiosk.station import Showing
from protocol.journal import header_of
from protocol.passage import Header, Personal
from protocol.sealing import EpochOpener
from protocol.staff import StaffList, StaffMember, StaffRole, hash_pin
from protocol.words import Colour, EntryMode, Measured, Outcome
from tests.rig import Rig

TODAY = date(2026, 11, 21)
PERSON = {"name": "陈奶奶", "document": "resident_id", "number": "11010519491231002X", "phone": "13800138000"}


def member(staff_id: str, pin: str, role: StaffRole) -> StaffMember:
    salt = secrets.token_bytes(16)
    return StaffMember(staff_id, f"{staff_id} 同志", role, salt, hash_pin(pin, salt))


STAFF = StaffList((member("li.na", "2580", StaffRole.HELPER), member("jian.cha", "9999", StaffRole.INSPECTOR)))


class Panel:
    """Presses buttons as the page would."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.desk = rig, Desk(rig.lane, lambda: STAFF)

    def press(self, name: str, operator: str | None = "li.na", **values: Any) -> ActionResult:
        return self.desk.act(parse_action(name, values, operator=operator, today=TODAY))

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < deadline, self.rig.lane.station.state
            time.sleep(0.01)

    def shows(self) -> Showing:
        self.until(lambda: isinstance(self.rig.lane.station.state, Showing))
        state = self.rig.lane.station.state
        assert isinstance(state, Showing)
        return state

    def headers(self) -> list[Header]:
        _, _, records = self.rig.journal.unsent(1000)
        return [header_of(record, self.rig.device.id) for record in records]

    def opened(self, sequence: int) -> Personal:
        _, _, records = self.rig.journal.unsent(1000)
        wrapped = {r.epoch: r.wrapped for r in records if r.wrapped}
        record = records[sequence - 1]
        opener = EpochOpener.unwrap(self.rig.device.id, record.epoch, wrapped[record.epoch], self.rig.vault.keys)
        return Personal.from_bytes(opener.open(sequence, record.header, record.sealed))


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with Rig(tmp_path) as rig:
        yield Panel(rig)


def test_a_typed_person_with_a_typed_normal_temperature_is_admitted_under_the_operators_name(panel: Panel) -> None:
    assert panel.press("manual_entry", person=PERSON, why="no_phone", celsius="36.6").done
    showing = panel.shows()
    assert showing.verdict.outcome is Outcome.ADMIT
    header = panel.headers()[showing.sequence - 1]
    assert header.facts is not None
    assert (header.facts.mode, header.facts.operator) == (EntryMode.MANUAL, "li.na")
    assert (header.facts.method, header.facts.reasons) == ("typed", ("no_credential",))
    opened = panel.opened(showing.sequence)
    assert (opened.name, opened.id_number, opened.phone) == ("陈奶奶", "11010519491231002X", "+8613800138000")
    assert panel.rig.door.opened == 1


def test_a_typed_person_is_measured_by_the_kiosk_when_nothing_was_typed(panel: Panel) -> None:
    panel.press("manual_entry", person=PERSON, why="no_phone")
    showing = panel.shows()
    assert showing.verdict.outcome is Outcome.ADMIT
    assert panel.headers()[showing.sequence - 1].facts.method == "infrared"  # type: ignore[union-attr]


def test_a_typed_fever_stops_and_no_button_undoes_it(panel: Panel) -> None:
    panel.press("manual_entry", person=PERSON, why="no_phone", celsius="38.4")
    assert panel.shows().verdict.outcome is Outcome.DENY
    assert not panel.press("typed_reading", celsius="36.5").done
    assert not panel.press("remeasure").done
    assert panel.shows().verdict.outcome is Outcome.DENY
    assert panel.rig.door.opened == 0


def test_a_red_code_cannot_be_resolved_into_an_admission(panel: Panel) -> None:
    panel.rig.walk([panel.rig.issuer.code(datetime.now(UTC), 1, Colour.RED)])
    assert panel.shows().verdict.outcome is Outcome.DENY
    assert not panel.press("typed_reading", celsius="36.5").done
    assert panel.rig.door.opened == 0


def test_a_hold_without_thermometer_is_resolved_by_a_typed_reading(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.lane.thermometer = None
        panel = Panel(rig)
        rig.walk([rig.issuer.code(datetime.now(UTC), 1)])
        held = panel.shows()
        assert held.verdict.reasons == ("no_thermometer",)
        assert panel.press("typed_reading", celsius="36.4").done
        panel.until(lambda: panel.shows().verdict.outcome is Outcome.ADMIT)
        header = panel.headers()[panel.shows().sequence - 1]
        assert header.facts is not None
        assert (header.facts.operator, header.facts.measured) == ("li.na", Measured.NORMAL)
        assert rig.door.opened == 1


def test_a_typed_temperature_that_cannot_be_meant_begins_nothing(panel: Panel) -> None:
    before = panel.rig.journal.head()
    result = panel.press("manual_entry", person=PERSON, why="no_phone", celsius="31.0")
    assert not result.done and result.message is not None
    assert panel.rig.journal.head() == before


def test_a_proxy_scan_names_helper_relation_and_operator(panel: Panel) -> None:
    assert panel.press("proxy_entry", identify="paper_code", relation="child", helper_name="陈小红", consent=True).done
    (sequence,) = panel.rig.walk([panel.rig.issuer.code(datetime.now(UTC), 5)])
    facts = panel.headers()[sequence - 1].facts
    assert facts is not None
    assert (facts.mode, facts.operator, facts.outcome) == (EntryMode.PROXY, "li.na", Outcome.ADMIT)
    opened = panel.opened(sequence)
    assert (opened.helper_name, opened.relation, opened.name) == ("陈小红", "child", "张*三")


def test_only_the_next_code_is_a_proxy(panel: Panel) -> None:
    panel.press("proxy_entry", identify="paper_code", relation="staff", consent=True)
    codes = [panel.rig.issuer.code(datetime.now(UTC), who) for who in (5, 6)]
    first, second = panel.rig.walk(codes)
    modes = [panel.headers()[n - 1].facts.mode for n in (first, second)]  # type: ignore[union-attr]
    assert modes == [EntryMode.PROXY, EntryMode.SCAN]


def test_a_pin_signs_in_by_name_and_a_wrong_one_does_not(panel: Panel) -> None:
    answer = panel.press("sign_in", operator=None, pin="2580")
    assert answer.done and answer.values["operator"] == "li.na"
    assert not panel.press("sign_in", operator=None, pin="0000").done
    panel.until(lambda: any(h.event == "operator_in" for h in panel.headers()))


def test_an_inspector_registers_nobody(panel: Panel) -> None:
    assert not panel.press("manual_entry", operator="jian.cha", person=PERSON, why="no_phone").done
    assert not panel.press("wave_through", operator="nobody").done


def test_waving_through_and_faults_are_counted_and_recorded(panel: Panel) -> None:
    panel.press("wave_through")
    panel.press("fault_report", part="camera", what="dirty")
    events = {h.event: dict(h.detail) for h in panel.headers() if h.event}
    assert events["waved_through"] == {"operator": "li.na", "direction": "in"}
    assert events["fault_reported"] == {"operator": "li.na", "part": "camera", "what": "dirty"}
    assert panel.rig.journal.counts(panel.rig.clock.day())["waved"] == 1


def test_a_defect_in_the_decoder_does_not_close_the_entrance(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        read = rig.lane._decoder.read
        broken = iter([True] * 3)

        def sometimes(image: Any, **more: Any) -> Any:
            if next(broken, False):
                raise TypeError("a defect")
            return read(image, **more)

        rig.lane._decoder.read = sometimes  # type: ignore[method-assign]
        (sequence,) = rig.walk([rig.issuer.code(datetime.now(UTC), 3)])
        assert sequence and rig.lane.defects == 3
