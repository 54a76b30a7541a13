"""kill -9 of the kiosk between any two steps: no committed passage lost, none doubled, no key and nonce used twice."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kiosk.store import Journal
from kiosk.verifying import verify_journal
from protocol.journal import continue_chain, header_of
from protocol.passage import Personal
from protocol.sealing import EpochOpener
from protocol.words import Outcome
from tests import victim

PROCESSES = multiprocessing.get_context("forkserver")  # every victim is an operating system process of its own
PROCESSES.set_forkserver_preload(["tests.victim"])
PEOPLE = 2  # one passage opens an epoch, the next one continues it


@dataclass
class Trace:
    """What the victims wrote before they died."""

    shown: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    sealed: list[tuple[str, int, str]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    @staticmethod
    def read(folder: Path) -> Trace:
        trace = Trace()
        for line in (folder / "trace").read_text().splitlines():
            word, *rest = line.split(" ")
            if word == "shown":
                trace.shown.append(int(rest[0]))
            elif word == "opened":
                trace.opened.append(int(rest[0]))
            elif word == "sealed":
                trace.sealed.append((rest[0], int(rest[1]), rest[2]))
            elif word == "killed":
                trace.killed.append(" ".join(rest))
            elif word == "step":
                trace.steps.append(" ".join(rest))
        return trace


def live(folder: Path, keys: victim.Keys, kill_at: str) -> int:
    process = PROCESSES.Process(target=victim.live, args=(folder, pickle.dumps(keys), PEOPLE, kill_at))
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the victim hangs"
    code = process.exitcode
    process.close()
    return code


def check_invariants(folder: Path, keys: victim.Keys) -> None:
    device, vault, _ = keys.load()
    trace = Trace.read(folder)
    report = verify_journal(folder / "journal.db")
    assert report.is_whole, report.findings
    journal = Journal(folder / "journal.db", device.id, vault.public)
    after, after_hash, records = journal.unsent(1000, limit_bytes=10**9)
    journal.close()
    held = {record.sequence: record for record, _ in continue_chain(records, after_hash, after)}
    passages = {n: header_of(r, device.id).facts for n, r in held.items() if header_of(r, device.id).facts}
    assert all(n == 1 for n in Counter(trace.shown).values()), "a passage was shown as new twice"
    assert set(trace.shown) <= set(passages), "the screen showed a passage that the journal does not hold"
    assert set(trace.opened) <= set(passages), "the gate opened for a passage that the journal does not hold"
    assert all(passages[n].outcome is Outcome.ADMIT for n in trace.opened)  # type: ignore[union-attr]
    by_nonce: dict[tuple[str, int], set[str]] = {}
    for epoch, sequence, ciphertext in trace.sealed:  # also those that were never committed
        by_nonce.setdefault((epoch, sequence), set()).add(ciphertext)
    assert all(len(c) == 1 for c in by_nonce.values()), "two records were sealed under one key and nonce"
    wrapped = {r.epoch: r.wrapped for r in records if r.wrapped}
    for sequence in passages:
        record = held[sequence]
        opener = EpochOpener.unwrap(device.id, record.epoch, wrapped[record.epoch], vault.keys)
        assert Personal.from_bytes(opener.open(record.sequence, record.header, record.sealed)).name == "张*三"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_between_any_two_steps_of_a_passage(tmp_path: Path) -> None:
    keys = victim.Keys.make()
    whole = tmp_path / "whole"
    whole.mkdir()
    assert live(whole, keys, "") == 0
    check_invariants(whole, keys)
    steps = Trace.read(whole).steps
    assert len(steps) > 30, "the steps are not being counted"
    died = set()
    for number, kill_at in enumerate(steps):
        folder = tmp_path / f"kill{number}"
        folder.mkdir()
        code = live(folder, keys, kill_at)
        if code == 0:
            continue  # this run needed fewer steps of that kind (one window less)
        assert code == -signal.SIGKILL
        check_invariants(folder, keys)
        assert live(folder, keys, "nowhere") == 0, "the kiosk does not start again on what is left"
        check_invariants(folder, keys)
        died |= set(Trace.read(folder).killed)
    vital = {
        f"{when} {what} 1"
        for when in ("before", "after")
        for what in ("_present", "seal", "INSERT INTO chain", "gate", "publish")
    }
    assert vital <= died, vital - died
