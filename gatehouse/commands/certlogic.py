"""Evaluate CertLogic expressions, one per line.

  echo '{"logic": {">": [{"var": "dn"}, 1]}, "data": {"dn": 2}}' | gatehouse certlogic --json

Reads {"logic": ..., "data": ...} a line from standard input and prints {"result": ...} or {"error": "..."} a line, in
order. Date-times are printed as text in UTC with milliseconds. Exit code 0: every line was answered.
"""

from __future__ import annotations

import argparse
import json
import sys

from protocol.certlogic import CertLogicError, evaluate, to_json_value

MAX_LINE_BYTES = 16 * 1024 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `gatehouse certlogic`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a line (the only form there is)")


def run(args: argparse.Namespace) -> int:
    """Answer every line of standard input; returns 0."""
    lines = sys.stdin.buffer
    while line := lines.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = lines.readline(MAX_LINE_BYTES)
            print(json.dumps({"error": "This line has more than 16 MiB."}), flush=True)
        elif line.strip():
            print(json.dumps(answer(line)), flush=True)
    return 0


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def answer(line: bytes | str) -> dict[str, object]:
    """The answer to one line: `result`, or `error` with a sentence."""
    try:
        request = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return {"error": "This line is not JSON."}
    if not isinstance(request, dict) or "logic" not in request:
        return {"error": 'A line is {"logic": ..., "data": ...}.'}
    try:
        return {"result": to_json_value(evaluate(request["logic"], request.get("data")))}
    except CertLogicError as error:
        return {"error": error.message}
