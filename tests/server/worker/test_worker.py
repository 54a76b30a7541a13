"""Due actions run when they are due, once, and one that fails never stops the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from config.errors import GatehouseError
from server.bundles.models import CallNonce
from server.context import House
from server.db import Database
from server.kiosks.models import EnrolmentCode
from server.worker.actions import ACTIONS, Action, Done, drop_unused_codes, forget_nonces
from server.worker.models import WorkerRun
from server.worker.running import MOST_AT_ONCE, Worker, last_runs
from tests.server.ingest.fleet import install_vault, make_code
from tests.server.people import Clock


class Counter:
    """An action that counts its calls."""

    def __init__(self, name: str = "count", *, again: int = 0, fails: Exception | None = None) -> None:
        self.calls, self._again, self.fails = 0, again, fails
        self.action = Action(name, timedelta(seconds=10), self.run)

    def run(self, house: House) -> Done:
        self.calls += 1
        if self.fails:
            raise self.fails
        return Done(f"calls={self.calls}", again=self.calls < self._again)


def row(house: House, name: str = "count") -> WorkerRun:
    with house.database.reading() as reading:
        return reading.get_one(WorkerRun, name)


def test_an_action_runs_when_it_is_due_and_not_before(house: House, clock: Clock) -> None:
    counter = Counter()
    worker = Worker(house, [counter.action])
    for seconds, calls in ((0, 1), (5, 1), (6, 2), (30, 3), (1, 3)):
        clock.passes(seconds=seconds)
        worker.run_due()
        assert counter.calls == calls
    assert (row(house).runs, row(house).failures, row(house).outcome) == (3, 0, "calls=3")


def test_a_failing_action_is_noted_and_the_others_go_on(house: House, clock: Clock) -> None:
    broken = Counter("broken", fails=RuntimeError("secret detail"))
    away = Counter("away", fails=GatehouseError("The vault is away.", code="vault_away"))
    good = Counter("good")
    worker = Worker(house, [broken.action, away.action, good.action])
    worker.run_due()
    assert good.calls == 1
    assert row(house, "broken").outcome == "fault: RuntimeError"  # an exception's text may hold anything
    assert row(house, "away").outcome == "vault_away: The vault is away."
    clock.passes(seconds=11)
    worker.run_due()
    assert row(house, "broken").failures == 2 and row(house, "broken").succeeded_at is None
    away.fails = None
    clock.passes(seconds=11)
    worker.run_due()
    assert (row(house, "away").failures, row(house, "away").succeeded_at) == (0, clock.at)


def test_two_workers_share_one_database_and_do_nothing_twice(house: House, clock: Clock) -> None:
    counter = Counter()
    workers = [Worker(house, [counter.action]) for _ in range(2)]
    for _ in range(5):
        clock.passes(seconds=11)
        threads = [threading.Thread(target=worker.run_due) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counter.calls == 5 == row(house).runs


def test_a_run_that_takes_longer_than_its_interval_is_not_joined(house: House, clock: Clock) -> None:
    """Another worker leaves it alone until it is over, however often its time comes meanwhile."""
    inside, go_on, runs = threading.Event(), threading.Event(), []

    def long(_house: House) -> Done:
        runs.append(1)
        inside.set()
        assert go_on.wait(60)
        return Done("long")

    action = Action("long", timedelta(seconds=2), long)
    first = threading.Thread(target=Worker(house, [action]).run_due)
    first.start()
    assert inside.wait(60)
    other = Database(house.database.engine.url.render_as_string(hide_password=False))  # as another process has it
    for _ in range(3):
        clock.passes(seconds=10)
        assert Worker(replace(house, database=other), [action]).run_due() == []
    go_on.set()
    first.join()
    assert len(runs) == 1 and row(house, "long").runs == 1
    assert [ran.action for ran in Worker(replace(house, database=other), [action]).run_due()] == ["long"]
    other.close()


def test_an_action_that_has_more_is_called_again_but_not_for_ever(house: House) -> None:
    short, endless = Counter("short", again=4), Counter("endless", again=10**9)
    Worker(house, [short.action, endless.action]).run_due()
    assert (short.calls, endless.calls) == (4, MOST_AT_ONCE)


def test_a_clock_that_was_set_back_does_not_stop_the_actions(house: House, clock: Clock) -> None:
    counter = Counter()
    worker = Worker(house, [counter.action])
    worker.run_due()
    clock.passes(days=-30)
    worker.run_due()
    assert counter.calls == 2
    worker.run_due()
    assert counter.calls == 2


def test_the_worker_stops_when_it_is_told_to(house: House) -> None:
    stop = threading.Event()
    counter = Counter()
    counter.action = Action("count", timedelta(seconds=10), lambda found: (stop.set(), counter.run(found))[1])
    worker = Worker(house, [counter.action])
    worker.run(stop)
    assert counter.calls == 1


def test_every_action_can_run_and_a_vault_that_is_away_fails_only_what_needs_it(house: House) -> None:
    install_vault(house)
    ran = {one.action: one for one in Worker(house).run_due()}
    assert ran.keys() == {action.name for action in ACTIONS}
    failed = {name for name, one in ran.items() if not one.succeeded}
    assert failed <= {"index_passages", "follow_vault_log"}
    assert ran["publish_bundles"].words == "parts=5"
    with house.database.reading() as reading:
        assert [found.action for found in last_runs(reading)] == sorted(ran)


def test_nonces_are_forgotten_only_after_their_window(house: House, clock: Clock) -> None:
    with house.database.writing() as writing:
        writing.add(CallNonce(kiosk_id=bytes(8), nonce=bytes(16), seen_at=clock.at))
    clock.passes(minutes=29)
    assert forget_nonces(house).words == "forgotten=0"
    clock.passes(minutes=2)
    assert forget_nonces(house).words == "forgotten=1"


def test_unused_codes_are_dropped_a_week_after_they_ran_out(house: House, clock: Clock) -> None:
    make_code(house, valid=timedelta(minutes=15))
    clock.passes(days=7)
    assert drop_unused_codes(house).words == "dropped=0"
    clock.passes(minutes=16)
    assert drop_unused_codes(house).words == "dropped=1"
    with house.database.reading() as reading:
        assert reading.scalars(select(EnrolmentCode)).all() == []


@pytest.fixture
def config_file(house: House, tmp_path: Path) -> Path:
    install_vault(house)
    path = tmp_path / "server.toml"
    path.write_text(f'public_url = "http://localhost"\ndata_dir = "{house.settings.data_dir}"\n')
    return path


def gatehouse(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gatehouse", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.slow
def test_the_command_runs_until_sigterm_and_shows_its_last_runs(house: House, config_file: Path) -> None:
    process = gatehouse("worker", "--config", str(config_file))
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "action failed action=follow_vault_log" in line:  # no vault here; everything before it ran
            break
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, seen + rest
    assert "worker start" in seen and "worker stop" in rest
    shown = gatehouse("worker", "--config", str(config_file), "--status")
    out, _ = shown.communicate(timeout=30)
    assert shown.returncode == 1 and "publish_bundles" in out and "parts=5" in out


def test_status_without_any_run_says_so(house: House, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gatehouse.cli import main

    assert main(["worker", "--config", str(config_file), "--status"]) == 1
    assert "is the worker running?" in capsys.readouterr().out
    assert main(["worker", "--config", str(config_file), "--once"]) == 1  # the vault is away
    assert "publish_bundles    done" in capsys.readouterr().out
