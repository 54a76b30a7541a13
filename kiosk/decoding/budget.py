"""Spends one frame's time: a step is begun only when steps of its kind have shown that they end before the deadline.

The same rule serves a fast and a slow core. What a step costs is learnt as a mean and a spread for each unit of its
size; before a step was ever measured, its guess is scaled by how the machine did on the steps that were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# seconds a unit on one 2020s server core; the unit is a million pixels of the picture the step works on
GUESSES = {
    "look": 0.0034,
    "regions": 0.0008,
    "blur": 0.002,
    "unsharp": 0.004,
    "x2": 0.016,
    "aztec": 0.003,
    "zbar": 0.008,
    "match": 0.006,
    "settle": 0.026,
    "versions": 0.006,  # a trial, whatever the size
    "fuse": 0.012,
    "judge": 0.003,
    "undo": 0.02,
    "redo": 0.012,
    "mend": 0.0005,  # a trial, whatever the size
}
LEARNS = 0.15  # the share of the newest measurement
LEAST_UNITS = 0.01  # smaller steps cost as much as this
OUTLIER = 3.0  # times the mean: more is counted as this
FORGETS = 0.05  # the share by which a refusal moves what was learnt back to the guess
STARVED_AFTER = 100  # refusals in a row


class Costs:
    """What steps have cost so far, in seconds of the decoder's clock; kept from frame to frame."""

    def __init__(self) -> None:
        self._mean: dict[str, float] = {}
        self._spread: dict[str, float] = {}
        self._speed = 1.0  # how many times slower than the guesses this machine is
        self.refused: dict[str, int] = {}  # how often in a row a step had no room

    def expected_s(self, step: str, units: float) -> float:
        """What *step* on *units* will cost, on the safe side of its mean."""
        return (self._mean_of(step) + self._spread.get(step, 0.0)) * max(units, LEAST_UNITS)

    def _mean_of(self, step: str) -> float:
        mean = self._mean.get(step)
        return GUESSES[step] * self._speed if mean is None else mean

    def learn(self, step: str, units: float, spent_s: float) -> None:
        """Note that *step* on *units* took *spent_s*."""
        each = spent_s / max(units, LEAST_UNITS)
        if step == "look":
            self._speed += LEARNS * (each / GUESSES[step] - self._speed)
        mean = self._mean_of(step)
        each = min(each, OUTLIER * mean)  # a first time, a busy machine: no reason never to try again
        self._mean[step] = mean + LEARNS * (each - mean)
        spread = self._spread.get(step, 0.0)
        self._spread[step] = spread + LEARNS * (abs(each - mean) - spread)

    def refuse(self, step: str) -> int:
        """Note that *step* had no room; how often in a row that was. What is never tried is slowly thought cheaper."""
        mean = self._mean_of(step)
        self._mean[step] = mean + FORGETS * (min(mean, GUESSES[step] * self._speed) - mean)
        self._spread[step] = self._spread.get(step, 0.0) * (1 - FORGETS)
        self.refused[step] = self.refused.get(step, 0) + 1
        return self.refused[step]


class Budget:
    """The time of one frame: *seconds* from now on *clock*; None is no limit."""

    def __init__(self, clock: Callable[[], float], seconds: float | None, costs: Costs) -> None:
        self._clock, self._costs = clock, costs
        self._until_s = None if seconds is None else clock() + seconds

    def left_s(self) -> float:
        """Seconds until the deadline; below 0 after it."""
        return float("inf") if self._until_s is None else self._until_s - self._clock()

    def fits(self, step: str, units: float = 1.0) -> bool:
        """Whether *step* on *units* is expected to end in time."""
        return self._until_s is None or self._costs.expected_s(step, units) <= self.left_s()

    def may_begin(self, step: str, units: float = 1.0) -> bool:
        """As `fits`, except that a step which never fits has its turn now and then, at the price of one late frame."""
        if self.fits(step, units) or (self._costs.refuse(step) > STARVED_AFTER and self.left_s() > 0):
            self._costs.refused[step] = 0
            return True
        return False

    def start(self) -> float:
        """The time at which a step begins, for `done`."""
        return self._clock()

    def done(self, step: str, units: float, began_s: float) -> None:
        """Learn what *step* on *units*, begun at *began_s*, has cost."""
        self._costs.learn(step, units, self._clock() - began_s)

    def spend(self, step: str, units: float, work: Callable[[], Result]) -> Result:
        """Do *work* and learn what it cost."""
        began_s = self.start()
        result = work()
        self.done(step, units, began_s)
        return result


__all__ = ["Budget", "Costs"]
