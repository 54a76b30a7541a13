"""The arrows of the house plan: which room may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
ROOMS = {
    "protocol": set[str](),
    "config": set[str](),
    "firmware_bridge": {"config"},
    "kiosk": {"protocol", "firmware_bridge", "config"},
    "server": {"protocol", "config"},
}


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names & (ROOMS.keys() | {"gatehouse", "tests", "bench"})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_the_plan_allows(room: str) -> None:
    files = sorted((TOP / room).rglob("*.py"))
    assert files, f"{room}/ holds no Python files"
    for path in files:
        extra = imported_rooms(path) - ROOMS[room] - {room}
        assert not extra, f"{path.relative_to(TOP)} imports {sorted(extra)}; {room} may use {sorted(ROOMS[room])}"


IMPURE = {"os", "socket", "subprocess", "time", "random", "secrets", "sqlite3", "requests", "pathlib", "io"}


def test_protocol_does_no_input_output_and_has_no_clock() -> None:
    for path in sorted((TOP / "protocol").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module.split(".")[0]]
            bad = set(names) & (IMPURE - {"io"})
            assert not bad, f"{path.relative_to(TOP)} imports {sorted(bad)}"
