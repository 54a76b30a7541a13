"""One exchange: appends what a kiosk sent and notes how it is, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Table, and_, bindparam, exists, select, update
from sqlalchemy.orm import Session

from protocol.exchange import Upload
from protocol.passage import Header
from server.audit import Thing, audit
from server.faults.reporting import STAFF_EVENT, report_by_staff
from server.ingest.appending import Appended, Result, append
from server.ingest.devices import MOST_MS, moment, offset_ms, plain, require_active
from server.ingest.early import keep_early
from server.ingest.models import Fork, JournalBoot
from server.ingest.prepared import Prepared
from server.kiosks.models import Kiosk, KioskState
from server.kiosks.workflow import note_contact
from server.tampering.workflow import raise_case

LONGEST_AGO = timedelta(days=3650)  # an opening test before this was never done, or its clock was


_BOOTS = cast(Table, JournalBoot.__table__)
_of_boot = and_(_BOOTS.c.kiosk_id == bindparam("kiosk"), _BOOTS.c.boot == bindparam("of_boot"))
_SEEN = select(
    select(_BOOTS.c.mono_ms).where(_of_boot).scalar_subquery(),
    exists().where(cast(Table, Fork.__table__).c.kiosk_id == bindparam("kiosk")),
)
_NEWS = update(_BOOTS).where(_of_boot).values(mono_ms=bindparam("now_ms"))


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What one exchange did."""

    appended: Appended
    is_news: (
        bool  # False: an older upload came again; it was appended where new, and says nothing of the kiosk's health
    )
    is_copied: bool  # a second history of this kiosk came in once, by whichever of the two devices


def take(
    writing: Session,
    upload: Upload,
    prepared: tuple[Prepared, ...],
    now: datetime,
    *,
    as_sent: bytes,
    was_carried: bool = False,
) -> Exchanged:
    """Append the upload and update the kiosk's row. Raises Refused when the kiosk was suspended meanwhile.

    An upload that *was_carried* here in a file says what the kiosk has left to send, and nothing of its being alive.
    """
    kiosk = writing.scalars(select(Kiosk).where(Kiosk.id == upload.kiosk).with_for_update()).one()
    require_active(KioskState(kiosk.state))
    before = kiosk.last_sequence or 0
    appended = append(writing, upload, prepared, now, as_sent=as_sent)
    if upload.early and appended.result is Result.OK and not was_carried:
        keep_early(writing, upload, kiosk.venue_id, Upload.envelope_of(as_sent), appended.sequence, now)
    reported = [
        Header.from_bytes(one.record.header)
        for one in prepared
        if one.gist is not None and one.gist.event == STAFF_EVENT and before < one.gist.sequence <= appended.sequence
    ]
    if reported:
        report_by_staff(writing, kiosk, reported, now)
    is_news, is_copied = _seen(writing, upload, now)
    if was_carried:
        _note_carried(kiosk, upload, appended)
    kiosk.last_sequence = appended.sequence
    if is_news and not was_carried:
        _note(kiosk, upload, appended, now)
        note_contact(writing, kiosk, now)
    if appended.new_fork is not None:
        audit(
            writing,
            "kiosk.forked",
            Thing("kiosk", upload.kiosk.hex(), kiosk.door.venue.area.path),
            f"a second history from record {appended.new_fork.sequence} on: was its card copied or restored?",
            actor=f"kiosk:{upload.kiosk.hex()}",
            at=now,
        )
        raise_case(writing, kiosk, appended.new_fork, now)
    return Exchanged(appended, is_news, is_copied)


def _seen(writing: Session, upload: Upload, now: datetime) -> tuple[bool, bool]:
    """Whether this upload was made after all we heard of in its boot (its moment is remembered), and whether the
    kiosk ever told a second history."""
    connection, of_boot = writing.connection(), {"kiosk": upload.kiosk, "of_boot": upload.boot}
    last_ms, is_copied = connection.execute(_SEEN, of_boot).one()
    if last_ms is None:
        values = {"kiosk_id": upload.kiosk, "boot": upload.boot, "mono_ms": upload.mono_ms, "first_seen_at": now}
        connection.execute(_BOOTS.insert(), values)
        return True, bool(is_copied)
    is_news = bool(upload.mono_ms > last_ms)
    if is_news:
        connection.execute(_NEWS, {**of_boot, "now_ms": upload.mono_ms})
    return is_news, bool(is_copied)


def _opening_test_at(upload: Upload, now: datetime) -> datetime | None:
    """When the kiosk's newest opening test was, by our clock; None when it tells of none that can be."""
    told = dict(upload.health).get("opening_test_at_ms", "")
    if not (told.isascii() and told.isdigit() and len(told) <= 15):
        return None
    ago = timedelta(milliseconds=max(0, min(upload.sent_at_ms, MOST_MS) - int(told)))
    return now - ago if ago < LONGEST_AGO else None


def _note_carried(kiosk: Kiosk, upload: Upload, appended: Appended) -> None:
    """What is left unsent, counted from the newest record anybody told us of: the file may be an old one."""
    newest = max(upload.head_sequence, (kiosk.last_sequence or 0) + (kiosk.unsent_count or 0))
    kiosk.unsent_count = min(max(0, newest - appended.sequence), 2**31 - 1)
    if kiosk.unsent_count == 0:
        kiosk.oldest_unsent_at = None


def _note(kiosk: Kiosk, upload: Upload, appended: Appended, now: datetime) -> None:
    kiosk.last_seen_at = now
    kiosk.unsent_count = min(max(0, upload.head_sequence - appended.sequence), 2**31 - 1)
    all_sent = appended.result is Result.OK and upload.head_sequence <= appended.sequence
    oldest = None if all_sent or upload.oldest_unsent_ms is None else moment(upload.oldest_unsent_ms)
    kiosk.oldest_unsent_at = oldest
    kiosk.bundle_version = min(upload.bundle_version, 2**31 - 1)
    kiosk.app_version = plain(upload.app_version, 40)
    kiosk.clock_offset_ms = offset_ms(upload.sent_at_ms, now)
    kiosk.opening_test_at = _opening_test_at(upload, now) or kiosk.opening_test_at
    kiosk.health = {
        "parts": {plain(part, 64): plain(state, 64) for part, state in upload.health},
        "faults": [plain(fault, 64) for fault in upload.faults],
    }
