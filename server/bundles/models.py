"""Tables of the published parts of bundles, of kiosk staff, and of signed calls seen lately."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from protocol.passage import KIOSK_ID_BYTES, VENUE_ID_BYTES
from protocol.staff import PIN_HASH_BYTES, SALT_BYTES
from server.db import Base


class BundlePart(Base):
    """The newest bytes of one part for everybody, for one venue, or for one kiosk."""

    __tablename__ = "bundle_part"

    scope: Mapped[str] = mapped_column(String(24), primary_key=True)  # see `scopes_of` in manifests.py
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    size: Mapped[int]
    version: Mapped[int] = mapped_column(BigInteger, index=True)  # one count over all parts, up at every change
    changed_at: Mapped[datetime]
    data: Mapped[bytes] = mapped_column(deferred=True)


class CallNonce(Base):
    """A signed call that was served; the worker forgets it when its time window is over."""

    __tablename__ = "call_nonce"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(index=True)


class KioskStaff(Base):
    """Somebody who may use the staff panel of one venue's kiosks. Not an account: their PIN opens nothing here."""

    __tablename__ = "kiosk_staff"

    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), primary_key=True)
    staff_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(16))  # a value of protocol.staff.StaffRole
    salt: Mapped[bytes] = mapped_column(LargeBinary(SALT_BYTES))
    pin_hash: Mapped[bytes] = mapped_column(LargeBinary(PIN_HASH_BYTES))
    changed_at: Mapped[datetime]
