"""What an application says, as values: read from a draft, judged for what is missing, compared between versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

MOST_ENTRANCES = 30
WHOLE = 1000  # positions on the plan are in thousandths of its width and height


class Applicant(Enum):
    """Who applies; the proof follows from it (V-08)."""

    ENTERPRISE = "enterprise"
    SOLE_TRADER = "sole_trader"
    OFFICE = "office"
    INSTITUTION = "institution"
    SOCIAL_BODY = "social_body"


APPLICANT_NAMES: dict[Applicant, str] = {
    Applicant.ENTERPRISE: "Enterprise (business licence)",
    Applicant.SOLE_TRADER: "Sole trader (business licence)",
    Applicant.OFFICE: "Office (proof of the body)",
    Applicant.INSTITUTION: "Public institution (proof of the body)",
    Applicant.SOCIAL_BODY: "Social body (proof of the body)",
}

# In the order of the form; the names are those of Details.
WORDS: dict[str, str] = {
    "applicant": "Who applies",
    "name_zh": "Venue name (Chinese)",
    "name_en": "Venue name (English)",
    "address": "Address",
    "category": "Kind of venue",
    "contact_name": "Contact person",
    "contact_phone": "Contact's phone",
    "keeper_name": "Responsible person",
    "keeper_phone": "Their phone at work",
    "entrances": "Entrances",
}


@dataclass(frozen=True, slots=True)
class Door:
    """One entrance on the plan."""

    name_zh: str
    name_en: str
    x: int  # thousandths of the plan's width from the left
    y: int  # thousandths of its height from the top


@dataclass(frozen=True, slots=True)
class Details:
    """The fields of an application (V-07, V-08, V-09, V-30)."""

    applicant: str
    name_zh: str
    address: str
    category: str  # a value of venues.models.Category
    contact_name: str
    contact_phone: str
    keeper_name: str
    keeper_phone: str
    name_en: str = ""
    entrances: tuple[Door, ...] = field(default_factory=tuple)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Details:
        """Undo `to_json`."""
        doors = tuple(Door(**door) for door in content.get("entrances", ()))
        return cls(**{**content, "entrances": doors})

    def to_json(self) -> dict[str, Any]:
        """As the database keeps it."""
        found = asdict(self)
        found["entrances"] = [asdict(door) for door in self.entrances]
        return found


def missing(details: Details, *, has_proof: bool, has_plan: bool) -> list[str]:
    """What stands in the way of sending, as messages of the catalogue; empty when everything is there."""
    problems = []
    if not details.keeper_name:
        problems.append("Name a responsible person.")
    if not has_proof:
        problems.append("Upload the business licence or the proof.")
    if not has_plan:
        problems.append("Upload the floor plan.")
    if not details.entrances:
        problems.append("Mark at least one entrance on the floor plan.")
    return problems


def changed(before: Details | None, now: Details) -> frozenset[str]:
    """The names of the fields that differ; none for a first version."""
    if before is None:
        return frozenset()
    return frozenset(name for name in WORDS if getattr(before, name) != getattr(now, name))


def digest_of(details: Details, area_code: str, proof: bytes, plan: bytes) -> bytes:
    """SHA-256 over everything that was sent; *proof* and *plan* are the digests of the files."""
    said = [details.to_json(), area_code, proof.hex(), plan.hex()]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(b"gatehouse application 1\0" + text.encode()).digest()


def position(clicked: Mapping[str, str], shown: tuple[int, int], typed: tuple[str, str]) -> tuple[int, int] | None:
    """Where the entrance lies, in thousandths: clicked on the picture, or typed in percent; None when neither is on it.

    `<input type=image name=spot>` sends `spot.x` and `spot.y` in CSS pixels of the picture as it is shown, *shown*.
    A browser that has no pointer sends 0, 0: then what was typed counts.
    """
    try:
        x, y = int(clicked.get("spot.x", "0") or "0"), int(clicked.get("spot.y", "0") or "0")
        if (x, y) != (0, 0):
            found = round(x * WHOLE / shown[0]), round(y * WHOLE / shown[1])
        else:
            found = round(float(typed[0]) * WHOLE / 100), round(float(typed[1]) * WHOLE / 100)
    except (ValueError, OverflowError):
        return None
    return found if all(0 <= one <= WHOLE for one in found) else None
