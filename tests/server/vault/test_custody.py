"""The vault's keys in several hands: m sheets bring all of it back, m - 1 nothing, and a drill proves it."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest

from protocol.credentials.identity import Identity
from server.vault.custody import Custody, Sheet, combine, held, refresh, split
from server.vault.errors import VaultError
from server.vault.keyfile import new_secrets, read_keys, write_keys
from server.vault.sheets import draw_sheet
from tests.server.vault.test_commands import gatehouse
from tests.server.vault.world import ID_NUMBER, NAME, PASSPHRASE, PHONE, World

HOLDERS = ("街道办主任", "区疾控中心", "审计 Audit")
AT_MS = 1_795_000_000_000


def words(sheet: Sheet) -> str:
    return " ".join(sheet.words)


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object, list[Sheet]]:
    folder = tmp_path_factory.mktemp("parted")
    keys = new_secrets(AT_MS)
    _, sheets = split(folder, keys, 2, HOLDERS, AT_MS)
    return folder, keys, sheets


def test_any_two_of_three_bring_everything_back(parted: tuple[Path, object, list[Sheet]]) -> None:
    folder, keys, sheets = parted
    for some in itertools.permutations(sheets, 2):
        assert combine(folder, [words(sheet) for sheet in some]) == keys
    assert combine(folder, [words(s).upper().replace(" ", "  ") for s in sheets]) == keys  # one more does no harm


def test_one_sheet_is_not_enough_also_when_it_is_given_twice(parted: tuple[Path, object, list[Sheet]]) -> None:
    folder, _, sheets = parted
    for few in ([], [words(sheets[0])], [words(sheets[0]), words(sheets[0]).upper()]):
        with pytest.raises(VaultError, match="2 of 3 are needed"):
            combine(folder, few)


def test_a_wrong_word_is_found_and_its_sheet_named(parted: tuple[Path, object, list[Sheet]]) -> None:
    folder, _, sheets = parted
    wrong = list(sheets[1].words)
    wrong[7] = "academic" if wrong[7] != "academic" else "acid"
    for bad in (wrong, wrong[:-1], ["hello"] * 33):
        with pytest.raises(VaultError, match="Sheet 2 of those you gave"):
            combine(folder, [words(sheets[0]), " ".join(bad)])


def test_sheets_of_an_earlier_split_are_void(tmp_path: Path) -> None:
    keys = new_secrets(AT_MS)
    _, old = split(tmp_path, keys, 2, HOLDERS, AT_MS)
    _, new = split(tmp_path, keys, 2, HOLDERS, AT_MS + 1)
    for some in ([old[0], old[1]], [old[0], new[1]]):
        with pytest.raises(VaultError, match="do not open this custody"):
            combine(tmp_path, [words(sheet) for sheet in some])
    assert combine(tmp_path, [words(sheet) for sheet in new[:2]]) == keys


def test_keys_that_change_are_sealed_anew_without_any_sheet(tmp_path: Path) -> None:
    keys = new_secrets(AT_MS)
    assert not refresh(tmp_path, keys)
    _, sheets = split(tmp_path, keys, 3, HOLDERS, AT_MS)
    later = keys.rotated(AT_MS + 1)
    assert refresh(tmp_path, later)
    assert combine(tmp_path, [words(sheet) for sheet in sheets]) == later


def test_the_files_hold_no_secret_in_the_clear(parted: tuple[Path, object, list[Sheet]]) -> None:
    folder, keys, sheets = parted
    seed = keys.signing_seed  # type: ignore[attr-defined]
    for file in folder.iterdir():
        content = file.read_bytes()
        assert seed not in content and sheets[0].words[5].encode() not in content
    custody = held(folder)
    assert custody is not None and custody.holders == HOLDERS


@pytest.mark.parametrize(("need", "holders"), [(1, HOLDERS), (4, HOLDERS), (2, ("A", "A", "B")), (2, ("A", ""))])
def test_what_is_no_custody_is_refused(tmp_path: Path, need: int, holders: tuple[str, ...]) -> None:
    with pytest.raises((VaultError, ValueError)):
        split(tmp_path, new_secrets(AT_MS), need, holders, AT_MS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\xa0", b"nonsense", b"\xa1\x01\x64none"])
def test_a_damaged_custody_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vault-custody.cbor").write_bytes(content)
    with pytest.raises(VaultError, match="cannot be read"):
        held(tmp_path)


def test_a_sheet_is_a_page_with_every_word(parted: tuple[Path, object, list[Sheet]]) -> None:
    folder, keys, sheets = parted
    custody = held(folder)
    assert isinstance(custody, Custody)
    pdf = draw_sheet(custody, sheets[2], keys.fingerprint())  # type: ignore[attr-defined]
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type */Page[^s]", pdf)) == 1


@pytest.mark.slow
def test_a_lost_vault_comes_back_from_two_sheets_and_opens_what_was_sealed(fresh: World, tmp_path: Path) -> None:
    record = fresh.kiosk().pass_with_code(Identity(NAME, ID_NUMBER, PHONE))
    keys = read_keys(fresh.folder, PASSPHRASE)
    _, sheets = split(fresh.folder, keys, 2, HOLDERS, AT_MS)
    typed = tmp_path / "typed"
    typed.write_text("\n".join(words(sheet) for sheet in sheets[1:]), encoding="utf-8")
    drill = gatehouse(fresh.folder, "custody", "drill", "--sheets", str(typed))
    assert drill.returncode == 0 and "bring this vault back" in drill.stdout, drill.stderr
    assert gatehouse(fresh.folder, "rotate").returncode == 0
    assert gatehouse(fresh.folder, "custody", "drill", "--sheets", str(typed)).returncode == 0  # sealed anew by rotate
    lost = tmp_path / "found"
    lost.mkdir(mode=0o700)
    for name in ("vault-custody.cbor", "vault-custody.bin"):  # the key file is gone
        shutil.copy(fresh.folder / name, lost)
    back = gatehouse(lost, "custody", "recover", "--sheets", str(typed), passphrase=b"a new long passphrase")
    assert back.returncode == 0, back.stderr
    again = read_keys(lost, b"a new long passphrase")
    assert again == read_keys(fresh.folder, PASSPHRASE)
    write_keys(fresh.folder, again, PASSPHRASE, replacing=True)
    query = fresh.query()
    with fresh.running() as vault:
        assert vault.open(query.to_bytes(), fresh.approve(query), [record]).rows
    assert gatehouse(fresh.folder, "log", "verify").returncode == 0


@pytest.mark.slow
def test_the_command_writes_sheets_once_and_a_wrong_sheet_proves_nothing(fresh: World, tmp_path: Path) -> None:
    out = tmp_path / "sheets"
    made = gatehouse(fresh.folder, "custody", "split", "--need", "2", "--holders", "A,B,C", "--out", str(out))
    assert made.returncode == 0, made.stderr
    assert [p.stat().st_mode & 0o777 for p in sorted(out.iterdir())] == [0o600] * 3
    again = gatehouse(fresh.folder, "custody", "split", "--need", "2", "--holders", "A,B,C", "--out", str(out))
    assert again.returncode == 2 and "exists" in again.stderr
    (tmp_path / "typed").write_text("no words\nat all\n", encoding="utf-8")
    drill = gatehouse(fresh.folder, "custody", "drill", "--sheets", str(tmp_path / "typed"))
    assert drill.returncode == 2 and "Sheet 1" in drill.stderr
    shown = gatehouse(fresh.folder, "custody", "show")
    assert "2 of 3" in shown.stdout and "sheet 3  C" in shown.stdout
