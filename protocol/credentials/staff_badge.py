"""The staff badge: an id, weeks of life, and a status list that can stop it tonight."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from protocol.cose import PrivateKey, Sign1
from protocol.credentials import jk1
from protocol.credentials.freshness import freshness_reasons
from protocol.credentials.jk1 import StatusRef
from protocol.credentials.model import Checked, believed
from protocol.credentials.paper_code import read_id
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.status_list import BadgeStatus, StatusLists
from protocol.trust import TrustList
from protocol.words import CredentialKind

LIFE: Final = timedelta(days=60)


def issue(
    *,
    key: PrivateKey,
    alg: int,
    kid: bytes,
    ref: StatusRef,
    issued_at: datetime,
    lifetime: timedelta = LIFE,
) -> str:
    """Make the text of one badge. *ref* is the badge's id (eight bytes): status list number and index."""
    ours = {jk1.OURS_BADGE_ID: ref.to_bytes()}
    return jk1.make({}, ours, key=key, alg=alg, kid=kid, issued_at=issued_at, expires_at=issued_at + lifetime)


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
    """Verify an unwrapped badge and look up whether it was stopped. Without a list that holds it: STATUS_UNKNOWN."""
    holder = ours.get(jk1.OURS_BADGE_ID)
    credential, reasons = read_id(CredentialKind.STAFF_BADGE, message, claims, holder, trust, at=at, policy=policy)
    assert credential.holder_id is not None
    ref = StatusRef.from_bytes(credential.holder_id)
    found = status.find("badge", ref.list_number) if status else None
    value = found.status(ref.index) if found else None
    if found is None or value is None:
        reasons.append(Reason.STATUS_UNKNOWN)
    else:
        if value != BadgeStatus.VALID:
            reasons.append(Reason.SUSPENDED if value == BadgeStatus.SUSPENDED else Reason.REVOKED)
        reasons += freshness_reasons(found, at=at, policy=policy)
    return believed(credential, *reasons)
