"""One exchange: appends what a kiosk sent and notes how it is, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import JSON, Table, and_, bindparam, exists, func, insert, select, update
from sqlalchemy.orm import Session

from protocol.exchange import Upload
from protocol.passage import Header
from server.audit import Thing, audit
from server.bundles.manifests import NEWEST, named_scopes
from server.db import UtcDateTime
from server.faults.reporting import STAFF_EVENT, report_by_staff
from server.ingest.appending import HELD_COLUMNS, MOVE, Appended, Held, Result, append
from server.ingest.devices import MOST_MS, moment, offset_ms, plain, require_active
from server.ingest.early import keep_early
from server.ingest.models import Epoch, Fork, JournalBoot
from server.ingest.prepared import Prepared
from server.ingest.statements import Statement, run_all
from server.kiosks.models import Kiosk, KioskState
from server.kiosks.workflow import note_contact
from server.tampering.workflow import raise_case

_NOT_IN_SERVICE = frozenset({KioskState.ENROLLED.value, KioskState.PROVISIONED.value})  # what note_contact moves on
LONGEST_AGO = timedelta(days=3650)  # an opening test before this was never done, or its clock was


_BOOTS, _KIOSKS = cast(Table, JournalBoot.__table__), cast(Table, Kiosk.__table__)
_FORKS, _EPOCHS = cast(Table, Fork.__table__), cast(Table, Epoch.__table__)
_of_boot = and_(_BOOTS.c.kiosk_id == bindparam("kiosk"), _BOOTS.c.boot == bindparam("of_boot"))
_LOCK = Statement(
    select(_KIOSKS.c.state, _KIOSKS.c.venue_id, _KIOSKS.c.last_sequence, *HELD_COLUMNS)
    .join_from(_KIOSKS, HELD_COLUMNS[0].table, HELD_COLUMNS[0] == _KIOSKS.c.id)
    .where(_KIOSKS.c.id == bindparam("kiosk"))
    .with_for_update()
)
_SEEN = Statement(
    select(
        select(_BOOTS.c.mono_ms).where(_of_boot).scalar_subquery(),
        exists().where(_FORKS.c.kiosk_id == bindparam("kiosk")),
        exists().where(_EPOCHS.c.kiosk_id == bindparam("kiosk"), _EPOCHS.c.epoch == bindparam("named")),
        NEWEST.scalar_subquery(),
    )
)
_FIRST_SEEN = Statement(
    insert(_BOOTS).values(
        kiosk_id=bindparam("kiosk"),
        boot=bindparam("of_boot"),
        mono_ms=bindparam("now_ms"),
        first_seen_at=bindparam("now"),
    )
)
_NEWS = Statement(update(_BOOTS).where(_of_boot).values(mono_ms=bindparam("now_ms")))
_NO_NEWS = Statement(
    update(_KIOSKS).where(_KIOSKS.c.id == bindparam("kiosk")).values(last_sequence=bindparam("sequence"))
)
_NOTE = Statement(
    update(_KIOSKS)
    .where(_KIOSKS.c.id == bindparam("kiosk"))
    .values(
        last_sequence=bindparam("sequence"),
        last_seen_at=bindparam("now"),
        unsent_count=bindparam("unsent"),
        oldest_unsent_at=bindparam("oldest"),
        bundle_version=bindparam("bundle"),
        app_version=bindparam("app"),
        clock_offset_ms=bindparam("offset_ms"),
        opening_test_at=func.coalesce(bindparam("tested", type_=UtcDateTime()), _KIOSKS.c.opening_test_at),
        health=bindparam("told", type_=JSON()),
    )
)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What one exchange did."""

    appended: Appended
    is_news: (
        bool  # False: an older upload came again; it was appended where new, and says nothing of the kiosk's health
    )
    is_copied: bool  # a second history of this kiosk came in once, by whichever of the two devices
    bundle_version: int  # that it should hold; 0 while it has none


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
    connection = writing.connection()
    found = _LOCK.row(connection, {"kiosk": upload.kiosk})
    if found is None:  # it did not come by enrolment, and this is its first exchange
        kiosk = _kiosk(writing, upload.kiosk, is_locked=True)
        state, venue, last, journal = kiosk.state, kiosk.venue_id, kiosk.last_sequence, None
    else:
        state, venue, last, *held = found
        journal = Held(*held)
    require_active(KioskState(state))
    before = last or 0
    named = upload.records[-1].epoch if upload.records else b""
    asked = {"kiosk": upload.kiosk, "of_boot": upload.boot, "named": named, **named_scopes(upload.kiosk, venue)}
    last_ms, is_copied, is_known, version = _SEEN.row(connection, asked) or (None, False, False, None)
    known = frozenset((named,)) if is_known else frozenset()
    appended = append(writing, upload, prepared, now, as_sent=as_sent, journal=journal, known_epochs=known)
    if upload.early and appended.result is Result.OK and not was_carried:
        keep_early(writing, upload, venue, Upload.envelope_of(as_sent), appended.sequence, now)
    reported = [
        Header.from_bytes(one.record.header)
        for one in prepared
        if one.gist is not None and one.gist.event == STAFF_EVENT and before < one.gist.sequence <= appended.sequence
    ]
    if reported:
        report_by_staff(writing, _kiosk(writing, upload.kiosk), reported, now)
    # made after all we heard of in its boot, whose moment is remembered; otherwise an older upload came again
    is_news = last_ms is None or upload.mono_ms > last_ms
    changes = [MOVE] if appended.new_records else []
    if is_news:
        changes.append(_FIRST_SEEN if last_ms is None else _NEWS)
    if not was_carried:
        changes.append(_NOTE if is_news else _NO_NEWS)
    run_all(connection, tuple(changes), _noted(upload, appended, now))
    if was_carried:
        _note_carried(_kiosk(writing, upload.kiosk), upload, appended)
    elif is_news and upload.bundle_version and state in _NOT_IN_SERVICE:
        note_contact(writing, _kiosk(writing, upload.kiosk), now)
    if appended.new_fork is not None:
        kiosk = _kiosk(writing, upload.kiosk)
        audit(
            writing,
            "kiosk.forked",
            Thing("kiosk", upload.kiosk.hex(), kiosk.door.venue.area.path),
            f"a second history from record {appended.new_fork.sequence} on: was its card copied or restored?",
            actor=f"kiosk:{upload.kiosk.hex()}",
            at=now,
        )
        raise_case(writing, kiosk, appended.new_fork, now)
    return Exchanged(appended, is_news, bool(is_copied) or appended.new_fork is not None, version or 0)


def _kiosk(writing: Session, kiosk: bytes, *, is_locked: bool = False) -> Kiosk:
    """The kiosk as it is now, as an object: for what does not happen in every exchange."""
    mine = select(Kiosk).where(Kiosk.id == kiosk).execution_options(populate_existing=True)
    return writing.scalars(mine.with_for_update() if is_locked else mine).one()


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
    kiosk.last_sequence = appended.sequence


def _noted(upload: Upload, appended: Appended, now: datetime) -> dict[str, object]:
    """The values of MOVE and of the statements above."""
    all_sent = appended.result is Result.OK and upload.head_sequence <= appended.sequence
    return {
        "kiosk": upload.kiosk,
        "of_boot": upload.boot,
        "now_ms": upload.mono_ms,
        "now": now,
        "sequence": appended.sequence,
        "its_hash": appended.head,
        "unsent": min(max(0, upload.head_sequence - appended.sequence), 2**31 - 1),
        "oldest": None if all_sent or upload.oldest_unsent_ms is None else moment(upload.oldest_unsent_ms),
        "bundle": min(upload.bundle_version, 2**31 - 1),
        "app": plain(upload.app_version, 40),
        "offset_ms": offset_ms(upload.sent_at_ms, now),
        "tested": _opening_test_at(upload, now),
        "told": {
            "parts": {plain(part, 64): plain(state, 64) for part, state in upload.health},
            "faults": [plain(fault, 64) for fault in upload.faults],
        },
    }
