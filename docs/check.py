"""`./run docs`: checks that the documentation tells the truth, and with --pictures draws its screenshots again.

Checked: every relative link and picture exists, every command of `gatehouse` has a section in docs/commands.md, and
every setting of the example files is a setting.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from config.kiosk import load_kiosk
from gatehouse.cli import COMMANDS

TOP = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def main(argv: list[str]) -> int:
    """Exit code 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(prog="./run docs", description=__doc__)
    parser.add_argument("--pictures", action="store_true", help="run the demo and take the pictures again")
    args = parser.parse_args(argv)
    problems = [*broken_links(), *missing_commands()]
    load_kiosk(TOP / "config" / "kiosk.example.toml")
    for problem in problems:
        print(problem, file=sys.stderr)
    if args.pictures and not problems:
        from docs.pictures import take

        take(TOP / "docs" / "pictures")
    print(f"documentation: {len(problems)} problems")
    return 1 if problems else 0


def broken_links() -> list[str]:
    """Relative links that lead nowhere, as sentences."""
    found = []
    for page in [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                found.append(f"{page.relative_to(TOP)}: the link {target} leads nowhere")
    return found


def missing_commands() -> list[str]:
    """Commands that docs/commands.md does not describe, as sentences."""
    text = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    return [
        f"docs/commands.md: there is no section for {name}" for name in COMMANDS if f"## gatehouse {name}" not in text
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
