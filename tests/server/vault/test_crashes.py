"""The vault killed, cut off, short of disk or started twice: no look without its line, and no line that lies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.credentials.identity import Identity
from server.vault.client import VaultAway
from server.vault.errors import Refused, VaultError
from server.vault.log import LOG_FILE, AccessLog, Head, verify_log
from tests.server.vault.world import ID_NUMBER, NAME, PASSPHRASE, PHONE, TOP, World, is_away, now_ms

pytestmark = pytest.mark.slow  # each test starts the process anew

OUYANG = Identity(NAME, ID_NUMBER, PHONE)

KILLED_BEFORE_THE_ANSWER = """
import os, signal
from server.vault import process
def send(connection, message, seconds, really=process.send):
    if message.get(1) and isinstance(message[2].get(1), list) and 4 in message[2]:  # the answer to an open
        os.kill(os.getpid(), signal.SIGKILL)
    really(connection, message, seconds)
process.send = send
"""
DISK_FULL_AT_THE_LOG = """
import errno, os
from server.vault import log
def append(self, at_ms, event, facts, really=log.AccessLog.append):
    if event == "opened":
        raise OSError(errno.ENOSPC, "No space left on device")
    return really(self, at_ms, event, facts)
log.AccessLog.append = append
"""


def events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / LOG_FILE).read_text("utf-8").splitlines()]


def test_killed_between_the_log_and_the_answer_the_look_still_counts(fresh: World) -> None:
    record = fresh.kiosk().pass_with_code(OUYANG)
    query = fresh.query(max_rows=1)
    process = fresh.start(patch=KILLED_BEFORE_THE_ANSWER)
    with pytest.raises(VaultAway):
        fresh.client().open(query.to_bytes(), fresh.approve(query), [record])
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert "opened" in events(fresh.folder)
    other = fresh.kiosk().pass_with_code(OUYANG)
    with fresh.running() as vault, pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), fresh.approve(query), [other])
    assert refusal.value.code == "row_limit"


def test_when_the_log_cannot_be_written_nothing_is_opened(fresh: World) -> None:
    record = fresh.kiosk().pass_with_code(OUYANG)
    query = fresh.query()
    process = fresh.start(patch=DISK_FULL_AT_THE_LOG)
    try:
        with pytest.raises(Refused) as refusal:
            fresh.client().open(query.to_bytes(), fresh.approve(query), [record])
        assert refusal.value.code == "internal"
        assert not is_away(fresh.client())
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=30)
    assert not any(secret in output for secret in (NAME, ID_NUMBER, PHONE))


def test_a_line_cut_by_a_power_loss_is_dropped_and_said(fresh: World) -> None:
    with fresh.running():
        pass
    path = fresh.folder / LOG_FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"sequence":4,"at_ms":17')
    with fresh.running() as vault:
        line = json.loads(vault.log_lines(3)[0])
    assert (line["event"], line["facts"]) == ("started", {"torn_bytes": 24})
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("how", ["changed", "removed", "swapped", "unsigned", "cut"])
def test_a_log_that_was_touched_stops_the_vault_and_the_verify_command(how: str, fresh: World) -> None:
    key = fresh.secrets.signing_key()
    with AccessLog(fresh.folder, key) as log:
        for number in range(4):
            head = log.append(now_ms(), "found", {"count": number})
    path = fresh.folder / LOG_FILE
    lines = path.read_text("utf-8").splitlines(keepends=True)
    assert verify_log(path, key.public_key(), head) == head
    if how == "changed":
        lines[1] = lines[1].replace('"count":1', '"count":7')
    elif how == "removed":
        del lines[1]
    elif how == "swapped":
        lines[1], lines[2] = lines[2], lines[1]
    elif how == "unsigned":
        lines[3] = lines[3].replace(json.loads(lines[3])["signature"], "00" * 64)
    else:
        del lines[3:]
    path.write_text("".join(lines), "utf-8")
    with pytest.raises(VaultError) as broken:
        verify_log(path, key.public_key(), head)
    assert broken.value.code == "log_broken"
    command = [sys.executable, "-m", "gatehouse", "vault", "log", "verify", "--dir", str(fresh.folder)]
    verified = subprocess.run([*command, "--head", str(head)], cwd=TOP, capture_output=True, text=True, timeout=60)
    assert verified.returncode == 1, verified.stdout
    if how != "cut":  # a cut tail shows only against a noted head
        with pytest.raises(AssertionError, match="ended with 2"):
            fresh.start()


def test_a_log_touched_under_a_running_vault_stops_every_look(fresh: World) -> None:
    record = fresh.kiosk().pass_with_code(OUYANG)
    query = fresh.query()
    process = fresh.start()
    try:
        with (fresh.folder / LOG_FILE).open("a") as file:
            file.write("{}\n")
        with pytest.raises(Refused) as refusal:
            fresh.client().open(query.to_bytes(), fresh.approve(query), [record])
        assert refusal.value.code == "log_broken"
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_noted_head_vouches_for_what_came_after(fresh: World) -> None:
    key = fresh.secrets.signing_key()
    with AccessLog(fresh.folder, key) as log:
        noted = log.append(now_ms(), "found", {})
        log.append(now_ms(), "found", {"case": "a\u2028b\x85c\n欧"})
        assert [json.loads(line)["sequence"] for line in log.lines_after(0, 9)] == [1, 2]
        assert [json.loads(line)["sequence"] for line in log.lines_after(1, 1)] == [2]
        assert log.lines_after(2, 9) == []
    assert verify_log(fresh.folder / LOG_FILE, key.public_key(), noted).sequence == 2
    with pytest.raises(VaultError):
        verify_log(fresh.folder / LOG_FILE, key.public_key(), Head(1, "00" * 32))


def test_one_folder_serves_one_process(fresh: World) -> None:
    with fresh.running(), pytest.raises(AssertionError, match="ended with 2"):
        fresh.start("--socket", str(fresh.folder / "second.sock"))


def test_killed_at_once_it_starts_again_on_the_same_socket(fresh: World) -> None:
    process = fresh.start()
    process.kill()
    process.communicate(timeout=30)
    assert is_away(fresh.client())
    with fresh.running() as vault:
        assert vault.status().fingerprint == fresh.secrets.fingerprint()


def test_a_clock_set_back_opens_nothing(fresh: World) -> None:
    with AccessLog(fresh.folder, fresh.secrets.signing_key()) as log:
        log.append(now_ms() + 86_400_000, "found", {})
    query = fresh.query()
    with fresh.running() as vault, pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), fresh.approve(query), [])
    assert refusal.value.code == "clock_went_back"


def test_nothing_personal_is_in_any_file_or_word_of_the_vault(fresh: World) -> None:
    kiosk = fresh.kiosk()
    record = kiosk.pass_with_code(OUYANG)
    query = fresh.query()
    process = fresh.start()
    vault = fresh.client()
    vault.index([record], {kiosk.id: 1})
    vault.open(query.to_bytes(), fresh.approve(query), [record])
    process.terminate()
    output, _ = process.communicate(timeout=30)
    raw = b"".join(path.read_bytes() for path in fresh.folder.iterdir() if path.is_file()) + output.encode()
    digits = PHONE.removeprefix("+86")
    for secret in (NAME, ID_NUMBER, ID_NUMBER[:17], digits):
        for form in (
            secret.encode(),
            secret.encode("utf-16-le"),
            secret.encode().hex().encode(),
            secret.encode()[::-1],
        ):
            assert form not in raw
    for key in (fresh.secrets.signing_seed, fresh.secrets.seal[0].mlkem_seed, fresh.secrets.phone_tags, PASSPHRASE):
        assert key not in raw
        assert key.hex().encode() not in raw


ON_ANOTHER_THREAD = """
import os, signal, threading, time

def tell(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    time.sleep(0.3)  # the main thread waits for connections by now; nothing wakes it but what follows
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)

threading.Thread(target=tell, args=({path!r},), daemon=True).start()
"""


def test_it_stops_when_the_signal_does_not_interrupt_its_waiting(fresh: World) -> None:
    """As when SIGTERM comes between the last look for signals and the wait; here it lands on another thread."""
    process = fresh.start(patch=ON_ANOTHER_THREAD.format(path=str(fresh.folder / "vault.sock")))
    assert process.communicate(timeout=30)[0] is not None and process.returncode == 0
