"""Check credentials against a trust list, offline, as a door would.

Reads one credential per line from standard input and prints one JSON line each, in order:

  gatehouse check --trust trust.cbor --json < codes.txt

A line is the bare text of a code, or {"text": "...", "at": "2021-06-01T12:00:00Z"}, or {"texts": ["...", "..."]} for a
card of several codes. Without "at", --at counts; without --at, this machine's clock. Times without a zone are UTC.

An answer is {"kind", "valid", "reasons": [...], ...} with the claims that are not personal; reasons are stable codes.
Without --json it is a sentence. Exit code 0: every line was answered, whatever the answers are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from config.errors import GatehouseError
from gatehouse.commands.trust import load
from protocol.credentials import DEFAULT_POLICY, Checked, CheckPolicy, check, sentence, to_json
from protocol.status_list import StatusError, StatusLists, from_signed
from protocol.trust import TrustList

MAX_LINE_BYTES = 1024 * 1024


class CheckCommandError(GatehouseError):
    """An argument that cannot be used."""

    code = "check"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of input."""

    texts: tuple[str, ...]
    at: datetime | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `gatehouse check`."""
    parser.add_argument("--trust", required=True, metavar="FILE", help="signed trust list, from gatehouse trust import")
    parser.add_argument("--signer", metavar="HEX", help="the public key that must have signed the trust list")
    parser.add_argument("--at", metavar="ISO8601", help="check as if it were this time")
    parser.add_argument("--status", action="append", default=[], metavar="FILE", help="signed status list (repeatable)")
    parser.add_argument("--value-sets", metavar="DIR", help="EU value sets (JSON); unknown values are then refused")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Answer every line of standard input; returns 0."""
    trust = load(args.trust, args.signer)
    status = _status(args.status, trust)
    policy = DEFAULT_POLICY
    if args.value_sets:
        policy = replace(policy, value_sets=read_value_sets(Path(args.value_sets)))
    at = _time(args.at, "--at") if args.at else None
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = sys.stdin.buffer.readline(MAX_LINE_BYTES)
            _print_error("This line has more than 1 MiB.", as_json=args.json)
            continue
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if text:
            _answer(text, trust, at=at, status=status, policy=policy, as_json=args.json)
    return 0


def _answer(
    text: str, trust: TrustList, *, at: datetime | None, status: StatusLists, policy: CheckPolicy, as_json: bool
) -> None:
    try:
        item = read_item(text)
    except CheckCommandError as error:
        _print_error(error.message, as_json=as_json)
        return
    checked = check(item.texts, trust, at=item.at or at or datetime.now(UTC), status=status, policy=policy)
    print(json.dumps(to_json(checked)) if as_json else _in_words(checked), flush=True)


def _print_error(message: str, *, as_json: bool) -> None:
    answer = {"kind": "unknown", "valid": False, "reasons": ["unreadable_line"], "error": message}
    print(json.dumps(answer) if as_json else f"unreadable line: {message}", flush=True)


def _in_words(checked: Checked) -> str:
    words = "; ".join(f"{reason.value}: {sentence(reason, 'staff', 'en')}" for reason in checked.reasons)
    return f"{checked.kind.value}: {'valid' if checked.valid else 'not valid'}" + (f" ({words})" if words else "")


def read_item(line: str) -> Item:
    """One input line as texts and time. A JSON object without "text" or "texts" is itself the text (a card file).

    Raises CheckCommandError for a request that cannot be understood.
    """
    if line.lstrip().startswith("{"):
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if isinstance(request, dict) and ("text" in request or "texts" in request):
            return _request(request)
    return Item((line,), None)


def _request(request: Mapping[str, object]) -> Item:
    texts = request["texts"] if "texts" in request else [request["text"]]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise CheckCommandError('"text" is a text and "texts" a list of texts.')
    at = request.get("at")
    return Item(tuple(texts), None if at is None else _time(at, '"at"'))


def _time(value: object, name: str) -> datetime:
    """An ISO 8601 text, or a number of seconds since 1970, as an aware UTC time."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        time = datetime.fromisoformat(str(value).strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise CheckCommandError(f"{name} is no ISO 8601 time.", hint="For example 2021-06-01T12:00:00Z.") from error


def _status(paths: list[str], trust: TrustList) -> StatusLists:
    parts = []
    for path in paths:
        try:
            parts.append(from_signed(Path(path).read_bytes(), trust))
        except OSError as error:
            raise CheckCommandError(f"{path} cannot be read: {error.strerror}.") from error
        except StatusError as error:
            raise CheckCommandError(
                f"{path}: {error.message}", hint="Its signer must stand on the trust list."
            ) from error
    return StatusLists.of(parts)


def read_value_sets(folder: Path) -> dict[str, frozenset[str]]:
    """The EU value sets in *folder*: files with `valueSetId` and `valueSetValues`. Raises CheckCommandError."""
    sets: dict[str, frozenset[str]] = {}
    try:
        for path in sorted(folder.glob("*.json")):
            content = json.loads(path.read_text("utf-8"))
            if isinstance(content, dict) and isinstance(content.get("valueSetValues"), dict):
                sets[str(content.get("valueSetId"))] = frozenset(content["valueSetValues"])
    except (OSError, ValueError) as error:
        raise CheckCommandError(f"{folder}: the value sets cannot be read.") from error
    if not sets:
        raise CheckCommandError(f"{folder} holds no value sets.", hint="JSON files with valueSetId and valueSetValues.")
    return sets
