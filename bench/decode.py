"""How many codes are read, how many are wrong, and what it costs: our decoder beside each engine, in the same run.

  ./run bench decode                 the generated frames, holds, idle frames, a slow core
  ./run bench decode DIR             the pictures of DIR with the texts of its manifest.json (or NAME.txt beside each)
  ./run bench decode --seeds 21,22   other frames;  --seeds "" none;  --memory 10000 frames
  ./run bench decode --holds 24 --hold-seed 73       more and other presentations; --families glare,motion only these

Times are processor time of the one thread that decodes, so that a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench import frames
from kiosk.decoder import Decoder
from kiosk.decoding.engines import Image, read_zbar, read_zxing, sharpen, soften
from kiosk.decoding.pictures import PictureError, load_picture

RESULTS = Path(__file__).parent / "results" / "decode.json"
SETTLES = 40  # frames until an unchanging view is known to be one
Reader = Callable[[Image], list[str]]


def _zxing(image: Image) -> list[str]:
    return [c.text for c in read_zxing(_grey(image), "zxing")[0]]


def _chain(image: Image) -> list[str]:
    """The best chain of the planning study: zxing-cpp on four preparations of the whole frame."""
    grey = _grey(image)
    for prepare in (
        lambda g: g,
        soften,
        lambda g: sharpen(g, 2, 4),
        lambda g: cv2.resize(sharpen(g, 3, 3), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR),
    ):
        codes, _ = read_zxing(np.asarray(prepare(grey), np.uint8), "chain")
        if codes:
            return [c.text for c in codes]
    return []


def _zbar(image: Image) -> list[str]:
    return [c.text for c in read_zbar(_grey(image), "zbar")]


def _zbar_inverted(image: Image) -> list[str]:
    return _zbar(image) or [c.text for c in read_zbar(255 - _grey(image), "zbar")]


def _cv2_reader(detector: Any) -> Reader:
    def read(image: Image) -> list[str]:
        try:
            text = detector.detectAndDecode(_grey(image))[0]
        except (cv2.error, UnicodeDecodeError):
            return []
        return [text] if text else []

    return read


def _grey(image: Image) -> Image:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


PLAIN = ("zxing", "zbar", "zbar+inverted", "cv2", "cv2 aruco")


def _readers() -> dict[str, Reader]:
    ours = Decoder(clock=time.thread_time)
    slow = Decoder(clock=lambda: 3 * time.thread_time())
    return {
        "zxing": _zxing,
        "zbar": _zbar,
        "zbar+inverted": _zbar_inverted,
        "cv2": _cv2_reader(cv2.QRCodeDetector()),
        "cv2 aruco": _cv2_reader(cv2.QRCodeDetectorAruco()),
        "chain": _chain,
        "ours": lambda image: [c.text for c in ours.read_still(image)],
        "ours, 3x slower": lambda image: [c.text for c in slow.read_still(image)],
    }


@dataclass(slots=True)
class _Tally:
    right: int = 0
    wrong: int = 0
    missed: int = 0
    ms: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        total = self.right + self.missed
        p50, p95, p99 = np.percentile(self.ms, [50, 95, 99]) if self.ms else (0, 0, 0)
        return {
            "right": self.right,
            "missed": self.missed,
            "wrong": self.wrong,
            "rate": round(self.right / max(total, 1), 4),
            "p50_ms": round(float(p50), 2),
            "p95_ms": round(float(p95), 2),
            "p99_ms": round(float(p99), 2),
        }


def measure(samples: Iterable[tuple[Image, str, str]], readers: dict[str, Reader]) -> dict[str, Any]:
    """Run every reader over (image, text, family), engines taking turns picture by picture."""
    tallies = {name: _Tally() for name in readers}
    families: dict[str, dict[str, list[int]]] = {}
    union = _Tally()
    for image, text, family in samples:
        hits = set()
        for name, read in readers.items():
            began_s = time.thread_time()
            found = read(image)
            spent_s = (time.thread_time() - began_s) * (3 if "slower" in name else 1)
            tally = tallies[name]
            tally.ms.append(spent_s * 1000)
            right = text in found
            tally.right += right
            tally.missed += not right
            tally.wrong += any(t != text for t in found)
            of_family = families.setdefault(family, {}).setdefault(name, [0, 0])
            of_family[0] += right
            of_family[1] += 1
            if right:
                hits.add(name)
        union.right += bool(hits & set(PLAIN))
        union.missed += not hits & set(PLAIN)
    rows = {name: tally.row() for name, tally in tallies.items()}
    rows["union of plain engines"] = union.row()
    return {"readers": rows, "families": families}


def _print(title: str, result: dict[str, Any]) -> None:
    print(f"\n{title}")
    heads = f"{'right':>6s} {'missed':>6s} {'wrong':>6s} {'rate':>7s} {'p50':>7s} {'p95':>7s} {'p99':>7s} ms"
    print(f"  {'reader':24s} {heads}")
    for name, row in result["readers"].items():
        print(
            f"  {name:24s} {row['right']:6d} {row['missed']:6d} {row['wrong']:6d} {row['rate']:7.1%} "
            f"{row['p50_ms']:7.1f} {row['p95_ms']:7.1f} {row['p99_ms']:7.1f}"
        )
    if len(result["families"]) > 1:
        names = [n for n in ("zxing", "chain", "ours") if n in result["readers"]]
        print(f"  {'family':14s} " + " ".join(f"{n:>8s}" for n in names))
        for family, by_name in result["families"].items():
            print(f"  {family:14s} " + " ".join(f"{by_name[n][0]:4d}/{by_name[n][1]:<3d}" for n in names), flush=True)


def _singles(seeds: tuple[int, ...]) -> dict[str, Any]:
    samples = ((s.image, s.text, s.family) for s in frames.single_set(seeds))
    return measure(samples, _readers())


def _folder(folder: Path) -> dict[str, Any]:
    manifest = folder / "manifest.json"
    if manifest.is_file():
        wanted = [(folder / m["file"], m["text"], m.get("set", "")) for m in json.loads(manifest.read_text("utf-8"))]
    else:
        wanted = [(p.with_suffix(".png"), p.read_text("utf-8").strip(), "") for p in sorted(folder.glob("*.txt"))]

    def samples() -> Iterable[tuple[Image, str, str]]:
        for path, text, group in wanted:
            try:
                yield load_picture(path), text, group
            except PictureError as error:
                print(f"  {path.name}: {error.message}", file=sys.stderr)

    return measure(samples(), _readers())


def _holds(seed: int, count: int, families: Sequence[str] = frames.HOLDS) -> dict[str, Any]:
    """Time to the first right text: zxing-cpp on every frame, the chain on every frame, the kiosk's decoder."""
    out: dict[str, Any] = {}
    for family in families:
        first: dict[str, list[int | None]] = {"zxing": [], "chain": [], "ours": []}
        wrong, ms = 0, []
        for index in range(count):
            text, film = frames.filming(seed, family, index)
            ours = Decoder(clock=time.thread_time)
            seen: dict[str, int] = {}
            for number, jpeg in enumerate(film):
                image = frames.unpack(jpeg)
                for name, read in (("zxing", _zxing), ("chain", _chain)):
                    if name not in seen and text in read(image):
                        seen[name] = number
                began_s = time.thread_time()
                texts = [c.text for c in ours.read(image)]
                ms.append((time.thread_time() - began_s) * 1000)
                wrong += any(t != text for t in texts)
                if "ours" not in seen and text in texts:
                    seen["ours"] = number
                if len(seen) == len(first):
                    break  # nothing is left to find out
            for name in first:
                first[name].append(seen.get(name))
        p50, p95 = np.percentile(ms, [50, 95])
        out[family] = {
            name: {
                "read": sum(n is not None for n in numbers),
                "of": count,
                "median_first_frame": float(np.median([frames.HOLD_FRAMES if n is None else n for n in numbers])),
            }
            for name, numbers in first.items()
        } | {"wrong": wrong, "ours_p50_ms": round(float(p50), 2), "ours_p95_ms": round(float(p95), 2)}
        row = out[family]
        print(
            f"  {family:10s} "
            + "  ".join(f"{n} {row[n]['read']:3d}/{count} first {row[n]['median_first_frame']:4.1f}" for n in first)
            + f"  wrong {wrong}  p50 {p50:.1f} p95 {p95:.1f} ms",
            flush=True,
        )
    return out


def _idle(count: int = 120) -> dict[str, Any]:
    """Lobbies in which nobody is: a plain and a textured one under a camera's noise, and a new one every frame."""
    noise = np.random.default_rng(5)
    textured = frames.empty(1).image
    # a notice board in focus: texture in both directions, as codes have it, and no code
    board = (np.random.default_rng(6).random((60, 80)) > 0.5).astype(np.uint8).repeat(5, 0).repeat(5, 1) * 150 + 60
    textured[200:500, 700:1100] = cv2.GaussianBlur(board, (0, 0), 1.5)[..., None]
    row: dict[str, Any] = {}
    for name, view in (("plain lobby", frames.empty(1).image), ("textured lobby", textured), ("new each frame", None)):
        ours, engine = [], []
        decoder = Decoder(clock=time.thread_time)
        for i in range(count if view is not None else count // 2):
            image = frames.empty(i + 100).image if view is None else view + noise.normal(0, 2, view.shape)
            image = np.clip(image, 0, 255).astype(np.uint8)
            began_s = time.thread_time()
            _zxing(image)
            middle_s = time.thread_time()
            decoder.read(image)
            end_s = time.thread_time()
            if i >= SETTLES or view is None:
                engine.append((middle_s - began_s) * 1000)
                ours.append((end_s - middle_s) * 1000)
        row[name] = {
            "zxing_median_ms": round(float(np.median(engine)), 2),
            "zxing_mean_ms": round(float(np.mean(engine)), 2),
            "ours_median_ms": round(float(np.median(ours)), 2),
            "ours_mean_ms": round(float(np.mean(ours)), 2),
            "times_zxing": round(float(np.mean(ours) / np.mean(engine)), 2),
        }
        print(f"  {name:16s} " + "  ".join(f"{k} {v}" for k, v in row[name].items()), flush=True)
    return row


def _memory(count: int) -> dict[str, Any]:
    """Resident memory in MiB after the first tenth and at the end of *count* frames of everything."""
    hold = [frames.unpack(j) for f in ("glare", "lowlight") for j in frames.hold(3, f, 1, frames=8).frames]
    views = [*hold, frames.empty(1).image, frames.single(1, "motion", 4, 350).image]
    decoder = Decoder(clock=time.thread_time)
    marks = []
    for i in range(count):
        decoder.read(views[i % len(views)], budget_s=0.008)
        if i % max(count // 10, 1) == max(count // 10, 1) - 1:
            with open("/proc/self/statm", encoding="ascii") as statm:
                marks.append(round(int(statm.read().split()[1]) * resource.getpagesize() / 2**20, 1))
    print(f"  resident MiB after every tenth of {count} frames: {marks}", flush=True)
    return {"frames": count, "resident_mib": marks}


def run(argv: Sequence[str]) -> int:
    """Run the benchmark; writes bench/results/decode.json. Returns 1 when any text was wrong, else 0."""
    parser = argparse.ArgumentParser(prog="run bench decode", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="pictures with their texts instead of generated frames")
    parser.add_argument("--seeds", default="11,22", help="seeds of the generated frames, 220 frames each")
    parser.add_argument("--holds", type=int, default=8, help="presentations a family (0: none)")
    parser.add_argument("--hold-seed", type=int, default=7, help="seed of the presentations; 300 to 303 set the levels")
    parser.add_argument("--families", default=",".join(frames.HOLDS), help="families of the presentations")
    parser.add_argument("--idle", type=int, default=120, help="frames of the idle lobbies (0: none)")
    parser.add_argument("--memory", type=int, default=2000, help="frames of the memory run (0: none)")
    args = parser.parse_args(list(argv))
    cv2.setNumThreads(1)
    results: dict[str, Any] = {}
    if args.folder:
        results["folder"] = _folder(args.folder)
        _print(str(args.folder), results["folder"])
    else:
        seeds = tuple(int(s) for s in args.seeds.split(",") if s)
        if seeds:
            print(f"{220 * len(seeds)} generated frames, 1280x720 ...", flush=True)
            results["singles"] = _singles(seeds)
            _print("generated frames", results["singles"])
        if args.idle:
            print("\nidle frames")
            results["idle"] = _idle(args.idle)
        if args.holds:
            print("\none-second holds: presentations read, median frame of the first read")
            results["holds"] = _holds(args.hold_seed, args.holds, args.families.split(","))
        if args.memory:
            print("\nmemory")
            results["memory"] = _memory(args.memory)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False), "utf-8")
    print(f"\nwritten to {RESULTS.relative_to(Path(__file__).parent.parent)}")
    sets = [r["readers"] for r in (results.get("singles"), results.get("folder")) if r]
    wrong = [row["wrong"] for readers in sets for name, row in readers.items() if name.startswith("ours")]
    wrong += [h["wrong"] for h in results.get("holds", {}).values()]
    return 1 if any(wrong) else 0
