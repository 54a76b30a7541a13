"""Made-up certificates that a rule set is tried on before it is put in force: what would each rule say today?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from protocol.certlogic import CertLogicError, evaluate
from protocol.credentials.model import Credential
from protocol.credentials.reasons import Reason
from protocol.credentials.rules import Rule, RuleSet, RuleType, external, rule_reasons
from protocol.words import CredentialKind

COVID, PFIZER, MRNA = "840539006", "EU/1/20/1528", "1119349007"


@dataclass(frozen=True, slots=True)
class Sample:
    """One made-up certificate; nobody has it."""

    name: str  # a message of the catalogue
    groups: frozenset[str]
    credential: Credential


@dataclass(frozen=True, slots=True)
class Tried:
    """What a set says of one sample."""

    sample: Sample
    outcome: str  # "yes", "no", "unclear"
    by_rule: Mapping[str, str]  # identifier -> the same words; rules that do not look at it are left out


def samples(now: datetime) -> tuple[Sample, ...]:
    """The certificates, dated around *now*."""

    def day(ago: float) -> str:
        return (now - timedelta(days=ago)).date().isoformat()

    def moment(hours: float) -> str:
        return (now - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def vaccinated(dose: int, of: int, ago: float) -> dict[str, object]:
        entry = {"tg": COVID, "vp": MRNA, "mp": PFIZER, "ma": "ORG-100030215", "dn": dose, "sd": of, "dt": day(ago)}
        return {"v": [{**entry, "co": "NL", "is": "Sample", "ci": "URN:UVCI:01:NL:SAMPLE"}]}

    def tested(kind: str, hours: float, result: str = "260415000") -> dict[str, object]:
        entry = {"tg": COVID, "tt": kind, "sc": moment(hours), "tr": result, "tc": "Sample"}
        return {"t": [{**entry, "co": "NL", "is": "Sample", "ci": "URN:UVCI:01:NL:SAMPLE"}]}

    def recovered(ago: float) -> dict[str, object]:
        entry = {"tg": COVID, "fr": day(ago), "df": day(ago - 11), "du": day(ago - 180), "co": "NL", "is": "Sample"}
        return {"r": [{**entry, "ci": "URN:UVCI:01:NL:SAMPLE"}]}

    made: tuple[tuple[str, dict[str, object]], ...] = (
        ("First of two doses, 20 days ago", vaccinated(1, 2, 20)),
        ("Second of two doses, 10 days ago", vaccinated(2, 2, 10)),
        ("Second of two doses, a year ago", vaccinated(2, 2, 365)),
        ("Booster, 30 days ago", vaccinated(3, 3, 30)),
        ("Negative NAT test, 24 hours old", tested("LP6464-4", 24)),
        ("Negative NAT test, 60 hours old", tested("LP6464-4", 60)),
        ("Negative antigen test, 24 hours old", tested("LP217198-3", 24)),
        ("Positive NAT test, 24 hours old", tested("LP6464-4", 24, "260373001")),
        ("Recovered, first positive 60 days ago", recovered(60)),
    )
    person = {"ver": "1.3.0", "dob": "1980-01-01", "nam": {"fnt": "SAMPLE", "gnt": "SAMPLE"}}
    return tuple(Sample(name, frozenset(content), _credential({**person, **content}, now)) for name, content in made)


def try_out(rules: RuleSet, now: datetime) -> tuple[Tried, ...]:
    """What *rules* say of each sample at *now*: what a door would do with it, and each rule's part in that."""
    tried = []
    for sample in samples(now):
        reasons = rule_reasons(rules, sample.credential, at=now)
        outcome = "no" if Reason.RULE_NOT_MET in reasons else "unclear" if reasons else "yes"
        data = {"payload": sample.credential.claims, "external": external(rules, sample.credential, now)}
        looked: Sequence[Rule] = rules.in_force(now, sample.groups)
        tried.append(Tried(sample, outcome, {rule.identifier: _says(rule, data) for rule in looked}))
    return tuple(tried)


def _says(rule: Rule, data: object) -> str:
    try:
        value = evaluate(rule.logic, data)
    except CertLogicError:
        return "unclear"
    return "yes" if value is (rule.type is RuleType.ACCEPTANCE) else "no"


def _credential(claims: dict[str, object], now: datetime) -> Credential:
    return Credential(
        kind=CredentialKind.EU_DCC,
        scheme="HC1",
        issuer="NL",
        kid=b"",
        issued_at=now - timedelta(days=1),
        expires_at=now + timedelta(days=180),
        not_before=now - timedelta(days=1),
        claims=claims,
    )
