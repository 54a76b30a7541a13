"""Key events of a hand-held gun that types like a keyboard, back into the text it read (hardware.md 4.4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

EVENT = struct.Struct("llHHi")  # struct input_event: seconds, microseconds, type, code, value (linux/input.h)
EV_KEY = 1
KEY_ENTER, KEY_KP_ENTER, KEY_LEFT_SHIFT, KEY_RIGHT_SHIFT, KEY_CAPS_LOCK = 28, 96, 42, 54, 58
PRESSED = 1  # 0 released, 2 repeated by the kernel
HALF_CODE_AFTER_S = 0.2

# linux/input-event-codes.h on the US layout, which every gun ships with: code -> (plain, shifted)
_ROWS = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (57, " ", " "),
)
KEYS = {first + n: (plain[n], shifted[n]) for first, plain, shifted in _ROWS for n in range(len(plain))}
KEYS |= {code: (sign, sign) for code, sign in zip((71, 72, 73, 75, 76, 77, 79, 80, 81, 82), "7894561230", strict=True)}


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """One line of the kernel's event stream, without its time: the reader's own clock counts."""

    kind: int
    code: int
    value: int


def events(data: bytes) -> list[KeyEvent]:
    """The whole events in *data*; the kernel never splits one over two reads, so a rest is dropped."""
    whole = len(data) - len(data) % EVENT.size
    return [KeyEvent(*fields[2:]) for fields in EVENT.iter_unpack(data[:whole])]


class KeyDecoder:
    """Turns key presses into codes; only Enter ends one, 200 ms of silence drop what was typed so far."""

    def __init__(self, max_chars: int = 4096) -> None:
        self._max_chars = max_chars
        self._text: list[str] = []
        self._shift: set[int] = set()
        self._capitals = False
        self._is_bad = False
        self._last_s = float("-inf")
        self.cut_short = 0
        self.damaged = 0  # codes with a key we cannot translate, or too long

    def feed(self, event: KeyEvent, now_s: float) -> str | None:
        """The code that this key completes, or None."""
        if event.kind != EV_KEY:
            return None
        self.silence(now_s)
        self._last_s = now_s
        if event.code in (KEY_LEFT_SHIFT, KEY_RIGHT_SHIFT):
            (self._shift.discard if event.value == 0 else self._shift.add)(event.code)
            return None
        if event.value != PRESSED:
            return None
        if event.code == KEY_CAPS_LOCK:
            self._capitals = not self._capitals
            return None
        if event.code in (KEY_ENTER, KEY_KP_ENTER):
            text, was_bad = "".join(self._text), self._is_bad
            self._forget()
            self.damaged += was_bad
            return None if was_bad or not text else text
        if event.code not in KEYS or len(self._text) >= self._max_chars:
            self._is_bad = True
            return None
        plain, shifted = KEYS[event.code]
        upper = bool(self._shift) != (self._capitals and plain.isalpha())
        self._text.append(shifted if upper else plain)
        return None

    def silence(self, now_s: float) -> None:
        """Drop a half code when the last key is too long ago (an unplug leaves one)."""
        if (self._text or self._is_bad) and now_s - self._last_s > HALF_CODE_AFTER_S:
            self.cut_short += 1
            self._forget()

    def _forget(self) -> None:
        self._text.clear()
        self._is_bad = False
