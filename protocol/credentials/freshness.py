"""How much an old status list is still worth: marked first, then checked by hand; never silently believed."""

from __future__ import annotations

from datetime import datetime

from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.status_list import StatusList, VenueSerials, age


def freshness_reasons(part: StatusList | VenueSerials, *, at: datetime, policy: CheckPolicy) -> list[Reason]:
    """No reason for a fresh list, STATUS_OLD (a note), or STATUS_TOO_OLD (check by hand) if the policy holds then."""
    old = age(part, at)
    if at >= part.expires_at or old >= policy.status_too_old_after:
        return [Reason.STATUS_OLD if policy.when_status_too_old == "mark" else Reason.STATUS_TOO_OLD]
    return [Reason.STATUS_OLD] if old >= policy.status_old_after else []
