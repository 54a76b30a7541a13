"""Slows down machines that fail again and again, in the words that machines are answered with."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from server.context import house
from server.ingest.refusals import Refused
from server.web import throttle
from server.web.throttle import source_of


class Throttle:
    """A shared throttle (server/web/throttle.py) that refuses by itself.

    Call it while the request's own session holds no transaction: it counts in one of its own, so that a failure
    counts although the request's changes are rolled back.
    """

    def __init__(self, name: str, limit: int, window: timedelta) -> None:
        self._counts = throttle.Throttle(name, limit, window)

    def check(self, address: str | None, now: datetime, thing: str = "", *, reading: Session | None = None) -> None:
        """Raise Refused (429) while *address* has to wait; *thing* counts one address apart for each thing it names.

        It looks through *reading* when the caller has such a session open anyway.
        """
        with nullcontext(reading) if reading else house().database.reading() as looking:
            wait_s = self._counts.seconds_to_wait(looking, _source(address, thing), now)
        if wait_s:
            raise Refused(
                429,
                "too_many_failures",
                "Too many failed attempts. Wait a little and try again.",
                retry_after_s=wait_s,
            )

    def key_of(self, address: str | None, thing: str = "") -> bytes:
        """What failures of *address* are counted under; while that has no row, `check` refuses nothing."""
        return self._counts.key_of(_source(address, thing))

    def note_failure(self, address: str | None, now: datetime, thing: str = "") -> None:
        """Count one failure of *address*."""
        with house().database.writing() as writing:
            self._counts.note(writing, _source(address, thing), now)


def _source(address: str | None, thing: str) -> str:
    return f"{source_of(address)} {thing}" if thing else source_of(address)
