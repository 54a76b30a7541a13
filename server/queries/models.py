"""Tables of queries, looks, offered passkeys, and the copy of the vault's access log.

Nothing in here opens a passage: the vault believes the signature in `approval`, never a column.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from protocol.passage import VENUE_ID_BYTES
from protocol.query import QUERY_ID_BYTES, Query
from server.accounts.models import User
from server.db import Base, new_id
from server.venues.models import Venue


class QueryState(Enum):
    """Life of a query (SM-06), moved by server/queries/workflow.py. A draft is the form not sent yet: never stored."""

    REQUESTED = "requested"
    REVIEWING = "reviewing"
    APPROVED = "approved"
    REFUSED = "refused"
    EXECUTED = "executed"  # looked at at least once
    EXPIRED = "expired"
    REVOKED = "revoked"
    ARCHIVED = "archived"


WAITING = frozenset({QueryState.REQUESTED, QueryState.REVIEWING})
USABLE = frozenset({QueryState.APPROVED, QueryState.EXECUTED})


class QueryRow(Base):
    """One query as its requester sent it, and what was decided."""

    __tablename__ = "query"
    __table_args__ = (CheckConstraint("decided_by IS NULL OR decided_by <> requester_id", name="not_ones_own"),)

    id: Mapped[bytes] = mapped_column(LargeBinary(QUERY_ID_BYTES), primary_key=True)
    body: Mapped[bytes]  # the canonical bytes that are signed; the person in it is sealed to the vault
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    requester_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    state: Mapped[str] = mapped_column(String(12), index=True)  # a value of QueryState
    created_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    decided_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(String(400), default="")  # of a refusal or revocation
    approval: Mapped[bytes | None]  # the approver's own signature (server/vault/approvals.py)
    requester: Mapped[User] = relationship(foreign_keys=[requester_id])
    decider: Mapped[User | None] = relationship(foreign_keys=[decided_by])
    venues: Mapped[list[QueryVenue]] = relationship(order_by="QueryVenue.venue_id")

    def query(self) -> Query:
        """What was asked, decoded from the signed bytes; raises ProtocolError when somebody changed them."""
        return Query.from_bytes(self.body)

    def state_at(self, now: datetime) -> QueryState:
        """The state in force at *now*: what has run out is expired, also before the worker has noted it."""
        state = QueryState(self.state)
        return QueryState.EXPIRED if state in WAITING | USABLE and now >= self.expires_at else state


class QueryVenue(Base):
    """One venue of a query's scope, so that lists can ask who may decide over it."""

    __tablename__ = "query_venue"

    query_id: Mapped[bytes] = mapped_column(LargeBinary(QUERY_ID_BYTES), ForeignKey("query.id"), primary_key=True)
    venue_id: Mapped[bytes] = mapped_column(
        LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), primary_key=True, index=True
    )
    venue: Mapped[Venue] = relationship()


class Look(Base):
    """One time that somebody saw a query's result, and the line of the vault's log that stands for it."""

    __tablename__ = "look"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    query_id: Mapped[bytes] = mapped_column(LargeBinary(QUERY_ID_BYTES), ForeignKey("query.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    rows: Mapped[int]
    legal_ground: Mapped[str] = mapped_column(Text)  # recorded with each disclosure (V-29)
    log_sequence: Mapped[int] = mapped_column(BigInteger)
    log_hash: Mapped[str] = mapped_column(String(64))
    proof: Mapped[str] = mapped_column(Text, default="", server_default="")  # of that line (protocol/tree_head.py)
    query: Mapped[QueryRow] = relationship()
    user: Mapped[User] = relationship()


class PasskeyOffer(Base):
    """A passkey that its owner registered here; it approves nothing until the vault's custodian has accepted it."""

    __tablename__ = "passkey_offer"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    credential_id: Mapped[bytes] = mapped_column(unique=True)
    public_key: Mapped[bytes]  # COSE_Key
    offered_at: Mapped[datetime]


class VaultLine(Base):
    """A copy of one line of the vault's access log: what shows later that the vault's own file was cut or changed."""

    __tablename__ = "vault_line"
    __table_args__ = (Index(None, "event", "at_ms"),)

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    event: Mapped[str] = mapped_column(String(20), index=True)
    query_id: Mapped[bytes | None] = mapped_column(LargeBinary(QUERY_ID_BYTES), index=True)
    hash: Mapped[str] = mapped_column(String(64))
    raw: Mapped[str] = mapped_column(Text)


class VaultHead(Base):
    """A signed tree head of the vault's access log: what shows, to anybody and for good, that a line was there."""

    __tablename__ = "vault_head"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # lines
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[datetime]  # by the vault's clock
    signed: Mapped[str] = mapped_column(Text)  # as the vault gave it
    frontier: Mapped[bytes]  # the peaks of the tree over our own copy, to grow it on from here


class VaultLogCheck(Base):
    """When the copy was last compared with the vault's log, and what was wrong; one row."""

    __tablename__ = "vault_log_check"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1
    checked_at: Mapped[datetime]
    problem: Mapped[str] = mapped_column(String(400))  # "": it held
