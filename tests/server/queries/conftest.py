"""A server with passages in it and a real vault process beside it; both on the real clock, the vault's only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from config.server import ServerSettings, VaultSettings
from protocol.credentials.identity import Identity
from protocol.passage import Header, Personal
from server.context import House
from server.ingest.appending import DAY_MS
from server.ingest.models import Epoch, Journal, JournalRecord, RecordKind
from server.ingest.partitions import ensure_days
from server.vault.client import VaultClient
from server.vault.wire import SealedRecord
from tests.server.people import LIBRARY, MARKET, PASSWORD_ALONE, Browser
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, World, now_ms

OUYANG = Identity(NAME, ID_NUMBER, PHONE)
LI = Identity("李四", "320311770706001", "+8613911112222")


def real_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    return real_now


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World.make(tmp_path_factory.mktemp("vault") / "v")
    world.enrol("district", world.district_key)
    return world


@pytest.fixture(scope="module")
def vault(world: World) -> Iterator[VaultClient]:
    with world.running() as client:
        yield client


@pytest.fixture
def settings(tmp_path: Path, world: World, vault: VaultClient) -> ServerSettings:
    return ServerSettings(
        public_url="http://localhost",
        data_dir=tmp_path / "data",
        accounts=PASSWORD_ALONE,
        vault=VaultSettings(public_file=world.folder / "vault-public.cbor", socket=vault.path),
    )


def store(house: House, records: list[SealedRecord]) -> None:
    """Put sealed records into the journal tables as the ingest does."""
    ensure_days(house.database.engine, now_ms() // DAY_MS, 2)
    with house.database.writing() as writing:
        for record in records:
            header = Header.from_bytes(record.header)
            assert header.facts
            if writing.get(Epoch, (record.kiosk, record.epoch)) is None:
                writing.add(
                    Epoch(
                        kiosk_id=record.kiosk,
                        epoch=record.epoch,
                        first_sequence=record.sequence,
                        wrapped=record.wrapped,
                        wrapped_digest=bytes(32),
                        received_at=real_now(),
                    )
                )
            journal = writing.get(Journal, record.kiosk)
            if journal is None:
                journal = Journal(kiosk_id=record.kiosk, sequence=0, head=bytes(32), changed_at=real_now())
                writing.add(journal)
            journal.sequence = max(journal.sequence, record.sequence)
            writing.add(
                JournalRecord(
                    kiosk_id=record.kiosk,
                    sequence=record.sequence,
                    received_day=now_ms() // DAY_MS,
                    received_at_ms=now_ms(),
                    kind=RecordKind.PASSAGE,
                    epoch=record.epoch,
                    header=record.header,
                    sealed=record.sealed,
                    hash=bytes(32),
                    venue_id=header.place.venue,
                    entrance=header.place.entrance,
                    at_ms=header.stamp.at_ms,
                    outcome=header.facts.outcome.value,
                    direction=header.facts.direction.value,
                )
            )
            writing.flush()


@dataclass
class Entrance:
    """What passed at the library and at the market."""

    kiosk: bytes
    records: list[SealedRecord]


@pytest.fixture
def entrance(world: World, house: House) -> Entrance:
    """Two people at the library, one of them twice, and one at the market, in another district."""
    kiosk = world.kiosk()
    records = [
        kiosk.pass_with_code(OUYANG, venue=LIBRARY),
        kiosk.pass_with_code(LI, venue=LIBRARY),
        kiosk.seal(Personal(name=NAME, phone=PHONE, helper_name="李四"), venue=LIBRARY),
        kiosk.pass_with_code(OUYANG, venue=MARKET),
    ]
    store(house, records)
    return Entrance(kiosk.id, records)


@pytest.fixture
def ask(house: House) -> Callable[..., str]:
    """`ask(browser, reveal="name")` sends the form and gives back the new query's address."""

    def fill(browser: Browser, **changes: str) -> str:
        answer = browser.post("/queries/new", {**form(house), **changes}, page="/queries/new")
        assert answer.status_code == 303, answer.text
        return answer.location

    return fill


def form(house: House) -> dict[str, str]:
    """A form that an investigator may send."""
    local = real_now().astimezone(house.settings.zone)
    return {
        "purpose": "epi_trace",
        "case_reference": "EPI-2026-17",
        "legal_ground": "传染病防治法 第三十九条",
        "venues": LIBRARY.hex(),
        "from_at": f"{local.replace(hour=0, minute=0):%Y-%m-%dT%H:%M}",
        "to_at": f"{local.replace(hour=23, minute=59):%Y-%m-%dT%H:%M}",
        "person_kind": "",
        "person": "",
        "max_rows": "10",
        "valid_hours": "24",
    }


@pytest.fixture
def fields(app: Flask, house: House) -> dict[str, str]:
    return form(house)
