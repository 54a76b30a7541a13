"""The count of people inside: its day ends by a believable clock alone, it outlives the process, never below 0."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.actions import ActionResult, parse_action
from kiosk.closing import BY_STAFF, Closed, ClosedWhy, Closing
from kiosk.desk import Desk
from kiosk.occupancy import Fill, VenueDay, fill_of
from kiosk.station import Idle, Showing
from protocol.journal import header_of
from protocol.passage import ClockConfidence, Header, Stamp
from protocol.policy import EntryPolicy
from protocol.profile import Conduct, Hours, Mode, Profile, VenueRules
from protocol.words import Colour, Direction, Measured, Outcome
from tests.kiosk.test_desk import PERSON, STAFF, TODAY
from tests.rig import FixedRules, Rig

DAY_MS, NOON_MS = 86_400_000, 1_795_233_600_000  # noon of 2026-11-21 in Chengdu
ANY_VENUE = VenueRules()
HELD, SYNCED, UNSURE = ClockConfidence.HELD, ClockConfidence.SYNCED, ClockConfidence.UNSURE


@pytest.fixture(autouse=True)
def chengdu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kiosk's zone, whatever this machine's is."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def stamp(wall_ms: int, mono_ms: int, confidence: ClockConfidence) -> Stamp:
    return Stamp(wall_ms, mono_ms, bytes(8), confidence)


def test_a_day_ends_at_midnight_by_a_clock_that_was_not_moved() -> None:
    day = VenueDay()
    assert day.at(stamp(NOON_MS, 1000, HELD)) == "2026-11-21"
    assert day.at(stamp(NOON_MS + 12 * 3_600_000 - 1, 1000 + 12 * 3_600_000 - 1, HELD)) == "2026-11-21"
    assert day.at(stamp(NOON_MS + 12 * 3_600_000, 1000 + 12 * 3_600_000, HELD)) == "2026-11-22"


def test_a_clock_that_jumps_forward_ends_no_day_until_the_server_says_so() -> None:
    day = VenueDay()
    day.at(stamp(NOON_MS, 1000, HELD))
    assert day.at(stamp(NOON_MS + 9 * DAY_MS, 2000, HELD)) == "2026-11-21"
    assert day.at(stamp(NOON_MS + 9 * DAY_MS, 3000, SYNCED)) == "2026-11-30"


def test_a_moved_clock_does_not_keep_the_day_for_ever() -> None:
    day = VenueDay()
    day.at(stamp(NOON_MS, 0, HELD))
    assert day.at(stamp(NOON_MS + 9 * DAY_MS, DAY_MS, HELD)) == "2026-11-22"  # a day went by on the steady clock


def test_a_boot_in_1970_goes_on_with_the_day_on_disk() -> None:
    day = VenueDay("2026-11-21")
    assert day.at(stamp(5_000, 5_000, UNSURE)) == "2026-11-21"
    assert day.at(stamp(NOON_MS + DAY_MS, 6_000, SYNCED)) == "2026-11-22"


def test_a_boot_with_yesterdays_clock_does_not_bring_yesterdays_count_back() -> None:
    day = VenueDay("2026-11-21")
    assert day.at(stamp(NOON_MS - DAY_MS, 5_000, HELD)) == "2026-11-21"


STAMPS = st.lists(st.tuples(st.integers(0, 2 * NOON_MS), st.integers(0, DAY_MS), st.sampled_from([HELD, UNSURE])))


@given(STAMPS)
def test_without_the_servers_word_the_day_never_goes_back(steps: list[tuple[int, int, ClockConfidence]]) -> None:
    day, mono, before = VenueDay("2026-11-21"), 0, "2026-11-21"
    for wall_ms, passed_ms, confidence in steps:
        mono += passed_ms
        found = day.at(stamp(wall_ms, mono, confidence))
        assert found >= before
        before = found


@pytest.mark.parametrize(
    ("inside", "capacity", "fill"),
    [(0, 0, Fill.FREE), (9999, 0, Fill.FREE), (89, 100, Fill.FREE), (90, 100, Fill.NEAR), (100, 100, Fill.FULL)],
)
def test_how_full_a_venue_is(inside: int, capacity: int, fill: Fill) -> None:
    assert fill_of(inside, capacity, 90) is fill


def test_hours_close_only_by_a_clock_that_is_sure(tmp_path: Path) -> None:
    closing = Closing(tmp_path / "closed.json")
    venue = VenueRules(hours=(Hours(480, 1320),) * 7)
    night = datetime(2026, 11, 21, 3, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
    assert closing.state(venue, night, clock_sure=True) == Closed(ClosedWhy.HOURS, 480)
    assert closing.state(venue, night, clock_sure=False) is None
    assert closing.state(venue, night.replace(hour=9), clock_sure=True) is None


def test_what_staff_closed_stays_closed_over_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "closed.json"
    Closing(path).close(ClosedWhy.REPAIR)
    again = Closing(path)
    assert again.by_staff == Closed(ClosedWhy.REPAIR)
    again.open()
    assert Closing(path).by_staff is None
    path.write_text("[]")
    assert Closing(path).by_staff is None  # damaged: open, and people are judged as ever


# -- on a real lane ----------------------------------------------------------------------------------------------------


class Door:
    """An entrance whose staff press buttons."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.lane, self.desk = rig, rig.lane, Desk(rig.lane, lambda: STAFF)

    def rules(self, venue: VenueRules = ANY_VENUE, **conduct: object) -> None:
        held = self.lane.rules.in_force()
        profile = Profile("", Mode.NORMAL, EntryPolicy(), Conduct(**conduct))  # type: ignore[arg-type]
        self.lane.rules = FixedRules(dataclasses.replace(held, profile=profile, venue=venue))
        self.on_lane(lambda: self.lane.watch_door())

    def on_lane(self, job: Callable[[], object]) -> None:
        done: list[object] = []
        self.lane.submit(lambda: done.append(job()))
        self.until(lambda: bool(done))

    def press(self, name: str, operator: str | None = "li.na", **values: object) -> ActionResult:
        return self.desk.act(parse_action(name, values, operator=operator, today=TODAY))

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < deadline, self.lane.station.state
            time.sleep(0.005)

    def shows(self, code: str) -> Showing:
        """Somebody shows *code*; what stands on the screen then."""
        self.lane.submit(self.lane._presence.forget)
        (sequence,) = self.rig.walk([code])
        self.until(lambda: getattr(self.lane.station.state, "sequence", 0) == sequence)
        state = self.lane.station.state
        assert isinstance(state, Showing)
        return state

    def fresh(self, colour: Colour = Colour.GREEN) -> str:
        return self.rig.issuer.code(datetime.now(UTC), int(time.monotonic_ns() % 10**9), colour)

    def last(self) -> Header:
        return header_of(self.rig.journal.unsent(1000)[2][-1], self.rig.device.id)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with Rig(tmp_path) as rig:
        yield Door(rig)


def test_whoever_is_admitted_is_counted_in_and_staff_count_out(door: Door) -> None:
    door.shows(door.fresh())
    assert door.lane.inside() == 1
    assert door.press("wave_through").done and door.lane.inside() == 2
    assert door.press("wave_through", direction="out").done and door.lane.inside() == 1
    assert dict(door.last().detail) == {"operator": "li.na", "direction": "out"}
    for _ in range(3):
        door.press("wave_through", direction="out")
    assert door.lane.inside() == 0
    door.press("wave_through")
    assert door.lane.inside() == 1  # not swallowed by those who left uncounted


def test_a_correction_names_who_made_it_and_both_figures(door: Door) -> None:
    door.press("wave_through")
    assert door.press("set_inside", people="138").done
    assert door.lane.inside() == 138
    last = door.last()
    assert last.event == "inside_corrected"
    assert dict(last.detail) == {"operator": "li.na", "from": 1, "to": 138}
    assert not door.press("set_inside", operator="jian.cha", people="2").done
    assert door.lane.inside() == 138


def test_the_count_outlives_the_process(tmp_path: Path) -> None:
    with Rig(tmp_path) as first:
        first.lane.submit(lambda: first.lane.set_inside("li.na", 41))
        Door(first).until(lambda: first.lane.inside() == 41)
    with Rig(tmp_path, device=first.device, vault=first.vault) as second:
        assert second.lane.inside() == 41


def test_a_way_in_and_a_way_out_add_up_over_the_server(door: Door) -> None:
    door.press("set_inside", people="5")
    day = door.lane.own_count().split()[0]
    assert door.lane.own_count() == f"{day} 5"
    door.lane.told(("copied", f"inside {day} -2"))
    assert door.lane.inside() == 3
    door.lane.told((f"inside {day} -9",))
    assert door.lane.inside() == 0
    for nonsense in ("inside", "inside today 4", f"inside {day} 4 5", "outside 1"):
        door.lane.told((nonsense,))
    assert door.lane.inside() == 0
    door.lane.told(("inside 2020-01-01 400",))  # another day's
    assert door.lane.inside() == 5
    door.lane.direction = Direction.OUT
    door.press("set_inside", people="0")
    door.press("wave_through")  # at a way out: one more left, whom another kiosk counted in
    assert door.lane.own_count() == f"{day} -1"


def test_a_full_venue_says_so_or_holds_as_the_policy_wants(door: Door) -> None:
    door.rules(VenueRules(capacity=1))
    door.press("wave_through")
    assert door.lane.fill(door.lane.rules.in_force()) is Fill.FULL
    assert door.shows(door.fresh()).verdict.outcome is Outcome.ADMIT
    door.rules(VenueRules(capacity=1), full_holds=True)
    held = door.shows(door.fresh()).verdict
    assert (held.outcome, held.reasons) == (Outcome.HOLD, ("venue_full",))
    assert door.press("typed_reading", celsius="36.4").done  # staff decide, under their name
    showing = door.lane.station.state
    assert isinstance(showing, Showing) and showing.verdict.outcome is Outcome.ADMIT
    assert showing.person.operator == "li.na"


def test_a_full_or_closed_venue_still_stops_a_red_code(door: Door) -> None:
    door.rules(VenueRules(capacity=1), full_holds=True)
    door.press("wave_through")
    door.press("close_entrance", why="cleaning")
    assert door.shows(door.fresh(Colour.RED)).verdict.outcome is Outcome.DENY


@pytest.mark.parametrize("why", BY_STAFF)
def test_a_closed_entrance_admits_nobody_by_itself_and_says_who_closed_it(door: Door, why: ClosedWhy) -> None:
    assert door.press("close_entrance", why=why.value).done
    assert door.lane.closed == Closed(why)
    assert door.shows(door.fresh()).verdict.reasons == ("entrance_closed",)
    assert door.press("open_entrance").done and door.lane.closed is None
    assert door.shows(door.fresh()).verdict.outcome is Outcome.ADMIT
    _, _, records = door.rig.journal.unsent(1000)
    events = [header_of(r, door.rig.device.id) for r in records]
    named = [(h.event, dict(h.detail).get("operator")) for h in events if h.event and "entrance" in h.event]
    assert named == [("entrance_closed", "li.na"), ("entrance_opened", "li.na")]


def test_staff_may_register_somebody_while_the_entrance_is_closed(door: Door) -> None:
    door.press("close_entrance", why="repair")
    assert door.press("manual_entry", person=PERSON, why="kiosk_fault", celsius="36.6").done
    door.until(lambda: isinstance(door.lane.station.state, Showing))
    state = door.lane.station.state
    assert isinstance(state, Showing) and state.verdict.outcome is Outcome.ADMIT


def test_a_missing_opening_test_blocks_only_where_the_policy_says_so(door: Door) -> None:
    door.lane.opening_passed = lambda: False
    assert door.shows(door.fresh()).verdict.outcome is Outcome.ADMIT
    door.rules(opening_test_blocks=True)
    assert door.shows(door.fresh()).verdict.reasons == ("opening_test_missing",)
    door.lane.opening_passed = lambda: True
    door.on_lane(door.lane.watch_door)
    assert door.shows(door.fresh()).verdict.outcome is Outcome.ADMIT


def test_leaving_is_free_where_the_policy_says_so_and_counts_out(door: Door) -> None:
    door.press("set_inside", people="2")
    assert not door.press("leave", operator=None).done
    door.lane.direction = Direction.OUT
    assert not door.press("leave", operator=None).done
    door.rules(VenueRules(hours=(Hours(0, 0),) * 7), exit_is_free=True)  # closed: people still get out
    assert door.press("leave", operator=None).done
    assert not door.press("leave", operator=None).done  # one press, one person, until the screen is free again
    facts = door.last().facts
    assert facts is not None
    assert (facts.direction, facts.outcome, facts.measured) == (Direction.OUT, Outcome.ADMIT, Measured.NONE)
    assert facts.reasons == ("exit_free",) and door.rig.door.opened == 1
    assert door.lane.inside() == 1
    door.until(lambda: isinstance(door.lane.station.state, Idle))
    assert door.shows(door.fresh(Colour.YELLOW)).verdict.outcome is Outcome.ADMIT
    assert door.lane.inside() == 0
    door.until(lambda: isinstance(door.lane.station.state, Idle))
    assert door.shows(door.fresh(Colour.RED)).verdict.outcome is Outcome.DENY
