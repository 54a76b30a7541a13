"""Simulated devices on real pseudo-terminals: the whole driver stack runs, and every fault of a cable is on demand."""

from __future__ import annotations

from firmware_bridge.simulators.gy614v import Gy614vSimulator
from firmware_bridge.simulators.lcus import LcusSimulator, PulseRecord
from firmware_bridge.simulators.scene import Scene, SceneFeed, parse_scene
from firmware_bridge.simulators.shell import Faults, PtyShell, swap

__all__ = [
    "Faults",
    "Gy614vSimulator",
    "LcusSimulator",
    "PtyShell",
    "PulseRecord",
    "Scene",
    "SceneFeed",
    "parse_scene",
    "swap",
]
