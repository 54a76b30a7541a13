"""`python -m bench [NAME] [ARGS...]`: runs one benchmark, or all of them; each prints a table and writes JSON."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

BENCHES = (
    "passage",
    "decode",
    "credentials",
    "hardware",
    "kiosk",
    "ingest",
    "fleet",
    "index",
    "trace",
    "sync",
    "console",
)
ASKED_FOR = ("frames",)  # sets the levels of generated holds: runs only when it is named


def main(argv: list[str]) -> int:
    """Exit code 0 when all ran, 1 when one missed what it must prove, 2 for an unknown name."""
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: ./run bench [NAME] [ARGS]\nNames: {', '.join(BENCHES)}. Without a name, all of them.")
        return 0
    if argv and not argv[0].startswith("-") and argv[0] not in BENCHES + ASKED_FOR:
        print(f"bench: there is no benchmark {argv[0]!r}; there are {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    named = bool(argv) and argv[0] in BENCHES + ASKED_FOR
    names, rest = ((argv[0],), argv[1:]) if named else (BENCHES, argv)
    (Path(__file__).parent / "results").mkdir(exist_ok=True)
    worst = 0
    for name in names:
        print(f"\n== {name} ==", flush=True)
        worst = max(worst, int(importlib.import_module(f"bench.{name}").run(list(rest))))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
