"""Tables of cases, their hash-chained entries, and notes to people about them.

An entry's hash covers who, when, which step, from where to where, and a salted digest of the words that were given
with it. The words themselves (reason and values) can be erased when they are due, and the chain still holds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.accounts.models import ID_CHARACTERS, User
from server.db import Base, new_id
from server.venues.models import VENUE_ID_BYTES, Venue

GENESIS = bytes(32)
SALT_BYTES = 16
REASON_CHARACTERS = 1000


class Case(Base):
    """One thing with a life cycle, and where it stands now. Only `server/cases/kernel.py` writes its state."""

    __tablename__ = "case_file"  # "case" is a reserved word
    __table_args__ = (
        UniqueConstraint("machine", "key"),
        Index("ix_case_file_machine_state_opened_at_id", "machine", "state", "opened_at", "id"),
        Index(None, "machine", "area_path"),
        Index(None, "due_at"),
        Index(None, "machine", "opened_at", "id"),
        # With the id, so that the index alone answers: SQLite would rather read the whole table than go back to it for
        # a value that its statistics call common ("nobody", "system").
        Index("ix_case_file_opened_by_id", "opened_by", "id"),
        Index("ix_case_file_assignee_id_id", "assignee_id", "id"),
        Index("ix_case_file_person_id_id", "person_id", "id"),
        Index("ix_case_file_machine_title_id", "machine", "title", "id"),  # words are looked for in the index alone
        Index(
            "ix_case_file_escalated",
            "machine",
            "clock",
            sqlite_where=text("escalated_at IS NOT NULL"),
            postgresql_where=text("escalated_at IS NOT NULL"),
        ),
        Index(
            "ix_case_file_open",
            "machine",
            "state",
            "is_spread",
            "area_path",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(
            "ix_case_file_open_opened_at",
            "machine",
            "opened_at",
            "id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(
            "ix_case_file_spread",
            "machine",
            "state",
            sqlite_where=text("is_spread IS 1"),
            postgresql_where=text("is_spread IS true"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    machine: Mapped[str] = mapped_column(String(30))
    state: Mapped[str] = mapped_column(String(30))
    version: Mapped[int]  # how many entries it has; what a page was drawn from, see `kernel.take`
    head: Mapped[bytes] = mapped_column(LargeBinary(32))  # the hash of the newest entry
    title: Mapped[str] = mapped_column(String(200))  # never anything personal
    area_path: Mapped[str] = mapped_column(String(300), index=True)
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), index=True)
    is_spread: Mapped[bool] = mapped_column(default=False)  # lies at several places, see `CasePlace`
    # what it is about elsewhere: a kiosk, a code, a day; one case at a time for each. None: nothing of the kind
    key: Mapped[str | None] = mapped_column(String(80))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))  # whom it is about
    opened_by: Mapped[str] = mapped_column(String(40))  # a user's id, "kiosk:HEX" or "system"
    opened_at: Mapped[datetime] = mapped_column(index=True)
    entered_at: Mapped[datetime]  # into its state
    assignee_id: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)  # the newest value of each field that was filled in
    clock: Mapped[str] = mapped_column(String(30), default="")  # the name of the clock that runs or stands
    clock_since: Mapped[datetime | None]  # when it was started: raw time is since then, see `deadline.py`
    due_at: Mapped[datetime | None]  # None: no clock, or it stands still
    remaining_s: Mapped[int | None] = mapped_column(BigInteger)  # what is left on a clock that stands still
    held_at: Mapped[datetime | None]  # somebody lets the clock stand still since then
    escalated_at: Mapped[datetime | None]  # this clock has escalated; once
    escalated_to: Mapped[str] = mapped_column(String(200), default="")  # roles, separated by spaces
    closed_at: Mapped[datetime | None]
    venue: Mapped[Venue | None] = relationship(viewonly=True)
    assignee: Mapped[User | None] = relationship(foreign_keys=[assignee_id], viewonly=True)
    about: Mapped[User | None] = relationship(foreign_keys=[person_id], viewonly=True)


class CasePlace(Base):
    """One of several places of a case; whoever decides has to reach all of them."""

    __tablename__ = "case_place"

    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    area_path: Mapped[str] = mapped_column(String(300))
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"))


class CaseEntry(Base):
    """One entry of a case's history. Triggers refuse DELETE, and UPDATE of all but the erasable words."""

    __tablename__ = "case_entry"
    __table_args__ = (Index(None, "actor", "step"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3 ...
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(40))
    step: Mapped[str] = mapped_column(String(30))  # a step's name, "open", or "+assigned" and the like
    source: Mapped[str] = mapped_column(String(30))  # "" for the first
    target: Mapped[str] = mapped_column(String(30))
    words_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    salt: Mapped[bytes | None] = mapped_column(LargeBinary(SALT_BYTES))  # None with the words: erased
    words: Mapped[str | None] = mapped_column(Text)  # canonical JSON {"reason": ..., "values": {...}}

    def computed_hash(self) -> bytes:
        """SHA-256 over the previous hash and the canonical JSON array of the other lasting columns."""
        columns = [
            self.case_id,
            self.sequence,
            self.at.isoformat(),
            self.actor,
            self.step,
            self.source,
            self.target,
            self.words_digest.hex(),
        ]
        body = json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode()
        return hashlib.sha256(b"gatehouse case 1\0" + self.previous_hash + body).digest()

    def words_fit(self) -> bool:
        """Whether reason and values are those that were given; erased ones always fit."""
        if self.words is None or self.salt is None:
            return self.words is None and self.salt is None
        return digest_of(self.salt, self.words) == self.words_digest

    @property
    def reason(self) -> str:
        """Why, in the words of who did it; empty when none was given or it was erased."""
        return str(json.loads(self.words)["reason"]) if self.words else ""

    @property
    def values(self) -> dict[str, Any]:
        """What the step's form said; empty when it was erased."""
        return dict(json.loads(self.words)["values"]) if self.words else {}


def digest_of(salt: bytes, words: str) -> bytes:
    """What an entry keeps of its words; the salt, erased with them, hides even short ones from a guesser."""
    return hmac.digest(salt, words.encode(), "sha256")


class CaseNote(Base):
    """One person is told of one entry."""

    __tablename__ = "case_note"
    __table_args__ = (Index(None, "user_id", "read_at"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(String(ID_CHARACTERS), ForeignKey("user_account.id"))
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), index=True)
    sequence: Mapped[int]
    at: Mapped[datetime]
    read_at: Mapped[datetime | None]
    case: Mapped[Case] = relationship(viewonly=True)
