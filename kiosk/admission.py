"""What the entrance does next: `decide` turns a checked credential and a measurement into a verdict. Pure.

Green **and** normal temperature admits (V-14). Everything else has a named way forward for the staff, and red or fever
never becomes admit, whatever the staff type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from firmware_bridge.measuring import Confirmation, MeasuringRule, confirm
from firmware_bridge.reading import Cause, NoReading, Reading
from protocol.credentials.model import Checked
from protocol.credentials.reasons import Reason
from protocol.policy import EntryPolicy
from protocol.words import Colour, CredentialKind, Measured, Outcome


class Why(Enum):
    """The entrance's own reasons, beside those of `protocol.credentials.reasons`; stable, append-only."""

    NOT_GREEN = "not_green"  # yellow
    RED_CODE = "red_code"
    GREY_CODE = "grey_code"
    NO_COLOUR = "no_colour"  # verified, but says nothing of the person's status
    FOREIGN_ONLY = "accepted_foreign_only"  # a good certificate where the policy wants a green code
    FEVER = "fever"
    NOT_MEASURABLE = "not_measurable"
    NO_THERMOMETER = "no_thermometer"
    WARMING_UP = "thermometer_warming_up"
    RULES_STALE = "rules_stale"
    NO_RULES = "no_rules"
    CLOCK_UNSURE = "clock_unsure"
    SHOWN_BEFORE = "shown_before"
    REPLACED_BY_NEXT = "replaced_by_next"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    NO_CREDENTIAL = "no_credential"  # typed in by staff
    CARD_UNCONFIRMED = "card_unconfirmed"  # an ID card lay on the reader and nobody compared it with its holder
    STAFF_REFUSED = "staff_refused"
    ENTRANCE_CLOSED = "entrance_closed"  # by staff or outside the venue's hours
    OPENING_TEST = "opening_test_missing"  # the policy wants it passed before the first visitor
    VENUE_FULL = "venue_full"
    EXIT_FREE = "exit_free"  # leaving needs neither a code nor a temperature here


# A forged or withdrawn code is a "stop"; every other refusal can be a mistake and is checked by hand.
STOPPING = frozenset({Reason.SIGNATURE_WRONG, Reason.REVOKED, Reason.SUSPENDED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one person. `reasons[0]` is the one to show; notes on an admission follow the same form."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    cannot_tell: bool = False  # of a hold: nothing is known against the person, nothing for them either


@dataclass(frozen=True, slots=True)
class Rules:
    """How old the rules are that a verdict rests on; ages in seconds by the steady clock."""

    version: int  # of the bundle; 0: there is none
    age_s: int
    clock_sure: bool = True


def judge_credential(checked: Checked, policy: EntryPolicy, rules: Rules, *, shown_before: bool) -> Verdict | None:
    """The verdict when the credential alone decides it; None when it is good and the temperature decides.

    *shown_before*: this dynamic code already admitted somebody here within its life (pass-back).
    """
    if rules.version == 0:
        return Verdict(Outcome.HOLD, (Why.NO_RULES.value,), cannot_tell=True)
    refusals = tuple(r for r in checked.reasons if r.refuses)
    if not checked.valid:
        codes = tuple(r.value for r in refusals) or (Reason.UNKNOWN_SCHEME.value,)
        if STOPPING & set(refusals):
            return Verdict(Outcome.DENY, codes)
        unknown = checked.is_undecided or checked.kind is CredentialKind.UNKNOWN
        return Verdict(Outcome.HOLD, codes, cannot_tell=unknown)
    credential = checked.credential
    assert credential is not None  # a valid one has facts
    if credential.colour is Colour.RED:
        return Verdict(Outcome.DENY, (Why.RED_CODE.value,))
    if credential.colour is Colour.YELLOW:
        return Verdict(Outcome.HOLD, (Why.NOT_GREEN.value,))
    if credential.colour is Colour.GREY:
        return Verdict(Outcome.HOLD, (Why.GREY_CODE.value,), cannot_tell=True)
    if checked.kind.value not in policy.accepts:
        return Verdict(Outcome.HOLD, (Why.FOREIGN_ONLY.value,))
    if credential.colour is None and checked.kind in (CredentialKind.HEALTH_CODE, CredentialKind.PAPER_CODE):
        return Verdict(Outcome.HOLD, (Why.NO_COLOUR.value,), cannot_tell=True)
    if not rules.clock_sure and credential.expires_at is not None:
        return Verdict(Outcome.HOLD, (Why.CLOCK_UNSURE.value,), cannot_tell=True)
    if rules.age_s > policy.bundle_max_age_s and policy.stale_rules_hold:
        return Verdict(Outcome.HOLD, (Why.RULES_STALE.value,), cannot_tell=True)
    if shown_before:
        return Verdict(Outcome.HOLD, (Why.SHOWN_BEFORE.value,))
    return None


def judge_leaving(checked: Checked) -> Verdict:
    """The verdict about somebody who leaves where leaving is free: let out, whatever was shown or not shown.

    But a red code stays with the staff, who lead its holder where the authority says.
    """
    credential = checked.credential
    if checked.valid and credential is not None and credential.colour is Colour.RED:
        return Verdict(Outcome.DENY, (Why.RED_CODE.value,))
    return Verdict(Outcome.ADMIT, (Why.EXIT_FREE.value,))


class Next(Enum):
    """What the temperature step wants."""

    MEASURE_AGAIN = "measure_again"


_CAUSES = {
    Cause.NO_THERMOMETER: Why.NO_THERMOMETER,
    Cause.DEVICE_FAULT: Why.NO_THERMOMETER,
    Cause.SILENT: Why.NO_THERMOMETER,
    Cause.STUCK: Why.NO_THERMOMETER,
    Cause.WARMING_UP: Why.WARMING_UP,
}


def judge_temperature(results: Sequence[Reading | NoReading], policy: EntryPolicy) -> Verdict | Next:
    """Judge one person's windows so far, oldest first: an admission, a hold, a fever, or a wish to measure again.

    A typed reading counts at once: it was taken with a contact or hand-held thermometer (E-24).
    """
    last = results[-1] if results else NoReading(Cause.SILENT)
    if isinstance(last, Reading) and last.method.value == "typed":
        fever = last.body_celsius >= policy.fever_from_celsius
        return Verdict(Outcome.DENY, (Why.FEVER.value,)) if fever else Verdict(Outcome.ADMIT)
    if isinstance(last, NoReading) and last.cause in _CAUSES:
        return Verdict(Outcome.HOLD, (_CAUSES[last.cause].value,))
    rule = MeasuringRule(max_retests=policy.remeasure_count)
    answer = confirm(results, policy.fever_from_celsius, rule)
    if answer is Confirmation.NORMAL:
        return Verdict(Outcome.ADMIT)
    if answer is Confirmation.HIGH:
        return Verdict(Outcome.DENY, (Why.FEVER.value,))
    if answer is Confirmation.AGAIN:
        return Next.MEASURE_AGAIN
    return Verdict(Outcome.HOLD, (Why.NOT_MEASURABLE.value,))


def judge_card(policy: EntryPolicy, rules: Rules) -> Verdict:
    """The decision about an ID card that nobody of the staff vouches for: a card says who, never how somebody is.

    Held until a member of staff has compared holder and card; a policy without typed entries holds it for another way.
    """
    if rules.version == 0:
        return Verdict(Outcome.HOLD, (Why.NO_RULES.value,), cannot_tell=True)
    why = Why.CARD_UNCONFIRMED if policy.typed_entries_admit else Why.NO_CREDENTIAL
    return Verdict(Outcome.HOLD, (why.value,))


def judge_vouched(results: Sequence[Reading | NoReading], policy: EntryPolicy, rules: Rules) -> Verdict | Next:
    """The decision about somebody whom a named member of staff typed in: no code, so the temperature decides (V-34).

    The admission carries the note `no_credential`, and the record the operator: false entries can be attributed (V-22).
    A policy that does not take typed entries holds them for another way.
    """
    if rules.version == 0:
        return Verdict(Outcome.HOLD, (Why.NO_RULES.value,), cannot_tell=True)
    if not policy.typed_entries_admit:
        return Verdict(Outcome.HOLD, (Why.NO_CREDENTIAL.value,))
    outcome = judge_temperature(results, policy)
    if isinstance(outcome, Verdict) and outcome.outcome is Outcome.ADMIT:
        return Verdict(Outcome.ADMIT, (Why.NO_CREDENTIAL.value,))
    return outcome


def decide(
    checked: Checked,
    results: Sequence[Reading | NoReading],
    policy: EntryPolicy,
    rules: Rules,
    *,
    shown_before: bool = False,
) -> Verdict | Next:
    """The whole decision about one person from values alone; see the two parts above.

    An admission under stale rules carries the note `rules_stale`, so that the record says so (E-25).
    """
    verdict = judge_credential(checked, policy, rules, shown_before=shown_before)
    if verdict is not None:
        return verdict
    outcome = judge_temperature(results, policy)
    if isinstance(outcome, Verdict) and outcome.outcome is Outcome.ADMIT:
        notes = tuple(r.value for r in checked.reasons)  # none refuses here
        if rules.age_s > policy.bundle_max_age_s:
            notes += (Why.RULES_STALE.value,)
        return Verdict(Outcome.ADMIT, notes)
    return outcome


def measured(results: Sequence[Reading | NoReading], policy: EntryPolicy) -> Measured:
    """The word for the header: what the temperature step found."""
    if not results:
        return Measured.NONE
    answer = judge_temperature(results, policy)
    if isinstance(answer, Verdict):
        if answer.outcome is Outcome.ADMIT:
            return Measured.NORMAL
        if Why.FEVER.value in answer.reasons:
            return Measured.FEVER
    if all(isinstance(r, NoReading) and r.cause in _CAUSES for r in results):
        return Measured.NONE
    return Measured.NOT_MEASURABLE
