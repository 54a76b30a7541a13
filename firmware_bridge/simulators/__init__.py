"""Simulated devices on real pseudo-terminals: the whole driver stack runs, and every fault of a cable is on demand."""

from __future__ import annotations

from firmware_bridge.simulators.gatehouse_mcu import GatehouseMcuSimulator
from firmware_bridge.simulators.gy614v import Gy614vSimulator
from firmware_bridge.simulators.gymcu90614 import Gymcu90614Simulator
from firmware_bridge.simulators.lcus import LcusSimulator, PulseRecord
from firmware_bridge.simulators.modbus import ModbusIrSimulator, ModbusRelaySimulator
from firmware_bridge.simulators.sam_v import SamSimulator
from firmware_bridge.simulators.scanners import Gm65Simulator, LineScannerSimulator
from firmware_bridge.simulators.scene import Scene, SceneFeed, parse_scene
from firmware_bridge.simulators.shell import Faults, PtyShell, swap

__all__ = [
    "Faults",
    "GatehouseMcuSimulator",
    "Gm65Simulator",
    "Gy614vSimulator",
    "Gymcu90614Simulator",
    "LcusSimulator",
    "LineScannerSimulator",
    "ModbusIrSimulator",
    "ModbusRelaySimulator",
    "PtyShell",
    "PulseRecord",
    "SamSimulator",
    "Scene",
    "SceneFeed",
    "parse_scene",
    "swap",
]
