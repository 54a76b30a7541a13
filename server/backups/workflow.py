"""A backup that failed as a case: support takes it up, and closes it once a later backup was restored whole."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.accounts.rights import Place
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.audit import SYSTEM
from server.backups.models import Backup
from server.cases.alarms import alarm
from server.cases.kernel import find, open_case
from server.cases.machine import Attempt, Field, Guard, holders

SUPPORT = holders(Permission.KIOSKS, Act.PERFORM)


def _stands_whole(attempt: Attempt) -> bool:
    newest = attempt.database.scalars(select(Backup).order_by(Backup.made_at.desc(), Backup.id).limit(1)).first()
    return newest is not None and not newest.outcome


BACKUP_FAILED = alarm(
    "backup",
    "Failed backups",
    found=("failed", "No whole backup"),
    close=("close", "Close: a later backup is whole"),
    closed=("closed", "Closed"),
    clock="mending",
    after=lambda settings: timedelta(hours=settings.cases.fault_repair_hours),
    looks=SUPPORT,
    closes=SUPPORT,
    form=(Field("found", "What was found"),),
    needs_reason=False,
    asks=(Field("cause", "What it was", "long"),),
    guards=(Guard("The newest backup has not been restored whole.", _stands_whole),),
    title_from="found",
)
MACHINES = (BACKUP_FAILED,)


def raise_case(writing: Session, row: Backup, at: datetime) -> None:
    """Open the case of a failed backup, once per backup; nothing where no area exists yet to answer for it."""
    root = writing.scalars(select(Area.path).order_by(func.length(Area.path)).limit(1)).first()
    if root is None or find(writing, BACKUP_FAILED.name, row.id) is not None:
        return
    open_case(
        writing,
        BACKUP_FAILED,
        by=SYSTEM,
        at=at,
        title=row.outcome.partition(":")[0],
        place=Place(root),
        facts={"found": row.outcome},
        key=row.id,
    )
