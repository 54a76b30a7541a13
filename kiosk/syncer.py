"""Keeps the server up to date: sends what is unsent, believes only signed receipts, fetches new bundles.

One thread of its own; the station never waits for it. Whatever goes wrong has a code and a sentence for the screen, and
nothing leaves the journal but what a verified receipt covers.
"""

from __future__ import annotations

import base64
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from config.kiosk import SyncSettings
from kiosk.bundle_store import Bundle, BundleStore
from kiosk.catch_up import CatchUp, KeepsRecords, Run
from kiosk.enrol import Identity, app_version
from kiosk.link_problems import LinkProblem
from kiosk.link_state import Link, LinkState
from kiosk.screen_state import Text
from kiosk.server_client import ServerClient
from kiosk.store import JournalError
from protocol.aside import Aside
from protocol.bundle import MANIFEST_PATH, MAX_PART_BYTES, PART_PATH
from protocol.errors import ProtocolError
from protocol.exchange import CONTENT_TYPE, COPIED, EXCHANGE_PATH, MOST_RECORDS, Answer, Call, Receipt, Takes, Upload
from protocol.journal import Record
from protocol.passage import Stamp
from protocol.sealing import SealPublicKey

log = logging.getLogger("gatehouse.sync")

PURGE_EVERY_S = 600.0


class SendsFrom(KeepsRecords, Protocol):
    """What the syncer needs of a journal (kiosk.store.Journal)."""

    def unsent_count(self) -> int: ...
    def oldest_unsent_ms(self) -> int | None: ...
    def accept_receipt(self, receipt: Receipt, signed: bytes) -> None: ...
    def rewind_to(self, sequence: int) -> bool: ...
    def note_quarantined(self, quarantined: tuple[tuple[int, str], ...], server_ms: int) -> None: ...
    def keep_quarantined(self, still: Aside) -> None: ...
    def purge(self, keep_ms: int, server_now_ms: int) -> int: ...
    def use_vault_key(self, vault: SealPublicKey) -> None: ...


class TellsTime(Protocol):
    """What the syncer needs of a clock (kiosk.clock.KioskClock)."""

    def stamp(self) -> Stamp: ...
    def server_said(self, server_ms: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Health:
    """How the kiosk's parts are, in one word each, and its open faults; never personal."""

    parts: tuple[tuple[str, str], ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """The link as the screen and the staff panel show it."""

    state: LinkState
    problem: str | None  # code of the newest trouble, None when the last exchange worked
    text: Text | None  # the same in words
    since_success_s: float | None  # by the steady clock; None: not yet in this process
    unsent: int
    oldest_unsent_ms: int | None
    bundle_version: int
    bundle_age_s: int
    server_offset_ms: int | None  # our clock minus the server's, as last measured
    sent: int  # records receipted in this process
    exchanges: int  # that worked, in this process


@dataclass(frozen=True, slots=True)
class Step:
    """What one exchange came to."""

    problem: LinkProblem | None
    more: bool  # more is waiting: go on at once


class Syncer:
    """The sync thread of one kiosk; `step` is one exchange, for tests and for headless kiosks."""

    def __init__(
        self,
        identity: Identity,
        journal: SendsFrom,
        bundles: BundleStore,
        clock: TellsTime,
        settings: SyncSettings,
        *,
        health: Callable[[], Health] = Health,
        on_bundle: Callable[[Bundle], None] = lambda bundle: None,
        on_commands: Callable[[tuple[str, ...]], None] = lambda commands: None,
        client: ServerClient | None = None,
        steady_s: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,  # jitter, not a secret
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._identity, self._journal, self._bundles, self._clock = identity, journal, bundles, clock
        self._settings, self._health, self._on_bundle = settings, health, on_bundle
        self._on_commands = on_commands
        self._client = client or ServerClient(
            identity.enrolment.server_url, timeout_s=settings.timeout_s, ca_file=settings.ca_file
        )
        self._steady_s, self._chance, self._random = steady_s, chance, random_bytes
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._link = Link()
        self._problem: LinkProblem | None = None
        self._bundle_problem: LinkProblem | None = None
        self._is_copied = False  # the server has seen a second history of this kiosk
        self._succeeded_s: float | None = None
        self._purged_s: float | None = None
        self._offset_ms: int | None = None
        self._sent = self._exchanges = 0
        self._catch_up = CatchUp(journal, settings.batch)
        self._takes = Takes()  # what our server says it takes; forgotten at each failure
        self._most_records = MOST_RECORDS  # halved when something on the way refuses large requests
        if bundles.held is not None:
            journal.use_vault_key(bundles.held.vault.seal[0].load())

    # -- the thread --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; call it once."""
        self._thread = threading.Thread(target=self.run, name="sync", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the thread; an exchange under way is given *timeout_s* to end, and its records stay unsent if it does
        not."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._catch_up.close()
        self._client.close()

    def wake(self) -> None:
        """There is a new record: send it now, unless the server is being left in peace after a failure."""
        self._wake.set()

    def run(self) -> None:
        """Exchange until `stop`; this is the loop that must live."""
        while not self._stop.is_set():
            self._wake.clear()
            try:
                step = self.step()
            except Exception:
                log.exception("sync fault")
                step = self._failed(LinkProblem("fault"))
            if step.more:
                continue
            retry_after_s = step.problem.retry_after_s if step.problem else None
            delay_s = self._link.next_try_s(self._settings.interval_s, self._chance(), retry_after_s)
            (self._stop if step.problem else self._wake).wait(delay_s)

    @property
    def is_online(self) -> bool:
        """Whether the server answers; cheap, for the station."""
        return self._link.state is not LinkState.OFFLINE

    def status(self) -> SyncStatus:
        """The link in words and numbers."""
        problem = self._problem or (LinkProblem("copied") if self._is_copied else self._bundle_problem)
        since = self._succeeded_s
        return SyncStatus(
            state=self._link.state,
            problem=problem.code if problem else None,
            text=problem.text if problem else None,
            since_success_s=None if since is None else self._steady_s() - since,
            unsent=self._journal.unsent_count(),
            oldest_unsent_ms=self._journal.oldest_unsent_ms(),
            bundle_version=self._bundles.version,
            bundle_age_s=self._bundles.age_s(),
            server_offset_ms=self._offset_ms,
            sent=self._sent,
            exchanges=self._exchanges,
        )

    # -- one exchange ------------------------------------------------------------------------------------------------

    def step(self) -> Step:
        """Exchange once, and fetch the bundle when it changed. Never raises for what server, network or disk do."""
        try:
            more = self._exchange()
        except LinkProblem as problem:
            return self._failed(problem)
        except JournalError as error:
            return self._failed(LinkProblem("fork" if error.code == "fork" else "journal", error.code))
        if self._problem is not None:
            log.info("sync back kiosk=%s after=%s", self._identity.enrolment.kiosk.hex(), self._problem.code)
        self._problem = None
        self._link = self._link.succeeded()
        self._succeeded_s = self._steady_s()
        self._exchanges += 1
        return Step(None, more)

    def _failed(self, problem: LinkProblem) -> Step:
        if self._problem is None or self._problem.code != problem.code:  # once when it begins, once when it is over
            log.warning("sync trouble kiosk=%s problem=%s", self._identity.enrolment.kiosk.hex(), problem)
        self._problem = problem
        self._link = self._link.failed()
        self._takes = Takes()  # it may be an older server that refused what it does not know
        self._catch_up.failed()
        if problem.code == "too_large" and self._most_records > 1:
            self._most_records = max(1, self._most_records // 2)
        return Step(problem, False)

    def _exchange(self) -> bool:
        """One upload and its answer; True when more is waiting. The steps:

        (1) send what follows the newest receipt, and make the next run ready meanwhile, (2) the answer is our server's
        and for this upload, (3) so is the receipt in it, and it is about us, (4) do what it says, (5) learn time and
        bundle from it.
        """
        most_records = min(self._takes.records, self._most_records)
        run = self._catch_up.next_run(most_records)
        early = self._catch_up.early(run, self._takes)
        upload = self._upload(run, early)
        body = upload.to_bytes(self._identity.key, run.packed)
        self._catch_up.make_ready(run, most_records)
        started_s = self._steady_s()
        raw = self._client.post(EXCHANGE_PATH, body, CONTENT_TYPE)  # (1)
        took_s = self._steady_s() - started_s
        try:
            answer = Answer.from_signed(raw, self._identity.enrolment.server, body)  # (2)
            receipt = Receipt.from_signed(answer.receipt, self._identity.enrolment.server)  # (3)
        except ProtocolError as error:
            raise _unbelieved(error) from error
        if answer.exchange != upload.exchange or receipt.kiosk != upload.kiosk or answer.want != receipt.sequence + 1:
            raise LinkProblem("bad_answer", "exchange, kiosk or sequence differ")
        self._is_copied = COPIED in answer.commands
        self._on_commands(answer.commands)
        self._takes = Takes.from_commands(answer.commands)
        self._obey(answer, receipt, upload)  # (4)
        still_aside = Aside.from_commands(answer.commands)
        if still_aside is not None:
            self._journal.keep_quarantined(still_aside)
        if answer.result == "ok":
            self._catch_up.went(run, early, took_s)
        self._offset_ms = self._clock.server_said(answer.at_ms)  # (5)
        self._purge(answer.at_ms)
        self._follow_bundle(answer)
        return answer.result == "gap" or (bool(run.records) and self._journal.unsent_count() > 0)

    def _upload(self, run: Run, early: tuple[Record, ...]) -> Upload:
        stamp, health = self._clock.stamp(), self._health()
        return Upload(
            kiosk=self._identity.enrolment.kiosk,
            exchange=self._random(16),
            sent_at_ms=stamp.at_ms,
            mono_ms=stamp.mono_ms,
            boot=stamp.boot,
            after_sequence=run.after,
            after_hash=run.after_hash,
            records=run.records,
            head_sequence=self._journal.head()[0],
            oldest_unsent_ms=self._journal.oldest_unsent_ms(),
            bundle_version=self._bundles.version,
            app_version=app_version(),
            health=health.parts,
            faults=health.faults,
            early=early,
        )

    def _obey(self, answer: Answer, receipt: Receipt, upload: Upload) -> None:
        sent_through = upload.after_sequence + len(upload.records)
        if answer.result == "fork":
            raise LinkProblem("fork", f"the server holds another record {receipt.sequence}")
        if answer.result == "gap":
            if receipt.sequence >= upload.after_sequence:  # it is further than we thought: a receipt got lost
                self._journal.accept_receipt(receipt, answer.receipt)
                if receipt.sequence == upload.after_sequence:
                    raise LinkProblem("bad_answer", "a gap where there is none")
            elif not self._journal.rewind_to(receipt.sequence):
                raise LinkProblem("server_lost_records", f"it is at {receipt.sequence}")
            else:
                log.warning("sync rewound through=%d from=%d", receipt.sequence, upload.after_sequence)
            return
        if answer.result != "ok":
            raise LinkProblem("bad_answer", "a result that is not known")
        if receipt.sequence < sent_through:
            raise LinkProblem("bad_answer", "the receipt covers less than was sent")
        if answer.quarantined:  # before the receipt: after it, nobody would tell us again
            self._journal.note_quarantined(answer.quarantined, answer.at_ms)
        self._journal.accept_receipt(receipt, answer.receipt)
        self._sent += receipt.sequence - upload.after_sequence

    def _purge(self, server_ms: int) -> None:
        now_s = self._steady_s()
        if self._purged_s is None or now_s - self._purged_s >= PURGE_EVERY_S:
            self._journal.purge(int(self._settings.keep_after_receipt_h * 3_600_000), server_ms)
            self._purged_s = now_s

    # -- the bundle --------------------------------------------------------------------------------------------------

    def _follow_bundle(self, answer: Answer) -> None:
        """Fetch the bundle that the answer speaks of. What fails here is shown, and the exchange still counts."""
        try:
            if answer.bundle_version > self._bundles.version:
                self._fetch_bundle(answer.at_ms)
            elif answer.bundle_version == self._bundles.version and self._bundles.held is not None:
                # a server restored from a backup knows an older one: it confirms nothing
                self._bundles.confirm(answer.at_ms)
            self._bundle_problem = None
        except (LinkProblem, ProtocolError, OSError) as error:
            problem = error if isinstance(error, LinkProblem) else LinkProblem("bundle", _code_of(error))
            if self._bundle_problem is None or self._bundle_problem.code != problem.code:
                log.warning("bundle trouble problem=%s", problem)
            self._bundle_problem = problem

    def _fetch_bundle(self, server_ms: int) -> None:
        signed_manifest = self._client.get(MANIFEST_PATH, self._signed_call(MANIFEST_PATH)).body
        fetched = {}
        for part in self._bundles.wanted(signed_manifest):
            path = PART_PATH + part.digest.hex()
            reply = self._client.get(path, self._signed_call(path), most_bytes=min(part.size, MAX_PART_BYTES))
            fetched[part.digest] = reply.body
        bundle = self._bundles.swap_in(signed_manifest, fetched, server_ms)
        self._journal.use_vault_key(bundle.vault.seal[0].load())
        log.info("bundle version=%d parts_fetched=%d", bundle.version, len(fetched))
        self._on_bundle(bundle)

    def _signed_call(self, path: str) -> dict[str, str]:
        call = Call("GET", path, self._clock.stamp().at_ms, self._random(16)).to_signed(self._identity.key)
        return {"Authorization": "Gatehouse " + base64.urlsafe_b64encode(call).decode().rstrip("=")}


def _unbelieved(error: ProtocolError) -> LinkProblem:
    """Name an answer that was not believed: somebody else's signature, another upload's answer, or no answer at all."""
    if error.code == "wrong_upload":
        return LinkProblem("wrong_answer", error.code)
    if error.code in {"cose_signature", "cose_algorithm"}:
        return LinkProblem("wrong_server", error.code)
    return LinkProblem("not_our_protocol", error.code)


def _code_of(error: Exception) -> str:
    return str(getattr(error, "code", None) or type(error).__name__)
