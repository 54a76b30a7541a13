"""Who may use the staff panel of a venue's kiosks; they learn it with the next bundle."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.staff import SALT_BYTES, StaffRole, hash_pin
from server.bundles.models import KioskStaff

MIN_PIN_DIGITS, MAX_PIN_DIGITS = 6, 12


class StaffError(GatehouseError):
    """A member of staff that cannot be noted."""

    code = "staff"


def set_staff(
    writing: Session, venue: bytes, staff_id: str, name: str, role: StaffRole, pin: str, now: datetime
) -> None:
    """Add a member of staff or give them another name, role and PIN. Raises StaffError for a PIN anybody would try."""
    if not 0 < len(staff_id) <= 32 or not 0 < len(name) <= 80:
        raise StaffError("A member of staff has an id of up to 32 and a name of up to 80 characters.")
    if not pin.isascii() or not pin.isdigit() or not MIN_PIN_DIGITS <= len(pin) <= MAX_PIN_DIGITS:
        raise StaffError("A PIN has 6 to 12 digits.", hint="Choose digits that are not a date.")
    steps = {(int(b) - int(a)) % 10 for a, b in zip(pin, pin[1:], strict=False)}
    if steps in ({0}, {1}, {9}):
        raise StaffError("That PIN is one that everybody tries first.", hint="Choose digits that do not follow on.")
    row = writing.get(KioskStaff, (venue, staff_id))
    if row is None:
        row = KioskStaff(venue_id=venue, staff_id=staff_id)
        writing.add(row)
    row.name, row.role, row.changed_at = name, role.value, now
    row.salt = secrets.token_bytes(SALT_BYTES)
    row.pin_hash = hash_pin(pin, row.salt)


def remove_staff(writing: Session, venue: bytes, staff_id: str) -> None:
    """Remove a member of staff; records keep their id."""
    writing.execute(delete(KioskStaff).where(KioskStaff.venue_id == venue, KioskStaff.staff_id == staff_id))
