"""From the console to an offline entrance: paper codes, badges and business rules, through the real bundle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.kiosk import KioskSettings
from config.server import EntrySettings, TrustSettings
from kiosk import app
from kiosk.admission import Rules, judge_credential
from kiosk.app import BundleRules
from kiosk.lane import check_policy
from kiosk.panel_session import Operator
from protocol.cose import Alg
from protocol.credentials import Reason, check
from protocol.credentials.identity import Identity
from protocol.credentials.model import Checked
from protocol.credentials.value_sets import ValueSet
from protocol.staff import StaffRole
from protocol.status_list import StatusList, status_list
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.words import Colour, Outcome
from server.accounts.models import User
from server.areas.models import Area
from server.bundles.models import KioskStaff
from server.bundles.parts import IMPORTED_TRUST
from server.bundles.publishing import publish_all
from server.bundles.rules import publish as publish_rules
from server.bundles.rules import upload
from server.bundles.staff import set_staff
from server.bundles.value_sets import VALUE_SETS, put_value_sets
from server.context import House
from server.papers.issuing import issue_badge, issue_paper_code, revoke, text_of
from server.papers.models import PaperCode
from server.residents.codes import close_identity
from server.residents.models import HealthStatus, Resident
from server.venues.models import Venue
from tests.kiosk.sync.house import Door, LiveServer
from tests.kiosk.sync.test_bundle_store import Kit, kit, refused
from tests.protocol.credentials.makers import P256
from tests.protocol.credentials.test_dcc import KID, TEST, VACCINATION, dcc
from tests.server.people import LIBRARY

__all__ = ["kit"]
HERE = "510104001001"


def now() -> datetime:
    return datetime.now(UTC)


class Entrance:
    """A kiosk that synced a moment ago and has been offline since."""

    def __init__(self, door: Door, house: House) -> None:
        publish_all(house, now())
        assert door.problem() is None
        self.rules = BundleRules(door.bundles, "http://127.0.0.1").in_force()
        self.bundle = door.bundles.held

    def sees(self, text: str, at: datetime | None = None) -> Checked:
        rules = self.rules
        return check(text, rules.trust, at=at or now(), status=rules.status, policy=check_policy(rules))

    def verdict(self, text: str) -> tuple[Outcome, str] | None:
        """What the credential alone decides, and why; None: the thermometer decides."""
        found = judge_credential(self.sees(text), self.rules.policy, Rules(self.rules.version, 0), shown_before=False)
        return (found.outcome, found.reasons[0]) if found else None


@pytest.fixture
def paper(server: LiveServer) -> str:
    """A paper code of a resident who is green; its text."""
    house = server.house
    with server.app.app_context(), house.database.writing() as writing:
        resident = writing.query(Resident).one_or_none()
        user = writing.query(User).filter_by(name="wang").one()
        if resident is None:
            resident = Resident(id=user.id, user_id=user.id, created_at=now(), area_code=HERE)
            resident.identity = close_identity(resident.id, Identity("王小明", "51010419010101001X", "+8613800138000"))
            writing.add(resident)
            writing.flush()
        writing.query(HealthStatus).delete()
        text = text_of(issue_paper_code(writing, resident, writing.get_one(Area, HERE), by=user.id))
    turns(server, Colour.GREEN)
    return text


def turns(server: LiveServer, colour: Colour) -> None:
    with server.house.database.writing() as writing:
        writing.add(
            HealthStatus(
                resident_id=writing.query(Resident).one().id,
                since=now(),
                colour=int(colour),
                cause="test_due",
                expires_at=now() + timedelta(days=7),
                set_by="system",
            )
        )


def test_a_paper_code_follows_its_residents_colour(server: LiveServer, door: Door, paper: str) -> None:
    assert Entrance(door, server.house).verdict(paper) is None
    turns(server, Colour.YELLOW)
    assert Entrance(door, server.house).verdict(paper) == (Outcome.HOLD, "not_green")
    turns(server, Colour.RED)
    assert Entrance(door, server.house).verdict(paper) == (Outcome.DENY, "red_code")


def test_a_revoked_paper_code_stops(server: LiveServer, door: Door, paper: str) -> None:
    with server.app.app_context(), server.house.database.writing() as writing:
        live = [code for code in writing.query(PaperCode) if code.holds(now())]
        revoke(writing, live[0], "lost", "")
    assert Entrance(door, server.house).verdict(paper) == (Outcome.DENY, "revoked")


@pytest.mark.parametrize(
    ("entry", "hold"),
    [
        (EntrySettings(), False),
        (EntrySettings(stale_rules_hold=True), True),
        (EntrySettings(stale_holds_at=("culture", "institution")), True),  # the library
        (EntrySettings(stale_holds_at=("market",)), False),
    ],
)
def test_weeks_offline_mark_or_hold_as_the_settings_say(
    server: LiveServer, door: Door, paper: str, entry: EntrySettings, hold: bool
) -> None:
    expected = Reason.STATUS_TOO_OLD if hold else Reason.STATUS_OLD
    house = dataclasses.replace(server.house, settings=dataclasses.replace(server.house.settings, entry=entry))
    found = Entrance(door, house).sees(paper, now() + timedelta(days=10))
    assert found.reasons == (expected,) and found.valid is not hold


def test_a_badge_leads_to_its_holder(server: LiveServer, door: Door) -> None:
    with server.app.app_context(), server.house.database.writing() as writing:
        set_staff(writing, LIBRARY, "wei", "卫门口", StaffRole.KEEPER, "250814", now())
        venue, member = writing.get_one(Venue, LIBRARY), writing.get_one(KioskStaff, (LIBRARY, "wei"))
        badge = issue_badge(writing, venue, member, by=writing.query(User).filter_by(name="operator").one().id)
        text, ref = text_of(badge), badge.ref.to_bytes()
    entrance = Entrance(door, server.house)
    assert entrance.sees(text).valid and entrance.bundle is not None
    assert entrance.bundle.badges == {ref: "wei"}
    process = app.Entrance(KioskSettings(data_dir=door.folder))
    assert process._badge_shown(bytes(8), door.bundles) is None
    assert process.screen._sessions.take_badge() is None
    assert process._badge_shown(ref, door.bundles) == "wei"
    assert process.screen._sessions.take_badge() == Operator("wei", "卫门口", "keeper")
    with server.app.app_context(), server.house.database.writing() as writing:
        revoke(writing, writing.merge(badge), "lost", "")
    later = Entrance(door, server.house)
    assert later.sees(text).reasons == (Reason.REVOKED,)
    assert later.bundle is not None and later.bundle.badges == {}


# --- rules


def rule(identifier: str, group: str, logic: object) -> dict[str, object]:
    return {
        "Identifier": identifier,
        "Version": "1.0.0",
        "Type": "Acceptance",
        "CertificateType": group,
        "ValidFrom": "2021-01-01T00:00:00Z",
        "ValidTo": "2040-01-01T00:00:00Z",
        "Logic": logic,
    }


BOOSTER = {">": [{"var": "payload.v.0.dn"}, 2]}
YOUNG = {
    "not-after": [
        {"plusTime": [{"var": "external.validationClock"}, 0, "day"]},
        {"plusTime": [{"var": "payload.t.0.sc"}, 48, "hour"]},
    ]
}
NEVER = {"===": [1, 0]}


def rule_set(version: int, *rules: dict[str, object], **more: object) -> bytes:
    content = {"version": version, "issued_at": "2026-01-05T00:00:00Z", "rules": list(rules), **more}
    return json.dumps(content).encode()


BOOSTER_OR_TEST = (
    rule("VR-XX-0001", "Vaccination", BOOSTER),
    rule("TR-XX-0001", "Test", YOUNG),
    rule("RR-XX-0001", "Recovery", NEVER),
)


def certificate(**groups: Any) -> str:
    at = int(now().timestamp())
    return dcc(groups, claim_6=at - 3600, claim_4=at + 86_400)


@pytest.fixture
def accepting(server: LiveServer, door: Door) -> Iterator[House]:
    """The server's house with settings that let an EU DCC admit, and its issuer on the imported trust list."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.generate()
    issuer = TrustedKey(KID, Alg.ES256, spki_of(P256.public_key()), frozenset({"eu_dcc"}), country="XX")
    trusted = TrustList((issuer,), now().replace(microsecond=0))
    path = server.house.settings.data_dir / IMPORTED_TRUST
    path.write_bytes(trusted.to_signed(signer))
    chosen = dataclasses.replace(
        server.house.settings,
        entry=EntrySettings(accepts=("health_code", "paper_code", "eu_dcc")),
        trust=TrustSettings(signer.public_key().public_bytes_raw().hex()),
    )
    yield dataclasses.replace(server.house, settings=chosen)
    path.unlink()


def put_rules(house: House, server: LiveServer, data: bytes) -> None:
    with server.app.app_context(), house.database.writing() as writing:
        publish_rules(writing, house, upload(writing, house, data))


def test_agreed_lists_come_with_the_bundle_and_rules_use_them(accepting: House, server: LiveServer, door: Door) -> None:
    known = {"vaccines-covid-19-names": [VACCINATION["mp"]]}
    with server.app.app_context():
        put_value_sets(accepting, [ValueSet(name, "2022-04-01", tuple(codes)) for name, codes in known.items()])
    in_list = {"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.vaccines-covid-19-names"}]}
    rule = {**json.loads(rule_set(1, *BOOSTER_OR_TEST))["rules"][0], "Logic": in_list}
    put_rules(accepting, server, rule_set(5, rule))
    entrance = Entrance(door, accepting)
    held = entrance.rules.business
    assert held is not None and held.agreed is not None and held.agreed.version == 1
    assert held.agreed.age(now()) < timedelta(hours=1)
    assert entrance.verdict(certificate(v=[VACCINATION])) is None
    # one that is on no agreed list is for people to look at, and the rule does not let it in either
    assert entrance.verdict(certificate(v=[VACCINATION | {"mp": "EU/9/99/9999"}])) == (Outcome.HOLD, "value_unknown")
    (accepting.settings.data_dir / VALUE_SETS).unlink()


def test_a_booster_or_a_test_under_48_hours(accepting: House, server: LiveServer, door: Door) -> None:
    put_rules(accepting, server, rule_set(7, *BOOSTER_OR_TEST))
    entrance = Entrance(door, accepting)
    assert entrance.rules.business is not None and entrance.rules.business.version == 7
    assert entrance.rules.policy.accepts == ("health_code", "paper_code", "eu_dcc")

    def tested(hours: float) -> dict[str, str]:
        return TEST | {"sc": (now() - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")}

    assert entrance.verdict(certificate(v=[VACCINATION | {"dn": 3, "sd": 3}])) is None
    assert entrance.verdict(certificate(v=[VACCINATION])) == (Outcome.HOLD, "rule_not_met")
    assert entrance.verdict(certificate(t=[tested(47)])) is None
    assert entrance.verdict(certificate(t=[tested(49)])) == (Outcome.HOLD, "rule_not_met")


def test_a_place_that_does_not_accept_certificates_holds_good_ones(accepting: House, door: Door) -> None:
    entry = EntrySettings()
    house = dataclasses.replace(accepting, settings=dataclasses.replace(accepting.settings, entry=entry))
    good = certificate(v=[VACCINATION | {"dn": 3, "sd": 3}])
    assert Entrance(door, house).verdict(good) == (Outcome.HOLD, "accepted_foreign_only")


def test_a_kiosk_can_be_enrolled_while_a_part_cannot_be_made(
    accepting: House, new_door: Callable[..., Door], door: Door
) -> None:
    """The server's own settings name no signer, so its imported list cannot be used: the published one stays."""
    assert door.problem() is None
    assert new_door("late").problem() is None


# --- what kiosks of other versions make of it


def test_a_bundle_of_an_older_server_has_neither_rules_nor_badges(kit: Kit) -> None:
    store = kit.store()
    store.swap_in(*kit.signed(badges=None, rules=None), 0)
    assert store.held is not None and store.held.rules is None and store.held.badges == {}


@pytest.mark.parametrize(
    "parts",
    [
        {"rules": b""},
        {"rules": b"[]"},
        {"rules": b'{"version": 1}'},
        {"rules": b"[" * 100_000},
        {"badges": b""},
        {"badges": b"\xa1\x01\xa1\x41\x01\x61a"},
    ],
)
def test_rules_or_badges_that_cannot_be_read_leave_the_old_bundle(kit: Kit, parts: dict[str, bytes]) -> None:
    assert refused(kit, *kit.signed(**parts))


def test_a_status_list_about_something_new_is_left_out(kit: Kit, server: LiveServer) -> None:
    from protocol import cbor
    from server.keystore import ALG, IssuerUse

    key = server.house.keys.issuer_signing_key(IssuerUse.STATUS_LIST, now())
    known = status_list("badge", 9, [0], issued_at=now(), expires_at=now() + timedelta(days=1))
    later: StatusList = dataclasses.replace(known, purpose="of a later version")  # type: ignore[arg-type]
    lists = [item.to_signed(key.private_key, alg=ALG, kid=key.kid) for item in (known, later)]
    store = kit.store()
    store.swap_in(*kit.signed(status=cbor.encode(lists)), 0)
    assert store.held is not None and set(store.held.status.lists) == {("badge", 9)}
