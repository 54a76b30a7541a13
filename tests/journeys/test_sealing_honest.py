"""Sealing kept honest: a stolen kiosk opens nothing, and the search for people in raw bytes finds what is there."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kiosk.store import Journal
from protocol.credentials.identity import Identity
from protocol.errors import ProtocolError
from protocol.passage import Personal
from protocol.sealing import EPOCH_ID_BYTES, EpochOpener
from tests.fakes import Device, VaultKey, facts, stamp
from tests.leaks import People, forms, packed

ON_CODE = Identity("欧阳小明", "11010519491231002X", "+8613800138001")
PEOPLE = People(ON_CODE.name, ON_CODE.id_number, str(ON_CODE.phone))


@pytest.mark.parametrize("secret", [ON_CODE.name, ON_CODE.id_number, str(ON_CODE.phone)])
def test_every_form_that_is_looked_for_is_found_in_the_middle_of_other_bytes(secret: str) -> None:
    for form, name in forms(secret).items():
        for content in (
            b"\x00\xff" + form + b"\x01",
            packed("zlib", content=b"before" + form),
            packed("gzip", content=form),
        ):
            assert PEOPLE.found_in(content), name
    for before in range(4):  # and as it comes about: whatever stands before it
        coded = base64.b64encode(b"z" * before + secret.encode() + b"after")
        assert PEOPLE.found_in(coded), before
    assert PEOPLE.found_in(b"138 0013 8001") and PEOPLE.found_in(b"138-0013-8001")
    assert not PEOPLE.found_in(b"nobody was here: 13800138009, 110105194912310")


# -- a thief of a kiosk ----------------------------------------------------------------------------------------------


class Entrance:
    """A kiosk's journal at work, and (for the proof that the thief's search can succeed) the keys in its memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.device, self.keys = folder, Device(), list[bytes]()
        self.journal = Journal(folder / "journal.db", self.device.id, VaultKey().public, random=self._random)

    def _random(self, count: int) -> bytes:
        drawn = os.urandom(count)
        self.keys.append(drawn[EPOCH_ID_BYTES:])
        return drawn

    def somebody_passes(self, day: str) -> None:
        self.journal.append(self.device.place, stamp(), facts(), Personal(name=ON_CODE.name), day=day)


def opened_by_a_thief(folder: Path) -> int:
    """How many epochs open with what lies in *folder*: every 32 bytes of every file are tried as the key of each."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as database:
        rows = database.execute(
            "SELECT sequence, epoch, header, sealed FROM record WHERE length(sealed) > 0"
        ).fetchall()
    assert rows, "nothing was sealed, so there is nothing to steal"
    one_of_each = {row[1]: row for row in rows}
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    tried = {data[at : at + 32] for data in files for at in range(len(data) - 31)}
    count = 0
    for sequence, epoch, header, sealed in one_of_each.values():
        for key in tried:
            with contextlib.suppress(ProtocolError):
                EpochOpener(epoch, ChaCha20Poly1305(key)).open(sequence, header, sealed)
                count += 1
                break
    return count


def test_whoever_takes_the_kiosk_at_any_time_opens_nothing_that_was_sealed(tmp_path: Path) -> None:
    """While it runs, after midnight, after it was switched off, after it was switched on again."""
    entrance = Entrance(tmp_path / "kiosk")
    stolen = 0

    def steal() -> Path:
        nonlocal stolen
        stolen += 1
        return shutil.copytree(entrance.folder, tmp_path / f"stolen-{stolen}")

    entrance.somebody_passes("2026-11-21")
    assert opened_by_a_thief(steal()) == 0
    entrance.somebody_passes("2026-11-22")
    assert opened_by_a_thief(steal()) == 0
    entrance.journal.close()
    copy = steal()
    assert opened_by_a_thief(copy) == 0
    assert len(entrance.keys) == 2
    (copy / "left").write_bytes(b"core dump" + entrance.keys[1] + b"...")  # and it would have found a key
    assert opened_by_a_thief(copy) == 1
