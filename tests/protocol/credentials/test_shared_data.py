"""The public test suites of the schemes we did not invent: every verdict, nothing raised, nothing personal shown."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocol.certlogic import evaluate, to_json_value
from protocol.credentials import Reason, check, to_json
from protocol.trust import TrustList
from protocol.trust_sources import Found, from_json, settle_revocations

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="LOUD: ../shared/data is absent, so no public test suite was run"),
]


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


def trust_of(*names: str) -> TrustList:
    found = Found()
    for name in names:
        found.add(from_json((DATA / name).read_text("utf-8")))
    return TrustList(tuple(found.keys), datetime.now(UTC), settle_revocations(found.revocations))


def test_every_dcc_case_has_its_verdict() -> None:
    trust = trust_of("dcc/trustlist.json")
    counted: Counter[str] = Counter()
    wrong = []
    for case in load("dcc/manifest.json"):
        content = load("dcc/" + case["file"])
        at = datetime.fromisoformat(case["clock"])
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        checked = check(content.get("PREFIX", ""), trust, at=at)
        name = (content.get("JSON") or {}).get("nam", {}).get("fnt")
        assert not name or len(name) < 4 or name not in repr(checked) + json.dumps(to_json(checked))
        counted[case["verdict"]] += 1
        if case["verdict"] != "unclear" and checked.valid != (case["verdict"] == "accept"):
            wrong.append((case["id"], case["verdict"], checked.reasons))
    assert not wrong
    assert counted == {"accept": 196, "reject": 74, "unclear": 41}


# What our rulings say of single unclear cases (credentials.md 2.2)
RULED = {
    "BG/BG-1": (),
    "BG/BG-2": (),
    "BG/BG-4": (Reason.SIGNED_BEFORE_KEY,),
    "ES/ES-402": (Reason.KEY_UNKNOWN,),  # a P-384 key does not get onto the list
    "common/common-CO20": (Reason.ALGORITHM_NOT_ACCEPTED,),
    "PL/PL-1.0.0-7": (),  # no value sets are given here
}


def test_our_rulings_settle_unclear_cases() -> None:
    trust = trust_of("dcc/trustlist.json")
    seen = {}
    for case in load("dcc/manifest.json"):
        if case["id"] in RULED:
            at = datetime.fromisoformat(case["clock"])
            seen[case["id"]] = check(load("dcc/" + case["file"])["PREFIX"], trust, at=at).reasons
    assert seen == RULED


def test_every_smart_health_card_item_has_its_verdict() -> None:
    revoked = [str(path.relative_to(DATA)) for path in sorted((DATA / "shc/crl").glob("*.json"))]
    trust = trust_of("shc/keys/jwks.json", *revoked)
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    counted: Counter[str] = Counter()
    wrong = []
    for item in load("shc/items.json"):
        given = item["input"]
        checked = check(json.dumps(given) if isinstance(given, dict) else given, trust, at=at)
        counted[item["verdict"]] += 1
        if item["verdict"] != "unclear" and checked.valid != (item["verdict"] == "accept"):
            wrong.append((item["id"], item["verdict"], item.get("why"), checked.reasons))
        if item.get("stage") == "revoked" and Reason.REVOKED not in checked.reasons:
            wrong.append((item["id"], "revoked for another reason", checked.reasons))
    assert not wrong
    assert counted == {"accept": 85, "reject": 36, "unclear": 6}


def test_every_certlogic_assertion_of_the_specification_holds() -> None:
    count = 0
    for group in load("dcc/certlogic/spec-suite.json"):
        for assertion in group["assertions"]:
            expression = assertion.get("certLogicExpression", group.get("certLogicExpression"))
            assert to_json_value(evaluate(expression, assertion["data"])) == assertion["expected"], group["name"]
            count += 1
    assert count == 91


def test_every_test_of_every_business_rule_holds() -> None:
    content = load("dcc/certlogic/business-rules.json")
    count = 0
    for entry in content["rules"]:
        for test in entry["tests"]:
            sets = content["valueSets"].get(test.get("valueSets"), {})
            data = {"payload": test["payload"], "external": {**(test["external"] or {}), "valueSets": sets}}
            assert evaluate(entry["rule"]["Logic"], data) is test["expected"], (entry["rule"]["Identifier"], test)
            count += 1
    assert count == 786
