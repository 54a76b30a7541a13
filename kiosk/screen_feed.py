"""The newest state for every page that looks: nobody waits for a slow page, and a page never sees an old state late."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from kiosk.screen_state import ScreenState

MAX_STAMPS = 256  # publications whose time is kept until a page says that it has painted them


@dataclass(frozen=True, slots=True)
class Shown:
    """One publication that a page has painted."""

    number: int
    published_s: float  # time.monotonic()
    painted_s: float  # time.monotonic() when the page's word arrived, so it includes the way back

    @property
    def delay_ms(self) -> float:
        """From `publish` to painted."""
        return (self.painted_s - self.published_s) * 1000


class Feed:
    """Hands each new state to all subscribers; each sees the newest one, and may miss those in between."""

    def __init__(self, first: ScreenState, *, max_subscribers: int) -> None:
        self._changed = threading.Condition()
        self._state = first
        self._number = 0
        self._stamps: OrderedDict[int, float] = OrderedDict()
        self._shown: deque[Shown] = deque(maxlen=MAX_STAMPS)
        self._painted_at_s: float | None = None
        self._subscribers: deque[object] = deque()
        self._max_subscribers = max_subscribers
        self._closed = False

    def publish(self, state: ScreenState) -> None:
        """Replace the state. Returns at once: every waiting subscriber has been woken, none is waited for."""
        with self._changed:
            self._state = state
            self._number += 1
            self._stamps[self._number] = time.monotonic()
            while len(self._stamps) > MAX_STAMPS:
                self._stamps.popitem(last=False)
            self._changed.notify_all()

    def newest(self) -> tuple[int, ScreenState]:
        """The state that stands now, and its number."""
        with self._changed:
            return self._number, self._state

    def subscribe(self, beat_s: float) -> Iterator[tuple[int, ScreenState] | None]:
        """Yield the state at once and whenever it changes, and None after each *beat_s* without a change.

        Ends when the feed is closed, or when newer subscribers need the place.
        """
        ticket = object()
        with self._changed:
            self._subscribers.append(ticket)
            if len(self._subscribers) > self._max_subscribers:
                self._subscribers.popleft()
                self._changed.notify_all()
        return self._follow(ticket, beat_s)

    def _follow(self, ticket: object, beat_s: float) -> Iterator[tuple[int, ScreenState] | None]:
        seen = -1
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ended(ticket) or self._number != seen, timeout=beat_s)  # noqa: B023
                    if self._ended(ticket):
                        return
                    news = None if self._number == seen else (self._number, self._state)
                if news is not None:
                    seen = news[0]
                yield news
        finally:
            with self._changed:
                if ticket in self._subscribers:
                    self._subscribers.remove(ticket)

    def _ended(self, ticket: object) -> bool:
        return self._closed or ticket not in self._subscribers

    @property
    def subscribers(self) -> int:
        """How many pages listen now."""
        with self._changed:
            return len(self._subscribers)

    def painted(self, number: int) -> None:
        """A page says that publication *number* is on the glass; unknown numbers only count as a sign of life."""
        now_s = time.monotonic()
        with self._changed:
            self._painted_at_s = now_s
            published_s = self._stamps.pop(number, None)
            if published_s is not None:
                self._shown.append(Shown(number, published_s, now_s))

    def shown(self) -> tuple[Shown, ...]:
        """The last publications that a page has painted, oldest first."""
        with self._changed:
            return tuple(self._shown)

    def painted_ago_s(self) -> float | None:
        """Seconds since any page last painted anything; None when none ever did."""
        with self._changed:
            return None if self._painted_at_s is None else time.monotonic() - self._painted_at_s

    def close(self) -> None:
        """End all subscriptions."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
