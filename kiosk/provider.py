"""Asks a provincial platform about codes that cannot be verified here: on a thread of its own, and never for long.

The lane calls `Enquiries.begin` and then only ever polls; whatever the network does, an enquiry has an answer when its
time is over. Answers are kept for minutes, by a keyed digest of the code and never by its text. A platform that is
silent several times in a row is left alone for a while, so that nobody waits for it in vain.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import requests
import urllib3

from config.errors import ConfigError
from config.kiosk import ProviderSettings
from protocol.credentials.model import Checked
from protocol.credentials.provincial import (
    MAX_TEXT_CHARS,
    CheckAnswer,
    CheckRequest,
    HealthCodeProvider,
    ProviderError,
    Status,
    to_checked,
)

log = logging.getLogger("gatehouse.provider")

MAX_ANSWER_BYTES: Final = 16 * 1024
MOST_WAITING: Final = 4  # one entrance has one person at a time; more questions than this are of a broken line
MOST_KEPT: Final = 512  # answers


class HttpProvider:
    """The adapter: one POST of JSON for each question (protocol/credentials/provincial.py has both shapes)."""

    def __init__(self, settings: ProviderSettings, *, steady_s: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError when the token cannot be read."""
        self._settings, self._steady_s = settings, steady_s
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies or passwords from the environment
        self._session.verify = str(settings.ca_file) if settings.ca_file else True
        self._session.headers["Accept"] = "application/json"
        if settings.token_file is not None:
            try:
                token = settings.token_file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"provider.token_file {settings.token_file} cannot be read.", hint="Check its name and owner."
                ) from error
            self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, request: CheckRequest) -> CheckAnswer | None:
        """Ask once; None for every kind of failure. Never raises for what the network or the platform does."""
        deadline_s = self._steady_s() + self._settings.timeout_s
        try:
            return CheckAnswer.from_json(json.loads(self._post(request, deadline_s)), request_id=request.request_id)
        except ProviderError as error:
            log.warning("provider silent why=%s", error.message)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError) as error:
            log.warning("provider silent why=%s", type(error).__name__)
        return None

    def _post(self, request: CheckRequest, deadline_s: float) -> bytes:
        with self._session.post(
            self._settings.url,
            json=request.to_json(),
            timeout=self._settings.timeout_s,
            allow_redirects=False,  # to nobody whom the settings do not name
            stream=True,
        ) as response:
            if response.status_code != 200:
                raise ProviderError(f"HTTP {response.status_code}")
            body = b""
            for piece in response.iter_content(4096):
                body += piece
                if len(body) > MAX_ANSWER_BYTES or self._steady_s() > deadline_s:
                    raise ProviderError("The answer is too long, or took too long.")
        return body


@dataclass(slots=True)
class _Kept:
    answer: CheckAnswer
    until_s: float


class Enquiry:
    """One question that was asked; `poll` it."""

    def __init__(self, house: Enquiries, deadline_s: float) -> None:
        self._house, self._deadline_s = house, deadline_s
        self._lock = threading.Lock()
        self._is_answered = False
        self._answer: CheckAnswer | None = None
        self._lives_s = 0.0

    def settle(self, answer: CheckAnswer | None, lives_s: float = 0.0) -> None:
        """Give the answer; the first one counts."""
        with self._lock:
            if not self._is_answered:
                self._is_answered, self._answer, self._lives_s = True, answer, lives_s

    @property
    def is_answered(self) -> bool:
        """Whether asking is over."""
        return self._is_answered

    def poll(self, at: datetime) -> Checked | None:
        """What came of it, as a checked credential; None while the answer is awaited. *at*: the kiosk's time."""
        if not self._is_answered and self._house.steady_s() >= self._deadline_s:
            self.settle(None)
        if not self._is_answered:
            return None
        lives = timedelta(seconds=self._lives_s)
        return to_checked(self._answer, provider=self._house.name, at=at, answer_lives_for=lives)


class Enquiries:
    """Questions to one provider, asked in turn by one thread between `start` and `stop`."""

    def __init__(
        self,
        provider: HealthCodeProvider,
        settings: ProviderSettings,
        scene: str,
        *,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """*scene*: the entrance's public id, told to the provider."""
        self.name, self.steady_s = settings.name, steady_s
        self._provider, self._settings, self._scene = provider, settings, scene
        self._key = secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._waiting: queue.Queue[tuple[str, Enquiry] | None] = queue.Queue(MOST_WAITING)
        self._silences, self._paused_until_s = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="provider", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End; a question under way is not waited for longer than its time-out."""
        while self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join(2 * self._settings.timeout_s)

    def takes(self, text: str) -> bool:
        """Whether the provider is asked about such a text."""
        begins = self._settings.starts_with
        return 0 < len(text) <= MAX_TEXT_CHARS and (not begins or text.startswith(begins))

    def begin(self, text: str) -> Enquiry:
        """Ask about *text*, which `takes` agreed to; returns at once. Answered already when it was asked lately, or
        when the provider is left alone or cannot keep up."""
        now_s = self.steady_s()
        enquiry = Enquiry(self, now_s + self._settings.timeout_s)
        with self._lock:
            kept = self._kept.get(self._name_of(text))
            is_paused = now_s < self._paused_until_s
        if kept is not None and now_s < kept.until_s:
            enquiry.settle(kept.answer, kept.until_s - now_s)
        elif is_paused:
            enquiry.settle(None)
        else:
            try:
                self._waiting.put_nowait((text, enquiry))
            except queue.Full:
                enquiry.settle(None)
        return enquiry

    def _run(self) -> None:
        while (asked := self._waiting.get()) is not None:
            text, enquiry = asked
            if enquiry.is_answered:
                continue  # its time was over before its turn came
            try:
                answer = self._provider.ask(
                    CheckRequest(text, self._scene, self._settings.region, secrets.token_hex(8))
                )
            except Exception:  # this thread must live; the person is held
                log.exception("provider adapter failed")
                answer = None
            self._note(text, answer)
            enquiry.settle(answer, self._settings.answer_lives_s)

    def _note(self, text: str, answer: CheckAnswer | None) -> None:
        """Count silences, and keep an answer for the next showing; "unknown" is not kept, since it may just be late."""
        now_s = self.steady_s()
        with self._lock:
            if answer is None:
                self._silences += 1
                if self._silences >= self._settings.failures_before_pause:  # also after a pause: one try, then again
                    self._paused_until_s = now_s + self._settings.pause_s
                return
            self._silences = 0
            if answer.status is not Status.UNKNOWN:
                self._kept[self._name_of(text)] = _Kept(answer, now_s + self._settings.answer_lives_s)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)

    def _name_of(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()


def make_enquiries(settings: ProviderSettings, scene: str) -> Enquiries | None:
    """Questions to the provider of these settings, not yet started; None when none is set up. Raises ConfigError."""
    return Enquiries(HttpProvider(settings), settings, scene) if settings.url else None
