"""A code makes one kiosk of one device, once, and says what is wrong otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from protocol.enrolment import ENROL_PATH, EnrolRequest, token_id
from protocol.journal import genesis
from server.audit import AuditEvent
from server.context import House
from server.ingest.models import Journal
from server.kiosks.models import EnrolmentCode, Kiosk
from tests.server.ingest.fleet import NOON_MS, PaperKiosk, make_code, refusal
from tests.server.people import LIBRARY, Clock

NewKiosk = Callable[[], PaperKiosk]


def test_a_code_makes_a_kiosk_with_an_empty_journal_and_a_bundle(house: House, kiosk: PaperKiosk) -> None:
    with house.database.reading() as reading:
        row = reading.get(Kiosk, kiosk.id)
        journal = reading.get(Journal, kiosk.id)
        events = reading.scalars(select(AuditEvent.action)).all()
    assert row is not None and row.state == "enrolled" and row.name == "east" and row.venue_id == LIBRARY
    assert row.clock_offset_ms == 0
    assert journal is not None and (journal.sequence, journal.head) == (0, genesis(kiosk.id))
    assert "kiosk.enrolled" in events
    assert kiosk.get("/bundle/v1/manifest").status_code == 200


def test_the_same_device_may_ask_again_when_the_answer_was_lost(house: House, new_kiosk: NewKiosk) -> None:
    device, token = new_kiosk(), make_code(house)
    assert device.enrol(token).status_code == 200
    assert device.enrol(token).status_code == 200
    with house.database.reading() as reading:
        assert len(reading.scalars(select(Kiosk.id)).all()) == 1


def test_a_used_code_makes_no_second_kiosk(house: House, new_kiosk: NewKiosk) -> None:
    token = make_code(house)
    assert new_kiosk().enrol(token).status_code == 200
    second = new_kiosk().enrol(token)
    assert (second.status_code, refusal(second)) == (410, "code_used")
    with house.database.reading() as reading:
        assert len(reading.scalars(select(Kiosk.id)).all()) == 1


def test_an_expired_code_is_refused(house: House, new_kiosk: NewKiosk, clock: Clock) -> None:
    token = make_code(house, valid=timedelta(minutes=15))
    clock.passes(minutes=15)
    response = new_kiosk().enrol(token)
    assert (response.status_code, refusal(response)) == (410, "code_expired")


def test_a_cancelled_code_is_refused(house: House, new_kiosk: NewKiosk) -> None:
    token = make_code(house)
    with house.database.writing() as writing:
        writing.get_one(EnrolmentCode, token_id(token).hex()).cancelled_at = house.now()
    response = new_kiosk().enrol(token)
    assert (response.status_code, refusal(response)) == (410, "code_cancelled")


def test_a_code_that_was_never_made_is_refused(new_kiosk: NewKiosk) -> None:
    response = new_kiosk().enrol(bytes(16))
    assert (response.status_code, refusal(response)) == (403, "unknown_code")


def test_knowing_a_codes_id_is_not_enough(house: House, new_kiosk: NewKiosk) -> None:
    device, token = new_kiosk(), make_code(house)
    honest = EnrolRequest.make(device.key, token, "0.1", "test", NOON_MS)
    forged = EnrolRequest(honest.device_key, honest.token_id, bytes(32), "0.1", "test", NOON_MS).to_body(device.key)
    response = device.client.post(ENROL_PATH, data=forged)
    assert (response.status_code, refusal(response)) == (403, "unknown_code")


def test_a_kiosk_does_not_enrol_a_second_time_with_its_old_key(house: House, kiosk: PaperKiosk) -> None:
    response = kiosk.enrol(make_code(house))
    assert (response.status_code, refusal(response)) == (409, "already_enrolled")


def test_a_lost_kiosk_cannot_come_back_by_asking_again(house: House, new_kiosk: NewKiosk) -> None:
    device, token = new_kiosk(), make_code(house)
    device.enrol(token)
    with house.database.writing() as writing:
        writing.get_one(Kiosk, device.id).state = "lost"
    response = device.enrol(token)
    assert (response.status_code, refusal(response)) == (403, "lost")


def test_without_vault_keys_nobody_is_enrolled_and_the_code_stays_good(house: House, new_kiosk: NewKiosk) -> None:
    device, token = new_kiosk(), make_code(house)
    keys = house.settings.vault_public_path.read_bytes()
    house.settings.vault_public_path.unlink()
    response = device.enrol(token)
    assert (response.status_code, refusal(response)) == (503, "no_vault_keys")
    house.settings.vault_public_path.write_bytes(keys)
    assert device.enrol(token).status_code == 200


@pytest.mark.parametrize("body", [b"", b"x", bytes(32), bytes(100), bytes(4000)])
def test_nonsense_is_refused_by_name(new_kiosk: NewKiosk, body: bytes) -> None:
    response = new_kiosk().client.post(ENROL_PATH, data=body)
    assert response.status_code in {400, 401}
    assert refusal(response)


def test_a_body_that_is_too_large_is_refused_by_name(new_kiosk: NewKiosk) -> None:
    response = new_kiosk().client.post(ENROL_PATH, data=bytes(5000))
    assert (response.status_code, refusal(response)) == (413, "too_large")


def test_whoever_tries_codes_has_to_wait_and_then_may_go_on(house: House, new_kiosk: NewKiosk, clock: Clock) -> None:
    device = new_kiosk()
    statuses = [device.enrol(bytes([n]) * 16).status_code for n in range(25)]
    assert statuses == [403] * 20 + [429] * 5
    assert device.enrol(bytes(16)).headers["Retry-After"] == "60"
    clock.passes(seconds=61)
    assert device.enrol(make_code(house)).status_code == 200
