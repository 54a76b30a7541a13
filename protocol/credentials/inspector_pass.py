"""The inspector's pass: hours of life, a named person, named venues or kiosks; it lets them look, no more.

It is signed with the key of the staff badges, since both open the same panel. It works at a kiosk that has been without
a network for weeks: a status list can stop it, and a kiosk whose list does not know it yet goes by signature and hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from protocol.cose import PrivateKey, Sign1
from protocol.credentials import jk1
from protocol.credentials.jk1 import StatusRef
from protocol.credentials.model import Checked, Credential, Inspection, believed
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import (
    CLAIM_EXP,
    CLAIM_IAT,
    Refused,
    key_time_reasons,
    time_claim,
    time_reasons,
    verify_message,
)
from protocol.passage import KIOSK_ID_BYTES, VENUE_ID_BYTES
from protocol.status_list import BadgeStatus, StatusLists
from protocol.trust import TrustList
from protocol.words import CredentialKind

LONGEST: Final = timedelta(hours=24)
MOST_PLACES: Final = 8  # of venues, and of kiosks: the code stays small enough for a phone


def issue(
    *,
    key: PrivateKey,
    alg: int,
    kid: bytes,
    ref: StatusRef,
    inspection: Inspection,
    issued_at: datetime,
    expires_at: datetime,
) -> str:
    """Make the text of one pass. Raises ValueError for one that no kiosk would take."""
    if not timedelta() < expires_at - issued_at <= LONGEST or not _is_sound(inspection):
        raise ValueError("A pass lives up to 24 hours and names its inspector and up to eight venues or kiosks.")
    body = {
        1: ref.to_bytes(),
        2: inspection.inspector,
        3: inspection.name,
        4: list(inspection.venues),
        5: list(inspection.kiosks),
    }
    return jk1.make(
        {}, {jk1.OURS_INSPECTION: body}, key=key, alg=alg, kid=kid, issued_at=issued_at, expires_at=expires_at
    )


def check(
    message: Sign1,
    claims: Mapping[object, object],
    ours: Mapping[object, object],
    trust: TrustList,
    *,
    at: datetime,
    status: StatusLists | None,
    policy: CheckPolicy,
) -> Checked:
    """Verify an unwrapped pass. Which place it is shown at is for the kiosk to compare. Raises Refused."""
    key = verify_message(message, trust, CredentialKind.STAFF_BADGE.value)
    body = ours.get(jk1.OURS_INSPECTION)
    if not isinstance(body, dict):
        raise Refused(Reason.CONTENT_WRONG)
    holder, inspection = body.get(1), _read(body)
    if not isinstance(holder, bytes) or len(holder) != 8 or inspection is None or not _is_sound(inspection):
        raise Refused(Reason.CONTENT_WRONG)
    issued_at, expires_at = time_claim(claims, CLAIM_IAT, required=True), time_claim(claims, CLAIM_EXP, required=True)
    assert issued_at is not None and expires_at is not None
    if not timedelta() < expires_at - issued_at <= LONGEST:
        raise Refused(Reason.CONTENT_WRONG)
    credential = Credential(
        kind=CredentialKind.INSPECTOR_PASS,
        scheme="JK1",
        issuer=key.issuer,
        kid=key.kid,
        issued_at=issued_at,
        expires_at=expires_at,
        not_before=issued_at,
        holder_id=holder,
        inspection=inspection,
    )
    reasons = time_reasons(not_before=issued_at, expires_at=expires_at, at=at, policy=policy)
    reasons += key_time_reasons(key, at=at)
    ref = StatusRef.from_bytes(holder)
    found = status.find("inspector", ref.list_number) if status else None
    if found is not None and found.status(ref.index) not in (None, BadgeStatus.VALID):
        reasons.append(Reason.REVOKED)
    return believed(credential, *reasons)


def _read(body: Mapping[object, object]) -> Inspection | None:
    inspector, name, venues, kiosks = (body.get(key) for key in (2, 3, 4, 5))
    if not isinstance(inspector, str) or not isinstance(name, str):
        return None
    places = [_ids(venues, VENUE_ID_BYTES), _ids(kiosks, KIOSK_ID_BYTES)]
    if places[0] is None or places[1] is None:
        return None
    return Inspection(inspector, name, places[0], places[1])


def _ids(value: object, size: int) -> tuple[bytes, ...] | None:
    if isinstance(value, list) and all(isinstance(entry, bytes) and len(entry) == size for entry in value):
        return tuple(value)
    return None


def _is_sound(inspection: Inspection) -> bool:
    return (
        0 < len(inspection.inspector) <= 32
        and 0 < len(inspection.name) <= 40
        and 0 < len(inspection.venues) + len(inspection.kiosks)
        and max(len(inspection.venues), len(inspection.kiosks)) <= MOST_PLACES
    )
