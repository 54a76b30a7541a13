"""Setting up ends with a test that the kiosk itself watches: cable out, one person, cable in, everything arrived."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiosk.offline_test import FILE, OfflineTest, OfflineTests, Seen, Step, begin, load

ONLINE, OFFLINE = Seen(False, True, 5, 0), Seen(True, False, 5, 0)


def walk(*looks: Seen) -> list[Step]:
    test, steps = OfflineTest(), []
    for seen in looks:
        test = test.after(seen)
        steps.append(test.step)
    return steps


def test_cable_out_one_person_cable_in() -> None:
    gone, back, arrived = Seen(True, False, 6, 3), Seen(False, True, 6, 2), Seen(False, True, 6, 0)
    assert walk(ONLINE, OFFLINE, gone, back, arrived, OFFLINE) == [
        Step.PULL,
        Step.PASS,
        Step.PLUG,
        Step.PLUG,
        Step.PASSED,
        Step.PASSED,
    ]


def test_nobody_passed_so_it_begins_anew() -> None:
    assert walk(OFFLINE, ONLINE, Seen(False, True, 9, 0)) == [Step.PASS, Step.PULL, Step.PULL]


def test_a_link_that_merely_stumbles_is_no_cable_that_was_pulled() -> None:
    degraded = Seen(False, False, 5, 1)
    assert walk(degraded, degraded) == [Step.PULL, Step.PULL]


def test_a_record_that_is_not_a_person_does_not_count_and_midnight_does_no_harm() -> None:
    events_only = Seen(True, False, 5, 7)
    new_day, first = Seen(True, False, 0, 7), Seen(True, False, 1, 8)
    assert walk(OFFLINE, events_only, new_day, first) == [Step.PASS, Step.PASS, Step.PASS, Step.PLUG]


def test_it_survives_a_power_cut_and_passes_once(tmp_path: Path) -> None:
    begin(tmp_path)
    assert not OfflineTests(tmp_path).look(OFFLINE)
    after_cut = OfflineTests(tmp_path)
    (part,) = after_cut.parts()
    assert part.part == "offline" and not part.good and "2/3" in part.text.zh
    assert not after_cut.look(Seen(True, False, 6, 1))
    assert after_cut.look(Seen(False, True, 6, 0)), "now it passed"
    assert not after_cut.look(Seen(False, True, 6, 0)), "and is said once"
    assert after_cut.parts() == () and after_cut.health() == (("offline_test", "passed"),)
    assert OfflineTests(tmp_path).parts() == ()


def test_a_kiosk_of_before_is_never_asked(tmp_path: Path) -> None:
    tests = OfflineTests(tmp_path)
    assert not tests.look(OFFLINE) and tests.parts() == () and tests.health() == () and not list(tmp_path.iterdir())


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"step": "won", "passages": 1}', b'{"step": "pull"}'])
def test_a_damaged_note_asks_for_nothing(tmp_path: Path, note: bytes) -> None:
    (tmp_path / FILE).write_bytes(note)
    assert load(tmp_path) is None
