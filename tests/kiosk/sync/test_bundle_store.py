"""The last good bundle stays in force until a whole, newer, signed one stands in its place."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiosk.bundle_store import BundleStore
from protocol import cbor
from protocol.bundle import Manifest, part_of
from protocol.errors import ProtocolError
from protocol.policy import EntryPolicy
from tests.kiosk.sync.house import Door, LiveServer


class Kit:
    """A kiosk's good bundle, and the means to sign others."""

    def __init__(self, door: Door, server: LiveServer) -> None:
        assert door.problem() is None
        self.enrolment, self.key, self.folder = door.identity.enrolment, server.key, door.folder / "bundle"
        self.manifest = Manifest.from_signed((self.folder / "manifest.cbor").read_bytes(), self.enrolment.server)
        self.data = {p.name: (self.folder / "parts" / p.digest.hex()).read_bytes() for p in self.manifest.parts}

    def signed(
        self, *, version: int = 1, kiosk: bytes | None = None, **parts: bytes | None
    ) -> tuple[bytes, dict[bytes, bytes]]:
        """A manifest *version* steps on, with some parts replaced or (None) left out, and those parts by digest."""
        data = {name: part for name, part in (self.data | parts).items() if part is not None}
        described = tuple(part_of(name, part) for name, part in sorted(data.items()))
        manifest = Manifest(kiosk or self.enrolment.kiosk, self.manifest.version + version, 1, described)
        return manifest.to_signed(self.key), {hashlib.sha256(p).digest(): p for p in data.values()}

    def store(self, **clocks: object) -> BundleStore:
        return BundleStore(self.folder, self.enrolment, **clocks)  # type: ignore[arg-type]


@pytest.fixture
def kit(door: Door, server: LiveServer) -> Iterator[Kit]:
    yield Kit(door, server)


STRICTER = EntryPolicy(fever_from_celsius=37.0).to_bytes()


def test_a_newer_bundle_takes_the_place_of_the_old_one_and_its_parts_go(kit: Kit) -> None:
    store = kit.store()
    manifest, data = kit.signed(policy=STRICTER)
    assert [p.name for p in store.wanted(manifest)] == ["policy"]
    store.swap_in(manifest, {d: p for d, p in data.items() if p == STRICTER}, 0)
    assert store.held is not None and store.held.policy.fever_from_celsius == 37.0
    again = kit.store()
    assert again.held is not None and again.held.policy.fever_from_celsius == 37.0
    assert {p.name for p in (kit.folder / "parts").iterdir()} == {d.hex() for d in data}


def refused(kit: Kit, manifest: bytes, data: dict[bytes, bytes]) -> str:
    """The code with which a bundle is refused; the old one is still in force, now and after a restart."""
    store = kit.store()
    before = store.version
    with pytest.raises(ProtocolError) as error:
        store.swap_in(manifest, data, 0)
    assert store.version == before and kit.store().version == before
    return error.value.code


def test_an_older_bundle_is_refused(kit: Kit) -> None:
    assert refused(kit, *kit.signed(version=-1)) == "older"


def test_another_kiosks_bundle_is_refused(kit: Kit) -> None:
    assert refused(kit, *kit.signed(kiosk=bytes(8))) == "other_kiosk"


@pytest.mark.parametrize("name", ["trust", "status", "policy", "vault", "place", "staff"])
def test_a_bundle_that_lacks_a_part_is_refused(kit: Kit, name: str) -> None:
    assert refused(kit, *kit.signed(**{name: None})) == "missing_part"


@pytest.mark.parametrize("name", ["trust", "status", "policy", "vault", "place", "staff"])
@pytest.mark.parametrize("data", [b"", b"\xa0", b"\x81\x01", bytes(200), cbor.encode([b"x"])])
def test_a_bundle_with_a_part_that_cannot_be_read_is_refused(kit: Kit, name: str, data: bytes) -> None:
    assert refused(kit, *kit.signed(**{name: data}))


def test_a_part_with_another_content_than_its_digest_is_refused(kit: Kit) -> None:
    manifest, data = kit.signed(policy=STRICTER)
    digest = hashlib.sha256(STRICTER).digest()
    assert refused(kit, manifest, data | {digest: STRICTER[:-1]}) == "wrong_part"
    assert refused(kit, manifest, data | {digest: STRICTER + b"x"}) == "wrong_part"
    del data[digest]
    assert refused(kit, manifest, data) == "missing_part"


def test_a_manifest_by_another_key_is_refused(kit: Kit) -> None:
    manifest, data = kit.signed(policy=STRICTER)
    broken = manifest[:-1] + bytes([manifest[-1] ^ 1])
    assert refused(kit, broken, data)


def test_another_vaults_keys_are_refused_even_when_the_server_signs_them(kit: Kit) -> None:
    from tests.server.ingest.fleet import VaultKeyRing

    assert refused(kit, *kit.signed(vault=VaultKeyRing().exported)) == "wrong_vault"


def test_a_part_that_a_later_server_adds_does_no_harm(kit: Kit) -> None:
    store = kit.store()
    store.swap_in(*kit.signed(weather=b"of a later version"), 0)
    assert kit.store().held is not None


def test_a_damaged_disk_is_noticed_and_the_bundle_fetched_again(kit: Kit, door: Door) -> None:
    policy = next(p for p in kit.manifest.parts if p.name == "policy")
    path = kit.folder / "parts" / policy.digest.hex()
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    door.close()
    again = Door.opened(door.folder)
    assert (again.bundles.held, again.bundles.version, again.bundles.trouble) == (None, 0, "missing_part")
    assert again.problem() is None
    assert again.bundles.held is not None and again.bundles.trouble is None
    again.close()


@pytest.mark.parametrize("damage", [b"", b"x", bytes(500)])
def test_a_damaged_manifest_is_noticed(kit: Kit, damage: bytes) -> None:
    (kit.folder / "manifest.cbor").write_bytes(damage)
    store = kit.store()
    assert store.held is None and store.trouble is not None


def test_a_power_cut_between_parts_and_manifest_leaves_the_old_bundle(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kiosk import bundle_store

    def cut_off(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        if path.name == "manifest.cbor":
            raise OSError(5, "Input/output error")
        whole(path, data, mode=mode)

    whole = bundle_store.write_whole
    monkeypatch.setattr(bundle_store, "write_whole", cut_off)
    store, before = kit.store(), kit.manifest.version
    with pytest.raises(OSError, match="Input/output"):
        store.swap_in(*kit.signed(policy=STRICTER), 0)
    assert store.version == before and kit.store().version == before


def test_the_age_counts_from_the_servers_last_word(kit: Kit) -> None:
    steady, wall = [1000.0], [50_000_000]
    store = kit.store(steady_s=lambda: steady[0], wall_ms=lambda: wall[0])
    store.confirm(50_000_000)
    steady[0] += 90
    wall[0] -= 10**9  # the wall clock jumps; the steady one does not
    assert store.age_s() == 90
    wall[0] = 50_000_000 + 3_600_000
    restarted = kit.store(steady_s=lambda: 5.0, wall_ms=lambda: wall[0])
    assert restarted.age_s() == 3600
    wall[0] = 0
    assert restarted.age_s() == 0


def test_confirmations_do_not_wear_the_card_out(kit: Kit) -> None:
    steady = [1000.0]
    store = kit.store(steady_s=lambda: steady[0])
    store.confirm(1)
    note = kit.folder / "confirmed"
    first = note.stat().st_mtime_ns
    for _ in range(20):
        steady[0] += 10
        store.confirm(2)
    assert note.stat().st_mtime_ns == first
    steady[0] += 600
    store.confirm(3)
    assert note.read_bytes() == b"3"


def test_a_kiosk_without_a_bundle_says_so(kit: Kit, tmp_path: Path) -> None:
    shutil.rmtree(kit.folder)
    store = kit.store()
    assert (store.held, store.version, store.age_s(), store.trouble) == (None, 0, 0, None)
