"""The checksums give their published values, and agree with an independent package on random data."""

from __future__ import annotations

import random

import pytest
from crccheck.crc import CrcModbus, CrcXmodem

from firmware_bridge.checksums import crc16_modbus, crc16_xmodem, sum8, xor8


def test_published_check_values() -> None:
    assert crc16_modbus(b"123456789") == 0x4B37
    assert crc16_xmodem(b"123456789") == 0x31C3
    assert sum8(bytes.fromhex("A4030707")) == 0xB5
    assert xor8(bytes.fromhex("00032001")) == 0x22


@pytest.mark.parametrize("seed", range(50))
def test_another_implementation_agrees(seed: int) -> None:
    data = random.Random(seed).randbytes(seed * 3 + 1)
    assert crc16_modbus(data) == CrcModbus.calc(data)
    assert crc16_xmodem(data) == CrcXmodem.calc(data)
