"""The checksums of entrance hardware: byte sum, XOR, and three CRCs, each checked against its published value."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import xor


def sum8(data: Iterable[int]) -> int:
    """Low 8 bits of the sum of all bytes."""
    return sum(data) & 0xFF


def xor8(data: Iterable[int]) -> int:
    """All bytes combined by exclusive or."""
    return reduce(xor, data, 0)


def _table_modbus() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1  # 0x8005 reflected
        table.append(crc)
    return tuple(table)


def _table_xmodem() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
        table.append(crc)
    return tuple(table)


_MODBUS = _table_modbus()
_XMODEM = _table_xmodem()


def crc16_modbus(data: Iterable[int]) -> int:
    """CRC-16/MODBUS (poly 8005 reflected, init FFFF); "123456789" gives 4B37. Sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _MODBUS[(crc ^ byte) & 0xFF]
    return crc


def crc16_xmodem(data: Iterable[int]) -> int:
    """CRC-16/XMODEM (poly 1021, init 0); "123456789" gives 31C3. Grow heads send it high byte first."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFF00) ^ _XMODEM[(crc >> 8) ^ byte]
    return crc
