"""Credentials: what a person or a poster shows, checked offline. `check` is the door; the rest makes or reads one."""

from protocol.credentials.model import Checked, Credential, TestFact, TestKind, TestResult, to_json
from protocol.credentials.policy import DEFAULT_POLICY, CheckPolicy
from protocol.credentials.reasons import Reason, sentence
from protocol.credentials.registry import check

__all__ = [
    "DEFAULT_POLICY",
    "CheckPolicy",
    "Checked",
    "Credential",
    "Reason",
    "TestFact",
    "TestKind",
    "TestResult",
    "check",
    "sentence",
    "to_json",
]
