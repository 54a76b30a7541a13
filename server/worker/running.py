"""Runs each action when it is due; several workers on one database share the work and never do it twice at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.errors import ProtocolError
from server.context import House
from server.worker.actions import ACTIONS, Action, Done
from server.worker.models import WorkerRun

log = logging.getLogger("gatehouse.worker")

LOOK_EVERY_S = 0.5  # how often the worker asks what is due
MOST_AT_ONCE = 20  # runs in a row of an action that asks for more; then the others have their turn
OUTCOME_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of one action."""

    action: str
    succeeded: bool
    words: str


class Worker:
    """Runs *actions* against one house, by the house's own clock."""

    def __init__(self, house: House, actions: Sequence[Action] = ACTIONS) -> None:
        self._house, self._actions = house, actions
        self._trouble: dict[str, str] = {}  # action -> what it failed with last, to log a change once

    def run(self, stop: threading.Event) -> None:
        """Run what is due until *stop* is set; an action under way is finished first."""
        log.info("worker start actions=%d", len(self._actions))
        while not stop.is_set():
            try:
                self.run_due(stop)
            except Exception:  # the database is away: this loop must live until it is back
                log.exception("worker fault")
            stop.wait(LOOK_EVERY_S)
        log.info("worker stop")

    def run_due(self, stop: threading.Event | None = None) -> list[Ran]:
        """Run every action that is due, each once or until it asks for no more; returns what was run."""
        ran = []
        for action in self._actions:
            if stop is not None and stop.is_set():
                break
            if not self._is_due(action):
                continue
            # held while it runs, so that a run that takes longer than its interval is not joined by another worker's
            with self._house.database.holding(f"gatehouse action {action.name}") as is_ours:
                if is_ours and self._claim(action):
                    ran.append(self._run(action))
        return ran

    def _is_due(self, action: Action) -> bool:
        with self._house.database.reading() as reading:
            row = reading.get(WorkerRun, action.name)
            return row is None or _is_due(row, self._house.now(), action)

    def _claim(self, action: Action) -> bool:
        """Take the next run of *action* if it is due; nobody else has it then until its time comes again."""
        now = self._house.now()
        with self._house.database.writing() as writing:
            row = _locked(writing, action.name)
            if row is None:
                row = WorkerRun(action=action.name, next_at=now, runs=0, failures=0, outcome="")
                writing.add(row)
            elif not _is_due(row, now, action):
                return False
            row.started_at, row.next_at = now, now + action.every
            row.runs += 1
        return True

    def _run(self, action: Action) -> Ran:
        try:
            done = self._repeatedly(action)
        except (GatehouseError, ProtocolError) as error:
            ran = Ran(action.name, False, f"{error.code}: {error.message}"[:OUTCOME_CHARACTERS])
        except Exception as error:  # one action's fault never stops the others
            log.exception("worker fault action=%s", action.name)
            ran = Ran(action.name, False, f"fault: {type(error).__name__}")
        else:
            ran = Ran(action.name, True, done.words[:OUTCOME_CHARACTERS])
        self._log(ran)
        self._note(ran)
        return ran

    def _repeatedly(self, action: Action) -> Done:
        for _ in range(MOST_AT_ONCE):
            done = action.run(self._house)
            if not done.again:
                break
        return done

    def _note(self, ran: Ran) -> None:
        now = self._house.now()
        with self._house.database.writing() as writing:
            row = writing.get_one(WorkerRun, ran.action)
            row.finished_at, row.outcome = now, ran.words
            row.failures = 0 if ran.succeeded else row.failures + 1
            if ran.succeeded:
                row.succeeded_at = now

    def _log(self, ran: Ran) -> None:
        before = self._trouble.get(ran.action)
        if ran.succeeded:
            if self._trouble.pop(ran.action, None) is not None:
                log.info("action back action=%s %s", ran.action, ran.words)
        elif before != ran.words:
            self._trouble[ran.action] = ran.words
            log.warning("action failed action=%s %s", ran.action, ran.words)


def _is_due(row: WorkerRun, now: datetime, action: Action) -> bool:
    """Its time has come - or lies further ahead than it can: then the clock was set back."""
    return row.next_at <= now or row.next_at > now + action.every + timedelta(seconds=1)


def _locked(writing: Session, name: str) -> WorkerRun | None:
    return writing.scalars(select(WorkerRun).where(WorkerRun.action == name).with_for_update()).one_or_none()


def last_runs(reading: Session) -> Sequence[WorkerRun]:
    """How every action did, for the console and `gatehouse worker --status`."""
    return reading.scalars(select(WorkerRun).order_by(WorkerRun.action)).all()
