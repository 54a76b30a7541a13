"""The paper health code: weeks of life, an id and nothing else; its colour of today stands on a status list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from protocol.cose import PrivateKey, Sign1
from protocol.credentials import jk1
from protocol.credentials.freshness import freshness_reasons
from protocol.credentials.jk1 import StatusRef
from protocol.credentials.model import Checked, Credential, believed
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
from protocol.status_list import BadgeStatus, StatusLists
from protocol.trust import TrustList
from protocol.words import CredentialKind

LIFE: Final = timedelta(days=30)


def issue(
    *,
    key: PrivateKey,
    alg: int,
    kid: bytes,
    ref: StatusRef,
    issued_at: datetime,
    lifetime: timedelta = LIFE,
) -> str:
    """Make the text of one paper code. *ref*: the list and index where the server keeps this person's colour."""
    ours = {jk1.OURS_PAPER_ID: ref.to_bytes()}
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
    """Verify an unwrapped paper code and look its colour up; REVOKED when it was withdrawn.

    Without a colour list that holds it: STATUS_UNKNOWN.
    """
    holder = ours.get(jk1.OURS_PAPER_ID)
    credential, reasons = read_id(CredentialKind.PAPER_CODE, message, claims, holder, trust, at=at, policy=policy)
    assert credential.holder_id is not None
    ref = StatusRef.from_bytes(credential.holder_id)
    found = status.find("paper", ref.list_number) if status else None
    colour = found.colour(ref.index) if found else None
    if found is None or colour is None:
        reasons.append(Reason.STATUS_UNKNOWN)
    else:
        reasons += freshness_reasons(found, at=at, policy=policy)
    withdrawn = status.find("paper_revoked", ref.list_number) if status else None
    if withdrawn is not None and withdrawn.status(ref.index) == BadgeStatus.REVOKED:
        reasons.append(Reason.REVOKED)
    return believed(replace(credential, colour=colour), *reasons)


def read_id(
    kind: CredentialKind,
    message: Sign1,
    claims: Mapping[object, object],
    holder: object,
    trust: TrustList,
    *,
    at: datetime,
    policy: CheckPolicy,
    signed_as: CredentialKind | None = None,
) -> tuple[Credential, list[Reason]]:
    """Verify a code whose *holder* is an id: paper code, staff badge, inspector's pass. Raises Refused.

    *signed_as*: the use its key must have on the trust list, when that is another kind's.
    """
    key = verify_message(message, trust, (signed_as or kind).value)
    if not isinstance(holder, bytes) or len(holder) != 8:
        raise Refused(Reason.CONTENT_WRONG)
    issued_at, expires_at = time_claim(claims, CLAIM_IAT, required=True), time_claim(claims, CLAIM_EXP, required=True)
    credential = Credential(
        kind=kind,
        scheme="JK1",
        issuer=key.issuer,
        kid=key.kid,
        issued_at=issued_at,
        expires_at=expires_at,
        not_before=issued_at,
        holder_id=holder,
    )
    reasons = time_reasons(not_before=issued_at, expires_at=expires_at, at=at, policy=policy)
    return credential, reasons + key_time_reasons(key, at=at)
