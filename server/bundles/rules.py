"""Sets of CertLogic rules over certificates: uploaded, looked at, put in force for an area or venue, and taken back.

Of all sets in force the one nearest to a venue counts for it, as a whole: its own, else that of the smallest area
around it, else the one for everywhere. Kiosks get it as the part "rules" of their venue.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ColumnElement, ForeignKey, LargeBinary, String, func, select
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from protocol.credentials.rule_check import Fault, faults
from protocol.credentials.rules import RuleSet, rule_set_from_bytes
from protocol.errors import ProtocolError
from server.areas.models import Area
from server.audit import SYSTEM, Thing, audit
from server.bundles.errors import PartError
from server.bundles.value_sets import held_value_sets
from server.context import House
from server.db import Base, lock_chain, new_id
from server.venues.models import Venue

EARLIER_FILE = "rules.json"  # in data_dir: where earlier versions kept the one set there was


class RulesError(PartError):
    """A set that cannot be taken or a step that is not possible now; the message is one of the catalogue."""

    def __init__(self, message: str, *, hint: str = "", detail: str = "", found: Sequence[Fault] = ()) -> None:
        super().__init__(message, hint=hint)
        self.detail = detail  # what the reader of the JSON says, in English
        self.faults = tuple(found)


class StoredRules(Base):
    """One set as it was uploaded. In force from `published_at` to `ended_at`."""

    __tablename__ = "rule_set"
    __table_args__ = (CheckConstraint("area_code IS NULL OR venue_id IS NULL", name="one_scope"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    area_code: Mapped[str | None] = mapped_column(ForeignKey("area.code"), index=True)  # neither: everywhere
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(6), ForeignKey("venue.id"), index=True)
    version: Mapped[int] = mapped_column(BigInteger)
    issued_at: Mapped[datetime]
    rule_count: Mapped[int]
    body: Mapped[bytes] = mapped_column(deferred=True)  # the JSON as it travels
    uploaded_at: Mapped[datetime]
    uploaded_by: Mapped[str] = mapped_column(String(40))  # a user's id, or "system"
    published_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str] = mapped_column(String(400), default="")
    area: Mapped[Area | None] = relationship()
    venue: Mapped[Venue | None] = relationship()

    @property
    def is_in_force(self) -> bool:
        """Whether doors decide by it, where nothing nearer is in force."""
        return self.published_at is not None and self.ended_at is None

    @property
    def area_path(self) -> str:
        """Where it holds: the path of its area or of its venue's; "" is everywhere."""
        area = self.venue.area if self.venue is not None else self.area
        return area.path if area is not None else ""

    def rules(self) -> RuleSet:
        """The set, decoded; raises ProtocolError when somebody changed the row."""
        return rule_set_from_bytes(self.body)


def checked(house: House, data: bytes) -> RuleSet:
    """The rule set in *data* (JSON). Raises RulesError with what is wrong, each fault with its place."""
    try:
        rules = rule_set_from_bytes(data)
    except ProtocolError as error:
        hint = "The members of a rule set stand in docs/credentials.md."
        raise RulesError("This is no rule set.", detail=str(error), hint=hint) from error
    agreed = held_value_sets(house)
    found = faults(rules, {} if agreed is None else agreed.lookup())
    if found:
        raise RulesError("Some rules cannot work.", found=found, detail="; ".join(map(_fault_words, found)))
    return rules


def upload(
    writing: Session, house: House, data: bytes, *, area: Area | None = None, venue: Venue | None = None, by: str = ""
) -> StoredRules:
    """Keep the set *data* for *area* or *venue* (neither: everywhere); nothing is in force yet. Raises RulesError."""
    rules = checked(house, data)
    row = StoredRules(
        version=rules.version,
        issued_at=rules.issued_at,
        rule_count=len(rules.rules),
        body=data,
        uploaded_at=house.now(),
        uploaded_by=by or SYSTEM,
        area=area,
        venue=venue,
    )
    writing.add(row)
    writing.flush()
    audit(writing, "rules.uploaded", _thing(row), f"version {rules.version}, {len(rules.rules)} rules", at=house.now())
    return row


def publish(writing: Session, house: House, row: StoredRules) -> None:
    """Put *row* in force; what was in force for the same place ends. Raises RulesError.

    A version that was in force there before is refused, so that people at the entrances can tell sets apart.
    """
    lock_chain(writing, "rule_set")
    if row.published_at is not None:
        raise RulesError("This set was published already.")
    here = (StoredRules.area_code.is_not_distinct_from(row.area_code), _same_venue(row))
    highest = writing.scalar(select(func.max(StoredRules.version)).where(*here, StoredRules.published_at.is_not(None)))
    if highest is not None and row.version <= highest:
        raise RulesError(
            "A set of this or a higher version was in force here already. Give a changed set a higher version.",
            detail=f"The rules have version {row.version}, and version {highest} is in force or was.",
        )
    now = house.now()
    for old in writing.scalars(
        select(StoredRules).where(*here, StoredRules.published_at.is_not(None), StoredRules.ended_at.is_(None))
    ):
        old.ended_at, old.ended_because = now, "replaced"
    row.published_at = now
    writing.flush()
    audit(writing, "rules.set", _thing(row), f"version {row.version}, {row.rule_count} rules", at=now)


def take_back(writing: Session, house: House, row: StoredRules, reason: str) -> None:
    """End *row*; the next wider set counts again, or none. Raises RulesError when it is not in force."""
    if not row.is_in_force:
        raise RulesError("This set is not in force.")
    row.ended_at, row.ended_because = house.now(), reason[:400]
    audit(writing, "rules.withdrawn", _thing(row), reason, at=house.now())


class RuleBook:
    """Every set that was ever in force, read once: which one counts at each venue."""

    def __init__(self, reading: Session) -> None:
        wanted = select(StoredRules).where(StoredRules.published_at.is_not(None))
        wide = wanted.options(joinedload(StoredRules.area), joinedload(StoredRules.venue).joinedload(Venue.area))
        self._rows = reading.scalars(wide).all()

    def nearest(self, venue: Venue) -> StoredRules | None:
        """The set that counts at *venue*, or None."""
        found = (row for row in self._rows if row.is_in_force and _covers(row, venue))
        return max(found, key=_nearness, default=None)

    def part(self, venue: Venue) -> bytes | None:
        """The bytes of the part "rules" for *venue*; None where there never were any.

        Where all were taken back it is a set without rules: a part cannot be taken out of a bundle.
        """
        row = self.nearest(venue)
        if row is not None:
            return row.body
        ended = [(old.ended_at, old) for old in self._rows if old.ended_at is not None and _covers(old, venue)]
        if not ended:
            return None
        at, last = max(ended, key=lambda pair: pair[0])
        empty = {"version": last.version, "issued_at": at.isoformat(), "rules": []}
        return json.dumps(empty, separators=(",", ":")).encode()


def check_earlier_file(house: House) -> None:
    """Raise PartError while the file of an earlier version is there: its rules must not fall away unseen."""
    path = house.settings.data_dir / EARLIER_FILE
    if path.exists():
        raise PartError(
            f"{path} holds rules that an earlier version put in force.",
            hint="Put them in force again with gatehouse admin rules FILE, or decide against it; then remove the file.",
        )


def _covers(row: StoredRules, venue: Venue) -> bool:
    if row.venue_id is not None:
        return row.venue_id == venue.id
    return venue.area.path.startswith(row.area_path)


def _nearness(row: StoredRules) -> tuple[bool, int]:
    return row.venue_id is not None, len(row.area_path)


def _same_venue(row: StoredRules) -> ColumnElement[bool]:
    return StoredRules.venue_id.is_not_distinct_from(row.venue_id)


def _fault_words(fault: Fault) -> str:
    return f"{fault.identifier}, {fault.where}: {fault.what} {fault.found}"


def _thing(row: StoredRules) -> Thing:
    return Thing("rules", row.id, row.area_path)
