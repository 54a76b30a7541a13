"""The vault between two steps: what its log promises is done, and a power cut is not mistaken for tampering."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from protocol.credentials.identity import Identity
from server.vault.client import VaultAway
from server.vault.errors import VaultError
from server.vault.index import INDEX_FILE, Entry, TagIndex
from server.vault.log import LOG_FILE, AccessLog, verify_log
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, World, now_ms

OUYANG = Identity(NAME, ID_NUMBER, PHONE)

KILLED_AFTER_THE_LINE = """
import os, signal
from server.vault import log
def append(self, at_ms, event, facts, really=log.AccessLog.append):
    head = really(self, at_ms, event, facts)
    if event == "destroyed":
        os.kill(os.getpid(), signal.SIGKILL)
    return head
log.AccessLog.append = append
"""


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    return World.make(tmp_path / "v")


def tags(folder: Path) -> int:
    with closing(sqlite3.connect(folder / INDEX_FILE)) as db:
        return int(db.execute("SELECT count(*) FROM tag").fetchone()[0])


@pytest.mark.slow
def test_what_the_log_calls_destroyed_leaves_no_tag_although_the_vault_died_over_it(fresh: World) -> None:
    kiosk = fresh.kiosk()
    record = kiosk.pass_with_code(OUYANG)
    process = fresh.start(patch=KILLED_AFTER_THE_LINE)
    fresh.client().index([record], {kiosk.id: 1})
    assert tags(fresh.folder)
    with pytest.raises(VaultAway):
        fresh.client().destroy([record.epoch])
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    with fresh.running() as vault:
        assert vault.status().tags == 0
    assert tags(fresh.folder) == 0


def test_a_long_line_whose_first_pages_never_reached_the_disk_is_cut_off_and_said(fresh: World) -> None:
    key = fresh.secrets.signing_key()
    with AccessLog(fresh.folder, key) as log:
        head = log.append(now_ms(), "found", {"case": "a"})
        log.append(now_ms(), "found", {"case": "b" * 20_000})
    path = fresh.folder / LOG_FILE
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    path.write_bytes(raw[:first] + bytes(4096) + raw[first + 4096 :])  # what followed the hole did reach it
    with AccessLog(fresh.folder, key) as log:
        assert log.torn_bytes == len(raw) - first
        assert [line.sequence for line in log.replay()] == [1]
        log.append(now_ms(), "started", {"torn_bytes": log.torn_bytes})
    assert verify_log(path, key.public_key(), head).sequence == 2


def test_a_hole_in_an_older_line_is_tampering_and_stays_in_the_file(fresh: World) -> None:
    key = fresh.secrets.signing_key()
    with AccessLog(fresh.folder, key) as log:
        log.append(now_ms(), "found", {"case": "b" * 5000})
        log.append(now_ms(), "found", {"case": "a"})
    path = fresh.folder / LOG_FILE
    raw = path.read_bytes()
    path.write_bytes(bytes(100) + raw[100:])
    with AccessLog(fresh.folder, key) as log, pytest.raises(VaultError):
        list(log.replay())
    assert json.loads(path.read_bytes().splitlines()[1])["sequence"] == 2


def test_a_deletion_that_fails_leaves_the_index_usable(tmp_path: Path) -> None:
    index = TagIndex(tmp_path)
    index.add([Entry((b"t" * 16,), b"k" * 8, 1, b"e" * 16, b"venue1", 1, False)], {b"k" * 8: 1}, [])
    with pytest.raises(sqlite3.Error):
        index.forget([b"e" * 16, {}])  # type: ignore[list-item]  SQLite refuses it in the middle of the transaction
    index.add([Entry((b"u" * 16,), b"k" * 8, 2, b"f" * 16, b"venue1", 2, False)], {b"k" * 8: 2}, [])
    assert index.counts() == (2, 0)
    assert index.forget([b"e" * 16]) == 1
    index.close()
