"""What audited actions are called on pages; an action that is not here shows its code."""

from __future__ import annotations

ACTION_NAMES: dict[str, str] = {
    "account.signed_in": "Signed in",
    "account.signed_out": "Signed out",
    "account.signed_out_everywhere": "Signed out everywhere",
    "account.password_changed": "Password changed",
    "account.created": "Account created",
    "account.password_set": "Password set anew",
    "area.imported": "Areas imported",
    "venue.created": "Venue added",
    "venue.changed": "Venue changed",
    "venue.keeper_changed": "Responsible person changed",
    "entrance.added": "Entrance added",
    "entrance.closed": "Entrance closed",
    "code.issued": "Code issued",
    "code.printed": "Poster printed",
    "code.posted": "Poster hung",
    "code.activated": "Code in use",
    "code.superseded": "Code replaced",
    "code.revoked": "Code revoked",
    "kiosk.code_made": "Enrolment code made",
    "kiosk.code_cancelled": "Enrolment code cancelled",
    "kiosk.enrolled": "Kiosk enrolled",
    "kiosk.suspended": "Kiosk suspended",
    "kiosk.active": "Kiosk resumed",
    "kiosk.retired": "Kiosk retired",
    "kiosk.lost": "Kiosk reported lost",
    "keys.made": "Key made",
    "resident.created": "Resident added",
    "resident.status_set": "Health status set",
}
