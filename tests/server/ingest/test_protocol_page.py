"""docs/protocol.md names what the code does: addresses, limits, purposes, refusals and vectors."""

from __future__ import annotations

import re
from pathlib import Path

from kiosk.link_problems import PROBLEMS
from protocol import bundle, enrolment, exchange, journal, query, sealing

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "protocol.md").read_text(encoding="utf-8")


def sources(*folders: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in (TOP / folder).glob("*.py"))


def test_every_refusal_code_stands_on_the_page() -> None:
    codes = set(re.findall(r'Refused\(\s*\d+,\s*"(\w+)"', sources("server/ingest", "server/bundles")))
    codes |= {"suspended", "retired", "lost"}
    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in PAGE] == []


def test_every_reason_for_quarantine_stands_on_the_page() -> None:
    reasons = set(re.findall(r'^[A-Z][A-Z_]+ = "(\w+)"', sources("server/ingest"), re.MULTILINE)) - {"application"}
    assert reasons >= {"other_venue", "unknown_epoch", "epoch_twice", "unsealed"}
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in PAGE] == []


def test_every_purpose_of_a_signature_stands_on_the_page() -> None:
    purposes = set(re.findall(r'^_[A-Z]+ = "([a-z ]+ 1)"', sources("protocol"), re.MULTILINE))
    purposes |= set(re.findall(r'^PURPOSE = "([a-z ]+ 1)"', sources("server/retention"), re.MULTILINE))
    assert len(purposes) >= 13
    assert [purpose for purpose in sorted(purposes) if f"`{purpose}`" not in PAGE] == []


def test_addresses_and_limits_are_the_ones_of_the_code() -> None:
    said = (
        f"`POST {exchange.EXCHANGE_PATH}`",
        f"`{exchange.CONTENT_TYPE}`",
        f"`POST {enrolment.ENROL_PATH}`",
        f"`GET {bundle.MANIFEST_PATH}`",
        f"`GET {bundle.PART_PATH}SHA256`",
        f"at most {exchange.MAX_UPLOAD_BYTES >> 20} MiB",
        f"at most {exchange.MAX_RECORDS} records",
        f"at most {exchange.MAX_UNPACKED_BYTES >> 20} MiB unpacked",
        f"1..{journal.MAX_HEADER_BYTES} bytes",
        f"0..{journal.MAX_SEALED_BYTES} bytes",
        f"Wrapped form, {sealing.WRAPPED_BYTES} bytes",
        f"at most {query.MAX_SPAN_MS // 86_400_000} days",
        f"rows (at most {query.MAX_ROWS})",
    )
    flat = " ".join(PAGE.split())
    assert [words for words in said if words not in flat] == []


def test_a_kiosk_has_words_of_its_own_for_each_state_it_can_be_refused_in() -> None:
    assert {"suspended", "retired", "lost", "unknown_kiosk", "bad_signature"} <= PROBLEMS.keys()
