"""Business rules of a place: CertLogic as data, with a version and an age, applied to a certificate's claims."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from protocol.certlogic import CertLogicError, evaluate
from protocol.credentials.model import Credential
from protocol.credentials.reasons import Reason
from protocol.credentials.value_sets import ValueSets
from protocol.errors import ProtocolError
from protocol.words import CredentialKind

MAX_RULES: Final = 500
MAX_BYTES: Final = 1024 * 1024


class RuleError(ProtocolError):
    """A rule or rule set that lacks a field or has a wrong one."""

    code = "rule"


class RuleType(Enum):
    """What a rule is for, in the words of the EU's business rules."""

    ACCEPTANCE = "Acceptance"  # must be true
    INVALIDATION = "Invalidation"  # must be false


class Applies(Enum):
    """Which certificates a rule looks at."""

    GENERAL = "General"
    VACCINATION = "Vaccination"
    TEST = "Test"
    RECOVERY = "Recovery"


_GROUP: Final = {Applies.VACCINATION: "v", Applies.TEST: "t", Applies.RECOVERY: "r"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Of several with the same identifier the highest version in force counts."""

    identifier: str
    version: tuple[int, int, int]
    type: RuleType
    applies: Applies
    valid_from: datetime
    valid_to: datetime
    logic: object
    description: Mapping[str, str] = field(default_factory=dict)  # language -> sentence


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a place, as they travel in the bundle."""

    version: int
    issued_at: datetime
    rules: tuple[Rule, ...]
    value_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    country: str | None = None  # whose rules they are; given to the rules as external.countryCode
    agreed: ValueSets | None = None  # lists that came with them, not in them; its own `value_sets` go before these

    def age(self, at: datetime) -> timedelta:
        """How old the set is, for people to see; never negative."""
        return max(timedelta(0), at - self.issued_at)

    def in_force(self, at: datetime, groups: frozenset[str]) -> tuple[Rule, ...]:
        """The rules that look at a certificate with those *groups* ("v", "t", "r") at that time."""
        newest: dict[str, Rule] = {}
        for rule in self.rules:
            if rule.valid_from <= at <= rule.valid_to:
                held = newest.get(rule.identifier)
                if held is None or rule.version > held.version:
                    newest[rule.identifier] = rule
        return tuple(
            rule for rule in newest.values() if rule.applies is Applies.GENERAL or _GROUP[rule.applies] in groups
        )


def rule_reasons(rules: RuleSet, credential: Credential, *, at: datetime) -> list[Reason]:
    """RULE_NOT_MET when a rule says no, RULE_UNDECIDED when one cannot be evaluated and none says no.

    Rules are written for EU DCC claims; other kinds are not looked at.
    """
    if credential.kind is not CredentialKind.EU_DCC:
        return []
    data = {"payload": credential.claims, "external": external(rules, credential, at)}
    undecided = False
    groups = frozenset(name for name in _GROUP.values() if credential.claims.get(name) is not None)
    for rule in rules.in_force(at, groups):
        try:
            value = evaluate(rule.logic, data)
        except CertLogicError:
            undecided = True
            continue
        if value is not (rule.type is RuleType.ACCEPTANCE):
            return [Reason.RULE_NOT_MET]
    return [Reason.RULE_UNDECIDED] if undecided else []


def external(rules: RuleSet, credential: Credential, at: datetime) -> dict[str, object]:
    """What rules are given beside the certificate: the clock, the agreed lists, who issued it for whom."""

    def text(time: datetime | None) -> str | None:
        return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "validationClock": text(at),
        "valueSets": {
            **(rules.agreed.lists() if rules.agreed is not None else {}),
            **{name: list(values) for name, values in rules.value_sets.items()},
        },
        "countryCode": rules.country,
        "issuerCountryCode": credential.issuer,
        "exp": text(credential.expires_at),
        "iat": text(credential.issued_at),
    }


def rule_set_from_json(content: object) -> RuleSet:
    """Read `{version, issued_at, rules: [...], value_sets?, country?}`; a rule has the members of the EU's rule files
    (Identifier, Version, Type, CertificateType, ValidFrom, ValidTo, Logic, Description). Raises RuleError."""
    try:
        if not isinstance(content, dict) or len(content["rules"]) > MAX_RULES:
            raise RuleError("A rule set is an object with at most 500 rules.")
        return RuleSet(
            version=int(content["version"]),
            issued_at=_time(content["issued_at"]),
            rules=tuple(_rule(row) for row in content["rules"]),
            value_sets={
                str(name): tuple(str(value) for value in values)
                for name, values in content.get("value_sets", {}).items()
            },
            country=content.get("country"),
        )
    except RuleError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RuleError(f"The rule set lacks a field or has a wrong one: {error}") from error


def rule_set_from_bytes(data: bytes) -> RuleSet:
    """Read the bundle's part "rules": the JSON of `rule_set_from_json` in UTF-8. Raises RuleError and nothing else."""
    if len(data) > MAX_BYTES:
        raise RuleError("A rule set has at most 1 MiB.")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RuleError(f"The rule set is not JSON: {error}") from error
    return rule_set_from_json(content)


def _rule(row: Mapping[str, object]) -> Rule:
    major, minor, patch = (int(part) for part in str(row["Version"]).split("."))
    described = row.get("Description", [])
    return Rule(
        identifier=str(row["Identifier"]),
        version=(major, minor, patch),
        type=RuleType(row["Type"]),
        applies=Applies(row["CertificateType"]),
        valid_from=_time(row["ValidFrom"]),
        valid_to=_time(row["ValidTo"]),
        logic=row["Logic"],
        description={str(entry["lang"]): str(entry["desc"]) for entry in described}
        if isinstance(described, list)
        else {},
    )


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(str(value))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
