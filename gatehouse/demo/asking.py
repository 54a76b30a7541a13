"""The demo's query: one official asks, another signs with a key of their own, the vault opens, the page shows."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gatehouse.demo.console import Visitor
from gatehouse.demo.processes import Processes
from server.demo import RESIDENTS, VENUE_ID

ZONE = ZoneInfo("Asia/Shanghai")  # the zone of the demo server's forms


@dataclass(frozen=True, slots=True)
class Asked:
    """What the query showed."""

    line: str  # for the terminal: how many records, never whose
    is_right: bool  # the page showed an ID number that only the code's issuer and the vault ever saw in clear


@dataclass(frozen=True, slots=True)
class Desk:
    """What the two officials need."""

    base: str
    password: str
    folder: Path
    processes: Processes


def ask_and_open(desk: Desk) -> Asked:
    """Ask for the last hour at the demo's venue, have it approved, and open it; everything over real HTTP."""
    investigator = Visitor(desk.base, "investigator", desk.password)
    now = datetime.now(ZONE)
    page = investigator.post(
        "/queries/new",
        {
            "purpose": "epi_trace",
            "case_reference": "DEMO-1",
            "legal_ground": "传染病防治法 演示 a drill",
            "venues": [VENUE_ID.hex()],
            "from_at": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}",
            "to_at": f"{now + timedelta(minutes=5):%Y-%m-%dT%H:%M}",
            "person_kind": "",
            "reveal": ["id_number"],
            "max_rows": "100",
            "valid_hours": "1",
        },
        form="/queries/new",
    )
    path = page.url.removeprefix(desk.base)
    password = desk.folder / "approver-password"
    password.write_text(desk.password + "\n", encoding="utf-8")
    password.chmod(0o600)
    desk.processes.run(
        *("approve", "sign", path.rsplit("/", 1)[-1], "--server", desk.base, "--user", "district", "--yes"),
        *("--key", str(desk.folder / "approver.key")),
        *("--passphrase-file", str(desk.folder / "approver-passphrase"), "--password-file", str(password)),
    )
    result = investigator.post(f"{path}/look", {}, form=path)
    text = html.unescape(re.sub(r"<[^>]+>", " ", result.text))
    seen = {person.id_number for person in RESIDENTS if person.id_number in text}
    return Asked(f"{len(seen)} ID numbers in full, as approved; names and phones masked", bool(seen))
