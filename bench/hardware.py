"""Entrance hardware: CPU for three streaming devices, parser throughput, and what damaged bytes get through."""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from firmware_bridge.codecs import gm65, gy614v, gymcu90614, lcus, mcu_link, modbus_ir, sam_v, text_codes
from firmware_bridge.codecs.modbus import ReplyFinder, with_crc
from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.gatehouse_mcu import GatehouseMcu
from firmware_bridge.drivers.gy614v import Gy614v
from firmware_bridge.drivers.gymcu90614 import Gymcu90614
from firmware_bridge.measuring import Correction, MeasuringRule, measure
from firmware_bridge.reading import Frame, Reading
from firmware_bridge.simulators.gatehouse_mcu import GatehouseMcuSimulator
from firmware_bridge.simulators.gy614v import Gy614vSimulator
from firmware_bridge.simulators.gymcu90614 import Gymcu90614Simulator
from firmware_bridge.simulators.sam_v import read_reply, resident_card

FASTEST_BAUD = 230400  # the fastest any of these devices can be set to; ten bits a byte
CPU_TARGET_PERCENT = 5.0
SPEED_TARGET = 50.0
MEMORY_LIMIT_BYTES = 64 * 1024

_NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)

Feeder = Callable[[bytes], int]  # bytes in, number of events out


def _feeders() -> dict[str, tuple[Callable[[], Feeder], bytes]]:
    """Each parser as a fresh feeder, and the traffic of its device."""
    poll = modbus_ir.PROFILES["pyrominibus"].poll(1)
    modbus_reply = with_crc(bytes.fromhex("01030E") + bytes(14))

    def of(decoder: object) -> Feeder:
        return lambda data: len(decoder.feed(data))  # type: ignore[attr-defined]

    def modbus() -> Feeder:
        """A new finder per answer, as the master makes one per question."""
        state = [ReplyFinder(poll)]

        def feed(data: bytes) -> int:
            if state[0].feed(data) is None:
                return 0
            state[0] = ReplyFinder(poll)
            return 1

        return feed

    def splitter() -> Feeder:
        one = gm65.Splitter()

        def feed(data: bytes) -> int:
            one.expect(1)
            return one.feed(data)[1] is not None

        return feed

    gy = gy614v.Registers(7, bytes.fromhex("5F0D7C09E30E57")).to_bytes()
    module = gymcu90614.Temperatures(3452, 2531).to_bytes()
    said = mcu_link.Frame(0, mcu_link.Type.TELEMETRY, bytes(range(12))).to_bytes()
    return {
        "gy614v": (lambda: of(gy614v.Decoder()), gy),
        "gymcu90614": (lambda: of(gymcu90614.Decoder()), module),
        "modbus": (modbus, modbus_reply),
        "mcu_link": (lambda: of(mcu_link.Decoder()), said),
        "gm65": (splitter, gm65.reply_frame(b"\x00")),
        "text codes": (lambda: of(text_codes.LineDecoder()), b"JK1:" + b"A" * 200 + b"\r"),
        "sam_v": (lambda: of(sam_v.Decoder()), read_reply(resident_card())),
        "lcus A": (lambda: of(lcus.DialectA()), b"CH1: ON\r\n"),
        "lcus B": (lambda: of(lcus.DialectB()), lcus.command(1, lcus.Op.ON)),
    }


def throughput(seconds: float) -> dict[str, dict[str, float]]:
    """Good traffic in 64-byte pieces, as fast as one core parses it; multiples of the fastest line."""
    results = {}
    for name, (make, frame) in _feeders().items():
        feed = make()
        traffic = frame * (16384 // len(frame) + 1)
        pieces = [traffic[at : at + 64] for at in range(0, len(traffic), 64)]
        if name == "modbus":
            pieces = [frame] * 512  # a question is asked only after the answer before
        done, events, began = 0, 0, time.process_time()
        while (spent := time.process_time() - began) < seconds:
            for piece in pieces:
                events += feed(piece)
            done += sum(map(len, pieces))
        if not events:
            raise AssertionError(f"{name}: its own traffic gave no event")
        rate = done / spent
        results[name] = {"megabytes_per_s": rate / 1e6, "times_line": rate / (FASTEST_BAUD / 10)}
    return results


def fuzz(total_bytes: int) -> dict[str, dict[str, float]]:
    """Random bytes into every parser: what comes out of them, and how much memory they come to hold."""
    results = {}
    for name, (make, _) in _feeders().items():
        noise = random.Random(20)
        feed = make()
        tracemalloc.start()
        events, fed, began = 0, 0, time.process_time()
        peak = 0
        while fed < total_bytes:
            data = noise.randbytes(4096)
            base = tracemalloc.get_traced_memory()[0]
            events += feed(data)
            fed += len(data)
            if fed % (1 << 20) == 0:
                peak = max(peak, tracemalloc.get_traced_memory()[0])
        del data, base
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        results[name] = {
            "bytes": fed,
            "events": events,
            "held_bytes": max(held, peak),
            "cpu_s": time.process_time() - began,
        }
    return results


def damage(trials: int) -> dict[str, dict[str, float]]:
    """Damaged frames of the 8-bit-sum thermometers: through the sum, through the range, and through the whole rule."""
    noise = random.Random(21)
    results = {}
    gy_good = gy614v.Registers(7, bytes.fromhex("5F0D7C09E30E57")).to_bytes()
    module_good = gymcu90614.Temperatures(3452, 2531).to_bytes()

    def gy(line: bytes) -> list[tuple[float, float]]:
        frames = gy614v.Decoder().feed(line)
        return [(gy614v.celsius(f.word(8)), gy614v.celsius(f.word(10))) for f in frames if f.covers(8, 4)]

    def module(line: bytes) -> list[tuple[float, float]]:
        return [(f.object_celsius, f.ambient_celsius) for f in gymcu90614.Decoder().feed(line)]

    for name, good, parse in (("gy614v", gy_good, gy), ("gymcu90614", module_good, module)):
        for wrong_bytes in (1, 2, 4):
            through_sum = through_range = 0
            values: list[tuple[float, float]] = []
            for _ in range(trials):
                line = bytearray(good)
                for place in noise.sample(range(len(line)), wrong_bytes):
                    line[place] ^= noise.randrange(1, 256)
                found = parse(bytes(line))
                through_sum += bool(found)
                believable = [pair for pair in found if 28.0 <= pair[0] <= 45.0 and 10.0 <= pair[1] <= 40.0]
                through_range += bool(believable)
                values += believable
            readings = windows = 0
            for _ in range(min(trials, 2000)):
                # a window of twenty frames, every one of them damaged: those that pass the sum are all it gets
                window = [noise.choice(values) for _ in range(20) if values and noise.random() < through_range / trials]
                frames = [Frame(seen, ambient, 0.1 * n, 0.1 * n, (n,)) for n, (seen, ambient) in enumerate(window)]
                result = measure(frames, MeasuringRule(), Correction(), device="bench", taken_at=_NOW)
                windows += 1
                readings += isinstance(result, Reading)
            results[f"{name}, {wrong_bytes} wrong"] = {
                "frames": trials,
                "through_sum": through_sum,
                "through_range": through_range,
                "windows": windows,
                "readings": readings,
            }
    return results


def streaming_cpu(seconds: float) -> dict[str, float]:
    """CPU of the driver threads of three streaming devices; the simulators' own threads are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        simulators = (
            Gy614vSimulator(place / "a", scene="normal"),
            Gymcu90614Simulator(place / "b", scene="normal"),
            GatehouseMcuSimulator(place / "c", scene="normal"),
        )
        drivers = (
            Gy614v(str(place / "a"), warm_at_start=True),
            Gymcu90614(str(place / "b"), warm_at_start=True),
            GatehouseMcu(str(place / "c"), warm_at_start=True),
        )
        for one in (*simulators, *drivers):
            one.start()
        try:
            for driver in drivers:
                if not driver.wait_for(lambda s: s.state is DeviceState.READY, 20):
                    raise AssertionError(f"{driver.kind} did not become ready: {driver.status.en}")
            idents = {thread.native_id for thread in threading.enumerate() if thread.name.startswith(_DRIVER_THREADS)}
            frames = sum(driver.frames for driver in drivers)
            before, began = _cpu_of(idents), time.monotonic()
            threading.Event().wait(seconds)
            spent, lasted = _cpu_of(idents) - before, time.monotonic() - began
            frames = sum(driver.frames for driver in drivers) - frames
        finally:
            for one in drivers:
                one.stop()
            for simulator in simulators:
                simulator.stop()
    return {
        "seconds": lasted,
        "frames_per_s": frames / lasted,
        "cpu_percent": 100 * spent / lasted,
        "cpu_s_per_hour": 3600 * spent / lasted,
    }


_DRIVER_THREADS = ("gy614v ", "gymcu90614 ", "gatehouse_mcu ")


def _cpu_of(native_ids: set[int | None]) -> float:
    """Seconds that these threads have used, from the kernel's scheduler (nanoseconds, first figure of schedstat)."""
    spent = 0
    for number in native_ids:
        spent += int(Path(f"/proc/self/task/{number}/schedstat").read_text().split()[0])
    return spent / 1e9


def run(argv: list[str]) -> int:
    """Print the tables and write bench/results/hardware.json; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="bench hardware", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the three devices stream")
    parser.add_argument("--fuzz-bytes", type=int, default=10_000_000, help="random bytes for every parser")
    parser.add_argument("--damaged", type=int, default=100_000, help="damaged frames of each kind")
    args = parser.parse_args(argv)

    cpu = streaming_cpu(args.seconds)
    speed = throughput(0.5)
    through = damage(args.damaged)
    fuzzed = fuzz(args.fuzz_bytes)

    print(f"three devices streaming: {cpu['frames_per_s']:.0f} frames/s, {cpu['cpu_percent']:.2f} % of one core")
    print(f"  = {cpu['cpu_s_per_hour']:.1f} CPU seconds per hour (target: at most {36 * CPU_TARGET_PERCENT:.0f})")
    print(f"\n{'parser':<12} {'MB/s':>8} {'x fastest line':>15} {'fuzz events':>12} {'held bytes':>11}")
    for name, row in speed.items():
        fuzz_row = fuzzed[name]
        print(
            f"{name:<12} {row['megabytes_per_s']:>8.2f} {row['times_line']:>15.0f} "
            f"{fuzz_row['events']:>12.0f} {fuzz_row['held_bytes']:>11.0f}"
        )
    print(f"\n{'damaged frames':<24} {'frames':>8} {'pass the sum':>13} {'and the range':>14} {'readings':>9}")
    for name, row in through.items():
        print(
            f"{name:<24} {row['frames']:>8.0f} {row['through_sum']:>13.0f} {row['through_range']:>14.0f} "
            f"{row['readings']:>9.0f}"
        )

    missed = []
    if cpu["cpu_percent"] > CPU_TARGET_PERCENT:
        missed.append(f"three devices use {cpu['cpu_percent']:.1f} % of a core")
    missed += [
        f"{n} parses {r['times_line']:.0f} x the line" for n, r in speed.items() if r["times_line"] < SPEED_TARGET
    ]
    missed += [
        f"{n} holds {r['held_bytes']:.0f} bytes" for n, r in fuzzed.items() if r["held_bytes"] > MEMORY_LIMIT_BYTES
    ]
    missed += [f"{n}: a reading was made" for n, r in through.items() if n.endswith(" 1 wrong") and r["through_sum"]]
    missed += [f"{n}: a reading was made of damaged frames" for n, r in through.items() if r["readings"]]
    for words in missed:
        print(f"MISSED: {words}")
    out = Path(__file__).parent / "results" / "hardware.json"
    out.parent.mkdir(exist_ok=True)
    result = {"streaming": cpu, "throughput": speed, "fuzz": fuzzed, "damage": through, "missed": missed}
    result["peak_rss_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0
