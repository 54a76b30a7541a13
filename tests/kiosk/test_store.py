"""The journal: what was committed is there, whole and once; what was changed is found."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.store import Journal, JournalError, journal_bytes
from kiosk.verifying import verify_journal
from protocol.exchange import Receipt
from protocol.journal import Record, continue_chain, genesis, header_of
from protocol.passage import Personal
from protocol.sealing import EpochOpener
from tests.fakes import DAY, Device, VaultKey, facts, stamp

WHO = Personal(name="张*三", id_number="11010519491231002X", phone="+8613800138000")


@pytest.fixture
def journal(tmp_path: Path, device: Device, vault: VaultKey) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db", device.id, vault.public)
    yield journal
    journal.close()


def write(journal: Journal, device: Device, n: int, day: str = DAY) -> None:
    for _ in range(n):
        after_s = journal.head()[0] * 10.0
        journal.append(device.place, stamp(after_s), facts(), WHO, day=day, count=("admit",))


def openers(records: tuple[Record, ...], device: Device, vault: VaultKey) -> dict[bytes, EpochOpener]:
    return {r.epoch: EpochOpener.unwrap(device.id, r.epoch, r.wrapped, vault.keys) for r in records if r.wrapped}


def test_records_are_chained_sealed_and_opened_by_the_vault_alone(
    journal: Journal, device: Device, vault: VaultKey
) -> None:
    write(journal, device, 5)
    after, after_hash, records = journal.unsent(100)
    assert (after, after_hash) == (0, genesis(device.id))
    chained = list(continue_chain(records, after_hash, after))
    assert (chained[-1][0].sequence, chained[-1][1]) == journal.head()
    keys = openers(records, device, vault)
    assert len(keys) == 1
    for record in records:
        assert header_of(record, device.id).facts == facts()
        plain = keys[record.epoch].open(record.sequence, record.header, record.sealed)
        assert Personal.from_bytes(plain) == WHO


def test_nothing_personal_stands_in_the_file(journal: Journal, device: Device, tmp_path: Path) -> None:
    write(journal, device, 3)
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in ("张*三", "11010519491231002X", "1101051949123100", "13800138000"):
        assert secret.encode() not in raw


def test_a_new_day_and_a_restart_each_start_a_new_epoch(tmp_path: Path, device: Device, vault: VaultKey) -> None:
    for day in (DAY, DAY, "2026-11-22"):
        journal = Journal(tmp_path / "journal.db", device.id, vault.public)
        write(journal, device, 2, day)
        journal.close()
    journal = Journal(tmp_path / "journal.db", device.id, vault.public)
    write(journal, device, 1, "2026-11-22")
    write(journal, device, 1, "2026-11-23")
    _, _, records = journal.unsent(100)
    assert [bool(r.wrapped) for r in records] == [True, False] * 3 + [True, True]
    assert len(openers(records, device, vault)) == 5
    assert len({(r.epoch, r.sequence) for r in records}) == len(records)
    journal.close()


def test_a_failed_commit_keeps_nothing_and_ends_the_epoch(
    journal: Journal, device: Device, vault: VaultKey, tmp_path: Path
) -> None:
    write(journal, device, 2)
    before = journal.head()
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")  # the disk is full, as SQLite sees it
    with pytest.raises(JournalError) as error:
        write(journal, device, 200)
    assert error.value.code == "disk_full" and "Free space" in error.value.hint
    held = journal.head()
    journal._db.execute("PRAGMA max_page_count = 1000000")
    write(journal, device, 1)
    after, after_hash, records = journal.unsent(1000)
    assert [r.sequence for r in records] == list(range(1, held[0] + 2))
    assert list(continue_chain(records, after_hash, after))[-1][1] == journal.head()[1]
    assert records[-1].wrapped, "the epoch of a failed commit must not seal again"
    assert before[0] <= held[0]


def test_two_threads_write_one_chain(journal: Journal, device: Device) -> None:
    threads = [threading.Thread(target=write, args=(journal, device, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, _, records = journal.unsent(1000)
    assert [r.sequence for r in records] == list(range(1, 81))
    assert journal.counts(DAY) == {"admit": 80}


def receipt_for(journal: Journal, device: Device, sequence: int, at_ms: int = 1_000) -> Receipt:
    after, after_hash, records = journal.unsent(1000)
    hashes = {after: after_hash} | {r.sequence: h for r, h in continue_chain(records, after_hash, after)}
    return Receipt(device.id, sequence, hashes[sequence], at_ms)


def test_only_a_receipt_lets_records_go_and_only_after_its_time(journal: Journal, device: Device) -> None:
    write(journal, device, 6)
    assert journal.purge(0, 10**15) == 0
    journal.accept_receipt(receipt_for(journal, device, 4, at_ms=1_000), b"signed")
    assert journal.unsent_count() == 2
    assert [r.sequence for r in journal.unsent(10)[2]] == [5, 6]
    assert journal.purge(keep_ms=5_000, server_now_ms=5_999) == 0
    assert journal.purge(keep_ms=5_000, server_now_ms=6_000) == 4
    write(journal, device, 1)
    assert [r.sequence for r in journal.unsent(10)[2]] == [5, 6, 7]
    assert verify_journal(journal.path).is_whole


def test_a_receipt_that_does_not_match_our_chain_is_refused(journal: Journal, device: Device) -> None:
    write(journal, device, 2)
    with pytest.raises(JournalError) as error:
        journal.accept_receipt(Receipt(device.id, 2, bytes(32), 1), b"signed")
    assert error.value.code == "fork"
    with pytest.raises(JournalError):
        journal.accept_receipt(Receipt(device.id, 9, bytes(32), 1), b"signed")
    assert journal.unsent_count() == 2


def test_a_restored_server_gets_its_lost_records_again(journal: Journal, device: Device) -> None:
    write(journal, device, 5)
    journal.accept_receipt(receipt_for(journal, device, 5), b"signed")
    assert journal.unsent(10)[2] == ()
    assert journal.rewind_to(2)
    assert [r.sequence for r in journal.unsent(10)[2]] == [3, 4, 5]
    journal.accept_receipt(receipt_for(journal, device, 5), b"signed")
    journal.purge(0, 10**15)
    assert not journal.rewind_to(2), "purged records cannot be sent again, and nobody may think they could"


def test_the_oldest_unsent_record_has_an_age(journal: Journal, device: Device) -> None:
    assert journal.oldest_unsent_ms() is None
    write(journal, device, 3)
    assert journal.oldest_unsent_ms() == stamp(0).at_ms


def test_a_batch_respects_both_limits(journal: Journal, device: Device) -> None:
    write(journal, device, 10)
    assert len(journal.unsent(4)[2]) == 4
    assert len(journal.unsent(100, limit_bytes=1)[2]) == 1
    assert 1 < len(journal.unsent(100, limit_bytes=2500)[2]) < 10


def test_another_kiosks_journal_is_not_written_to(tmp_path: Path, vault: VaultKey) -> None:
    Journal(tmp_path / "journal.db", Device().id, vault.public).close()
    with pytest.raises(JournalError) as error:
        Journal(tmp_path / "journal.db", Device().id, vault.public)
    assert error.value.code == "other_kiosk"


def test_two_processes_cannot_write_one_journal(journal: Journal, device: Device, vault: VaultKey) -> None:
    with pytest.raises(JournalError) as error:
        Journal(journal.path, device.id, vault.public)
    assert error.value.code == "busy" and "second kiosk" in error.value.hint


def test_a_file_that_is_no_journal_is_named(tmp_path: Path, device: Device, vault: VaultKey) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(JournalError) as error:
        Journal(tmp_path / "journal.db", device.id, vault.public)
    assert error.value.code == "damaged"
    with pytest.raises(JournalError):
        verify_journal(tmp_path / "journal.db")
    with pytest.raises(JournalError, match="no journal"):
        verify_journal(tmp_path / "missing.db")


TAMPERING = {
    "a header is edited": "UPDATE chain SET header = (SELECT header FROM chain WHERE sequence = 2) WHERE sequence = 3",
    "a sealed part is swapped": "UPDATE chain SET sealed = (SELECT sealed FROM chain WHERE sequence = 2)"
    " WHERE sequence = 3",
    "a record is deleted": "DELETE FROM chain WHERE sequence = 3",
    "the first records are deleted": "DELETE FROM chain WHERE sequence <= 2",
    "the last record is deleted": "DELETE FROM chain WHERE sequence = 6",
    "the last records are deleted": "DELETE FROM record WHERE sequence > 4",
    "two records are exchanged": "UPDATE chain SET sequence = CASE sequence WHEN 3 THEN 90 WHEN 4 THEN 91 END"
    " WHERE sequence IN (3, 4); UPDATE chain SET sequence = CASE sequence WHEN 90 THEN 4 WHEN 91 THEN 3 END"
    " WHERE sequence IN (90, 91)",
    "the head is moved back": "UPDATE head SET sequence = 5",
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(how: str, tmp_path: Path, device: Device, vault: VaultKey) -> None:
    journal = Journal(tmp_path / "journal.db", device.id, vault.public)
    write(journal, device, 6)
    journal.close()
    assert verify_journal(tmp_path / "journal.db").is_whole
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(TAMPERING[how])
    db.commit()
    db.close()
    report = verify_journal(tmp_path / "journal.db")
    assert not report.is_whole, f"{how}, and nothing was found"


def test_a_moved_clock_is_reported(tmp_path: Path, device: Device, vault: VaultKey) -> None:
    journal = Journal(tmp_path / "journal.db", device.id, vault.public)
    write(journal, device, 2)
    moved = stamp(20.0)
    journal.append(device.place, replace(moved, at_ms=moved.at_ms - 3_600_000), facts(), WHO, day=DAY)
    journal.close()
    report = verify_journal(tmp_path / "journal.db")
    assert any("clock was moved by -3600 s" in finding for finding in report.findings)


def test_events_stand_in_the_same_chain_and_hold_nothing_sealed(journal: Journal, device: Device) -> None:
    journal.append(device.place, stamp(), "started", day=DAY, detail=(("version", "0.1.0"),))
    _, _, (record,) = journal.unsent(10)
    header = header_of(record, device.id)
    assert (header.event, header.detail, record.sealed) == ("started", (("version", "0.1.0"),), b"")


def fill(journal: Journal, device: Device, megabytes: int) -> None:
    """As many real records as take so much room."""
    extra = tuple((f"n{i}", "x" * 200) for i in range(30))
    while journal._used_bytes() < megabytes * 2**20:
        journal.append(device.place, stamp(), facts(), Personal(name="x", extra=extra), day=DAY)


def test_a_journal_at_its_limit_refuses_and_keeps_everything_it_has(tmp_path: Path) -> None:
    device, vault = Device(), VaultKey()
    journal = Journal(tmp_path / "j.db", device.id, vault.public, soft_bytes=2**20, most_bytes=2 * 2**20)
    with pytest.raises(JournalError) as full:
        fill(journal, device, 100)
    assert full.value.code == "journal_full" and "stick" in full.value.hint
    held = journal.head()[0]
    assert journal_bytes(journal.path) < 16 * 2**20 and journal.unsent_count() == held
    assert journal.purge(0, 2**52) == 0, "nothing that no receipt covers ever goes"
    sequence, head = journal.head()
    journal.accept_receipt(Receipt(device.id, sequence, head, 1_790_000_000_000), b"signed")
    assert journal.purge(48 * 3_600_000, 1_790_000_000_001) == sequence, "above the lower bound a receipt is enough"
    journal.append(device.place, stamp(), facts(), day=DAY)  # and the entrance records again, without a new file
    assert journal.head()[0] == held + 1
    assert journal.purge(48 * 3_600_000, 1_790_000_000_001) == 0
    journal.close()
