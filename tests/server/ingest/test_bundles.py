"""A kiosk gets its own bundle, signed, only when it changed, and nobody else gets it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from sqlalchemy import select, update

from config.server import TrustSettings
from protocol import cbor
from protocol.bundle import MANIFEST_PATH, PART_PATH, Manifest, PlaceNames, part_of
from protocol.policy import EntryPolicy
from protocol.staff import StaffList, StaffRole
from protocol.status_list import VenueSerials, from_signed
from protocol.trust import TrustedKey, TrustList, spki_of
from server.accounts.models import User
from server.bundles.errors import PartError
from server.bundles.parts import IMPORTED_TRUST
from server.bundles.publishing import publish_all
from server.bundles.staff import remove_staff, set_staff
from server.codes.issuing import issue, revoke
from server.codes.models import VenueCode
from server.context import House
from server.keystore import IssuerUse
from server.venues.models import Entrance, Venue
from tests.server.ingest.fleet import NOON_MS, PaperKiosk, refusal
from tests.server.people import LIBRARY, MARKET, Clock

NewKiosk = Callable[[], PaperKiosk]


def manifest_of(kiosk: PaperKiosk) -> Manifest:
    response = kiosk.get(MANIFEST_PATH)
    assert response.status_code == 200, response.data
    return Manifest.from_signed(response.data, kiosk.server_key)


def part(kiosk: PaperKiosk, name: str) -> bytes:
    described = next(p for p in manifest_of(kiosk).parts if p.name == name)
    response = kiosk.get(PART_PATH + described.digest.hex())
    assert response.status_code == 200
    assert part_of(name, response.data) == described
    return response.data


def test_a_bundle_holds_all_that_a_kiosk_needs_to_work_alone(house: House, kiosk: PaperKiosk) -> None:
    found = manifest_of(kiosk)
    assert found.kiosk == kiosk.id
    assert [p.name for p in found.parts] == [
        "badges",
        "notices",
        "place",
        "policy",
        "profiles",
        "staff",
        "status",
        "trust",
        "vault",
        "venue",
    ]
    assert EntryPolicy.from_bytes(part(kiosk, "policy")) == EntryPolicy()
    assert part(kiosk, "vault") == kiosk.vault.exported
    place = PlaceNames.from_bytes(part(kiosk, "place"))
    assert (place.venue, place.entrance, place.venue_zh, place.entrance_en) == (LIBRARY, 1, "锦江图书馆", "East gate")
    trust = TrustList.from_signed(part(kiosk, "trust"), kiosk.server_key.public_bytes_raw())
    kids = {key.kid for key in house.keys.issuer_keys()}
    assert kids == {key.kid for key in trust.keys}


def test_nothing_changed_means_the_same_bytes_and_304(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    first = kiosk.get(MANIFEST_PATH)
    clock.passes(minutes=5)
    assert publish_all(house, clock.at) == 0
    again = kiosk.get(MANIFEST_PATH)
    assert again.data == first.data and again.headers["ETag"] == first.headers["ETag"]
    unchanged = kiosk.get(MANIFEST_PATH, etag=first.headers["ETag"])
    assert (unchanged.status_code, unchanged.data) == (304, b"")


def test_a_change_raises_the_version_and_the_exchange_tells_it(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    before = manifest_of(kiosk)
    assert kiosk.exchange().bundle_version == before.version
    clock.passes(minutes=1)
    with house.database.writing() as writing:
        writing.execute(update(Venue).where(Venue.id == LIBRARY).values(name_zh="新图书馆"))
    assert publish_all(house, clock.at) == 1
    after = manifest_of(kiosk)
    assert after.version > before.version and kiosk.exchange().bundle_version == after.version
    assert {p.name for p in after.parts if p not in before.parts} == {"place"}
    assert PlaceNames.from_bytes(part(kiosk, "place")).venue_zh == "新图书馆"


def test_a_new_issuer_key_reaches_the_kiosks(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    clock.passes(days=1)
    key = house.keys.add_issuer_key(IssuerUse.HEALTH_CODE, not_before=clock.at)
    publish_all(house, clock.at)
    trust = TrustList.from_signed(part(kiosk, "trust"), kiosk.server_key.public_bytes_raw())
    assert trust.with_kid(key.kid)[0].uses == {"health_code"}


def test_a_revoked_venue_code_reaches_the_kiosks_on_a_signed_list_that_stays_fresh(
    app: Flask, house: House, kiosk: PaperKiosk, clock: Clock
) -> None:
    def held() -> VenueSerials:
        lists = cbor.decode_strict(part(kiosk, "status"))
        assert isinstance(lists, list)
        trust = TrustList.from_signed(part(kiosk, "trust"), kiosk.server_key.public_bytes_raw())
        found = from_signed(lists[0], trust)
        assert isinstance(found, VenueSerials)
        return found

    assert held().revoked == frozenset()
    with app.app_context(), house.database.writing() as writing:
        by = writing.scalars(select(User.id).where(User.name == "street")).one()
        serial = issue(writing, writing.get_one(Entrance, (LIBRARY, 1)), by=by).serial
    clock.passes(minutes=1)
    assert publish_all(house, clock.at) == 0  # a new code changes nothing at the doors
    with app.app_context(), house.database.writing() as writing:
        revoke(writing, writing.get_one(VenueCode, serial), "torn down")
    assert publish_all(house, clock.at) == 1
    assert held().revoked == {serial}
    told = held().issued_at
    clock.passes(hours=7)
    assert publish_all(house, clock.at) == 1
    assert held().issued_at > told and held().revoked == {serial}


def believing(house: House, signer: Ed25519PrivateKey) -> House:
    """The same house, its settings naming *signer*."""
    trust = TrustSettings(signer.public_key().public_bytes_raw().hex())
    return dataclasses.replace(house, settings=dataclasses.replace(house.settings, trust=trust))


def test_an_imported_trust_list_travels_with_our_own(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    signer = Ed25519PrivateKey.generate()
    foreign = TrustedKey(b"\x01" * 8, -8, spki_of(signer.public_key()), frozenset({"eu_dcc"}), country="FR")
    path = house.settings.data_dir / IMPORTED_TRUST
    path.write_bytes(TrustList((foreign,), clock.at).to_signed(signer))
    with pytest.raises(PartError, match="do not say whose list"):
        publish_all(house, clock.at)
    with pytest.raises(PartError, match="another key"):
        publish_all(believing(house, Ed25519PrivateKey.generate()), clock.at)
    house = believing(house, signer)
    assert publish_all(house, clock.at) == 1
    trust = TrustList.from_signed(part(kiosk, "trust"), kiosk.server_key.public_bytes_raw())
    assert trust.with_kid(foreign.kid) == (foreign,)
    path.write_bytes(b"damaged")
    with pytest.raises(PartError):
        publish_all(house, clock.at)
    assert kiosk.get(MANIFEST_PATH).status_code == 200  # what was published stays in use


def test_staff_of_one_venue_reach_its_kiosks_and_no_others(
    house: House, kiosk: PaperKiosk, new_kiosk: NewKiosk, clock: Clock
) -> None:
    market = new_kiosk()
    market.venue = MARKET
    assert market.enrol().status_code == 200
    with house.database.writing() as writing:
        set_staff(writing, LIBRARY, "li", "小李", StaffRole.HELPER, "204815", clock.at)
    publish_all(house, clock.at)
    staff = StaffList.from_bytes(part(kiosk, "staff"))
    assert [(m.staff_id, m.name, m.role) for m in staff.members] == [("li", "小李", StaffRole.HELPER)]
    assert staff.members[0].has_pin("204815") and not staff.members[0].has_pin("204816")
    assert StaffList.from_bytes(part(market, "staff")).members == ()
    digest = next(p.digest for p in manifest_of(kiosk).parts if p.name == "staff")
    stolen = market.get(PART_PATH + digest.hex())
    assert (stolen.status_code, refusal(stolen)) == (404, "no_part")
    version = manifest_of(kiosk).version
    with house.database.writing() as writing:
        remove_staff(writing, LIBRARY, "li")
    publish_all(house, clock.at)
    assert StaffList.from_bytes(part(kiosk, "staff")).members == ()
    assert manifest_of(kiosk).version > version


@pytest.mark.parametrize("pin", ["", "123", "12345", "abcdef", "111111", "123456", "1" * 13])
def test_a_pin_that_anybody_would_try_is_refused(house: House, kiosk: PaperKiosk, pin: str, clock: Clock) -> None:
    from config.errors import GatehouseError

    with pytest.raises(GatehouseError), house.database.writing() as writing:
        set_staff(writing, LIBRARY, "li", "小李", StaffRole.HELPER, pin, clock.at)


def test_a_kiosk_with_a_wrong_clock_still_gets_its_bundle(kiosk: PaperKiosk) -> None:
    wrong_ms = NOON_MS - 400 * 86_400_000
    assert refusal(kiosk.get(MANIFEST_PATH, at_ms=wrong_ms)) == "clock"
    kiosk.exchange(sent_at_ms=wrong_ms)
    response = kiosk.get(MANIFEST_PATH, at_ms=wrong_ms + 1000)
    assert response.status_code == 200
    assert int(response.headers["Gatehouse-Time"]) == NOON_MS


def test_a_call_is_good_for_one_request_only(kiosk: PaperKiosk) -> None:
    headers = {"Authorization": kiosk.call(MANIFEST_PATH)}
    assert kiosk.client.get(MANIFEST_PATH, headers=headers).status_code == 200
    again = kiosk.client.get(MANIFEST_PATH, headers=headers)
    assert (again.status_code, refusal(again)) == (401, "replayed")


def test_a_call_is_good_for_its_own_address_only(kiosk: PaperKiosk) -> None:
    headers = {"Authorization": kiosk.call(PART_PATH + "00" * 32)}
    response = kiosk.client.get(MANIFEST_PATH, headers=headers)
    assert (response.status_code, refusal(response)) == (401, "other_call")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "no_call"),
        ("Basic abc", "no_call"),
        ("Gatehouse ", "bad_signature"),
        ("Gatehouse !!!", "no_call"),
        ("Gatehouse AAAA", "bad_signature"),
        ("Gatehouse " + "A" * 2000, "no_call"),
    ],
)
def test_calls_that_prove_nothing_are_refused(kiosk: PaperKiosk, header: str, code: str) -> None:
    response = kiosk.client.get(MANIFEST_PATH, headers={"Authorization": header})
    assert (response.status_code, refusal(response)) == (401, code)


def test_a_stranger_gets_no_bundle(kiosk: PaperKiosk, new_kiosk: NewKiosk) -> None:
    assert refusal(new_kiosk().get(MANIFEST_PATH)) == "unknown_kiosk"


@pytest.mark.parametrize("name", ["zz", "00" * 31, "AB" * 32, "00" * 32])
def test_a_part_that_is_not_there_is_named(kiosk: PaperKiosk, name: str) -> None:
    response = kiosk.get(PART_PATH + name)
    assert (response.status_code, refusal(response)) == (404, "no_part")
