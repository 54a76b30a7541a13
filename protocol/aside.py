"""What the server keeps apart of a journal, as short words of the exchange: the kiosk tells that it knows of some, the
server answers which of them still wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PART = "quarantine"  # in an upload's health: how many records the kiosk knows to be apart; left out for none
SINCE_PART = "quarantine_since_ms"  # beside it, the server's clock when it first named one of them
MOST_CHARACTERS = 64  # of a command; room for five to ten numbers
_COMMAND = "aside"
_MORE = "+"


@dataclass(frozen=True, slots=True)
class Aside:
    """Records that still wait in quarantine, the lowest first; with `more`, nothing is said of those after the last."""

    sequences: tuple[int, ...] = ()
    more: bool = False

    def may_hold(self, sequence: int) -> bool:
        """Whether *sequence* may still be kept apart."""
        if self.more and (not self.sequences or sequence > self.sequences[-1]):
            return True
        return sequence in self.sequences

    @staticmethod
    def fitting(sequences: Sequence[int]) -> Aside:
        """As many of these ascending *sequences* as one command takes."""
        for count in range(len(sequences), -1, -1):
            named = Aside(tuple(sequences[:count]), more=count < len(sequences))
            if len(named.command()) <= MOST_CHARACTERS:
                break
        return named

    def command(self) -> str:
        """The command that says it; a kiosk that does not know it goes on as before."""
        return " ".join([_COMMAND, *map(str, self.sequences), *([_MORE] if self.more else [])])

    @staticmethod
    def from_commands(commands: Sequence[str]) -> Aside | None:
        """What one of *commands* says; None when none does, or not in this form."""
        for text in commands:
            word, *rest = text.split(" ")
            if word != _COMMAND:
                continue
            more = rest[-1:] == [_MORE]
            numbers = rest[:-1] if more else rest
            if not all(n.isascii() and n.isdigit() and len(n) < 17 for n in numbers):
                return None
            return Aside(tuple(sorted(map(int, numbers))), more)
        return None
