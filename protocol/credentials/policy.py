"""What one place accepts: tolerances and lists, as values that travel in its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from protocol.credentials.rules import RuleSet
from protocol.words import CredentialKind


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """How strictly a door looks. The defaults are those of credentials.md 4.1."""

    clock_skew: timedelta = timedelta(seconds=60)  # between issuer and door, either way
    health_code_max_life: timedelta = timedelta(minutes=10)
    status_old_after: timedelta = timedelta(hours=12)  # from here on the passage is marked
    status_too_old_after: timedelta = timedelta(hours=72)  # from here on, or once the list has expired: see below
    when_status_too_old: Literal["mark", "hold"] = "hold"  # mark: people keep moving; hold: check by hand
    accepted: frozenset[CredentialKind] | None = None  # None: every kind we can verify
    venue_hosts: frozenset[str] = frozenset()  # hosts a venue code may lead to; empty: any
    rules: RuleSet | None = None  # business rules of this place
    value_sets: Mapping[str, frozenset[str]] | None = None  # EU DCC: set id -> values; None: not looked at


DEFAULT_POLICY = CheckPolicy()
