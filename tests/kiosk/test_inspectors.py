"""A pass lets its inspector look for its hours, here only, by a clock that can be believed; then it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kiosk.inspectors import HELD_CLOCK_MOST, answer_pass
from kiosk.panel_session import PanelSessions
from protocol.cose import Alg
from protocol.credentials import check, inspector_pass, jk1, staff_badge
from protocol.credentials.jk1 import StatusRef
from protocol.credentials.model import Checked, Inspection
from protocol.credentials.reasons import Reason
from protocol.passage import ClockConfidence, Place
from protocol.status_list import BadgeStatus, StatusLists, status_list
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.words import CredentialKind

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
PLACE = Place(b"kiosk-01", b"venue1", 1)
REF = StatusRef(1, 2)
WHO = Inspection("insp-7", "周检查", (b"venue1",))
SYNCED, HELD, UNSURE = ClockConfidence.SYNCED, ClockConfidence.HELD, ClockConfidence.UNSURE


def trust(use: str = "staff_badge") -> TrustList:
    return TrustList((TrustedKey(b"k", int(Alg.ES256), spki_of(KEY.public_key()), frozenset({use})),), issued_at=NOON)


def text(inspection: Inspection = WHO, hours: float = 4) -> str:
    until = NOON + timedelta(hours=hours)
    words = {"key": KEY, "alg": Alg.ES256, "kid": b"k", "ref": REF, "issued_at": NOON, "expires_at": until}
    return inspector_pass.issue(inspection=inspection, **words)  # type: ignore[arg-type]


def shown(code: str, at: datetime = NOON, status: StatusLists | None = None, keys: TrustList | None = None) -> Checked:
    return check(code, keys or trust(), at=at, status=status)


def stopped(value: BadgeStatus) -> StatusLists:
    bits = [BadgeStatus.VALID, BadgeStatus.VALID, value]
    return StatusLists.of([status_list("inspector", 1, bits, issued_at=NOON, expires_at=NOON + timedelta(days=1))])


def test_a_pass_opens_for_its_hours_by_the_steady_clock() -> None:
    answer = answer_pass(shown(text()), PLACE, NOON, SYNCED, 100.0)
    assert answer.code == "inspector_in" and answer.operator is not None
    assert answer.operator.until_s == pytest.approx(100.0 + 4 * 3600) and answer.operator.only_inspects
    told = dict(answer.detail)
    assert told["operator"] == "insp-7" and told["pass"] == REF.to_bytes().hex() and told["for_s"] == 4 * 3600
    assert "周检查" not in str(answer.detail), "the record holds the id, not the name"


def test_a_clock_that_was_only_kept_gives_an_hour_and_an_unsure_one_nothing() -> None:
    answer = answer_pass(shown(text()), PLACE, NOON, HELD, 0.0)
    assert answer.operator is not None and answer.operator.until_s == HELD_CLOCK_MOST.total_seconds()
    short = answer_pass(shown(text(hours=0.25)), PLACE, NOON, HELD, 0.0)
    assert short.operator is not None and short.operator.until_s == 900
    refused = answer_pass(shown(text()), PLACE, NOON, UNSURE, 0.0)
    assert (refused.code, refused.operator) == ("inspector_clock", None)


@pytest.mark.parametrize(
    ("inspection", "code"),
    [
        (replace(WHO, venues=(b"venue2",)), "inspector_elsewhere"),
        (replace(WHO, venues=(), kiosks=(b"kiosk-02",)), "inspector_elsewhere"),
        (replace(WHO, venues=(), kiosks=(b"kiosk-01",)), "inspector_in"),
        (replace(WHO, venues=(b"venue2",), kiosks=(b"kiosk-01",)), "inspector_in"),
    ],
)
def test_it_holds_at_its_places_only(inspection: Inspection, code: str) -> None:
    assert answer_pass(shown(text(inspection)), PLACE, NOON, SYNCED, 0.0).code == code


@pytest.mark.parametrize("hours", [-1.0, 4.1, 100.0])
def test_before_and_after_its_hours_it_is_over(hours: float) -> None:
    at = NOON + timedelta(hours=hours)
    assert answer_pass(shown(text(), at), PLACE, at, SYNCED, 0.0).code == "inspector_over"


def test_within_the_skew_that_codes_are_allowed_a_pass_is_over_all_the_same() -> None:
    at = NOON + timedelta(hours=4, seconds=20)
    answer = answer_pass(shown(text(), at), PLACE, at, SYNCED, 0.0)
    assert answer.operator is None


def test_a_list_stops_it_and_a_list_that_does_not_know_it_yet_does_not() -> None:
    for value in (BadgeStatus.REVOKED, BadgeStatus.SUSPENDED):
        checked = shown(text(), status=stopped(value))
        assert Reason.REVOKED in checked.reasons
        assert answer_pass(checked, PLACE, NOON, SYNCED, 0.0).code == "inspector_wrong"
    assert shown(text(), status=stopped(BadgeStatus.VALID)).valid
    early = status_list("inspector", 1, [0], issued_at=NOON, expires_at=NOON + timedelta(days=1))
    assert shown(text(), status=StatusLists.of([early])).valid


def test_another_key_another_use_or_another_content_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    forged = TrustList(
        (TrustedKey(b"k", int(Alg.ES256), spki_of(other.public_key()), frozenset({"staff_badge"})),), issued_at=NOON
    )
    for keys in (forged, trust("health_code"), TrustList((), issued_at=NOON)):
        answer = answer_pass(shown(text(), keys=keys), PLACE, NOON, SYNCED, 0.0)
        assert (answer.code, answer.operator) == ("inspector_wrong", None)
    bodies: list[object] = [
        {},
        [],
        {1: REF.to_bytes(), 2: "i", 3: "n", 4: [], 5: []},
        {1: REF.to_bytes(), 2: "", 3: "n", 4: [b"venue1"], 5: []},
        {1: b"short", 2: "i", 3: "n", 4: [b"venue1"], 5: []},
        {1: REF.to_bytes(), 2: "i", 3: "n", 4: [b"venue1"] * 9, 5: []},
        {1: REF.to_bytes(), 2: "i", 3: "n" * 41, 4: [b"venue1"], 5: []},
        {1: REF.to_bytes(), 2: 3, 3: "n", 4: [b"venue1"], 5: []},
        {1: REF.to_bytes(), 2: "i", 3: "n", 4: "venue1", 5: []},
    ]
    for body in bodies:
        made = jk1.make(
            {},
            {jk1.OURS_INSPECTION: body},
            key=KEY,
            alg=Alg.ES256,
            kid=b"k",
            issued_at=NOON,
            expires_at=NOON + timedelta(hours=1),
        )
        checked = shown(made)
        assert checked.kind is CredentialKind.INSPECTOR_PASS and checked.credential is None, body


def test_days_are_no_hours() -> None:
    with pytest.raises(ValueError, match="24 hours"):
        text(hours=25)
    with pytest.raises(ValueError, match="24 hours"):
        text(hours=0)
    body = {1: REF.to_bytes(), 2: "i", 3: "n", 4: [b"venue1"], 5: []}
    long = jk1.make(
        {},
        {jk1.OURS_INSPECTION: body},
        key=KEY,
        alg=Alg.ES256,
        kid=b"k",
        issued_at=NOON,
        expires_at=NOON + timedelta(days=3),
    )
    assert shown(long).credential is None, "also when the issuer's own key made it"


def test_a_badge_is_no_pass_and_a_full_pass_fits_a_phone() -> None:
    badge = staff_badge.issue(key=KEY, alg=Alg.ES256, kid=b"k", ref=REF, issued_at=NOON)
    assert answer_pass(shown(badge), PLACE, NOON, SYNCED, 0.0).code == "inspector_wrong"
    places = [bytes([n]) * 6 for n in range(8)]
    full = Inspection("a" * 16, "名" * 40, tuple(places), tuple(bytes([n]) * 8 for n in range(8)))
    assert len(text(full)) <= jk1.MAX_TEXT_CHARS and shown(text(full)).credential is not None


def test_the_panel_closes_when_the_pass_is_over_whoever_touches_it() -> None:
    now = [1000.0]
    sessions = PanelSessions(lambda: now[0])
    answer = answer_pass(shown(text(hours=0.1)), PLACE, NOON, SYNCED, now[0])
    assert answer.operator is not None
    sessions.badge_shown(answer.operator)
    taken = sessions.take_badge()
    assert taken is answer.operator
    token = sessions.open(taken)
    for _ in range(3):
        now[0] += 100
        assert sessions.operator(token) == taken and sessions.left_s(taken) == pytest.approx(1360 - now[0])
    now[0] += 60
    assert sessions.operator(token) is None and sessions.left_s(taken) == 0.0
    now[0] -= 30
    assert sessions.operator(token) is None, "it was closed for good"
    sessions.badge_shown(answer.operator)
    now[0] += 31
    assert sessions.take_badge() is None, "a pass that ran out meanwhile opens nothing"
