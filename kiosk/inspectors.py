"""Who may inspect this kiosk with a pass, and for how long by the steady clock; pure.

The pass names hours of the wall clock. A kiosk whose clock cannot be believed refuses it; one whose clock was only kept
since the last record (and not compared with the server's) lets somebody look for an hour at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from kiosk.panel_session import Operator
from protocol.credentials.model import Checked
from protocol.credentials.reasons import Reason
from protocol.passage import ClockConfidence, Place
from protocol.staff import StaffRole

HELD_CLOCK_MOST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PassAnswer:
    """What came of a pass: a code of `kiosk.texts`, what goes on record, and whom to let in."""

    code: str  # inspector_in, inspector_over, inspector_elsewhere, inspector_clock, inspector_wrong
    detail: tuple[tuple[str, str | int], ...]
    operator: Operator | None = None


def answer_pass(
    checked: Checked, place: Place, now: datetime, confidence: ClockConfidence, steady_s: float
) -> PassAnswer:
    """Answer a pass that was shown to the camera or scan head of the kiosk at *place*."""
    credential = checked.credential
    inspection = credential.inspection if credential is not None else None
    if credential is None or inspection is None or credential.expires_at is None or credential.holder_id is None:
        return PassAnswer("inspector_wrong", (("why", _why(checked)),))
    detail: tuple[tuple[str, str | int], ...] = (
        ("pass", credential.holder_id.hex()),
        ("operator", inspection.inspector),
        ("clock", confidence.name.lower()),
    )
    if place.venue not in inspection.venues and place.kiosk not in inspection.kiosks:
        return PassAnswer("inspector_elsewhere", detail)
    if confidence is ClockConfidence.UNSURE:
        return PassAnswer("inspector_clock", detail)
    if {Reason.EXPIRED, Reason.NOT_YET_VALID} & set(checked.reasons):
        return PassAnswer("inspector_over", detail)
    left = credential.expires_at - now
    if not checked.valid or left <= timedelta():
        return PassAnswer("inspector_wrong", (*detail, ("why", _why(checked))))
    if confidence is not ClockConfidence.SYNCED:
        left = min(left, HELD_CLOCK_MOST)
    seconds = left.total_seconds()
    who = Operator(inspection.inspector, inspection.name, StaffRole.INSPECTOR.value, until_s=steady_s + seconds)
    return PassAnswer("inspector_in", (*detail, ("for_s", int(seconds))), who)


def _why(checked: Checked) -> str:
    return checked.reasons[0].value if checked.reasons else "unreadable"
