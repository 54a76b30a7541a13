"""The firmware's portable core under address and undefined-behaviour sanitizers, and equal to its twin in Python."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from firmware_bridge.codecs.mcu_link import Frame, Type
from firmware_bridge.simulators.gatehouse_mcu import Core
from tests.firmware_bridge.firmware_build import build

IDENTITY = (0x01020304, 0x0A0B0C0D, 0x55AA1234, 8)


@pytest.fixture(scope="session")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("core")
    build("host", out)
    return out / "replay"


def by_firmware(replay: Path, script: list[str]) -> list[str]:
    done = subprocess.run([str(replay)], input="\n".join(script) + "\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def by_twin(script: list[str]) -> list[str]:
    core = Core(*IDENTITY)
    lines = []
    for step in script:
        word, *rest = step.split()
        if word == "tick":
            core.tick(int(rest[0]), rest[1] == "1", rest[2] == "1")
        elif word == "measured":
            core.measured(*map(int, rest))
        else:
            core.receive(bytes.fromhex(rest[0]) if rest else b"")
        sent = core.take_tx().hex() or "-"
        lines.append(f"{sent} {core.gate:d}{core.lamp:d}{core.buzzer:d}")
    return lines


def rx(seq: int, kind: int, payload: bytes = b"", *, version: int = 1) -> str:
    return f"rx {Frame(seq, kind, payload, version).to_bytes().hex()}"


def ms(value: int) -> bytes:
    return value.to_bytes(2, "little")


HELLO = rx(1, Type.HELLO, b"\x01\x01")


def pins(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines]


def test_a_pulse_ends_by_itself_and_a_retry_does_not_open_twice(replay: Path) -> None:
    gate = rx(2, Type.GATE, ms(250))
    script = [HELLO, "tick 10 0 0", gate, "tick 100 0 0", gate, "tick 259 0 0", "tick 260 0 0", gate, "tick 300 0 0"]
    lines = by_firmware(replay, script)
    assert [p[0] for p in pins(lines)] == ["0", "0", "1", "1", "1", "1", "0", "0", "0"]
    assert lines[2].split()[0] == lines[4].split()[0] == lines[7].split()[0], "the same answer is repeated"


def test_a_silent_host_closes_the_gate_and_the_old_pulse_does_not_come_back(replay: Path) -> None:
    script = [
        HELLO,
        rx(2, Type.GATE, ms(5000)),
        "tick 1999 0 0",
        "tick 2000 0 0",
        rx(3, Type.HEARTBEAT),
        "tick 2010 0 0",
    ]
    assert [p[0] for p in pins(by_firmware(replay, script))] == ["0", "1", "1", "0", "0", "0"]


def test_the_emergency_loop_wins_over_everything(replay: Path) -> None:
    script = ["tick 5 0 1", "tick 24 0 1", "tick 25 0 1", HELLO, rx(2, Type.GATE_CLOSE), rx(3, Type.GATE, ms(100))]
    lines = by_firmware(replay, [*script, "tick 30 0 0", "tick 50 0 0"])
    assert [p[0] for p in pins(lines)] == ["0", "0", "1", "1", "1", "1", "1", "0"]


@pytest.mark.parametrize("open_ms", [0, 19, 5001, 65535])
def test_no_pulse_outside_the_limits(replay: Path, open_ms: int) -> None:
    lines = by_firmware(replay, [HELLO, rx(2, Type.GATE, ms(open_ms))])
    assert pins(lines)[1][0] == "0" and lines[1] != "-"


def test_below_the_crc_there_is_silence(replay: Path) -> None:
    frame = bytearray(Frame(2, Type.GATE, ms(500)).to_bytes())
    frame[5] ^= 1
    lines = by_firmware(replay, [HELLO, f"rx {frame.hex()}", "rx 00000000", f"rx {'55' * 300}00"])
    assert [line.split()[0] for line in lines[1:]] == ["-", "-", "-"]


def random_script(seed: int) -> list[str]:
    """Everything a host, a cable, a clock and two contacts can do, in any order."""
    dice = random.Random(seed)
    now = 0
    script = [HELLO]
    presence = emergency = False
    for _ in range(400):
        choice = dice.random()
        if choice < 0.35:
            now += dice.choice((1, 5, 19, 20, 21, 100, 250, 700, 2000))
            presence ^= dice.random() < 0.2
            emergency ^= dice.random() < 0.1
            script.append(f"tick {now} {presence:d} {emergency:d}")
        elif choice < 0.5:
            script.append(f"measured {dice.randrange(5)} {dice.randrange(65536)} {dice.randrange(65536)}")
        elif choice < 0.6:
            script.append(f"rx {dice.randbytes(dice.randrange(1, 90)).hex()}")
        else:
            kind = dice.choice((*Type, 0x33))
            size = dice.choice((0, 1, 2, 2, 2, 3, 48))
            payload = dice.randbytes(size)
            if kind in (Type.GATE, Type.BUZZ, Type.CONFIG) and dice.random() < 0.8:
                payload = ms(dice.randrange(0, 5200))
            if kind == Type.HELLO:
                payload = bytes((dice.choice((0, 1, 2)), dice.choice((0, 1, 9))))
            script.append(rx(dice.randrange(4), kind, payload, version=dice.choice((1, 1, 1, 1, 2))))
    return script


@pytest.mark.parametrize("seed", range(40))
def test_the_twin_in_python_answers_byte_for_byte_like_the_firmware(replay: Path, seed: int) -> None:
    script = random_script(seed)
    for step, (firmware, twin) in enumerate(zip(by_firmware(replay, script), by_twin(script), strict=True)):
        assert firmware == twin, f"step {step}: {script[step]}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_ten_million_bytes_of_noise_and_hostile_frames_break_nothing(replay: Path, seed: int) -> None:
    done = subprocess.run([str(replay), "fuzz", str(seed + 1), "2500000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert " noise_answered 0" in done.stdout
