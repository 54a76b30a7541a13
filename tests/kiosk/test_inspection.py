"""The inspector sees counts, chain, clock and receipts of a journal, also of one in use, and nothing personal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gatehouse.cli import main
from kiosk.inspection import inspect
from kiosk.store import Journal, JournalError
from protocol.exchange import Receipt
from protocol.passage import ClockConfidence, Personal
from protocol.words import EntryMode, Outcome
from tests.fakes import DAY, Device, VaultKey, facts, stamp

WHO = Personal(name="张三丰", id_number="11010519491231002X", phone="+8613800138000")


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def journal(tmp_path: Path, device: Device) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db", device.id, VaultKey().public)
    yield journal
    journal.close()


def fill(journal: Journal, device: Device) -> None:
    """Two scans, one typed entry, one for somebody else, one event; the third's clock is an hour ahead and unsure."""
    modes = ((EntryMode.SCAN, None), (EntryMode.SCAN, None), (EntryMode.MANUAL, "li.na"), (EntryMode.PROXY, "li.na"))
    for n, (mode, operator) in enumerate(modes):
        at = stamp(n)
        if n >= 2:
            at = replace(at, at_ms=at.at_ms + 3_600_000)
        if n == 2:
            at = replace(at, confidence=ClockConfidence.UNSURE)
        journal.append(device.place, at, replace(facts(), mode=mode, operator=operator), WHO, day=DAY)
    journal.append(device.place, replace(stamp(5), at_ms=stamp(5).at_ms + 3_600_000), "waved_through", day=DAY)


def test_shares_clock_and_operators_are_told(journal: Journal, device: Device) -> None:
    fill(journal, device)
    looked = inspect(journal.path)
    assert (looked.passages, looked.share(EntryMode.MANUAL), looked.share(EntryMode.PROXY)) == (4, 0.25, 0.25)
    assert dict(looked.operators) == {"li.na": 2} and dict(looked.events) == {"waved_through": 1}
    assert [n for n, _ in looked.report.clock_moves] == [3] and looked.clock_unsure == 1
    assert looked.report.is_chain_whole and not looked.report.is_whole
    assert looked.unsent == 5 and looked.boots == 1


def test_only_records_since_a_moment_are_counted_and_the_chain_is_checked_from_its_start(
    journal: Journal, device: Device
) -> None:
    fill(journal, device)
    looked = inspect(journal.path, since_ms=stamp(0).at_ms + 3_000_000)
    assert looked.passages == 2 and looked.report.records == 5
    none_yet = inspect(journal.path, since_ms=stamp(0).at_ms + 10**9)
    assert none_yet.share(EntryMode.MANUAL) is None and dict(none_yet.outcomes) == {o.value: 0 for o in Outcome}


def test_receipts_and_what_was_set_aside_are_told(journal: Journal, device: Device) -> None:
    fill(journal, device)
    sequence, head = journal.head()
    journal.accept_receipt(Receipt(device.id, sequence, head, 1_790_000_000_000), b"signed")
    journal.note_quarantined([(2, "other_venue")], 1_790_000_000_000)
    looked = inspect(journal.path)
    assert looked.receipts == ((5, 1_790_000_000_000),) and looked.quarantined == ((2, "other_venue"),)
    assert looked.unsent == 0


def test_a_journal_in_use_is_looked_at_on_one_snapshot(journal: Journal, device: Device) -> None:
    """Records that are added during the look are no finding."""
    fill(journal, device)
    from kiosk.verifying import verify_journal

    added: list[int] = []

    def meanwhile(header: object) -> None:
        if not added:
            added.append(journal.append(device.place, stamp(9), "started", day=DAY).sequence)

    report = verify_journal(journal.path, meanwhile)
    assert added == [6] and report.is_chain_whole and report.last == 5
    assert inspect(journal.path).report.last == 6


def test_the_command_prints_nothing_personal_and_says_no_on_findings(
    journal: Journal, device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(journal, device)
    assert main(["kiosk", "journal", "show", str(journal.path.parent)]) == 1
    words = capsys.readouterr().out
    assert main(["kiosk", "journal", "show", str(journal.path.parent), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["manual_share"] == 0.25 and told["chain_whole"] and len(told["clock_moves"]) == 1
    assert "25.0%" in words and "#3" not in words.split("FINDING")[0]
    for secret in ("张三丰", "11010519491231002X", "13800138000"):
        assert secret not in words and secret not in json.dumps(told, ensure_ascii=False)


def test_what_is_no_journal_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database at all")
    for path in (tmp_path / "journal.db", tmp_path / "missing.db"):
        with pytest.raises(JournalError):
            inspect(path)
