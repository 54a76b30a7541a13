"""`./run torture`: kills a working kiosk at random instants, over and over, and checks what is left after each death.

Every victim is an operating system process of its own on the same files; after each SIGKILL the next victim goes on
where it died. Checked each time: the chain is whole, every passage that was shown stands in the journal exactly once,
nobody was let in unrecorded, no key and nonce sealed two records. Seedable: the same seed kills at the same instants.
"""

from __future__ import annotations

import argparse
import pickle
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests import victim
from tests.journeys.test_kill9 import PROCESSES, Trace, check_invariants

LIVES_A_FOLDER = 10  # then a fresh kiosk: journals of every length are killed
LONGEST_LIFE_S = 2.5


def main(argv: list[str]) -> int:
    """Exit code 0 when no invariant broke."""
    parser = argparse.ArgumentParser(prog="./run torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    chance = random.Random(args.seed)
    ends = time.monotonic() + args.minutes * 60
    deaths = lives = shown = 0
    with tempfile.TemporaryDirectory(prefix="gatehouse-torture-") as top:
        while time.monotonic() < ends:
            folder = Path(top) / f"kiosk{lives // LIVES_A_FOLDER}"
            folder.mkdir(exist_ok=True)
            keys = _keys(folder)
            if _live_and_die(folder, keys, chance.uniform(0.05, LONGEST_LIFE_S)):
                deaths += 1
            lives += 1
            if (folder / "journal.db").exists() and (folder / "trace").exists():
                try:
                    check_invariants(folder, keys)
                except AssertionError as error:
                    print(f"VIOLATION in life {lives} (seed {args.seed}): {error}\nkept: {folder}", file=sys.stderr)
                    folder.rename(Path(tempfile.mkdtemp(prefix="gatehouse-violation-")) / folder.name)
                    return 1
                shown = sum(len(Trace.read(f).shown) for f in Path(top).iterdir() if (f / "trace").exists())
            if lives % 10 == 0:
                print(f"  {lives} lives, {deaths} killed, {shown} passages shown, 0 violations", flush=True)
    print(f"{lives} lives, {deaths} killed with SIGKILL, {shown} passages shown, 0 violations (seed {args.seed})")
    return 0 if shown and deaths else 1


def _keys(folder: Path) -> victim.Keys:
    path = folder / "keys"
    if not path.exists():
        path.write_bytes(pickle.dumps(victim.Keys.make()))
    keys: victim.Keys = pickle.loads(path.read_bytes())
    return keys


def _live_and_die(folder: Path, keys: victim.Keys, after_s: float) -> bool:
    process = PROCESSES.Process(target=victim.live, args=(folder, pickle.dumps(keys), 1000, "nowhere"))
    process.start()
    process.join(after_s)
    process.kill()
    process.join()
    code = process.exitcode
    process.close()
    return code == -signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
