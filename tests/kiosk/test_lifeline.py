"""The kiosk tells what became of any of its records, also while it runs, and never of whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatehouse.cli import main
from kiosk.lifeline import life_of
from kiosk.store import Journal, JournalError
from protocol.exchange import Receipt
from protocol.passage import Personal
from tests.fakes import Device, VaultKey, facts, stamp

SERVER_MS = 1_800_000_000_000


def steps(journal: Journal, sequence: int) -> list[str]:
    return [moment.text.en.split(",")[0].split(";")[0] for moment in life_of(journal.path, sequence)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    device = Device()
    made = Journal(tmp_path / "journal.db", device.id, VaultKey().public)
    for n in range(4):
        made.append(device.place, stamp(n), facts(), Personal(name="张三"), day="d")
    return made


def test_a_record_is_followed_until_it_is_purged(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps(journal, 3) == ["Scanned", "Not sent"]
    assert steps(journal, 5) == steps(journal, 0) == ["There is no such record yet"]
    with journal._locked():
        at = journal._hash_at(3)
    assert at is not None
    journal.note_quarantined([(3, "other_venue")])
    journal.accept_receipt(Receipt(journal.kiosk, 3, at, SERVER_MS), b"signed")
    assert steps(journal, 3)[:3] == ["Scanned", "Sent", "Set aside by the server"]
    received = life_of(journal.path, 2)[1]
    assert (received.at_ms, received.note) == (SERVER_MS, "#3")
    assert steps(journal, 4) == ["Scanned", "Not sent"]
    journal.purge(0, SERVER_MS)
    assert steps(journal, 2)[:2] == ["Sent", "Purged here"]
    assert main(["kiosk", "journal", "show", str(tmp_path), "4"]) == 0
    told = capsys.readouterr().out
    assert "#4" in told and "待上传" in told and "张三" not in told
    assert main(["kiosk", "journal", "show", str(tmp_path), "4", "--json"]) == 0
    journal.close()


def test_what_is_no_journal_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(JournalError):
        life_of(tmp_path / "journal.db", 1)
