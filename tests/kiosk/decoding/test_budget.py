"""The frame's time: what is begun, what is put off, and that a slow moment is not held against a step for ever."""

from __future__ import annotations

from kiosk.decoding.budget import GUESSES, STARVED_AFTER, Budget, Costs


class Clock:
    """A clock that only moves when work is done."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def work(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_step_is_begun_only_when_it_ends_in_time() -> None:
    clock, costs = Clock(), Costs()
    for _ in range(50):
        Budget(clock, 1.0, costs).spend("settle", 0.2, lambda: clock.work(0.010))
    budget = Budget(clock, 0.026, costs)
    assert budget.fits("settle", 0.2)
    clock.work(0.017)
    assert not budget.fits("settle", 0.2)
    assert budget.fits("settle", 0.1)


def test_on_a_slow_core_steps_that_were_never_measured_are_expected_to_be_slow() -> None:
    clock, costs = Clock(), Costs()
    for _ in range(50):
        Budget(clock, 1.0, costs).spend("look", 1.0, lambda: clock.work(GUESSES["look"] * 3))
    assert 2.8 < costs.expected_s("x2", 1.0) / GUESSES["x2"] < 3.2


def test_one_slow_moment_is_forgotten() -> None:
    clock, costs = Clock(), Costs()
    for _ in range(10):
        Budget(clock, 1.0, costs).spend("x2", 0.5, lambda: clock.work(0.008))
    Budget(clock, 1.0, costs).spend("x2", 0.5, lambda: clock.work(2.0))
    for _ in range(STARVED_AFTER // 2):
        if Budget(clock, 0.015, costs).may_begin("x2", 0.5):
            break
    else:
        raise AssertionError("one slow moment starved the step")


def test_what_never_fits_has_its_turn_now_and_then() -> None:
    clock, costs = Clock(), Costs()
    for _ in range(50):
        Budget(clock, 1.0, costs).spend("look", 1.0, lambda: clock.work(GUESSES["look"] * 50))
    begun = [Budget(clock, 0.02, costs).may_begin("x2", 1.0) for _ in range(3 * STARVED_AFTER + 3)]
    assert sum(begun) == 3
    assert not Budget(clock, -1.0, costs).may_begin("x2", 1.0)


def test_without_a_limit_everything_fits() -> None:
    budget = Budget(lambda: 5.0, None, Costs())
    assert budget.fits("x2", 1e9) and budget.may_begin("x2", 1e9)
