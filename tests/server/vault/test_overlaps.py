"""Who was there at the same time: stays, the signed query for them, and everything it must not tell (decision 0138)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from protocol.errors import ProtocolError
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp
from protocol.query import Purpose, Query, QueryKind, Reveal, own_venue_problem
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome
from server.vault.errors import Refused
from server.vault.opening import Asker, Vault
from server.vault.overlaps import LONGEST_STAY_MS, Meetings, stays, touch
from server.vault.person import Person, PersonKind, seal_person
from server.vault.wire import SealedRecord
from tests.server.vault.world import OTHER_VENUE, PHONE, VENUE, Kiosk, World, now_ms

ASKER = Asker(1, 1)
MINUTE = 60_000
DAY = 86_400_000
NOON = (now_ms() // DAY) * DAY - DAY + 12 * 3_600_000  # yesterday
OTHER, THIRD = "+8613911112222", "+8613922223333"


@pytest.mark.parametrize(
    ("passages", "expected"),
    [
        ([], []),
        ([(1, False)], [(1, 1)]),
        ([(1, True)], [(1, 1)]),
        ([(1, False), (5, True)], [(1, 5)]),
        ([(1, False), (3, False), (5, True)], [(1, 1), (3, 5)]),  # the first way out was not seen
        ([(1, False), (5, True), (7, True)], [(1, 5), (7, 7)]),
        ([(0, False), (LONGEST_STAY_MS + 1, True)], [(0, 0), (LONGEST_STAY_MS + 1, LONGEST_STAY_MS + 1)]),
    ],
)
def test_a_stay_ends_where_a_way_out_was_seen(
    passages: list[tuple[int, bool]], expected: list[tuple[int, int]]
) -> None:
    rows = [(b"t", at_ms, int(is_out), 1, number) for number, (at_ms, is_out) in enumerate(passages)]
    assert [(stay.from_ms, stay.to_ms) for stay in stays(rows, 0)] == expected
    beside = [(b"s", 0, 0, 1, 1), *rows, (b"u", 2, 1, 1, 1)]  # a way out of somebody else ends no stay
    later = [(came + 100, went + 100) for came, went in expected]
    assert [(stay.from_ms, stay.to_ms) for stay in stays(beside, 100)][1:-1] == later
    touched = [(a, b) for a, b in expected if a <= 4 and b >= 2]
    assert [(stay.from_ms, stay.to_ms) for stay in stays(rows, 0, (2, 4))] == touched


def test_stays_touch_within_the_minutes_and_not_beyond() -> None:
    assert touch(0, 10, 4, 20, 0) == (6, 0)
    assert touch(0, 10, -5, 50, 0) == (10, 0), "around the whole of it"
    assert touch(0, 10, 13, 20, 3) == (0, 3) == touch(13, 20, 0, 10, 3)
    assert touch(0, 10, 14, 20, 3) is None


@dataclass
class Town:
    """A vault whose clock the test moves, and people who come and go."""

    world: World
    vault: Vault
    at_ms: int

    def passes(
        self, kiosk: Kiosk, phone: str | None, at_ms: int, *, out: bool = False, venue: bytes = VENUE, **more: str
    ) -> SealedRecord:
        if kiosk.sealer is None:
            kiosk.start_epoch()
        assert kiosk.sealer
        kiosk.sequence += 1
        facts = Facts(
            Direction.OUT if out else Direction.IN,
            EntryMode.MANUAL,
            CredentialKind.UNKNOWN,
            Colour.GREEN,
            Measured.NORMAL,
            Outcome.ADMIT,
            (),
            1,
            5,
        )
        stamp = Stamp(at_ms, 1000, bytes(8), ClockConfidence.SYNCED)
        header = Header(kiosk.sequence, Place(kiosk.id, venue, 1), stamp, facts=facts).to_bytes()
        sealed = kiosk.sealer.seal(kiosk.sequence, header, Personal(name="李四", phone=phone, **more).to_bytes())  # type: ignore[arg-type]
        record = SealedRecord(kiosk.id, kiosk.sealer.epoch, kiosk.sealer.wrapped, kiosk.sequence, header, sealed)
        assert not self.vault.index([record], {kiosk.id: kiosk.sequence}, ASKER).problems
        return record

    def query(self, **changes: object) -> Query:
        person = Person.make(PersonKind.PHONE, PHONE)
        assert person
        query_id = secrets.token_bytes(16)
        fields = {
            "query_id": query_id,
            "person": seal_person(person, query_id, self.world.keys.identity[0]),
            "kind": QueryKind.OVERLAPS,
            "within_minutes": 10,
            "from_ms": NOON - DAY,
            "to_ms": NOON + DAY,
            "created_ms": self.at_ms,
            "expires_ms": self.at_ms + 3_600_000,
        }
        return self.world.query(**{**fields, **changes})

    def meetings(self, **changes: object) -> Meetings:
        self.at_ms += 1000
        query = self.query(**changes)
        return self.vault.overlaps(query.to_bytes(), self.world.approve(query, at_ms=self.at_ms), ASKER)[0]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    world = World.make(tmp_path / "v")
    made = Town.__new__(Town)
    made.world, made.at_ms = world, now_ms() + 1000
    made.vault = Vault(world.folder, world.secrets, now_ms=lambda: made.at_ms)
    yield made
    made.vault.close()


def test_who_was_there_is_found_at_every_kiosk_of_the_venue(town: Town) -> None:
    east, west = town.world.kiosk(), town.world.kiosk()
    town.passes(east, PHONE, NOON)
    town.passes(west, PHONE, NOON + 30 * MINUTE, out=True)
    town.passes(west, OTHER, NOON + 20 * MINUTE)  # 1: while the person was inside
    town.passes(west, THIRD, NOON + 41 * MINUTE)  # 2: eleven minutes after
    town.passes(west, None, NOON + 39 * MINUTE)  # 3: somebody without a number
    found = town.meetings()
    assert [(s.from_ms, s.to_ms, s.passages) for s in found.stays] == [
        (NOON, NOON + 30 * MINUTE, ((east.id, 1), (west.id, 1)))
    ]
    assert [(o.sequence, o.together_ms, o.apart_ms) for o in found.others] == [(2, 0, 0), (4, 0, 9 * MINUTE)]
    assert not found.is_cut


def test_who_was_inside_all_the_while_is_found(town: Town) -> None:
    kiosk = town.world.kiosk()
    town.passes(kiosk, OTHER, NOON - 180 * MINUTE)
    town.passes(kiosk, PHONE, NOON)
    town.passes(kiosk, PHONE, NOON + 20 * MINUTE, out=True)
    town.passes(kiosk, OTHER, NOON + 180 * MINUTE, out=True)
    (other,) = town.meetings().others
    assert (other.sequence, other.together_ms, other.apart_ms) == (1, 20 * MINUTE, 0)


def test_another_venue_another_day_and_oneself_do_not_count(town: Town) -> None:
    kiosk = town.world.kiosk()
    town.passes(kiosk, PHONE, NOON)
    town.passes(kiosk, PHONE, NOON + 5 * MINUTE)  # again: two moments, and not somebody else
    town.passes(kiosk, OTHER, NOON, venue=OTHER_VENUE)
    town.passes(kiosk, OTHER, NOON - 2 * DAY)
    found = town.meetings(venues=(VENUE, OTHER_VENUE))
    assert len(found.stays) == 2 and found.others == ()


def test_the_hour_around_midnight_is_one_hour(town: Town) -> None:
    kiosk, midnight = town.world.kiosk(), (NOON // DAY) * DAY
    town.passes(kiosk, OTHER, midnight - 4 * MINUTE)
    town.passes(kiosk, PHONE, midnight + 4 * MINUTE)
    assert [other.sequence for other in town.meetings().others] == [1]


def test_somebody_known_by_two_numbers_stands_there_once(town: Town) -> None:
    kiosk = town.world.kiosk()
    town.passes(kiosk, PHONE, NOON)
    town.passes(kiosk, OTHER, NOON + MINUTE, id_number="11010519491231002X")
    assert len(town.meetings().others) == 1


def test_what_was_planted_after_the_query_tells_nothing(town: Town) -> None:
    kiosk = town.world.kiosk()
    town.passes(kiosk, OTHER, NOON)
    town.at_ms += 1000
    query = town.query()
    approval = town.world.approve(query, at_ms=town.at_ms)
    town.at_ms += 1000
    town.passes(kiosk, PHONE, NOON)  # who can seal puts the person beside whom they want to see
    assert town.vault.overlaps(query.to_bytes(), approval, ASKER)[0] == Meetings((), (), False)


def test_the_query_opens_these_people_masked_and_nobody_else(town: Town) -> None:
    kiosk = town.world.kiosk()
    mine, theirs = town.passes(kiosk, PHONE, NOON), town.passes(kiosk, OTHER, NOON + MINUTE)
    stranger = town.passes(kiosk, THIRD, NOON + 60 * MINUTE)
    town.at_ms += 1000
    query = town.query()
    approval = town.world.approve(query, at_ms=town.at_ms)
    opening = town.vault.open(query.to_bytes(), approval, [mine, theirs, stranger], ASKER)
    assert [row.stated.phone for row in opening.rows] == ["+86138****8000", "+86139****2222"]
    assert opening.refused == ((kiosk.id, 3, "not_overlapping"),)
    with pytest.raises(Refused) as refusal:
        town.vault.find(query.to_bytes(), approval, ASKER)
    assert refusal.value.code == "other_kind"


def test_a_query_of_another_kind_or_without_its_signature_is_told_nothing(town: Town) -> None:
    town.passes(town.world.kiosk(), PHONE, NOON)
    town.at_ms += 1000
    records = town.query(kind=QueryKind.RECORDS, within_minutes=0)
    query = town.query()
    wrong = [
        (records, town.world.approve(records, at_ms=town.at_ms), "other_kind"),
        (query, town.world.approve(records, at_ms=town.at_ms), "other_query"),
        (replace(query, within_minutes=120), town.world.approve(query, at_ms=town.at_ms), "other_query"),
    ]
    for asked, approval, code in wrong:
        with pytest.raises(Refused) as refusal:
            town.vault.overlaps(asked.to_bytes(), approval, ASKER)
        assert refusal.value.code == code
        assert f'"{code}"' in town.vault.log_lines(0, 100)[-1]


def test_the_answer_is_bounded_and_the_same_again(town: Town) -> None:
    kiosk = town.world.kiosk()
    town.passes(kiosk, PHONE, NOON)
    for number in range(6):
        town.passes(kiosk, f"+861391111222{number}", NOON + number * 1000)
    found = town.meetings(max_rows=4)
    assert found.is_cut and len(found.passages()) == 4
    assert town.meetings(max_rows=4) == found
    assert not town.meetings(max_rows=7).is_cut


def test_the_log_names_who_was_found_by_passage_alone(town: Town) -> None:
    kiosk = town.world.kiosk()
    town.passes(kiosk, PHONE, NOON)
    town.passes(kiosk, OTHER, NOON)
    town.meetings()
    line = town.vault.log_lines(0, 100)[-1]
    assert f"0:{kiosk.id.hex()}:2" in line and '"overlaps"' in line and OTHER not in line and PHONE not in line


@pytest.mark.parametrize(
    "wrong",
    [
        {"person": None},
        {"within_minutes": 0},
        {"within_minutes": 121},
        {"reveal": (Reveal.NAME,)},
        {"max_rows": 1},
        {"purpose": Purpose.VENUE_CHECK},
        {"kind": QueryKind.RECORDS},
    ],
)
def test_a_wider_search_cannot_be_asked(town: Town, wrong: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        town.query(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"from_ms": NOON - 3 * DAY}, {"max_rows": 101}, {"reveal": (Reveal.NAME,)}, {"hours": 9}]
)
def test_a_check_of_ones_own_venue_is_narrow_in_the_vault_too(town: Town, wrong: dict[str, object]) -> None:
    hours = wrong.pop("hours", 8)
    query = town.world.query(
        purpose=Purpose.VENUE_CHECK,
        created_ms=town.at_ms,
        expires_ms=town.at_ms + int(str(hours)) * 3_600_000,
        **{"from_ms": NOON - DAY, "to_ms": NOON + DAY, **wrong},
    )
    assert own_venue_problem(query)
    with pytest.raises(Refused) as refusal:
        town.vault.open(query.to_bytes(), town.world.approve(query, at_ms=town.at_ms), [], ASKER)
    assert refusal.value.code == "own_venue"
