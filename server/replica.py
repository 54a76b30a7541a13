"""How far a streaming replica is behind, and whether pages may be read there just now.

Log positions are compared, and the time is this process's own monotonic clock: no other host's clock, no privileges and
no heartbeat row are needed. A replica that has replayed what the primary had written at a moment shows everything that
was committed before that moment; how long ago that was bounds how old its pages are. A replica that is cut off falls
behind by this measure at once, while by its own it would look idle (docs/decisions/0140).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger("gatehouse.replica")

AWAY_S = 10.0  # a replica that failed is not asked again for so long
MOST_SAMPLES = 64
_WRITTEN = text("SELECT CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS bigint)")
_REPLAYED = text(
    "SELECT CASE WHEN pg_is_in_recovery() THEN CAST(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS bigint) END"
)


class Replica:
    """A replica beside its primary. Threads may share it."""

    def __init__(
        self,
        primary: Engine,
        engine: Engine,
        lag_s: float,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pages may be at most *lag_s* old. Nothing connects before the first question."""
        self.engine = engine
        self._primary, self._lag_s, self._monotonic_s = primary, lag_s, monotonic_s
        self._asking = threading.Lock()
        self._samples: deque[tuple[float, int]] = deque(maxlen=MOST_SAMPLES)  # when, and what was written by then
        self._shows_until_s: float | None = None  # everything that was committed before then can be read there
        self._ask_next_s = float("-inf")
        self._was_used = False

    def behind_s(self) -> float | None:
        """The most by which what can be read there is older than now; None when that is not known."""
        self._look()
        shows = self._shows_until_s
        return None if shows is None else max(0.0, self._monotonic_s() - shows)

    def is_fresh(self) -> bool:
        """Whether a page may be read there now."""
        behind = self.behind_s()
        is_used = behind is not None and behind <= self._lag_s
        if is_used != self._was_used:
            self._was_used = is_used
            log.info("replica %s behind_s=%s", "in use" if is_used else "set aside", behind)
        return is_used

    def failed(self) -> None:
        """It did not answer: leave it alone for a while."""
        self._shows_until_s, self._ask_next_s = None, self._monotonic_s() + AWAY_S

    def _look(self) -> None:
        """Compare the two logs, unless that was done just now or another thread is at it."""
        if self._monotonic_s() < self._ask_next_s or not self._asking.acquire(blocking=False):
            return
        try:
            self._compare()
        finally:
            self._asking.release()

    def _compare(self) -> None:
        now_s = self._monotonic_s()  # before the question: the answer holds for this moment and for later ones
        self._ask_next_s = now_s + self._lag_s / 5
        try:
            self._samples.append((now_s, _position(self._primary, _WRITTEN)))
        except SQLAlchemyError:
            return  # nothing new is known, so the replica counts as further and further behind
        try:
            replayed = _position(self.engine, _REPLAYED)
        except SQLAlchemyError as error:
            log.warning("replica away fault=%s", type(error).__name__)
            self.failed()
            return
        shown = [at_s for at_s, written in self._samples if written <= replayed]
        if shown and (self._shows_until_s is None or shown[-1] > self._shows_until_s):
            self._shows_until_s = shown[-1]


def _position(engine: Engine, question: object) -> int:
    """A place in the log, in bytes; -1 where there is none (a replica that was promoted)."""
    with engine.connect() as connection:
        found = connection.execute(question).scalar_one()  # type: ignore[call-overload]
    return -1 if found is None else int(found)
