"""The kiosk tells what became of any of its records, stage by stage, also while it runs, and never of whom."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from gatehouse.cli import main
from kiosk.lifeline import Listed, Moment, Reach, life_of, list_records
from kiosk.quarantine import quarantine_findings, quarantine_health
from kiosk.store import Journal, JournalError, Quarantine
from protocol.aside import Aside
from protocol.exchange import Receipt
from protocol.passage import Personal
from tests.fakes import Device, VaultKey, facts, stamp

SERVER_MS = 1_800_000_000_000
STAGES = ["scanned", "decided", "stored", "sent", "received", "indexed", "opened", "destroyed"]


def stages(journal: Journal, sequence: int) -> list[tuple[str, Reach]]:
    return [(moment.stage, moment.reach) for moment in life_of(journal.path, sequence)]


def moment(journal: Journal, sequence: int, stage: str) -> Moment:
    return next(one for one in life_of(journal.path, sequence) if one.stage == stage)


def reaches(journal: Journal, sequence: int) -> str:
    """A letter a stage: Done, Waiting, Aside, Gone, Elsewhere."""
    return "".join(reach.name[0] for _, reach in stages(journal, sequence))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    device = Device()
    made = Journal(tmp_path / "journal.db", device.id, VaultKey().public)
    for n in range(4):
        made.append(device.place, stamp(n), facts(), Personal(name="张三"), day="d")
    return made


def receipted(journal: Journal, sequence: int) -> None:
    with journal._locked():
        at = journal._hash_at(sequence)
    assert at is not None
    journal.accept_receipt(Receipt(journal.kiosk, sequence, at, SERVER_MS), b"signed")


def test_a_record_is_followed_until_it_is_purged(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [stage for stage, _ in stages(journal, 3)] == STAGES
    assert reaches(journal, 3) == "DDDWWEEE"
    assert stages(journal, 5) == stages(journal, 0) == [("unknown", Reach.WAITING)]
    journal.note_quarantined([(3, "other_venue")], SERVER_MS + 7)
    receipted(journal, 3)
    assert reaches(journal, 3) == "DDDDDAEEE"
    aside = moment(journal, 3, "aside")
    assert (aside.at_ms, aside.note) == (SERVER_MS + 7, "other_venue")
    received = moment(journal, 2, "received")
    assert (received.at_ms, received.note) == (SERVER_MS, "#3") and "latest" not in received.text.en
    assert moment(journal, 2, "decided").note == "scan admit" and moment(journal, 2, "stored").at_ms == stamp(1).at_ms
    assert reaches(journal, 4) == "DDDWWEEE"
    journal.purge(0, SERVER_MS)
    assert reaches(journal, 2) == "GGGDDEEE"
    assert "latest" in moment(journal, 2, "received").text.en  # an earlier receipt may have covered it
    assert main(["kiosk", "journal", "show", str(tmp_path), "4"]) == 0
    told = capsys.readouterr().out
    assert "#4" in told and "待上传" in told and "仅服务器知道" in told and "张三" not in told
    assert main(["kiosk", "journal", "show", str(tmp_path), "4", "--json"]) == 0
    assert [one["stage"] for one in json.loads(capsys.readouterr().out)["life"]] == STAGES
    journal.close()


def test_todays_records_are_listed_in_pages_and_yesterdays_are_not(journal: Journal) -> None:
    newest = list_records(journal.path, stamp(1).at_ms, most=2)
    assert newest.listed[0] == Listed(4, stamp(3).at_ms, "scan", "admit")
    assert ([one.sequence for one in newest.listed], newest.older) == ([4, 3], 3)
    rest = list_records(journal.path, stamp(1).at_ms, newest.older, most=2)
    assert ([one.sequence for one in rest.listed], rest.older) == ([2], None)
    journal.close()


def test_a_journal_of_an_older_program_tells_all_but_since_when(journal: Journal) -> None:
    journal.note_quarantined([(1, "other_venue")], SERVER_MS)
    receipted(journal, 2)
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("DROP TABLE quarantined_since")
    db.close()
    assert moment(journal, 1, "aside").at_ms is None


def test_what_is_kept_apart_is_a_finding_until_the_server_says_it_is_not(journal: Journal) -> None:
    assert quarantine_findings(journal.quarantine()) == () == quarantine_health(journal.quarantine())
    journal.note_quarantined([(3, "other_venue"), (2, "bad_field")], SERVER_MS)
    journal.note_quarantined([(3, "other_venue")], SERVER_MS + 9)  # told again when it is sent again
    assert journal.quarantine() == Quarantine(2, 2, SERVER_MS)
    (finding,) = quarantine_findings(journal.quarantine())
    assert "2 条" in finding.zh and "#2" in finding.zh and "重试或导出" in finding.zh and "since" in finding.en
    assert quarantine_health(journal.quarantine()) == (("quarantine", "2"), ("quarantine_since_ms", str(SERVER_MS)))
    journal.keep_quarantined(Aside((2,), more=True))  # it could not name all
    assert journal.quarantine().count == 2
    journal.keep_quarantined(Aside((3,)))
    assert journal.quarantined() == [(3, "other_venue")]
    journal.keep_quarantined(Aside())
    assert journal.quarantine().count == 0
    journal.close()


def test_what_is_no_journal_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(JournalError):
        life_of(tmp_path / "journal.db", 1)
    with pytest.raises(JournalError):
        list_records(tmp_path / "journal.db", 0)
