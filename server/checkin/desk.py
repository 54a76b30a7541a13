"""The server's own journals for check-ins by phone, sealed and chained like a kiosk's (docs/decisions/0102).

What comes in was sealed to the vault by the browser. It is sealed once more with the key of an epoch that lives in this
process's memory for at most a day, so that records are stored, indexed and destroyed in one way only.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.checkin import SEALED_ON_ARRIVAL, Checkin, make_reference
from protocol.journal import Record
from protocol.passage import BOOT_ID_BYTES, KIOSK_ID_BYTES, ClockConfidence, Facts, Header, Place, Stamp
from protocol.sealing import EPOCH_ID_BYTES, EPOCH_KEY_BYTES, EpochSealer, SealPublicKey
from protocol.words import CredentialKind, Direction, EntryMode, Measured, Outcome
from server.checkin.models import PhoneCheckin
from server.checkin.tickets import to_ms
from server.context import House
from server.ingest.appending import append_own

DESKS = 16  # journals; a venue always writes into the same one
REASON = "checked_in_by_phone"  # why the outcome is "hold": nobody at the entrance has judged yet
MINUTE = timedelta(minutes=1)


class TooMany(GatehouseError):
    """This poster has taken its number of check-ins for this minute."""

    code = "too_many"


def desk_id(venue: bytes) -> bytes:
    """The 8 bytes that stand in a kiosk's place for check-ins at *venue*."""
    return hashlib.sha256(b"gatehouse phone desk 1" + bytes([venue[-1] % DESKS])).digest()[:KIOSK_ID_BYTES]


@dataclass(slots=True)
class _Epoch:
    sealer: EpochSealer
    day: date
    key_id: bytes
    is_stored: bool = False  # whether its wrapped key is in the database


class Desk:
    """The epochs of this process, one a journal. A fork, a new day, a new key or a failed write begins another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[tuple[int, bytes], _Epoch] = {}
        self._boot = secrets.token_bytes(BOOT_ID_BYTES)

    def take(self, house: House, checkin: Checkin, key: SealPublicKey, *, on_arrival: bool) -> PhoneCheckin:
        """Store *checkin* once, and give back what stands for it; the same ticket again gives the same.

        Raises TooMany. Nobody may hold a writing session while calling this: the order is our lock, then the
        database's.
        """
        now, ticket = house.now(), checkin.ticket
        journal = desk_id(ticket.venue)
        with self._lock:
            epoch = self._epoch(journal, now.date(), key)
            try:
                with house.database.writing() as writing:
                    known = writing.get(PhoneCheckin, ticket.nonce)
                    if known is not None:
                        return known
                    self._check_budget(writing, ticket.serial, now, house.settings.checkin.per_minute)
                    sequence = append_own(
                        writing, journal, lambda n: self._record(n, journal, epoch, checkin, now, on_arrival), now
                    )
                    row = PhoneCheckin(
                        nonce=ticket.nonce,
                        kiosk_id=journal,
                        sequence=sequence,
                        serial=ticket.serial,
                        venue_id=ticket.venue,
                        entrance=ticket.entrance,
                        at=now,
                        reference=self._reference(writing, house, ticket.venue, now),
                    )
                    writing.add(row)
            except TooMany:  # before anything was sealed
                raise
            except BaseException:
                # a sequence number that was sealed and not stored comes again: never under the same key
                self._epochs.pop((os.getpid(), journal), None)
                raise
            epoch.is_stored = True
            return row

    def _epoch(self, journal: bytes, day: date, key: SealPublicKey) -> _Epoch:
        place = (os.getpid(), journal)  # a forked process has a copy of our memory and must not use its keys
        found = self._epochs.get(place)
        if found is None or (found.day, found.key_id) != (day, key.key_id):
            sealer = EpochSealer(journal, key, secrets.token_bytes(EPOCH_ID_BYTES + EPOCH_KEY_BYTES))
            found = self._epochs[place] = _Epoch(sealer, day, key.key_id)
        return found

    def _record(
        self, sequence: int, journal: bytes, epoch: _Epoch, checkin: Checkin, now: datetime, on_arrival: bool
    ) -> Record:
        ticket = checkin.ticket
        facts = Facts(
            direction=Direction.IN,
            mode=EntryMode.PHONE,
            credential=CredentialKind.VENUE_CODE,
            colour=None,  # nobody has made a statement about this person here (E-18)
            measured=Measured.NONE,
            outcome=Outcome.HOLD,
            reasons=(REASON,),
            bundle_version=0,
            bundle_age_s=0,
            degraded=(SEALED_ON_ARRIVAL,) if on_arrival else (),
        )
        at_ms = max(to_ms(now), ticket.issued_ms)  # another server's clock may be a little ahead of ours
        stamp = Stamp(at_ms, int(time.monotonic() * 1000), self._boot, ClockConfidence.SYNCED)
        header = Header(sequence, Place(journal, ticket.venue, ticket.entrance), stamp, facts=facts).to_bytes()
        sealed = epoch.sealer.seal(sequence, header, checkin.to_bytes())
        return Record(sequence, epoch.sealer.epoch, b"" if epoch.is_stored else epoch.sealer.wrapped, header, sealed)

    def _check_budget(self, reading: Session, serial: int, now: datetime, most: int) -> None:
        taken = reading.scalar(
            select(func.count())
            .select_from(PhoneCheckin)
            .where(PhoneCheckin.serial == serial, PhoneCheckin.at > now - MINUTE)
        )
        if (taken or 0) >= most:
            raise TooMany("This poster has taken its number of check-ins for this minute.", hint="Wait a minute.")

    def _reference(self, reading: Session, house: House, venue: bytes, now: datetime) -> str:
        """One that no other check-in of this venue has."""
        key, day = house.keys.venue_word_key(venue), local_day(house, now)
        while True:
            found = make_reference(key, day, secrets.token_bytes(8))
            taken = select(PhoneCheckin.nonce).where(PhoneCheckin.venue_id == venue, PhoneCheckin.reference == found)
            if reading.scalar(taken) is None:
                return found


def local_day(house: House, at: datetime) -> str:
    """The ISO date at the entrances."""
    return at.astimezone(house.settings.zone).date().isoformat()
