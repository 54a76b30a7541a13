"""One master on one line: a question, its answer, and silence after every time-out."""

from __future__ import annotations

from collections.abc import Callable

from firmware_bridge.codecs.modbus import Refusal, Reply, ReplyFinder, Request
from firmware_bridge.port import Link

REPLY_WITHIN_S = 0.25  # 20 ms reply delay (2.6) plus 21 bytes at 9600


class Master:
    """Asks one question at a time on *link*. After a time-out it waits until the line was silent for one time-out:
    Modbus RTU numbers nothing, so a late answer to an equal question would be taken for the next one's (8.4)."""

    def __init__(self, link: Link, on_damaged: Callable[[int, float], None] | None = None) -> None:
        self._link = link
        self._on_damaged = on_damaged
        self._must_settle = False
        self.echoes = False  # the adapter repeats what we send; learnt from the first read
        self.heard = 0  # bytes ever received

    @property
    def must_settle(self) -> bool:
        """Whether the last question timed out, so that the next one has to wait for a silent line first."""
        return self._must_settle

    def ask(self, request: Request, *, settle: bool = True) -> Reply | Refusal | None:
        """The answer, or None when none came in time. Raises PortLost and Stopped.

        *settle* False skips the wait for silence: only for a command whose late answer does no harm, as "off".
        """
        link = self._link
        if self._must_settle and settle:
            self._settle()
        else:
            link.discard_input()
        finder = ReplyFinder(request, echoes=self.echoes)
        link.write(request.to_bytes())
        deadline = link.now() + REPLY_WITHIN_S
        answer: Reply | Refusal | None = None
        while answer is None and (left := deadline - link.now()) > 0:
            data = link.read(left)
            self.heard += len(data)
            answer = finder.feed(data)
        self.echoes = self.echoes or finder.echo_seen
        if self._on_damaged is not None:
            self._on_damaged(finder.damaged, link.now())
        self._must_settle = answer is None
        return answer

    def _settle(self) -> None:
        deadline = self._link.now() + 10 * REPLY_WITHIN_S  # a line that never falls silent must not hold us for ever
        quiet_until = self._link.now() + REPLY_WITHIN_S
        while (now := self._link.now()) < quiet_until and now < deadline:
            if self._link.read(quiet_until - now):
                quiet_until = self._link.now() + REPLY_WITHIN_S
        self._must_settle = False
