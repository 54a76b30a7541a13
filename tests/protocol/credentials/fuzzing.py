"""Coverage-guided fuzzing of everything that reads what strangers wrote; by hand, because it never ends by itself.

    pip install --target /tmp/atheris atheris        # not a dependency of ours
    PYTHONPATH=.:/tmp/atheris python -m tests.protocol.credentials.fuzzing -max_total_time=600 [CORPUS]

The first byte of an input chooses the target. A finding is any exception that a target does not promise, a `check` that
is not answered with a reason, or a rule found faultless that then fails for what it says. docs/credentials.md keeps the
record of the runs.
"""

from __future__ import annotations

import importlib
import json
import sys

atheris = importlib.import_module("atheris")
with atheris.instrument_imports(include=["protocol"]):
    from protocol.certlogic import evaluate, to_json_value
    from protocol.credentials import base45, rules, value_sets
    from protocol.credentials.rule_check import faults
    from protocol.errors import ProtocolError

    from .test_dcc import dcc
    from .test_never_raises import PREFIXES, answered


def text(data: bytes) -> None:
    """Any text behind each prefix, as it stands."""
    answered(PREFIXES[data[0] % len(PREFIXES)] + data[1:].decode("utf-8", "surrogatepass") if data else "")


def armoured(data: bytes) -> None:
    """Any bytes, well wrapped: what lies behind base45."""
    answered(PREFIXES[data[0] % 2] + base45.encode(data[1:]) if data else "")


def content(data: bytes) -> None:
    """Any JSON as the signed content of a certificate."""
    found = _json(data)
    if isinstance(found, dict):
        answered(dcc(found))


def rule_set(data: bytes) -> None:
    """Any bytes as a rule set, looked at."""
    faults(rules.rule_set_from_bytes(data), {})


def lists(data: bytes) -> None:
    """Any bytes as value sets."""
    value_sets.value_sets_from_bytes(data)


def logic(data: bytes) -> None:
    """Any JSON as `[logic, data]`."""
    found = _json(data)
    if isinstance(found, list) and len(found) == 2:
        to_json_value(evaluate(found[0], found[1]))


TARGETS = (text, armoured, content, rule_set, lists, logic)


def one_input(data: bytes) -> None:
    """Run the target that the first byte names."""
    if not data:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](data[1:])
    except (ProtocolError, UnicodeDecodeError):
        return


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
