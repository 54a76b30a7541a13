"""Turns what kiosks say of themselves into faults: each open fault of a kiosk is one case, closed by hand.

A kiosk lists its open faults in each exchange, and sends what its staff reported as events of its journal. Twice heard
is one case; a fault the kiosk no longer lists is noted as working again, and as broken again when it comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from protocol.passage import Header
from server.accounts.rights import Place
from server.cases.kernel import find, open_case, take
from server.cases.models import Case
from server.context import House
from server.faults.workflow import FAULT, KINDS, PARTS
from server.kiosks.models import MAY_EXCHANGE, Kiosk
from server.venues.models import Entrance, Venue
from server.web.language import chinese

STAFF_EVENT = "fault_reported"  # kiosk/desk.py
HEARD_WITHIN = timedelta(minutes=5)  # what an older report says may be over
AT_ONCE = 500  # kiosks in one transaction

# a kiosk's word (kiosk/lane.py) -> the part it concerns; another word concerns something else
PART_OF = {
    "no_camera": "camera",
    "no_thermometer": "thermometer",
    "no_gate": "gate",
    "no_scanner": "scanner",
    "no_id_card": "id_card",
}
# of those that pass by themselves no case is made: the fleet page shows them
PASSING = frozenset({"rules_stale", "no_rules", "no_network"})


def report_by_staff(writing: Session, kiosk: Kiosk, headers: Iterable[Header], now: datetime) -> int:
    """Open a case for each fault that staff reported at the kiosk; returns how many are new."""
    made = 0
    for header in headers:
        if header.event != STAFF_EVENT:
            continue
        detail = dict(header.detail)
        part, what = str(detail.get("part", "")), str(detail.get("what", ""))
        if part not in dict(PARTS) or what not in dict(KINDS):
            part, what = "other", "broken"  # a newer kiosk's word
        key = f"{kiosk.id.hex()}:report:{header.sequence}"
        if find(writing, FAULT.name, key) is None:
            _open(writing, kiosk, key, {"part": part, "what": what}, now)
            made += 1
    return made


def follow_kiosks(house: House, now: datetime) -> tuple[int, int]:
    """Bring the cases in line with what kiosks said just now; returns how many were opened, and how many work again."""
    with house.database.reading() as reading:
        heard = reading.execute(
            select(Kiosk.id, Kiosk.health).where(
                Kiosk.last_seen_at > now - HEARD_WITHIN, Kiosk.state.in_([state.value for state in MAY_EXCHANGE])
            )
        ).all()
        standing = _standing(reading)
    broken, well = [], []
    for kiosk_id, health in heard:
        listed, known = _listed(health), standing.get(kiosk_id.hex(), {})
        broken += [(kiosk_id, word) for word in listed if known.get(word, "over") == "over"]
        well += [(kiosk_id, word) for word, how in known.items() if how == "open" and word not in listed]
    opened = healed = 0
    for start in range(0, len(broken), AT_ONCE):
        with house.database.writing() as writing:
            opened += sum(_is_broken(writing, *one, now) for one in broken[start : start + AT_ONCE])
    for start in range(0, len(well), AT_ONCE):
        with house.database.writing() as writing:
            healed += sum(_is_well(writing, *one, now) for one in well[start : start + AT_ONCE])
    return opened, healed


def _listed(health: Mapping[str, object] | None) -> list[str]:
    """The words of a kiosk's open faults, without those that pass by themselves."""
    words = (health or {}).get("faults", ())
    return [str(word) for word in words if word not in PASSING] if isinstance(words, Sequence) else []


def _standing(reading: Session) -> dict[str, dict[str, str]]:
    """Kiosk -> its own words that have a case: see `_how`."""
    rows = reading.execute(
        select(Case.key, Case.state).where(
            Case.machine == FAULT.name, Case.closed_at.is_(None), Case.opened_by.startswith("kiosk:")
        )
    )
    found: dict[str, dict[str, str]] = {}
    for key, state in rows:
        kiosk_id, _, word = (key or "").partition(":")
        if word and not word.startswith("report:"):
            found.setdefault(kiosk_id, {})[word] = _how(state)
    return found


def _how(state: str) -> str:
    """Whether the kiosk may still end it ("open"), has done so ("over"), or people are at work on it ("people")."""
    if state in FAULT.step("heal").sources:
        return "open"
    return "over" if state in FAULT.step("recur").sources else "people"


def _is_broken(writing: Session, kiosk_id: bytes, word: str, now: datetime) -> bool:
    kiosk = writing.scalar(
        select(Kiosk)
        .where(Kiosk.id == kiosk_id)
        .options(joinedload(Kiosk.door).joinedload(Entrance.venue).joinedload(Venue.area))
    )
    if kiosk is None:
        return False
    key = f"{kiosk_id.hex()}:{word}"
    case = find(writing, FAULT.name, key)
    if case is None:
        _open(writing, kiosk, key, {"part": PART_OF.get(word, "other"), "what": "broken", "word": word}, now)
        return True
    if case.state in FAULT.step("recur").sources:
        take(writing, case.id, "recur", by=f"kiosk:{kiosk_id.hex()}", at=now)
        return True
    return False


def _is_well(writing: Session, kiosk_id: bytes, word: str, now: datetime) -> bool:
    case = find(writing, FAULT.name, f"{kiosk_id.hex()}:{word}")
    if case is None or case.state not in FAULT.step("heal").sources:
        return False
    take(writing, case.id, "heal", by=f"kiosk:{kiosk_id.hex()}", at=now)
    return True


def _open(writing: Session, kiosk: Kiosk, key: str, facts: dict[str, str], now: datetime) -> None:
    venue = kiosk.door.venue
    open_case(
        writing,
        FAULT,
        by=f"kiosk:{kiosk.id.hex()}",
        at=now,
        title=f"{venue.name_zh} · {kiosk.name} · {chinese(dict(PARTS)[facts['part']])}",
        place=Place(venue.area.path, venue.id),
        facts=facts,
        key=key,
    )
