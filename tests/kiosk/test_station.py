"""The visitor's path: nothing opens and nothing turns green before the record is on disk."""

from __future__ import annotations

import pytest

from firmware_bridge.reading import Cause
from kiosk.admission import Rules
from kiosk.station import (
    ADMIT_SHOWN_S,
    CloseWindow,
    Effect,
    Idle,
    Measuring,
    Noting,
    OpenGate,
    OpenWindow,
    Person,
    Record,
    Recording,
    Show,
    Showing,
    Station,
    Surroundings,
)
from protocol.credentials.model import Checked
from protocol.credentials.reasons import Reason
from protocol.policy import EntryPolicy
from protocol.words import Colour, CredentialKind, EntryMode, Measured, Outcome
from tests.fakes import health_code, no_reading, reading, refusal

AROUND = Surroundings(EntryPolicy(), Rules(3, 10))


def kinds(effects: list[Effect]) -> list[type]:
    return [type(e) for e in effects]


def record_in(effects: list[Effect]) -> Record:
    (record,) = (e for e in effects if isinstance(e, Record))
    return record


def at(station: Station, kind: type) -> object:
    assert isinstance(station.state, kind), station.state
    return station.state


def test_a_green_and_well_person_is_recorded_then_admitted() -> None:
    station = Station()
    assert kinds(station.code(Person(health_code()), AROUND, 0.0)) == [OpenWindow, Show]
    effects = station.measurement(reading(36.5), AROUND, 1.0)
    assert OpenGate not in kinds(effects) and Show not in kinds(effects)
    record = record_in(effects)
    assert record.facts.outcome is Outcome.ADMIT
    assert record.facts.measured is Measured.NORMAL
    assert record.personal.identity_sealed == bytes(77)
    assert record.personal.temperature is not None and record.personal.temperature.body_celsius == 36.5
    assert kinds(station.recorded(1, AROUND, 1.1)) == [OpenGate, Show]
    assert station.tick(1.1 + ADMIT_SHOWN_S - 0.1) == []
    assert kinds(station.tick(1.1 + ADMIT_SHOWN_S)) == [Show]
    at(station, Idle)


def test_nobody_is_admitted_when_the_record_cannot_be_kept() -> None:
    station = Station()
    station.code(Person(health_code()), AROUND, 0.0)
    station.measurement(reading(36.5), AROUND, 1.0)
    effects = station.not_recorded(AROUND, 1.1)
    assert OpenGate not in kinds(effects)
    showing = at(station, Showing)
    assert showing.verdict.outcome is Outcome.HOLD  # type: ignore[attr-defined]
    assert showing.verdict.reasons == ("journal_unavailable",)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("checked", "outcome"),
    [
        (health_code(Colour.RED), Outcome.DENY),
        (health_code(Colour.YELLOW), Outcome.HOLD),
        (refusal(Reason.EXPIRED), Outcome.HOLD),
        (refusal(Reason.UNKNOWN_SCHEME, kind=CredentialKind.UNKNOWN), Outcome.HOLD),
    ],
)
def test_a_code_that_cannot_admit_is_answered_without_measuring(checked: Checked, outcome: Outcome) -> None:
    station = Station()
    effects = station.code(Person(checked), AROUND, 0.0)
    assert kinds(effects) == [Record]
    assert record_in(effects).facts.outcome is outcome
    assert kinds(station.recorded(1, AROUND, 0.1)) == [Show]


def test_a_high_reading_is_measured_again_before_it_stops_anybody() -> None:
    station = Station()
    station.code(Person(health_code()), AROUND, 0.0)
    assert kinds(station.measurement(reading(38.4), AROUND, 1.0)) == [Show]
    assert station.tick(2.0) == []
    assert kinds(station.tick(4.0)) == [OpenWindow, Show]
    effects = station.measurement(reading(38.3), AROUND, 5.0)
    assert record_in(effects).facts.reasons == ("fever",)
    assert record_in(effects).facts.outcome is Outcome.DENY


def test_another_person_always_pre_empts_and_the_first_one_is_recorded() -> None:
    station = Station()
    station.code(Person(health_code(who=1)), AROUND, 0.0)
    effects = station.code(Person(health_code(who=2)), AROUND, 0.5)
    assert kinds(effects) == [CloseWindow, Record]
    assert record_in(effects).facts.reasons == ("replaced_by_next",)
    assert kinds(station.recorded(1, AROUND, 0.6)) == [OpenWindow, Show]
    measuring = at(station, Measuring)
    assert measuring.person.checked.credential.pseudonym == (2).to_bytes(8, "big")  # type: ignore[attr-defined]


def test_a_phone_that_refreshes_its_code_is_still_the_same_person() -> None:
    station = Station()
    station.code(Person(health_code(who=1)), AROUND, 0.0)
    assert station.code(Person(health_code(who=1)), AROUND, 0.5) == []
    at(station, Measuring)


def test_without_a_thermometer_the_person_is_held_for_a_typed_reading() -> None:
    station = Station()
    station.code(Person(health_code()), AROUND, 0.0)
    effects = station.measurement(no_reading(Cause.NO_THERMOMETER), AROUND, 0.1)
    assert record_in(effects).facts.reasons == ("no_thermometer",)
    assert record_in(effects).facts.measured is Measured.NONE


def test_a_note_never_interrupts_a_person() -> None:
    station = Station()
    assert kinds(station.note("poster_ok", 0.0)) == [Show]
    at(station, Noting)
    station.code(Person(health_code()), AROUND, 1.0)
    assert station.note("poster_ok", 1.5) == []
    at(station, Measuring)


def test_a_new_code_pre_empts_a_verdict_that_stands_on_the_screen() -> None:
    station = Station()
    station.code(Person(health_code(Colour.RED, who=1)), AROUND, 0.0)
    station.recorded(1, AROUND, 0.1)
    assert kinds(station.code(Person(health_code(who=2)), AROUND, 0.2)) == [OpenWindow, Show]


def test_a_result_that_nobody_waits_for_changes_nothing() -> None:
    station = Station()
    assert station.measurement(reading(36.5), AROUND, 0.0) == []
    at(station, Idle)


def test_an_unbelieved_code_leaves_nothing_of_the_person_in_the_record() -> None:
    station = Station()
    record = record_in(station.code(Person(refusal(Reason.SIGNATURE_WRONG)), AROUND, 0.0))
    assert record.personal.name is None and record.personal.pseudonym is None
    assert record.facts.issuer is None


def test_the_operator_stands_in_a_record_that_staff_made() -> None:
    station = Station()
    person = Person(health_code(), mode=EntryMode.PROXY, operator="li.na")
    station.code(person, AROUND, 0.0)
    facts = record_in(station.measurement(reading(36.5), AROUND, 1.0)).facts
    assert (facts.mode, facts.operator) == (EntryMode.PROXY, "li.na")
    at(station, Recording)
