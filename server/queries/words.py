"""What queries' closed sets are called on pages; English here, the Chinese in the catalogue."""

from __future__ import annotations

from protocol.query import Purpose, QueryKind, Reveal
from server.queries.models import QueryState

PURPOSE_NAMES: dict[Purpose, str] = {
    Purpose.EPI_TRACE: "Epidemiological tracing",
    Purpose.VENUE_CHECK: "Check at one's own venue",
    Purpose.INSPECTION: "Inspection",
    Purpose.RESIDENT_REQUEST: "At the person's own request",
    Purpose.DRILL: "Drill",
}

KIND_NAMES: dict[QueryKind, str] = {
    QueryKind.RECORDS: "Records of passages",
    QueryKind.OVERLAPS: "Who was there at the same time",
    QueryKind.REUSED_CODES: "One health code used at two entrances",
}

REVEAL_NAMES: dict[Reveal, str] = {
    Reveal.NAME: "Full name",
    Reveal.ID_NUMBER: "Full ID number",
    Reveal.PHONE: "Full phone number",
    Reveal.TEMPERATURE: "Temperature",
}

# state -> (the sign of macros.html `state`, label)
STATE_NAMES: dict[QueryState, tuple[str, str]] = {
    QueryState.REQUESTED: ("wait", "Waiting for approval"),
    QueryState.REVIEWING: ("wait", "Under review"),
    QueryState.APPROVED: ("good", "Approved"),
    QueryState.REFUSED: ("bad", "Refused"),
    QueryState.EXECUTED: ("good", "Looked at"),
    QueryState.EXPIRED: ("off", "Run out"),
    QueryState.REVOKED: ("bad", "Withdrawn"),
    QueryState.ARCHIVED: ("off", "Archived"),
}

# the vault's reason codes -> what a person reads; every other code reads as "bad_signature" does
REFUSAL_NAMES: dict[str, str] = {
    "expired": "The query has run out.",
    "revoked": "The query was withdrawn.",
    "row_limit": "The query has opened as many records as it may.",
    "key_revoked": "The approver's key was withdrawn.",
    "unknown_approver": "The vault does not know this approver.",
    "wrong_purpose": "The approver may not approve this purpose.",
    "needs_approval_key": "Full values need an approval key; a passkey is not enough here.",
    "needs_key_here": "A search for reused codes needs an approval key; a passkey is not enough.",
    "too_many": "The vault has refused too many looks and reads no more of them for some minutes.",
    "own_venue": "A check at one's own venue is masked, spans at most 3 days, 8 hours and 100 records.",
    "clock_went_back": "The vault's clock is wrong.",
    "internal": "The vault could not answer; its own log says why.",
    "log_broken": "The vault's access log is damaged. Nothing can be opened.",
    "roster_rolled_back": "Somebody changed the vault's list of approvers. Nothing can be opened.",
    "roster": "Somebody changed the vault's list of approvers. Nothing can be opened.",
}
DIRECTION_NAMES: dict[str, str] = {"in": "In", "out": "Out"}
OUTCOME_NAMES: dict[str, str] = {"admit": "Admitted", "hold": "Held back for staff", "deny": "Not admitted"}
NO_HOLD = "The approval does not hold: the vault has refused it."


def refusal_name(code: str) -> str:
    """The sentence for one of the vault's reason codes."""
    return REFUSAL_NAMES.get(code, NO_HOLD)
