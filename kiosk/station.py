"""The visitor's path as a table of state and event: what the entrance does with a code, a reading, a moment. Pure.

`Station` holds the state of one lane and answers each event with effects for the outside to carry out. It knows no
clock, no disk, no device: times come in as steady seconds, and `Record` must be answered with `recorded` or
`not_recorded` before anything opens or turns green.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from firmware_bridge.reading import NoReading, Reading
from kiosk.admission import (
    Next,
    Rules,
    Verdict,
    Why,
    decide,
    judge_card,
    judge_credential,
    judge_leaving,
    judge_vouched,
    measured,
)
from protocol.credentials.model import Checked
from protocol.passage import Facts, Personal, Temperature
from protocol.policy import EntryPolicy
from protocol.profile import Conduct
from protocol.words import CredentialKind, Direction, EntryMode, Outcome

RETEST_AFTER_S = 3.0  # hardware.md 3.3 point 4: after a high reading, let the skin settle
RETRY_AFTER_S = 0.4  # after a window without an answer
ADMIT_SHOWN_S = 2.5  # field.md, entrance screen 6
OTHER_SHOWN_S = 25.0  # a hold or stop stays until acknowledged or another code comes, at most this long (privacy)
NOTE_SHOWN_S = 4.0
NOTHING_TYPED = Personal()
NOT_A_PASSAGE = frozenset(
    {
        CredentialKind.VENUE_CODE,
        CredentialKind.STAFF_BADGE,
        CredentialKind.INSPECTOR_PASS,
        CredentialKind.ENROLMENT_CODE,
    }
)


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever stands at the entrance now."""

    checked: Checked
    mode: EntryMode = EntryMode.SCAN
    operator: str | None = None
    shown_before: bool = False
    typed: Personal | None = field(default=None, repr=False)  # what staff entered, or a card said
    seen_s: float = 0.0  # steady time of the frame that showed the code

    @property
    def is_vouched(self) -> bool:
        """Whether a named member of staff stands for who this is (typed, or their card), without any credential."""
        return self.typed is not None and self.operator is not None and self.checked.credential is None

    @property
    def is_unconfirmed_card(self) -> bool:
        """Whether this is an ID card that no member of staff has compared with its holder."""
        return self.mode is EntryMode.ID_CARD and self.operator is None

    def is_same_as(self, other: Checked) -> bool:
        """Whether *other* is this person's refreshed code."""
        mine, theirs = self.checked.credential, other.credential
        return bool(mine and theirs and mine.pseudonym and mine.pseudonym == theirs.pseudonym)


@dataclass(frozen=True, slots=True)
class Idle:
    """Nobody is being served."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """A good credential; the thermometer decides."""

    person: Person
    results: tuple[Reading | NoReading, ...] = ()
    window_open: bool = True
    reopen_at_s: float = 0.0  # while no window is open: when the next one starts
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Recording:
    """The verdict is made and must be on disk before anybody sees it."""

    person: Person
    verdict: Verdict
    results: tuple[Reading | NoReading, ...]
    then: Person | None = None  # who comes next when a new code pre-empted this one


@dataclass(frozen=True, slots=True)
class Showing:
    """The verdict stands on the screen."""

    person: Person
    verdict: Verdict
    results: tuple[Reading | NoReading, ...]
    sequence: int  # 0 when it could not be recorded
    until_s: float


@dataclass(frozen=True, slots=True)
class Noting:
    """A short answer to something that is no passage."""

    code: str  # "poster_ok", "same_again" ...
    until_s: float
    minutes_ago: int | None = None


State = Idle | Measuring | Recording | Showing | Noting


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """Start measuring the person who stands there now."""


@dataclass(frozen=True, slots=True)
class CloseWindow:
    """Stop measuring; nobody wants the result."""


@dataclass(frozen=True, slots=True)
class Record:
    """Commit this passage; answer with `recorded` or `not_recorded`."""

    facts: Facts
    personal: Personal = field(repr=False)
    person: Person


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Let one person through."""


@dataclass(frozen=True, slots=True)
class Show:
    """The screen changed; draw the station's state."""


Effect = OpenWindow | CloseWindow | Record | OpenGate | Show


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the station must know of the kiosk at the moment of a decision."""

    policy: EntryPolicy
    rules: Rules
    degraded: tuple[str, ...] = ()
    direction: Direction = Direction.IN
    conduct: Conduct = Conduct()
    barred: tuple[str, ...] = ()  # why nobody who comes in is admitted without a member of staff, the first to show

    @property
    def lets_out_freely(self) -> bool:
        """Whether people leave here without a code."""
        return self.direction is Direction.OUT and self.conduct.exit_is_free


class Station:
    """One lane. Call its event methods from one thread; carry out the effects in order."""

    def __init__(self) -> None:
        self.state: State = Idle()

    def code(self, person: Person, around: Surroundings, now_s: float) -> list[Effect]:
        """A code was presented and checked. A different person always pre-empts the one before."""
        if person.checked.kind in NOT_A_PASSAGE and person.typed is None:
            raise ValueError("posters, badges and enrolment codes are answered with `note`")
        if isinstance(self.state, Measuring):
            if self.state.person.is_same_as(person.checked):
                return []  # the same phone refreshed its code
            replaced = Verdict(Outcome.HOLD, (Why.REPLACED_BY_NEXT.value,))
            return [CloseWindow(), *self._record(self.state.person, replaced, self.state.results, around, person)]
        if isinstance(self.state, Recording):
            raise ValueError("a record is being committed; answer it first")
        return self._begin(person, around, now_s)

    def _begin(self, person: Person, around: Surroundings, now_s: float) -> list[Effect]:
        verdict = None
        if around.lets_out_freely:
            verdict = judge_leaving(person.checked)
        elif person.is_unconfirmed_card:
            verdict = judge_card(around.policy, around.rules)
        elif not person.is_vouched:
            verdict = judge_credential(person.checked, around.policy, around.rules, shown_before=person.shown_before)
            if verdict is None and around.barred and around.direction is Direction.IN:
                verdict = Verdict(Outcome.HOLD, around.barred)  # a red or forged code was stopped above
        if verdict is not None:
            return self._record(person, verdict, (), around)
        self.state = Measuring(person, since_s=now_s)
        return [OpenWindow(), Show()]

    def measurement(self, result: Reading | NoReading, around: Surroundings, now_s: float) -> list[Effect]:
        """The open window ended, or staff typed a reading."""
        if not isinstance(self.state, Measuring):
            return []
        was_open = self.state.window_open
        state = replace(self.state, results=(*self.state.results, result), window_open=False)
        if state.person.is_vouched:
            answer = judge_vouched(state.results, around.policy, around.rules)
        else:
            answer = decide(
                state.person.checked,
                state.results,
                around.policy,
                around.rules,
                shown_before=state.person.shown_before,
            )
        if answer is Next.MEASURE_AGAIN:
            pause = RETEST_AFTER_S if isinstance(result, Reading) else RETRY_AFTER_S
            self.state = replace(state, reopen_at_s=now_s + pause)
            return [Show()]
        assert isinstance(answer, Verdict)
        closing: list[Effect] = [CloseWindow()] if was_open else []
        return closing + self._record(state.person, answer, state.results, around)

    def typed(self, reading: Reading, operator: str, around: Surroundings, now_s: float) -> list[Effect]:
        """Staff measured the person on the screen with a hand-held thermometer (E-24); a passage of its own.

        Possible while measuring, and after a hold of a good credential. A stop stays a stop: red or fever is never
        resolved into an admission, and nothing happens then.
        """
        state = self.state
        if isinstance(state, Showing) and (_may_go_on(state) or state.person.is_unconfirmed_card):
            self.state = Measuring(replace(state.person, operator=operator), (), window_open=False, since_s=now_s)
        elif isinstance(state, Measuring):
            self.state = replace(state, person=replace(state.person, operator=operator))
        else:
            return []
        return self.measurement(reading, around, now_s)

    def confirm_card(self, operator: str, around: Surroundings, now_s: float) -> list[Effect]:
        """*operator* compared the card on the screen with its holder: they are measured now, a passage of its own."""
        state = self.state
        if isinstance(state, Showing) and state.person.is_unconfirmed_card:
            return self._begin(replace(state.person, operator=operator), around, now_s)
        return []

    def remeasure(self, around: Surroundings, now_s: float) -> list[Effect]:
        """Measure the held person again by the kiosk's own thermometer."""
        state = self.state
        if isinstance(state, Showing) and _may_go_on(state):
            return self._begin(state.person, around, now_s)
        return []

    def reset(self) -> None:
        """Back to idle: the outside failed in the middle of a step. Nobody is admitted by it."""
        self.state = Idle()

    def hold_screen(self, now_s: float, for_s: float) -> list[Effect]:
        """Keep the verdict on the screen for *for_s* more seconds from now (a finger holds it), or for less."""
        if isinstance(self.state, Showing):
            self.state = replace(self.state, until_s=now_s + for_s)
            return [Show()]
        return []

    def note(self, code: str, now_s: float, *, minutes_ago: int | None = None) -> list[Effect]:
        """Answer something that is no passage; never interrupts a person who is being served."""
        if isinstance(self.state, Idle | Noting | Showing):
            self.state = Noting(code, now_s + NOTE_SHOWN_S, minutes_ago)
            return [Show()]
        return []

    def tick(self, now_s: float) -> list[Effect]:
        """Time passed: reopen a window that is due, close a screen whose time is over."""
        state = self.state
        if isinstance(state, Measuring) and not state.window_open and now_s >= state.reopen_at_s:
            self.state = replace(state, window_open=True)
            return [OpenWindow(), Show()]
        if isinstance(state, Showing | Noting) and now_s >= state.until_s:
            self.state = Idle()
            return [Show()]
        return []

    def acknowledge(self) -> list[Effect]:
        """Staff cleared the screen, or the person being measured walked away and staff ended it."""
        if isinstance(self.state, Showing | Noting):
            self.state = Idle()
            return [Show()]
        return []

    def recorded(self, sequence: int, around: Surroundings, now_s: float) -> list[Effect]:
        """The passage is on disk as *sequence*: only now may the gate open and the screen turn green."""
        assert isinstance(self.state, Recording)
        state = self.state
        if state.then is not None:
            self.state = Idle()
            return self._begin(state.then, around, now_s)
        is_admitted = state.verdict.outcome is Outcome.ADMIT
        self.state = Showing(
            state.person,
            state.verdict,
            state.results,
            sequence,
            now_s + (ADMIT_SHOWN_S if is_admitted else OTHER_SHOWN_S),
        )
        return [OpenGate(), Show()] if is_admitted else [Show()]

    def not_recorded(self, around: Surroundings, now_s: float) -> list[Effect]:
        """The journal refused: nobody is admitted unrecorded; staff register by hand until it works again (V-34)."""
        assert isinstance(self.state, Recording)
        state = self.state
        verdict = state.verdict
        if verdict.outcome is not Outcome.DENY:
            verdict = Verdict(Outcome.HOLD, (Why.JOURNAL_UNAVAILABLE.value,), cannot_tell=True)
        self.state = Showing(state.person, verdict, state.results, 0, now_s + OTHER_SHOWN_S)
        if state.then is not None:
            return self._begin(state.then, around, now_s)
        return [Show()]

    def _record(
        self,
        person: Person,
        verdict: Verdict,
        results: tuple[Reading | NoReading, ...],
        around: Surroundings,
        then: Person | None = None,
    ) -> list[Effect]:
        self.state = Recording(person, verdict, results, then)
        return [Record(facts_of(person, verdict, results, around), personal_of(person, results), person)]


def _may_go_on(state: Showing) -> bool:
    """Whether a held person's temperature may be taken again: their credential was good, or staff vouch for them."""
    return state.verdict.outcome is Outcome.HOLD and (state.person.checked.valid or state.person.is_vouched)


def facts_of(person: Person, verdict: Verdict, results: Sequence[Reading | NoReading], around: Surroundings) -> Facts:
    """The open half of the passage: nothing that points at a person."""
    credential = person.checked.credential
    reading = _last_reading(results)
    return Facts(
        direction=around.direction,
        mode=person.mode,
        credential=person.checked.kind,
        colour=credential.colour if credential else None,
        measured=measured(results, around.policy),
        outcome=verdict.outcome,
        reasons=verdict.reasons,
        bundle_version=around.rules.version,
        bundle_age_s=around.rules.age_s,
        degraded=around.degraded,
        operator=person.operator,
        issuer=credential.issuer if credential and person.checked.valid else None,
        method=reading.method.value if reading else None,
    )


def personal_of(person: Person, results: Sequence[Reading | NoReading]) -> Personal:
    """The half that is sealed. A credential that was not believed gives nothing but the temperature."""
    credential = person.checked.credential
    reading = _last_reading(results)
    temperature = (
        Temperature(reading.method.value, reading.raw_celsius, reading.ambient_celsius, reading.body_celsius)
        if reading
        else None
    )
    typed = person.typed or NOTHING_TYPED
    if credential is None:
        return replace(typed, temperature=temperature)
    return Personal(
        name=typed.name or credential.name_masked or _name_claim(credential.claims.get("name")),
        id_number=typed.id_number,
        phone=typed.phone,
        pseudonym=credential.pseudonym or credential.holder_id,
        cti=credential.cti,
        identity_sealed=credential.identity_sealed,
        temperature=temperature,
        helper_name=typed.helper_name,
        helper_phone=typed.helper_phone,
        relation=typed.relation,
        document=typed.document,
        extra=typed.extra,
    )


def _name_claim(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _last_reading(results: Sequence[Reading | NoReading]) -> Reading | None:
    return next((r for r in reversed(results) if isinstance(r, Reading)), None)
