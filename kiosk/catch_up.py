"""What the next upload carries: a run of records made ready while the server works, and the newest ones out of order.

After a month without network a hundred thousand records wait. The next run is read and packed while the server still
has the last one; a run is only as long as goes through in about a second, so that what is new need not wait for it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from protocol.exchange import MAX_EARLY_BYTES, Takes, pack
from protocol.journal import Record

BATCH_BYTES = 512 * 1024  # in ordinary times, and to begin with
MOST_BYTES = 2 * 1024 * 1024  # well below the server's limit
LEAST_BYTES = 32 * 1024
EXCHANGE_S = 1.0  # what one exchange of a catch-up may take; a new passage waits for one, and goes with the next


class KeepsRecords(Protocol):
    """What is needed of a journal (kiosk.store.Journal)."""

    def held(self) -> tuple[int, bytes]: ...
    def head(self) -> tuple[int, bytes]: ...
    def run_after(
        self, sequence: int, limit_records: int, limit_bytes: int
    ) -> tuple[tuple[Record, ...], bytes | None]: ...
    def newest(self, after: int, most_records: int, most_bytes: int) -> tuple[Record, ...]: ...


@dataclass(frozen=True, slots=True)
class Run:
    """Records that follow (`after`, `after_hash`), packed as they travel."""

    after: int
    after_hash: bytes
    records: tuple[Record, ...]
    packed: bytes
    last_hash: bytes  # the chain hash after the last one

    @property
    def last(self) -> int:
        """The sequence of the last record; `after` when there is none."""
        return self.after + len(self.records)


def next_bytes(sent: int, took_s: float) -> int:
    """How much to send after *sent* bytes of records took *took_s*: at most twice as much, and within the bounds."""
    return int(max(LEAST_BYTES, min(MOST_BYTES, 2 * sent, sent * EXCHANGE_S / max(took_s, 0.001))))


class CatchUp:
    """Makes the runs of one journal, for one thread that sends them."""

    def __init__(self, journal: KeepsRecords, batch: int) -> None:
        """*batch* is how many records one upload has when no more than that is waiting."""
        self._journal, self._batch = journal, batch
        self._bytes = BATCH_BYTES
        self._early_through = 0
        self._ahead: Future[Run] | None = None
        self._maker: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """End what is being made ready."""
        if self._maker is not None:
            self._maker.shutdown(cancel_futures=True)
            self._maker = None

    def next_run(self, most_records: int) -> Run:
        """What to send now, at most *most_records*; raises JournalError."""
        after, after_hash = self._journal.held()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.exception() is None:
            run = ahead.result()
            if (run.after, run.after_hash) == (after, after_hash) and 0 < len(run.records) <= most_records:
                return run
        waiting = self._journal.head()[0] - after
        if waiting <= self._batch:
            return self._make(after, after_hash, min(self._batch, most_records), BATCH_BYTES)
        return self._make(after, after_hash, most_records, self._bytes)

    def make_ready(self, sent: Run, most_records: int) -> None:
        """Read and pack what follows *sent*, in a thread of its own, while *sent* is under way."""
        if self._journal.head()[0] - sent.last <= self._batch:
            return
        if self._maker is None:
            self._maker = ThreadPoolExecutor(1, "catch-up")
        self._ahead = self._maker.submit(self._make, sent.last, sent.last_hash, most_records, self._bytes)

    def early(self, run: Run, takes: Takes) -> tuple[Record, ...]:
        """The newest records that *run* does not reach and that were not sent early before; none to older servers."""
        if not takes.early or not run.records or run.last >= self._journal.head()[0]:
            return ()
        return self._journal.newest(max(run.last, self._early_through), takes.early, MAX_EARLY_BYTES)

    def went(self, run: Run, early: tuple[Record, ...], took_s: float) -> None:
        """*run* was taken within *took_s*, and *early* with it."""
        if early:
            self._early_through = early[-1].sequence
        if self._journal.head()[0] > run.last:
            self._bytes = next_bytes(_weight(run.records), took_s)

    def failed(self) -> None:
        """Nothing of what was sent counts as taken; begin again with less."""
        self._bytes = min(self._bytes, BATCH_BYTES)
        self._early_through = 0

    def _make(self, after: int, after_hash: bytes, most_records: int, most_bytes: int) -> Run:
        records, last_hash = self._journal.run_after(after, most_records, most_bytes)
        return Run(after, after_hash, records, pack(records), last_hash or after_hash)


def _weight(records: tuple[Record, ...]) -> int:
    return sum(len(r.header) + len(r.sealed) + len(r.wrapped) + 80 for r in records)
