"""The workflow of whatever a machine finds wrong by itself: found, looked into by somebody, closed with what it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from config.server import ServerSettings
from server.accounts.roles import Act, Permission, Role, may
from server.cases.machine import Clock, Field, Guard, Machine, State, Step, holders

LOOKED_INTO = "looked_into"
KIOSK_SUPPORT = holders(Permission.KIOSKS, Act.APPROVE) | holders(Permission.KIOSKS, Act.PERFORM)
KIOSK_KEEPERS = holders(Permission.KIOSKS, Act.APPROVE)
COMMAND = frozenset(
    role for role in (Role.DISTRICT_COMMAND, Role.CITY_COMMAND) if may(role, Permission.EMERGENCY, Act.APPROVE)
)


def alarm(
    name: str,
    label: str,
    *,
    found: tuple[str, str],
    close: tuple[str, str],
    closed: tuple[str, str],
    clock: str,
    after: Callable[[ServerSettings], timedelta],
    looks: frozenset[Role],
    closes: frozenset[Role],
    form: tuple[Field, ...],
    also_reads: frozenset[Role] = frozenset(),
    needs_reason: bool = True,
    asks: tuple[Field, ...] = (),
    guards: tuple[Guard, ...] = (),
    title_from: str = "",
) -> Machine:
    """The workflow *name*; *found*, *close* and *closed* are (name, label) of the first state, last step, last state.

    *looks* may take it up, *closes* assign and close it, command hears of it when *after* is over.
    """
    open_states = (found[0], LOOKED_INTO)
    return Machine(
        name=name,
        label=label,
        readers=looks | COMMAND | also_reads,
        initial=(found[0],),
        form=form,
        title_from=title_from,
        assigns=closes,
        assignees=looks,
        states=(
            State(*found, "bad"),
            State(LOOKED_INTO, "Somebody looks into it", "wait"),
            State(*closed, "off", is_final=True),
        ),
        steps=(
            Step("look", "Look into it", (found[0],), LOOKED_INTO, roles=looks),
            Step(
                *close,
                open_states,
                closed[0],
                roles=closes,
                needs_reason=needs_reason,
                guards=guards,
                fields=asks,
            ),
        ),
        clocks=(Clock(clock, runs_in=open_states, after=after, escalates_to=COMMAND),),
    )
