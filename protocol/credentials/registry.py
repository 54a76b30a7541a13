"""One entry for everything a person or a poster can show: find the scheme, check it, answer; never raise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.credentials import (
    dcc,
    enrolment_code,
    health_code,
    inspector_pass,
    jk1,
    nzcp,
    paper_code,
    shc,
    staff_badge,
    venue_code,
)
from protocol.credentials.model import Checked, Credential, believed, refused
from protocol.credentials.policy import DEFAULT_POLICY, CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import Refused
from protocol.status_list import StatusLists
from protocol.trust import TrustList
from protocol.words import CredentialKind

MAX_TEXT_CHARS: Final = 65_536  # of all parts together; each scheme has its own, smaller limit


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a scheme may look at beside the text."""

    trust: TrustList
    at: datetime
    status: StatusLists | None
    policy: CheckPolicy


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to write a credential: how to recognise it, and how to check it."""

    kind: CredentialKind  # what to call a text of this scheme that cannot be read any further
    matches: Callable[[str], bool]
    check: Callable[[Sequence[str], Surroundings], Checked]


def _one(texts: Sequence[str]) -> str:
    if len(texts) != 1:
        raise Refused(Reason.PARTS_DO_NOT_FIT)
    return texts[0]


def _jk1(texts: Sequence[str], around: Surroundings) -> Checked:
    message, claims, ours = jk1.unwrap(_one(texts))
    kind = (
        CredentialKind.PAPER_CODE
        if jk1.OURS_PAPER_ID in ours
        else CredentialKind.STAFF_BADGE
        if jk1.OURS_BADGE_ID in ours
        else CredentialKind.INSPECTOR_PASS
        if jk1.OURS_INSPECTION in ours
        else CredentialKind.HEALTH_CODE
    )
    try:
        if kind is CredentialKind.PAPER_CODE:
            return paper_code.check(
                message, claims, ours, around.trust, at=around.at, status=around.status, policy=around.policy
            )
        if kind is CredentialKind.STAFF_BADGE:
            return staff_badge.check(
                message, claims, ours, around.trust, at=around.at, status=around.status, policy=around.policy
            )
        if kind is CredentialKind.INSPECTOR_PASS:
            return inspector_pass.check(
                message, claims, ours, around.trust, at=around.at, status=around.status, policy=around.policy
            )
        return health_code.check(message, claims, ours, around.trust, at=around.at, policy=around.policy)
    except Refused as refusal:
        return refused(kind, refusal.reason)


def _venue(texts: Sequence[str], around: Surroundings) -> Checked:
    return venue_code.check_url(_one(texts), around.trust, at=around.at, status=around.status, policy=around.policy)


def _dcc(texts: Sequence[str], around: Surroundings) -> Checked:
    return dcc.check(_one(texts), around.trust, at=around.at, policy=around.policy)


def _shc(texts: Sequence[str], around: Surroundings) -> Checked:
    return shc.check(texts, around.trust, at=around.at, policy=around.policy)


def _nzcp(texts: Sequence[str], around: Surroundings) -> Checked:
    return nzcp.check(_one(texts), around.trust, at=around.at, policy=around.policy)


def _enrolment(texts: Sequence[str], around: Surroundings) -> Checked:
    """An enrolment code is read at enrolment only; here it is recognised, so that staff hear what they are holding."""
    try:
        code = enrolment_code.parse(_one(texts))
    except enrolment_code.EnrolmentCodeError as error:
        raise Refused(Reason.BAD_STRUCTURE) from error
    credential = Credential(CredentialKind.ENROLMENT_CODE, "GHE1", issuer=code.server_url, expires_at=code.expires_at)
    return believed(credential, *([Reason.EXPIRED] if around.at >= code.expires_at else []))


def _prefix(prefix: str) -> Callable[[str], bool]:
    return lambda text: text.startswith(prefix)


SCHEMES: Final[tuple[Scheme, ...]] = (
    Scheme(CredentialKind.HEALTH_CODE, _prefix(jk1.PREFIX), _jk1),
    Scheme(CredentialKind.EU_DCC, _prefix(dcc.PREFIX), _dcc),
    Scheme(CredentialKind.NZ_COVID_PASS, _prefix(nzcp.PREFIX), _nzcp),
    Scheme(CredentialKind.ENROLMENT_CODE, _prefix(enrolment_code.PREFIX), _enrolment),
    Scheme(CredentialKind.SMART_HEALTH_CARD, shc.matches, _shc),
    Scheme(CredentialKind.VENUE_CODE, venue_code.matches, _venue),
)


def scheme_of(text: str) -> Scheme | None:
    """The scheme that *text* claims to be of, or None when it is none of ours to read."""
    return next((scheme for scheme in SCHEMES if scheme.matches(text)), None)


def check(
    texts: str | Sequence[str],
    trust: TrustList,
    *,
    at: datetime,
    status: StatusLists | None = None,
    policy: CheckPolicy = DEFAULT_POLICY,
) -> Checked:
    """Check what was shown, offline. Never raises, whatever the texts hold.

    *texts*: the text of one code, or of all the codes that belong together (a card of several parts, in any order).
    *at*: aware; what the door believes the time to be.
    """
    parts = [texts] if isinstance(texts, str) else list(texts)
    if not parts or sum(map(len, parts)) > MAX_TEXT_CHARS:
        return refused(CredentialKind.UNKNOWN, Reason.TOO_LONG if parts else Reason.UNKNOWN_SCHEME)
    scheme = scheme_of(parts[0])
    if scheme is None:
        return refused(CredentialKind.UNKNOWN, Reason.UNKNOWN_SCHEME)
    try:
        checked = scheme.check(parts, Surroundings(trust, at, status, policy))
    except Refused as refusal:
        return refused(scheme.kind, refusal.reason)
    if policy.accepted is not None and checked.credential is not None and checked.kind not in policy.accepted:
        return believed(checked.credential, Reason.SCHEME_NOT_ACCEPTED, *checked.reasons)
    return checked
