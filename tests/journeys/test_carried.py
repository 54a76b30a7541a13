"""A journal carried on a stick: kiosk's own SQLite, server's own SQLite, and everything that happens to sticks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gatehouse.cli import main
from kiosk.carrying import CarryError, accept_receipt_file, export_journal
from kiosk.store import JournalError
from kiosk.verifying import verify_journal
from protocol.carried import LENGTH_BYTES, MAGIC
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, MAX_RECORDS
from server.audit import AuditEvent
from server.ingest.appending import Result
from server.ingest.importing import Imported, ImportRefused, import_journal
from server.ingest.models import Epoch, Fork, Journal, JournalRecord, Quarantined
from server.kiosks.models import Kiosk
from tests.kiosk.sync.house import Door, LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


class Stick:
    """A kiosk that is stopped, a stick, and the way between the two machines."""

    def __init__(self, folder: Path, server: LiveServer) -> None:
        self.server, self.kiosk, self.stick = server, folder / "kiosk", folder / "stick"
        self.stick.mkdir()
        door = Door.enrolled(self.kiosk, server)
        self.id = door.id
        door.close()

    def walk(self, count: int) -> None:
        door = Door.opened(self.kiosk)
        door.walk(count)
        door.close()

    def export(self, name: str = "a", *, everything: bool = False) -> Path:
        file = self.stick / name
        export_journal(self.kiosk, file, everything=everything)
        return file

    def carry_in(self, file: Path) -> tuple[Imported, Path]:
        with self.server.app.app_context():
            done, receipt = import_journal(self.server.house, file)
        back = file.with_name(file.name + ".receipt")
        back.write_bytes(receipt)
        return done, back

    def carry_back(self, receipt: Path, keep_h: float = 48.0) -> tuple[str, int, int]:
        done = accept_receipt_file(self.kiosk, receipt, keep_after_receipt_h=keep_h)
        return done.result, done.through, done.unsent

    def held(self) -> list[int]:
        return [sequence for sequence, _ in self.server.held(self.id)]

    def row(self) -> Kiosk:
        with self.server.house.database.reading() as reading:
            return reading.scalars(select(Kiosk).where(Kiosk.id == self.id)).one()


@pytest.fixture
def stick(tmp_path: Path, server: LiveServer) -> Stick:
    return Stick(tmp_path, server)


def test_a_journal_arrives_once_and_its_receipt_lets_the_kiosk_purge(stick: Stick) -> None:
    stick.walk(5)
    done, receipt = stick.carry_in(stick.export())
    assert (done.result, done.stored, done.held, done.quarantined) == (Result.OK, 5, 5, [])
    assert stick.held() == [1, 2, 3, 4, 5]
    assert stick.carry_back(receipt, keep_h=0) == ("ok", 5, 0)
    report = verify_journal(stick.kiosk / "journal.db")
    assert report.is_whole and (report.records, report.receipted) == (0, 5)
    with pytest.raises(CarryError) as nothing:
        stick.export("b")
    assert nothing.value.code == "nothing"


def test_records_stay_for_a_restored_server_until_a_later_receipt(stick: Stick) -> None:
    stick.walk(3)
    _, receipt = stick.carry_in(stick.export())
    assert stick.carry_back(receipt) == ("ok", 3, 0)
    assert verify_journal(stick.kiosk / "journal.db").records == 3


def test_a_file_that_comes_twice_is_stored_once(stick: Stick) -> None:
    stick.walk(4)
    file = stick.export()
    stick.carry_in(file)
    done, receipt = stick.carry_in(file)
    assert (done.result, done.records, done.stored, done.held) == (Result.OK, 4, 0, 4)
    assert stick.carry_back(receipt) == ("ok", 4, 0)
    assert stick.carry_back(receipt) == ("ok", 4, 0)
    assert stick.held() == [1, 2, 3, 4]


def test_a_lost_file_is_no_loss(stick: Stick) -> None:
    stick.walk(2)
    stick.export("lost").unlink()
    stick.walk(2)
    done, receipt = stick.carry_in(stick.export("found"))
    assert (done.result, done.stored) == (Result.OK, 4)
    assert stick.carry_back(receipt) == ("ok", 4, 0)


def test_files_in_the_wrong_order_wait_for_the_earlier_one(stick: Stick) -> None:
    stick.walk(2)
    first = stick.export("first")
    _, receipt = stick.carry_in(first)
    stick.carry_back(receipt)
    stick.walk(3)
    second = stick.export("second")
    _, second_receipt = stick.carry_in(second)
    stick.carry_back(second_receipt)
    stick.walk(1)
    older, again = stick.carry_in(first)
    assert (older.result, older.stored, older.held) == (Result.OK, 0, 5)
    assert stick.carry_back(receipt) == ("ok", 5, 1), "an old receipt takes nothing back"
    assert stick.carry_back(again) == ("ok", 5, 1)


def test_a_file_after_a_hole_takes_nothing_and_says_from_where(stick: Stick) -> None:
    stick.walk(2)
    _, receipt = stick.carry_in(stick.export("first"))
    stick.carry_back(receipt)
    stick.walk(2)
    second = stick.export("second")
    with stick.server.house.database.writing() as writing:  # as restored from a backup made before the first file
        for table in (JournalRecord, Epoch):
            for row in writing.scalars(select(table).where(table.kiosk_id == stick.id)):
                writing.delete(row)
        writing.delete(writing.get_one(Journal, stick.id))
    done, gap_receipt = stick.carry_in(second)
    assert (done.result, done.stored, done.held) == (Result.GAP, 0, 0)
    assert stick.carry_back(gap_receipt) == ("gap", 0, 4), "the kiosk begins again where the server is"
    done, receipt = stick.carry_in(stick.export("again"))
    assert (done.result, done.stored) == (Result.OK, 4)
    assert stick.carry_back(receipt) == ("ok", 4, 0)


def test_a_stick_and_the_network_together_store_each_record_once(stick: Stick) -> None:
    stick.walk(4)
    file = stick.export()
    door = Door.opened(stick.kiosk)
    door.walk(2)
    while door.journal.unsent_count():
        assert door.problem() is None
    door.close()
    done, _ = stick.carry_in(file)
    assert (done.result, done.stored, done.held) == (Result.OK, 0, 6)
    assert stick.held() == [1, 2, 3, 4, 5, 6]


def test_more_than_one_upload_goes_into_a_file(stick: Stick) -> None:
    count = MAX_RECORDS + 5
    stick.walk(count)
    file = stick.stick / "a"
    assert export_journal(stick.kiosk, file).uploads == 2
    done, receipt = stick.carry_in(file)
    assert (done.result, done.stored) == (Result.OK, count)
    assert stick.carry_back(receipt) == ("ok", count, 0)


def test_with_all_the_receipted_records_go_along(stick: Stick) -> None:
    stick.walk(3)
    _, receipt = stick.carry_in(stick.export("a"))
    stick.carry_back(receipt)
    stick.walk(1)
    done, _ = stick.carry_in(stick.export("b", everything=True))
    assert (done.after_sequence, done.records, done.stored) == (0, 4, 1)


def refused(stick: Stick, file: Path) -> str:
    """The code with which a file is refused; nothing of it is stored."""
    before = stick.held()
    with pytest.raises(ImportRefused) as error:
        stick.carry_in(file)
    assert error.value.hint and stick.held() == before
    return error.value.code


def test_no_byte_of_a_file_can_be_changed(stick: Stick) -> None:
    stick.walk(2)
    file = stick.export()
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert refused(stick, file)
    file.write_bytes(whole)
    assert stick.carry_in(file)[0].stored == 2


def test_a_file_cut_short_takes_nothing_wherever_it_is_cut(stick: Stick) -> None:
    stick.walk(2)
    file = stick.export()
    whole = file.read_bytes()
    for length in range(0, len(whole), 101):
        file.write_bytes(whole[:length])
        assert refused(stick, file)
    file.write_bytes(whole + b"x")
    assert refused(stick, file)


def test_an_upload_left_out_of_the_middle_is_noticed(stick: Stick) -> None:
    stick.walk(MAX_RECORDS + 1)
    file = stick.export()
    whole = file.read_bytes()
    start = len(MAGIC)
    first = int.from_bytes(whole[start : start + LENGTH_BYTES], "big") + LENGTH_BYTES
    file.write_bytes(whole[:start] + whole[start + first :])
    assert refused(stick, file) == "changed"


def test_a_kiosk_that_this_server_does_not_know_is_refused(stick: Stick, tmp_path: Path) -> None:
    foreign = LiveServer(tmp_path / "elsewhere")
    other = Door.enrolled(tmp_path / "other", foreign)
    other.walk(2)
    other.close()
    export_journal(tmp_path / "other", tmp_path / "foreign")
    foreign.stop()
    assert refused(stick, tmp_path / "foreign") == "unknown_kiosk"


def test_a_suspended_kiosks_file_is_refused_as_its_uploads_are(stick: Stick) -> None:
    stick.walk(1)
    file = stick.export()
    with stick.server.house.database.writing() as writing:
        writing.get_one(Kiosk, stick.id).state = "suspended"
    assert refused(stick, file) == "suspended"


@pytest.mark.parametrize("data", [b"", b"GHJ1", b"GHJ1\0\0\0\0", b"GHJ1\xff\xff\xff\xff", b"PK\3\4" * 9, bytes(99)])
def test_what_is_no_journal_file_is_refused(stick: Stick, data: bytes) -> None:
    file = stick.stick / "odd"
    file.write_bytes(data)
    assert refused(stick, file)


def test_a_second_history_is_kept_as_evidence(stick: Stick, tmp_path: Path) -> None:
    stick.walk(1)
    stick.carry_in(stick.export("first"))
    copy = tmp_path / "copied-card"
    copy.mkdir()
    for path in stick.kiosk.glob("*.*"):
        (copy / path.name).write_bytes(path.read_bytes())
    stick.walk(2)
    stick.carry_in(stick.export("ours"))
    door = Door.opened(copy)
    door.walk(1)
    door.close()
    export_journal(copy, tmp_path / "theirs")
    done, receipt = stick.carry_in(tmp_path / "theirs")
    assert (done.result, done.held) == (Result.FORK, 3)
    with stick.server.house.database.reading() as reading:
        fork = reading.scalars(select(Fork).where(Fork.kiosk_id == stick.id)).one()
        assert fork.sequence == 2
    with pytest.raises(JournalError) as error:
        accept_receipt_file(copy, receipt, keep_after_receipt_h=0)
    assert error.value.code == "fork"


def test_a_record_that_cannot_be_believed_goes_into_quarantine_and_the_kiosk_hears_of_it(stick: Stick) -> None:
    door = Door.opened(stick.kiosk)
    door.walk(1)
    foreign = door.identity.enrolment.place
    door.journal.append(type(foreign)(foreign.kiosk, b"venue2", 1), door.clock.stamp(), "started", day="today")
    door.walk(1)
    door.close()
    done, receipt = stick.carry_in(stick.export())
    assert (done.result, done.stored, done.quarantined) == (Result.OK, 3, [(2, "other_venue")])
    stick.carry_back(receipt)
    again = Door.opened(stick.kiosk)
    assert again.journal.quarantined() == [(2, "other_venue")]
    again.close()
    with stick.server.house.database.reading() as reading:
        assert reading.get(Quarantined, (stick.id, 2)) is not None


def test_a_carried_file_does_not_make_a_dead_kiosk_look_alive(stick: Stick) -> None:
    door = Door.opened(stick.kiosk)
    assert door.problem() is None
    door.close()
    seen = stick.row().last_seen_at
    stick.walk(3)
    file = stick.export()
    stick.carry_in(file)
    row = stick.row()
    assert row.last_seen_at == seen
    assert (row.last_sequence, row.unsent_count, row.oldest_unsent_at) == (3, 0, None)
    rest = file.read_bytes()[len(MAGIC) :]
    body = rest[LENGTH_BYTES : LENGTH_BYTES + int.from_bytes(rest[:LENGTH_BYTES], "big")]
    response = stick.server.app.test_client().post(
        EXCHANGE_PATH, data=body, content_type=CONTENT_TYPE, base_url="http://127.0.0.1"
    )
    assert response.status_code == 200
    assert stick.row().last_seen_at == seen, "nor does whoever found the stick and posts from it"


def test_what_was_carried_stands_on_the_audit_trail(stick: Stick) -> None:
    stick.walk(2)
    stick.carry_in(stick.export())
    with stick.server.house.database.reading() as reading:
        lines = reading.scalars(select(AuditEvent).where(AuditEvent.object_id == stick.id.hex())).all()
    assert [line.reason for line in lines if line.action == "journal.imported"] == [
        "ok: 2 records, 2 new, held up to 2"
    ]


def test_a_running_kiosk_says_that_it_must_be_stopped(stick: Stick) -> None:
    stick.walk(1)
    door = Door.opened(stick.kiosk)
    for attempt in (
        lambda: stick.export(),
        lambda: accept_receipt_file(stick.kiosk, stick.stick / "any", keep_after_receipt_h=0),
    ):
        with pytest.raises(JournalError) as error:
            attempt()
        assert error.value.code == "busy" and "Stop it" in error.value.hint
    door.close()
    assert list(stick.stick.iterdir()) == []


def test_another_kiosks_receipt_is_refused(stick: Stick, tmp_path: Path, server: LiveServer) -> None:
    (tmp_path / "second").mkdir()
    other = Stick(tmp_path / "second", server)
    for one in (stick, other):
        one.walk(1)
    _, receipt = other.carry_in(other.export())
    with pytest.raises(CarryError) as error:
        stick.carry_back(receipt)
    assert error.value.code == "other_kiosk"


@pytest.mark.parametrize(
    "harm", [lambda d: d[:-1], lambda d: d[:40] + b"\0" + d[41:], lambda d: b"", lambda d: d * 300]
)
def test_a_receipt_that_was_changed_is_refused(stick: Stick, harm: Callable[[bytes], bytes]) -> None:
    stick.walk(1)
    _, receipt = stick.carry_in(stick.export())
    receipt.write_bytes(harm(receipt.read_bytes()))
    with pytest.raises(CarryError) as error:
        stick.carry_back(receipt)
    assert error.value.code == "bad_receipt"


def test_a_receipt_for_records_that_this_card_lacks_is_a_fork(stick: Stick) -> None:
    stick.walk(2)
    _, receipt = stick.carry_in(stick.export())
    for path in stick.kiosk.glob("journal.db*"):
        path.unlink()
    stick.walk(1)
    with pytest.raises(JournalError) as error:
        stick.carry_back(receipt)
    assert error.value.code == "fork"


def test_a_file_is_never_written_over(stick: Stick) -> None:
    stick.walk(1)
    file = stick.export()
    with pytest.raises(CarryError) as error:
        stick.export()
    assert error.value.code == "exists" and file.exists()
    assert [path.name for path in stick.stick.iterdir()] == ["a"]


def test_the_commands_carry_a_journal_there_and_back(stick: Stick, capsys: pytest.CaptureFixture[str]) -> None:
    stick.walk(3)
    server_toml, kiosk_toml = stick.stick / "server.toml", stick.stick / "kiosk.toml"
    server_toml.write_text(
        f'public_url = "http://127.0.0.1"\ndata_dir = "{stick.server.house.settings.data_dir}"\n', encoding="utf-8"
    )
    kiosk_toml.write_text(f'data_dir = "{stick.kiosk}"\n[sync]\nkeep_after_receipt_h = 0\n', encoding="utf-8")
    file = str(stick.stick / "out.ghj")
    assert main(["kiosk", "journal", "export", str(stick.kiosk), "--out", file]) == 0
    assert main(["admin", "import-journal", file, "--config", str(server_toml)]) == 0
    assert "3 stored" in capsys.readouterr().out
    assert main(["kiosk", "journal", "receipt", f"{file}.receipt", "--config", str(kiosk_toml)]) == 0
    assert "3 newly confirmed, 3 purged, 0 still to send" in capsys.readouterr().out
    assert main(["kiosk", "journal", "export", str(stick.kiosk), "--out", f"{file}2"]) == 2
    assert "nothing to carry" in capsys.readouterr().err
