"""What the worker does and how often; each action is one call that may fail without troubling the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete

from server.accounts.registering import AT_ONCE as REGISTRATIONS_AT_ONCE
from server.accounts.registering import forget_unused
from server.anomalies.watching import watch
from server.backups.making import back_up_if_due, reread
from server.bundles.calls import KEEP_NONCES
from server.bundles.models import CallNonce
from server.bundles.parts import vault_keys
from server.bundles.publishing import publish_all
from server.cases.ticking import tick
from server.checkin.counting import drop_old_references
from server.checks.daily import AT_ONCE as CHECKS_AT_ONCE
from server.checks.daily import fill_in, open_checks
from server.context import House
from server.faults.reporting import follow_kiosks
from server.ingest.early import forget_old
from server.ingest.partitions import AHEAD_DAYS, day_of, ensure_days
from server.kiosks.fleet_counting import count_new
from server.kiosks.models import EnrolmentCode
from server.quarantine.workflow import raise_cases
from server.queries.deciding import close_expired
from server.queries.heads import keep_head
from server.queries.trail import follow_log, signing_key
from server.retention.destroying import count_days, destroy_due, follow_the_vault
from server.vault.client import VaultClient
from server.vault.indexing import index_new
from server.vault.lag import note_lag
from server.vault.workflow import follow_lag

KEEP_UNUSED_CODES = timedelta(days=7)  # enrolment codes nobody used; the audit trail keeps that they were made
KEEP_EARLY = timedelta(days=30)  # the newest records of a kiosk that never sent what lies before them
ARCHIVE_QUERIES_AFTER = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Done:
    """What one run did, in words for the table of runs; `again` asks to be called again at once."""

    words: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do, and the time from one run's start to the next."""

    name: str
    every: timedelta
    run: Callable[[House], Done]


def publish_bundles(house: House) -> Done:
    """Publish parts of bundles that changed (codes revoked, names, staff, keys)."""
    return Done(f"parts={publish_all(house, house.now())}")


def index_passages(house: House) -> Done:
    """Have the vault index what came."""
    with house.database.reading() as reading:
        run = index_new(reading, VaultClient(house.settings.vault_socket_path))
    note_lag(house.database, run, house.now())
    return Done(f"records={run.records} problems={run.problems} behind={run.behind}", again=not run.is_done)


def follow_vault_log(house: House) -> Done:
    """Copy the vault's access log, verified line by line, and its signed head: cutting it shows."""
    key = signing_key(vault_keys(house))
    client = VaultClient(house.settings.vault_socket_path)
    tree_head = client.tree_head()  # before the lines, so that our copy reaches it
    followed = follow_log(house.database, client, key, house.now())
    problem = followed.problem or keep_head(house.database, tree_head, key, house.now())
    again = follow_the_vault(house, followed.head.sequence - followed.new_lines) if followed.new_lines else 0
    return Done(f"lines={followed.new_lines} destroyed_again={again} problem={problem or 'none'}")


def follow_all_destructions(house: House) -> Done:
    """Hold what is here against every destruction in the vault's log: keys can come back long after their line did."""
    return Done(f"destroyed_again={follow_the_vault(house)}")


def watch_looks(house: House) -> Done:
    """Open a case for each odd look that has none yet."""
    return Done(f"cases={watch(house, house.now())}")


def expire_queries(house: House) -> Done:
    """Note which queries have run out, and put old ones away."""
    now = house.now()
    with house.database.writing() as writing:
        expired, archived = close_expired(writing, now, now - ARCHIVE_QUERIES_AFTER)
    return Done(f"expired={expired} archived={archived}")


def ring_clocks(house: House) -> Done:
    """Escalate cases whose deadline is over, and take the steps that only time takes."""
    ticked = tick(house, house.now())
    return Done(f"escalated={ticked.escalated} stepped={ticked.stepped}", again=not ticked.is_done)


def follow_kiosks_faults(house: House) -> Done:
    """Bring the faults in line with what kiosks said just now."""
    opened, healed = follow_kiosks(house, house.now())
    return Done(f"opened={opened} healed={healed}")


def daily_checks(house: House) -> Done:
    """Open today's checks, and fill in those that the kiosks have done themselves."""
    now = house.now()
    opened, done = open_checks(house, now), fill_in(house, now)
    return Done(f"opened={opened} done={done}", again=opened == CHECKS_AT_ONCE)


def forget_nonces(house: House) -> Done:
    """Forget signed calls whose time window is over."""
    with house.database.writing() as writing:
        gone = writing.execute(delete(CallNonce).where(CallNonce.seen_at < house.now() - KEEP_NONCES))
    return Done(f"forgotten={_count(gone)}")


def drop_unused_codes(house: House) -> Done:
    """Delete enrolment codes that ran out a week ago and were never used."""
    with house.database.writing() as writing:
        gone = writing.execute(
            delete(EnrolmentCode).where(
                EnrolmentCode.used_at.is_(None), EnrolmentCode.expires_at < house.now() - KEEP_UNUSED_CODES
            )
        )
    return Done(f"dropped={_count(gone)}")


def forget_registrations(house: House) -> Done:
    """Forget the accounts that operators made for themselves and never used."""
    gone = forget_unused(house)
    return Done(f"forgotten={gone}", again=gone == REGISTRATIONS_AT_ONCE)


def drop_references(house: House) -> Done:
    """Forget which check-in by phone a visitor's pass stood for."""
    with house.database.writing() as writing:
        return Done(f"dropped={drop_old_references(writing, house.now())}")


def keep_days(house: House) -> Done:
    """Have a place ready for the records of the next days, count those that are over, destroy what is due."""
    today = day_of(house.now())
    made = ensure_days(house.database.engine, today, AHEAD_DAYS)
    counted = count_days(house)
    gone = destroy_due(house)
    words = f"made={made} counted={counted} destroyed={gone.epochs} held={gone.held} dropped={gone.rows_dropped}"
    return Done(words, again=not gone.is_done)


def watch_quarantine(house: House) -> Done:
    """Tell somebody of records that sit in quarantine, and forget what came early and was never reached."""
    now = house.now()
    opened = raise_cases(house, now)
    with house.database.writing() as writing:
        return Done(f"opened={opened} early_dropped={forget_old(writing, now - KEEP_EARLY)}")


def back_up(house: House) -> Done:
    """Make a backup when the last one is old enough, and restore it aside."""
    return Done(back_up_if_due(house))


def reread_backups(house: House) -> Done:
    """Read every backup from its disk once more; one that changed raises a case."""
    return Done(f"changed={len(list(reread(house)))}")


def watch_index(house: House) -> Done:
    """Raise a case when the vault's index stays behind, and close it when it has caught up."""
    opened = follow_lag(house, timedelta(minutes=house.settings.cases.index_minutes))
    return Done("" if opened is None else f"opened={int(opened)}")


def count_passages(house: House) -> Done:
    """Count the passages that came, hour by hour and area by area."""
    counted, again = count_new(house, house.now())
    return Done(f"counted={counted}", again=again)


def _count(result: object) -> int:
    return int(getattr(result, "rowcount", 0))


ACTIONS = (
    Action("publish_bundles", timedelta(seconds=5), publish_bundles),
    Action("index_passages", timedelta(seconds=2), index_passages),
    Action("watch_index", timedelta(minutes=1), watch_index),
    Action("follow_vault_log", timedelta(minutes=1), follow_vault_log),
    Action("follow_all_destructions", timedelta(days=1), follow_all_destructions),
    Action("watch_looks", timedelta(minutes=5), watch_looks),
    Action("expire_queries", timedelta(minutes=1), expire_queries),
    Action("ring_clocks", timedelta(seconds=30), ring_clocks),
    Action("keep_days", timedelta(hours=1), keep_days),
    Action("follow_faults", timedelta(minutes=1), follow_kiosks_faults),
    Action("daily_checks", timedelta(minutes=5), daily_checks),
    Action("watch_quarantine", timedelta(minutes=10), watch_quarantine),
    Action("forget_nonces", timedelta(minutes=10), forget_nonces),
    Action("forget_registrations", timedelta(hours=6), forget_registrations),
    Action("drop_unused_codes", timedelta(hours=6), drop_unused_codes),
    Action("back_up", timedelta(minutes=10), back_up),
    Action("reread_backups", timedelta(days=1), reread_backups),
    Action("count_passages", timedelta(seconds=30), count_passages),
    Action("drop_references", timedelta(hours=1), drop_references),
)
