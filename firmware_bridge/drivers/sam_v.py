"""Resident ID card reader: finds, selects, reads the text once per laid-down card, keeps nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs import sam_v
from firmware_bridge.codecs.sam_v import CardUnreadable, IdCard, SamReply
from firmware_bridge.device import HandshakeFailed, Mismatch, SerialDevice
from firmware_bridge.port import Link

log = logging.getLogger("gatehouse.devices")

FIND_EVERY_S = 0.3
ANSWER_WITHIN_S = 1.0  # find and select (S56)
READ_WITHIN_S = 2.0  # the module's own time; the transfer comes on top
MISSES_UNTIL_SILENT = 3


class IdCardReader(SerialDevice):
    """Delivers each card once when it is laid down; it must be lifted before it is read again."""

    kind = "sam_v"
    bauds = (115200, 9600, 57600, 38400, 19200)
    zh_name = "身份证读卡器"
    en_name = "ID card reader"

    def __init__(self, port: str, *, bauds: Sequence[int] = (), clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(port, bauds=bauds, clock=clock)
        self._listener: Callable[[IdCard | CardUnreadable], None] | None = None
        self._card_lock = threading.Lock()
        self._card: IdCard | CardUnreadable | None = None
        self._decoder = sam_v.Decoder()

    def on_card(self, listener: Callable[[IdCard | CardUnreadable], None] | None) -> None:
        """Call *listener* with each card, or why it could not be read, in the driver's thread. None ends that.

        While there is a listener nothing waits for `take`: a card is kept in one place only.
        """
        self._listener = listener

    def take(self) -> IdCard | CardUnreadable | None:
        """The newest card nobody took yet, and forget it here; never blocks."""
        with self._card_lock:
            card, self._card = self._card, None
            return card

    def handshake(self, link: Link) -> str:
        """A status answer; a module that is not authorised is a fault nobody here can mend."""
        self._decoder = sam_v.Decoder()
        heard = 0
        for _ in range(2):
            reply, got = self._ask(link, sam_v.STATUS, ANSWER_WITHIN_S)
            heard += got
            if reply is None:
                continue
            if reply.status in (0x60, 0x66):
                name = sam_v.STATUS_WORDS[reply.status]
                raise HandshakeFailed(f"The reader on {self.port} reports {name}.", hint="Ask its seller.", code=name)
            if reply.status == sam_v.DONE:
                return "SAM reader"
        if heard >= 11:
            raise Mismatch(f"{self.port} sends bytes, but no reply of an ID card reader.", hint="Check the plug.")
        raise HandshakeFailed(f"No ID card reader answers on {self.port}.", hint="Check the plug and the supply.")

    def serve(self, link: Link) -> None:
        """Poll for a card; returns after three polls without any answer."""
        misses = 0
        is_card_kept = False  # it was delivered and still lies there, as far as the reader tells
        while misses < MISSES_UNTIL_SILENT:
            reply, _ = self._ask(link, sam_v.FIND, ANSWER_WITHIN_S)
            misses = misses + 1 if reply is None else 0
            if reply is not None and reply.status in sam_v.NO_CARD:
                is_card_kept = False
            elif reply is not None and reply.status == sam_v.FOUND and not is_card_kept:
                result = self._read_card(link)
                if result is not None:
                    is_card_kept = True
                    self._deliver(result)
            until = link.now() + FIND_EVERY_S
            while (left := until - link.now()) > 0:
                link.read(left)

    def _read_card(self, link: Link) -> IdCard | CardUnreadable | None:
        """The card, why it is unreadable, or None when it was lifted or must be tried again."""
        selected, _ = self._ask(link, sam_v.SELECT, ANSWER_WITHIN_S)
        if selected is None or selected.status != sam_v.DONE:
            return None
        transfer_s = 10 * (sam_v.TEXT_BYTES + sam_v.PHOTO_BYTES + 32) / link.baud
        reply, _ = self._ask(link, sam_v.READ_TEXT_PHOTO, READ_WITHIN_S + 1.5 * transfer_s)
        if reply is None or reply.status != sam_v.DONE:
            self._decoder.wipe()  # half a card
            return None
        text = bytearray()
        try:
            text = sam_v.split_text_and_photo(reply.data)
            return sam_v.parse_text(text)
        except CardUnreadable as error:
            log.warning("id card unreadable port=%s code=%s", self.port, error.code)
            return error
        finally:
            text[:] = bytes(len(text))
            reply.wipe()

    def _ask(self, link: Link, command: tuple[int, int], within_s: float) -> tuple[SamReply | None, int]:
        """(reply, bytes heard); old bytes are thrown away first, since replies carry no number."""
        link.discard_input()
        self._decoder.wipe()
        link.write(sam_v.request(command))
        deadline, heard = link.now() + within_s, 0
        while (left := deadline - link.now()) > 0:
            data = link.read(left)
            heard += len(data)
            replies = self._decoder.feed(data)
            if replies:
                return replies[0], heard
        return None, heard

    def _deliver(self, result: IdCard | CardUnreadable) -> None:
        if (listener := self._listener) is not None:
            listener(result)
            return
        with self._card_lock:
            self._card = result

    def on_lost(self) -> None:
        """Nothing of a card stays behind."""
        self._decoder.wipe()
        with self._card_lock:
            self._card = None
