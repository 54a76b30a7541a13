"""What people decide about kiosks: enrolment codes, and the states of SM-19 that only a person sets."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.credentials import enrolment_code
from protocol.enrolment import token_id, token_secret
from server.audit import Thing, audit
from server.cases.kernel import CaseError, acting
from server.context import house
from server.kiosks.models import EnrolmentCode, Kiosk, KioskState
from server.kiosks.workflow import move_kiosk
from server.vault_keys import read_vault_keys
from server.venues.models import Entrance


class KioskError(GatehouseError):
    """A step that the kiosk's state does not allow; the message is one of the catalogue."""

    code = "kiosk"


class Decision(Enum):
    """What can be decided about an enrolled kiosk."""

    SUSPEND = "suspend"
    RESUME = "resume"
    RETIRE = "retire"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Step:
    """From which states a decision leads where, and whether there is no way back."""

    sources: frozenset[KioskState]
    target: KioskState
    is_final: bool


_SERVING = frozenset({KioskState.ENROLLED, KioskState.PROVISIONED, KioskState.ACTIVE})
STEPS: dict[Decision, Step] = {
    Decision.SUSPEND: Step(_SERVING, KioskState.SUSPENDED, False),
    Decision.RESUME: Step(frozenset({KioskState.SUSPENDED}), KioskState.ACTIVE, False),
    Decision.RETIRE: Step(_SERVING | {KioskState.SUSPENDED}, KioskState.RETIRED, True),
    Decision.LOST: Step(_SERVING | {KioskState.SUSPENDED}, KioskState.LOST, True),
}
KERNEL_STEPS: dict[Decision, str] = {  # as server/kiosks/workflow.py calls them
    Decision.SUSPEND: "suspend",
    Decision.RESUME: "resume",
    Decision.RETIRE: "retire",
    Decision.LOST: "lose",
}
DECISION_NAMES: dict[Decision, str] = {
    Decision.SUSPEND: "Suspend",
    Decision.RESUME: "Resume",
    Decision.RETIRE: "Retire for good",
    Decision.LOST: "Report lost",
}


def possible(kiosk: Kiosk) -> list[Decision]:
    """The decisions that *kiosk*'s state allows."""
    return [decision for decision, step in STEPS.items() if KioskState(kiosk.state) in step.sources]


def decide(writing: Session, kiosk: Kiosk, decision: Decision, reason: str) -> None:
    """Take *decision* about *kiosk*; its next exchange is answered by the new state. Raises KioskError."""
    if decision not in possible(kiosk):
        raise KioskError("The kiosk's state does not allow this any more.")
    try:
        move_kiosk(writing, kiosk, KERNEL_STEPS[decision], by=acting(), at=house().now(), reason=reason)
    except CaseError as error:
        raise KioskError(error.message, hint=error.hint) from error
    thing = Thing("kiosk", kiosk.id.hex(), kiosk.door.venue.area.path)
    audit(writing, f"kiosk.{STEPS[decision].target.value}", thing, reason)


def make_enrolment_code(writing: Session, door: Entrance, kiosk_name: str, *, by: str) -> tuple[EnrolmentCode, bytes]:
    """A one-time code for *door* and its 16-byte token, which is stored nowhere: only the caller can show it."""
    if door.closed_at is not None:
        raise KioskError("This entrance is closed.")
    now, token = house().now(), secrets.token_bytes(enrolment_code.TOKEN_BYTES)
    code = EnrolmentCode(
        id=token_id(token).hex(),
        token_hash=token_secret(token),
        venue_id=door.venue_id,
        entrance=door.number,
        kiosk_name=kiosk_name,
        created_at=now,
        created_by=by,
        expires_at=now + timedelta(minutes=house().settings.codes.enrolment_valid_minutes),
    )
    writing.add(code)
    writing.flush()
    audit(writing, "kiosk.code_made", Thing("enrolment_code", code.id, door.venue.area.path), f"entrance {door.number}")
    return code, token


def enrolment_text(code: EnrolmentCode, token: bytes) -> str:
    """What the QR code on the console holds. Raises VaultKeysError while the vault has published no keys."""
    settings = house().settings
    vault = read_vault_keys(settings.vault_public_path, settings.vault.fingerprint)
    name = f"{code.door.venue.name_zh} {code.door.name_zh}"
    return enrolment_code.make(
        enrolment_code.EnrolmentCode(
            server_url=settings.public_url,
            token=token,
            server_key=house().keys.server_identity().public_key().public_bytes_raw(),
            vault_fingerprint=vault.fingerprint,
            expires_at=code.expires_at,
            entrance_name=name[: enrolment_code.MAX_NAME_CHARS],
        )
    )
