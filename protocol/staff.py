"""The parts "staff" and "badges" of a bundle: who may use a kiosk's staff panel, by PIN or by badge."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields

SALT_BYTES = 16
PIN_HASH_BYTES = 32
MAX_STAFF = 200  # at one venue
MAX_BADGES = 1000  # at one venue
BADGE_ID_BYTES = 8  # protocol/credentials/jk1.py, StatusRef
# RFC 7914 interactive figures, 16 MiB: about 0.15 s on a Raspberry Pi 4. A PIN of six digits that left on a stolen card
# is found within a day all the same; it opens a panel at a door, and no record.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class StaffRole(Enum):
    """What a member of staff may do at the kiosk."""

    HELPER = "helper"  # register by hand, scan for somebody, acknowledge a hold
    KEEPER = "keeper"  # also settings of this entrance and the day's counts
    INSPECTOR = "inspector"  # the journal's check and export; registers nobody


def hash_pin(pin: str, salt: bytes) -> bytes:
    """The scrypt hash of a PIN, 32 bytes; *salt* is 16 fresh random bytes."""
    return hashlib.scrypt(pin.encode(), salt=salt, dklen=PIN_HASH_BYTES, **_SCRYPT)


@dataclass(frozen=True, slots=True)
class StaffMember:
    """One person at the entrance, as the kiosk knows them."""

    staff_id: str  # stands in the records as their operator; at most 32 characters
    name: str  # for the screen
    role: StaffRole
    salt: bytes
    pin_hash: bytes

    def has_pin(self, pin: str) -> bool:
        """Whether *pin* is theirs; takes about as long for a wrong one."""
        return hmac.compare_digest(hash_pin(pin, self.salt), self.pin_hash)


@dataclass(frozen=True, slots=True)
class StaffList:
    """Everybody who may use the staff panel of one venue's kiosks."""

    members: tuple[StaffMember, ...] = ()

    def find(self, staff_id: str) -> StaffMember | None:
        """The member with this id, or None."""
        return next((m for m in self.members if m.staff_id == staff_id), None)

    def to_bytes(self) -> bytes:
        """Encode deterministically, in the order of their ids."""
        members = sorted(self.members, key=lambda m: m.staff_id)
        return cbor.encode({1: [[m.staff_id, m.name, m.role.value, m.salt, m.pin_hash] for m in members]})

    @staticmethod
    def from_bytes(data: bytes) -> StaffList:
        """Decode; raises ProtocolError."""
        f = Fields(cbor.decode_strict(data), "staff")
        rows = f.take(1, list)
        f.done()
        if len(rows) > MAX_STAFF:
            raise ProtocolError(f"staff: {len(rows)} members, limit {MAX_STAFF}", code="bad_list")
        members = tuple(_member(row) for row in rows)
        if len({m.staff_id for m in members}) != len(members):
            raise ProtocolError("staff: a member stands there twice", code="bad_list")
        return StaffList(members)


def _member(row: object) -> StaffMember:
    if isinstance(row, list) and len(row) == 5:
        staff_id, name, role, salt, pin_hash = row
        if all(type(x) is str for x in (staff_id, name, role)) and type(salt) is bytes and type(pin_hash) is bytes:
            if 0 < len(staff_id) <= 32 and len(name) <= 80 and role in {r.value for r in StaffRole}:
                if len(salt) == SALT_BYTES and len(pin_hash) == PIN_HASH_BYTES:
                    return StaffMember(staff_id, name, StaffRole(role), salt, pin_hash)
    raise ProtocolError("staff: a member is not [id, name, role, salt, hash]", code="bad_list")


def badges_to_bytes(badges: Mapping[bytes, str]) -> bytes:
    """Encode the part "badges": the id on each badge that is out -> the id of the member of staff it belongs to."""
    return cbor.encode({1: dict(badges)})


def badges_from_bytes(data: bytes) -> dict[bytes, str]:
    """Decode; raises ProtocolError. Whether a badge was stopped since stands on its status list."""
    f = Fields(cbor.decode_strict(data), "badges")
    rows = f.take(1, dict)
    f.done()
    for badge, staff_id in rows.items():
        if type(badge) is not bytes or len(badge) != BADGE_ID_BYTES or type(staff_id) is not str or not staff_id:
            raise ProtocolError("badges: an entry is not badge id: staff id", code="bad_list")
    if len(rows) > MAX_BADGES:
        raise ProtocolError(f"badges: {len(rows)} badges, limit {MAX_BADGES}", code="bad_list")
    return rows
