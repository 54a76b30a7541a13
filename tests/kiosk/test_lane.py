"""The lane's small promises: a badge opens its own venue's panel, an admitted code is not good for a second person."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gatehouse.demo.scene import Scene, Style
from kiosk.board import Board, Link
from kiosk.station import Noting, Showing
from protocol.bundle import PlaceNames
from protocol.cose import Alg
from protocol.credentials import staff_badge
from protocol.credentials.jk1 import StatusRef
from protocol.credentials.rules import RuleSet
from protocol.journal import header_of
from protocol.status_list import BadgeStatus, StatusLists, status_list
from protocol.trust import TrustList
from protocol.words import Outcome
from tests.rig import KID, FixedRules, Rig

MINE = StatusRef(1, 0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A lane whose issuer also makes badges; its list says that the second one was revoked."""
    rig = Rig(tmp_path)
    at = datetime.now(UTC)
    held = rig.lane.rules.in_force()
    keys = tuple(dataclasses.replace(key, uses=key.uses | {"staff_badge"}) for key in held.trust.keys)
    lists = StatusLists.of(
        [status_list("badge", 1, [0, BadgeStatus.REVOKED], issued_at=at, expires_at=at + timedelta(days=7))]
    )
    rig.lane.rules = FixedRules(dataclasses.replace(held, trust=TrustList(keys, at), status=lists))
    rig.lane.on_badge = {MINE.to_bytes(): "wei"}.get
    with rig:
        yield rig


def badge(rig: Rig, position: int, number: int = 1) -> str:
    ref = StatusRef(number, position)
    return staff_badge.issue(
        key=rig.issuer.key, alg=int(Alg.ES256), kid=KID, ref=ref, issued_at=datetime.now(UTC) - timedelta(seconds=5)
    )


def until(rig: Rig, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, rig.lane.station.state
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("position", "number", "code"), [(0, 1, "badge_in"), (1, 1, "badge_wrong"), (0, 2, "badge_wrong")]
)
def test_a_good_badge_of_this_venue_signs_its_holder_in(rig: Rig, position: int, number: int, code: str) -> None:
    rig.pictures.show(badge(rig, position, number))
    until(rig, lambda: isinstance(rig.lane.station.state, Noting))
    assert rig.lane.station.state.code == code  # type: ignore[union-attr]
    until(rig, lambda: rig.journal.head()[0] >= 2)
    _, _, records = rig.journal.unsent(1000)
    details = [dict(header_of(record, rig.device.id).detail) for record in records]
    noted = [detail for detail in details if "code" in detail]
    assert noted == [{"code": code, "operator": "wei"} if code == "badge_in" else {"code": code}]
    assert rig.door.opened == 0


def test_a_good_badge_that_is_nobodys_here_is_refused(rig: Rig) -> None:
    rig.lane.on_badge = lambda badge: None
    rig.pictures.show(badge(rig, 0))
    until(rig, lambda: isinstance(rig.lane.station.state, Noting))
    assert rig.lane.station.state.code == "badge_wrong"  # type: ignore[union-attr]


def shown(rig: Rig) -> tuple[Outcome, tuple[str, ...]]:
    state = rig.lane.station.state
    assert isinstance(state, Showing)
    return state.verdict.outcome, state.verdict.reasons


def test_an_admitted_code_is_shown_to_staff_when_it_comes_again(rig: Rig) -> None:
    code = rig.issuer.code(datetime.now(UTC), 1)
    rig.walk([code])
    assert shown(rig) == (Outcome.ADMIT, ())
    rig.lane.submit(rig.lane._presence.forget)  # the next person, a minute later
    rig.walk([code])
    assert shown(rig) == (Outcome.HOLD, ("shown_before",))
    assert rig.door.opened == 1


def test_a_held_code_may_be_shown_again(rig: Rig) -> None:
    held = rig.lane.rules.in_force()
    code = rig.issuer.code(datetime.now(UTC), 1)
    rig.obey(dataclasses.replace(held, version=0))
    rig.walk([code])
    assert shown(rig)[0] is Outcome.HOLD
    rig.obey(held)
    rig.lane.submit(rig.lane._presence.forget)
    rig.walk([code])
    assert shown(rig) == (Outcome.ADMIT, ())


def test_the_banner_says_which_certificate_rules_are_in_force_and_how_old(rig: Rig) -> None:
    rules = RuleSet(7, datetime.now(UTC) - timedelta(days=5, hours=1), ())
    rig.lane.rules = FixedRules(dataclasses.replace(rig.lane.rules.in_force(), business=rules))
    board = Board(PlaceNames(rig.device.place.venue, 1, "图书馆", "Library", "东门", "East"))
    said = board.state(rig.lane, Link("online"), time.monotonic()).banner.rules
    assert "证书规则第 7 版（5 天前）" in said.zh and "certificate rules 7 (5 d ago)" in said.en


@pytest.mark.slow
def test_a_code_held_up_that_cannot_be_read_is_answered_once(rig: Rig) -> None:
    scene = Scene(seed=3)
    scene.show("HC1:" + "ABCDE12345" * 4, Style.UNREADABLE, at_s=0.0)
    rig.pictures.show_film([scene.frame(2 + i / 12) for i in range(24)])
    until(rig, lambda: isinstance(rig.lane.station.state, Noting))
    assert rig.lane.station.state.code == "code_unreadable"  # type: ignore[union-attr]
    until(rig, lambda: not isinstance(rig.lane.station.state, Noting))
    held_s = rig.lane._decoder.unread_for_s
    until(rig, lambda: rig.lane._decoder.unread_for_s > held_s + 1)
    _, _, records = rig.journal.unsent(1000)
    codes = [dict(header_of(record, rig.device.id).detail).get("code") for record in records]
    assert codes.count("code_unreadable") == 1
    rig.pictures.show(None)
    until(rig, lambda: rig.lane._decoder.unread_for_s == 0)
