"""What a workflow is: states, steps, who may take them, clocks. Data only; `kernel` moves cases along it.

A machine is written once, as a table, in `server/SUBJECT/workflow.py` (docs/cases.md has an example). Roles come from
the permission matrix by `holders`, so that a workflow can never grant what the matrix does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from config.errors import GatehouseError
from config.server import ServerSettings
from server.accounts.roles import Act, Permission, Role, may

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from server.accounts.rights import Person
    from server.cases.models import Case

OPENED = "open"  # the name of every case's first entry, also in `Step.apart_from`
ABOUT = "about"  # in `Step.apart_from`: the person whom the case is about

Kind = Literal["good", "wait", "bad", "off"]  # how a state is shown: sign and colour, see the `state` macro
FieldKind = Literal["text", "long", "number", "date", "datetime", "choice", "choices", "yes", "account"]
Hears = Literal["opener", "about", "assignee"]


class MachineError(GatehouseError):
    """A table that does not describe a workflow; found when the application starts."""

    code = "machine"


def holders(permission: Permission, *acts: Act) -> frozenset[Role]:
    """Every role that the matrix gives one of *acts* under *permission*."""
    return frozenset(role for role in Role if may(role, permission, *acts))


@dataclass(frozen=True, slots=True)
class Field:
    """One question of a form."""

    name: str  # the key in `Case.facts` and in the entry's values
    label: str  # a message of the catalogue
    kind: FieldKind = "text"
    required: bool = True
    choices: tuple[tuple[str, str], ...] = ()  # (value, label), for choice and choices
    hint: str = ""
    max_length: int = 400  # characters, for text and long
    least: float | None = None  # for number
    most: float | None = None
    must_be: bool = False  # for yes: the box has to be ticked
    is_personal: bool = False  # never in an export or in a list


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to take a step, as guards and effects see it."""

    database: Session
    case: Case
    step: Step
    person: Person | None  # None: a machine or the worker
    actor: str  # a user's id, "kiosk:HEX" or "system"
    at: datetime
    settings: ServerSettings
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on a step, with what to say to somebody who tries in vain."""

    sentence: str  # a message of the catalogue: "Name a responsible person first."
    holds: Callable[[Attempt], bool]
    needs_values: bool = False  # looks at what the form says, so it cannot be told before the form is sent


@dataclass(frozen=True, slots=True)
class Step:
    """One way from some states to another one."""

    name: str
    label: str  # what the button says
    sources: tuple[str, ...]
    target: str
    roles: frozenset[Role] = frozenset()  # who may take it, where their role reaches; empty: machines and the worker
    is_own: bool = False  # only who opened the case, or whom it is about, wherever it lies
    is_about: bool = False  # only whom the case is about: nobody signs for somebody else
    by_assignee: bool = False  # once somebody is assigned, only they (and who may assign) take it
    apart_from: tuple[str, ...] = ()  # separation of duties: actors of these steps, OPENED or ABOUT may not take it
    needs_reason: bool = False
    fields: tuple[Field, ...] = ()
    guards: tuple[Guard, ...] = ()
    effect: Callable[[Attempt], None] | None = None  # runs in the same transaction, after the state was set
    tells: tuple[Hears, ...] = ()  # who finds a note in their inbox
    due_from: str = ""  # the date field whose value becomes the deadline of the target's clock
    is_elsewhere: bool = False  # taken on the subject's own page only (a signature, a camera); no button here
    is_danger: bool = False
    is_work: bool = True  # False: possible, and yet nothing to wait for (withdraw, revoke); keeps it out of inboxes


@dataclass(frozen=True, slots=True)
class State:
    """One state a case can be in."""

    name: str
    label: str
    kind: Kind = "wait"
    is_final: bool = False
    # narrower than the machine's, for example a plan that the venue may not know yet; own cases one always sees
    readers: frozenset[Role] | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """A deadline that runs while a case is in some states, stands still in others, and is over in the rest.

    When it is over it escalates: the case appears in the inbox of `escalates_to` as well, once, and it takes the step
    `fires` if there is one. A case has one clock at a time: the first of its machine that names the state it is in.
    """

    name: str
    runs_in: tuple[str, ...]
    after: Callable[[ServerSettings], timedelta] | None = None
    until: Callable[[Case, ServerSettings], datetime | None] | None = None  # instead of `after`; None: no deadline
    stands_in: tuple[str, ...] = ()  # keeps what is left, goes on when the case is back in `runs_in`
    quiet: bool = False  # stands still in quiet hours as well
    escalates_to: frozenset[Role] = frozenset()
    fires: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """One workflow."""

    name: str
    label: str  # "Faults"
    states: tuple[State, ...]
    steps: tuple[Step, ...]
    initial: tuple[str, ...]  # the states a case can be opened in
    readers: frozenset[Role]  # who may see its cases where their role reaches; own cases everybody sees
    clocks: tuple[Clock, ...] = ()
    opens: frozenset[Role] = frozenset()  # who may open one by the general form; empty: its own page or a machine does
    form: tuple[Field, ...] = ()  # the general form's questions
    title_from: str = ""  # the field whose value (or choice's label) names the case, beside the venue
    assigns: frozenset[Role] = frozenset()  # who may assign a case, and let its clock stand still
    assignees: frozenset[Role] = frozenset()  # to whom, where their role reaches
    place: Literal["venue", "area"] = "venue"  # what the general form asks for
    page: Callable[[Case], str] | None = None  # the address of the subject's own page about a case
    one_per_person: bool = False  # the general form opens at most one for each account (`Case.key` is its id)
    key_is_subject: bool = False  # `Case.key` names a row elsewhere whose state column follows the case

    def __post_init__(self) -> None:
        """Refuse a table that contradicts itself, all problems at once."""
        problems = list(_problems(self))
        if problems:
            raise MachineError(f"The workflow {self.name} is not sound: " + "; ".join(problems))

    def state(self, name: str) -> State:
        """The state called *name*; raises LookupError."""
        for state in self.states:
            if state.name == name:
                return state
        raise LookupError(f"{self.name} has no state {name}")

    def step(self, name: str) -> Step:
        """The step called *name*; raises LookupError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise LookupError(f"{self.name} has no step {name}")

    def steps_from(self, state: str) -> tuple[Step, ...]:
        """The steps that leave *state*."""
        return tuple(step for step in self.steps if state in step.sources)

    def clock_in(self, state: str) -> Clock | None:
        """The clock of a case in *state*, running or standing still."""
        for clock in self.clocks:
            if state in clock.runs_in or state in clock.stands_in:
                return clock
        return None

    def readers_in(self, state: str) -> frozenset[Role]:
        """Who may see a case in *state*."""
        narrower = self.state(state).readers
        return self.readers if narrower is None else narrower

    @property
    def open_states(self) -> tuple[str, ...]:
        """The states that are not the end."""
        return tuple(state.name for state in self.states if not state.is_final)


def _problems(machine: Machine) -> Iterable[str]:
    names = [state.name for state in machine.states]
    steps = [step.name for step in machine.steps]
    finals = {state.name for state in machine.states if state.is_final}
    if len(set(names)) < len(names) or len(set(steps)) < len(steps):
        yield "a name stands twice"
    for step in machine.steps:
        if unknown := sorted({*step.sources, step.target} - set(names)):
            yield f"step {step.name} names the states {unknown}"
        if leaving := sorted(finals & set(step.sources)):
            yield f"step {step.name} leaves {leaving}, which are final"
        if unknown := sorted(set(step.apart_from) - {*steps, OPENED, ABOUT}):
            yield f"step {step.name} is apart from {unknown}"
        if step.due_from and step.due_from not in {f.name for f in step.fields}:
            yield f"step {step.name} takes its deadline from a field that it has not"
        if OPENED == step.name or not step.sources:
            yield f"step {step.name or '?'} has no source, or the name of the first entry"
    for clock in machine.clocks:
        if unknown := sorted({*clock.runs_in, *clock.stands_in} - set(names)):
            yield f"clock {clock.name} names the states {unknown}"
        if clock.fires and (clock.fires not in steps or machine.step(clock.fires).roles):
            yield f"clock {clock.name} fires a step that is not the worker's"
        if (clock.after is None) == (clock.until is None):
            yield f"clock {clock.name} needs one of after and until"
    if not machine.initial or set(machine.initial) - set(names):
        yield f"it begins in {machine.initial}"
    reached = set(machine.initial)
    while more := {s.target for s in machine.steps if reached & set(s.sources)} - reached:
        reached |= more
    if lost := sorted(set(names) - reached):
        yield f"nothing leads to {lost}"
    if stuck := sorted(n for n in names if n not in finals and not machine.steps_from(n)):
        yield f"nothing leads out of {stuck}"
