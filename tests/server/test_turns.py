"""Turns at one SQLite database: threads and processes wait for each other, and one that does not come stops nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server import db
from server.db import Database
from server.turns import Turns

HOLD = """
import sys
from pathlib import Path
from server.turns import Turns
Turns(Path(sys.argv[1]), 30.0).take({})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "server.db"


@pytest.fixture
def holder(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has its turn."""
    command = [sys.executable, "-c", HOLD, str(database)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_another_process_has_its_turn_until_it_dies(database: Path, holder: subprocess.Popen[str]) -> None:
    turns, mine, has_it = Turns(database, 30.0), dict[Any, Any](), threading.Event()

    def take() -> None:
        turns.take(mine)
        has_it.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not has_it.wait(0.2)
    holder.kill()
    assert has_it.wait(20)
    thread.join()
    turns.end(mine)
    assert mine == {}


def test_a_turn_that_does_not_come_is_not_waited_for_longer(database: Path, holder: subprocess.Popen[str]) -> None:
    """SQLite's own lock decides then; the next of our threads may try as well."""
    turns = Turns(database, 0.05)
    for _ in range(2):
        mine: dict[Any, Any] = {}
        turns.take(mine)
        assert list(mine.values()) == [None]  # the threads' turn, without the processes' file
        turns.end(mine)
        assert mine == {}
    assert holder.poll() is None


def test_one_thread_at_a_time_and_each_in_the_end(database: Path) -> None:
    turns, inside, most, done = Turns(database, 30.0), [0], [0], []

    def write(number: int) -> None:
        for _ in range(20):
            mine: dict[Any, Any] = {}
            turns.take(mine)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0)
            inside[0] -= 1
            turns.end(mine)
        done.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2, 3]
    assert most == [1]


@pytest.mark.parametrize("place", [lambda folder: folder / "missing" / "server.db", lambda _folder: None])
def test_without_a_file_the_threads_still_take_turns(tmp_path: Path, place: Callable[[Path], Path | None]) -> None:
    turns, first, second = Turns(place(tmp_path), 0.05), dict[Any, Any](), dict[Any, Any]()
    turns.take(first)
    turns.take(second)
    assert (bool(first), bool(second)) == (True, False)  # the second one's did not come in time
    turns.end(second)
    turns.end(first)
    turns.take(second)
    assert second
    turns.end(second)


def test_few_at_once_and_a_stuck_one_holds_nobody_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'server.db'}")
    goes, is_in = threading.Event(), threading.Event()

    def other() -> None:
        with database.few():
            is_in.set()
            goes.wait(20)

    with database.few():
        thread = threading.Thread(target=other)
        thread.start()
        assert not is_in.wait(0.1)
    assert is_in.wait(20)
    monkeypatch.setattr(db, "BUSY_TIMEOUT_MS", 50)
    with database.few():  # the other one never lets go
        assert not goes.is_set()
    goes.set()
    thread.join()
    with database.few():
        pass
    database.close()
