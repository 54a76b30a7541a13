"""The end of setting an entrance up: a real test that it works without a network, watched by the kiosk itself.

Pull the cable, let somebody pass, plug it in, see the record arrive. Nothing is simulated: each step is over when the
link, the journal and the server's receipts say so. It begins with the enrolment and is never asked for again once it
passed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from config.files import write_whole
from kiosk.screen_state import PartStatus, Text

FILE = "offline-test.json"
EVENT = "offline_test"
PART = "offline"


class Step(Enum):
    """What somebody has to do next."""

    PULL = "pull"
    PASS = "pass"  # noqa: S105  a person walks through, no password
    PLUG = "plug"
    PASSED = "passed"


SAID = {  # short: a line of the status board has room for seven characters
    Step.PULL: Text("1/3 拔网线", "1/3 unplug"),
    Step.PASS: Text("2/3 走一人", "2/3 one person"),
    Step.PLUG: Text("3/3 插网线", "3/3 plug it in"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kiosk knows at one moment."""

    is_offline: bool  # the link has given up on the server
    is_online: bool
    passages: int  # recorded today
    unsent: int


@dataclass(frozen=True, slots=True)
class OfflineTest:
    """How far the test is."""

    step: Step = Step.PULL
    passages: int = 0  # when the cable was out, today so far

    def after(self, seen: Seen) -> OfflineTest:
        """The test after a look; pure. A cable that comes back too early begins it anew."""
        if self.step is Step.PULL and seen.is_offline:
            return OfflineTest(Step.PASS, seen.passages)
        if self.step is Step.PASS:
            if not seen.is_offline:
                return OfflineTest()
            if seen.passages < self.passages:  # a new day's count
                return replace(self, passages=seen.passages)
            if seen.passages > self.passages and seen.unsent > 0:
                return replace(self, step=Step.PLUG)
        if self.step is Step.PLUG and seen.is_online and seen.unsent == 0:
            return replace(self, step=Step.PASSED)
        return self

    def part(self) -> PartStatus | None:
        """Its line on the status board; None when it is over."""
        return None if self.step is Step.PASSED else PartStatus(PART, False, SAID[self.step])


def begin(data_dir: Path) -> None:
    """A new kiosk: the test is due. Raises OSError."""
    _keep(data_dir, OfflineTest())


def load(data_dir: Path) -> OfflineTest | None:
    """How far the test is; None for a kiosk that was set up before there was one, or whose note cannot be read."""
    try:
        told = json.loads((data_dir / FILE).read_bytes())
        return OfflineTest(Step(told["step"]), int(told["passages"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class OfflineTests:
    """The test of one kiosk, over restarts and power cuts too."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir, self._test = data_dir, load(data_dir)

    def look(self, seen: Seen) -> bool:
        """Take a look; True at the moment when the test passes."""
        if self._test is None or self._test.step is Step.PASSED:
            return False
        after = self._test.after(seen)
        if after == self._test:
            return False
        self._test = after
        try:
            _keep(self._data_dir, after)
        except OSError:
            pass  # the card's own finding says so; the test goes on, and is asked for again after a restart
        return after.step is Step.PASSED

    def parts(self) -> tuple[PartStatus, ...]:
        """Its line on the status board, while there is one."""
        part = self._test.part() if self._test is not None else None
        return () if part is None else (part,)

    def health(self) -> tuple[tuple[str, str], ...]:
        """For the server's fleet page."""
        return () if self._test is None else ((EVENT, self._test.step.value),)


def _keep(data_dir: Path, test: OfflineTest) -> None:
    write_whole(data_dir / FILE, json.dumps({"step": test.step.value, "passages": test.passages}).encode())
