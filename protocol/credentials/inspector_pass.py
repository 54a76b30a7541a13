"""The inspector's pass: hours of life, a named person, named venues or kiosks; it lets them look, no more.

It is signed with the key of the staff badges, since both open the same panel. It works at a kiosk that has been without
a network for weeks: a status list can stop it, and a kiosk whose list does not know it yet goes by signature and hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from protocol.cose import PrivateKey, Sign1
from protocol.credentials import jk1
from protocol.credentials.jk1 import StatusRef
from protocol.credentials.model import Checked, Inspection, believed
from protocol.credentials.paper_code import read_id
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import Refused
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
    body = ours.get(jk1.OURS_INSPECTION)
    fields = body if isinstance(body, dict) else {}
    kind, use = CredentialKind.INSPECTOR_PASS, CredentialKind.STAFF_BADGE
    credential, reasons = read_id(kind, message, claims, fields.get(1), trust, at=at, policy=policy, signed_as=use)
    inspection = _read(fields)
    if inspection is None or not _is_sound(inspection):
        raise Refused(Reason.CONTENT_WRONG)
    assert credential.holder_id and credential.issued_at and credential.expires_at
    if not timedelta() < credential.expires_at - credential.issued_at <= LONGEST:
        raise Refused(Reason.CONTENT_WRONG)
    ref = StatusRef.from_bytes(credential.holder_id)
    found = status.find("inspector", ref.list_number) if status else None
    if found is not None and found.status(ref.index) not in (None, BadgeStatus.VALID):
        reasons.append(Reason.REVOKED)
    return believed(replace(credential, inspection=inspection), *reasons)


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
