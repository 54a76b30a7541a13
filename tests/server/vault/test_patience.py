"""A client that is refused again and again has to wait, and the access log says so once."""

from __future__ import annotations

import json

import pytest

from server.vault.errors import Refused
from server.vault.log import LOG_FILE
from server.vault.patience import Patience
from tests.server.vault.world import World


def test_refusals_spread_over_time_are_answered() -> None:
    patience = Patience(3, 300.0)
    for minute in range(20):
        assert not patience.refused("web", minute * 60.0)
        assert not patience.refused("web", minute * 60.0 + 1)
        assert not patience.is_over("web", minute * 60.0 + 2)


def test_too_many_in_a_minute_begin_one_pause_for_this_asker_alone() -> None:
    patience = Patience(3, 300.0)
    assert [patience.refused("web", at) for at in (0.0, 1.0, 2.0, 2.5, 3.0, 4.0)] == [False, False, True, *[False] * 3]
    assert patience.is_over("web", 301.9) and not patience.is_over("other", 3.0)
    assert not patience.is_over("web", 302.0)
    assert not patience.refused("web", 302.0)  # and it may begin again


def test_a_hammering_web_process_is_shut_out_and_the_log_stays_short(fresh: World) -> None:
    (fresh.folder / "vault.toml").write_text('folder = "."\nrefusals_a_minute = 5\n')
    query = fresh.query()
    good = fresh.approve(query)
    codes = []
    with fresh.running() as vault:
        vault.open(query.to_bytes(), good, [])
        for _ in range(30):
            with pytest.raises(Refused) as refusal:
                vault.open(query.to_bytes(), b"made up", [])
            codes.append(refusal.value.code)
        with pytest.raises(Refused) as refusal:  # nothing is read any more, not even what would hold
            vault.open(query.to_bytes(), good, [])
        assert refusal.value.code == "too_many"
        with pytest.raises(Refused) as refusal:  # residents' questions are another account
            vault.own_looks(vault.challenge(), [b"x"], bytes(0))
        assert refusal.value.code != "too_many"
        vault.index([], {})
        vault.revoke(query.digest())  # and closing goes on
    assert codes[:5] == [codes[0]] * 5 and codes[0] != "too_many" and set(codes[5:]) == {"too_many"}
    events = [json.loads(line)["event"] for line in (fresh.folder / LOG_FILE).read_bytes().splitlines()]
    assert events.count("refused") == 5 and events.count("too_many") == 1
