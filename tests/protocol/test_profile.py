"""Profiles, what holds at one venue, and public notices come back as they went and refuse what cannot be meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.notice import MAX_NOTICES, Notice, NoticeLevel, notices_from_bytes, notices_to_bytes
from protocol.policy import EntryPolicy
from protocol.profile import Conduct, Hours, Mode, Profile, VenueRules, pick, profiles_from_bytes, profiles_to_bytes
from tests.protocol.strategies import changed, texts

PLAIN = EntryPolicy()
STRICT = PLAIN.replace(fever_from_celsius=37.0)

CONDUCT = st.builds(
    Conduct,
    st.integers(0, 60),
    st.integers(1, 600),
    st.booleans(),
    st.integers(50, 100),
    st.booleans(),
    st.booleans(),
)
PROFILES = st.lists(
    st.builds(Profile, texts(20), st.sampled_from(Mode), st.sampled_from([PLAIN, STRICT]), CONDUCT),
    max_size=8,
    unique_by=lambda p: (p.category, p.mode),
)
HOURS = st.integers(0, 1439).flatmap(lambda a: st.integers(a, a + 1440).map(lambda b: Hours(a, b)))
VENUES = st.builds(
    VenueRules,
    st.sampled_from(Mode),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
    st.integers(0, 100_000),
    st.one_of(st.just(()), st.lists(HOURS, min_size=7, max_size=7).map(tuple)),
    texts(40),
    texts(40),
)
NOTICES = st.builds(
    Notice,
    texts(16),
    st.sampled_from(NoticeLevel),
    texts(30),
    texts(30),
    texts(60),
    texts(60),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
)


@given(PROFILES)
def test_profiles_come_back_in_one_order(profiles: list[Profile]) -> None:
    data = profiles_to_bytes(profiles)
    assert set(profiles_from_bytes(data)) == set(profiles)
    assert profiles_to_bytes(reversed(profiles)) == data


@given(VENUES)
def test_a_venues_rules_come_back_as_they_went(venue: VenueRules) -> None:
    assert VenueRules.from_bytes(venue.to_bytes()) == venue


@given(st.lists(NOTICES, max_size=6))
def test_notices_come_back_the_weightiest_first(notices: list[Notice]) -> None:
    found = notices_from_bytes(notices_to_bytes(notices))
    assert sorted(map(repr, found)) == sorted(map(repr, notices))
    weights = [list(NoticeLevel).index(n.level) for n in found]
    assert weights == sorted(weights, reverse=True)


def test_more_notices_than_a_screen_can_show_are_cut_from_the_lightest() -> None:
    many = [Notice(f"n{n}", NoticeLevel.TIP, "题", "", "文", "", n, 10**12) for n in range(30)]
    urgent = Notice("u", NoticeLevel.URGENT, "急", "", "文", "", 99, 10**12)
    found = notices_from_bytes(notices_to_bytes([*many, urgent]))
    assert len(found) == MAX_NOTICES and found[0] == urgent


PARTS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "profiles": (profiles_to_bytes([Profile("culture", Mode.EMERGENCY, PLAIN)]), profiles_from_bytes),
    "venue": (
        VenueRules(capacity=9, hours=(Hours(480, 1320),) * 7, elsewhere_zh="西门").to_bytes(),
        VenueRules.from_bytes,
    ),
    "notices": (notices_to_bytes([Notice("a", NoticeLevel.TIP, "题", "T", "文", "B", 1, 2)]), notices_from_bytes),
}


@pytest.mark.parametrize("name", PARTS)
@given(st.data())
def test_a_changed_part_is_refused_by_name_or_readable(name: str, data: st.DataObject) -> None:
    good, read = PARTS[name]
    try:
        read(data.draw(changed(good)))
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profiles", {1: [["", "panic", PLAIN.to_bytes(), Conduct().to_fields()]]}),
        ("profiles", {1: [["", "normal", PLAIN.to_bytes(), Conduct().to_fields()]] * 2}),
        ("profiles", {1: [["", "normal", PLAIN.to_bytes(), {**Conduct().to_fields(), 1: 61}]]}),
        ("profiles", {1: [["", "normal", PLAIN.to_bytes(), {**Conduct().to_fields(), 4: 49}]]}),
        ("profiles", {1: [["", "normal", PLAIN.to_bytes(), {**Conduct().to_fields(), 7: True}]]}),
        ("venue", {1: "normal", 4: 100_001}),
        ("venue", {1: "normal", 5: [[480, 1320]] * 6}),
        ("venue", {1: "normal", 5: [[480, 479]] * 7}),
        ("venue", {1: "normal", 5: [[480, True]] * 7}),
        ("venue", {1: "normal", 6: "好" * 121}),
        ("notices", {1: [["a", "loud", "题", "", "文", "", 1, 2]]}),
        ("notices", {1: [["a", "tip", "题" * 31, "", "文", "", 1, 2]]}),
        ("notices", {1: [["a", "tip", "题", "", "文", "", 1, -2]]}),
        ("notices", {1: [["a", "tip", "题", "", "文", "", 1, 2]] * 21}),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, value: object) -> None:
    with pytest.raises(ProtocolError):
        PARTS[name][1](cbor.encode(value))


def test_the_profile_for_kind_and_mode_wins_and_no_mode_is_without_rules() -> None:
    own = Profile("market", Mode.EMERGENCY, STRICT)
    everybodys = Profile("", Mode.EMERGENCY, STRICT, Conduct(full_holds=True))
    normal = Profile("", Mode.NORMAL, PLAIN, Conduct(opening_test_blocks=True))
    held = (own, everybodys, normal)
    assert pick(held, "market", Mode.EMERGENCY, PLAIN) == own
    assert pick(held, "shop", Mode.EMERGENCY, PLAIN) == everybodys
    assert pick((normal,), "shop", Mode.EMERGENCY, PLAIN) == normal
    assert pick((own,), "market", Mode.NORMAL, STRICT) == Profile("market", Mode.NORMAL, STRICT)
    some = PLAIN.replace(stale_holds_at=("shop",))
    assert pick((), "shop", Mode.NORMAL, some).entry.stale_rules_hold


def test_opening_hours_may_go_past_midnight_and_a_day_may_be_closed() -> None:
    days = [Hours(480, 1320)] * 7
    days[4] = Hours(1200, 1200 + 360)  # Friday 20:00 to Saturday 02:00
    days[6] = Hours(0, 0)
    venue = VenueRules(hours=tuple(days))
    assert venue.is_open(0, 480) and not venue.is_open(0, 479) and not venue.is_open(0, 1320)
    assert venue.is_open(4, 1439) and venue.is_open(5, 119) and not venue.is_open(5, 120)
    assert not venue.is_open(6, 720) and venue.opens_at(6, 60) is None
    assert venue.opens_at(0, 300) == 480 and venue.opens_at(0, 1400) is None
    assert VenueRules().is_open(3, 3) and VenueRules().opens_at(3, 3) is None
