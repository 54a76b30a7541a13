"""All workflows there are: every `server/SUBJECT/workflow.py` holds a tuple `MACHINES`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from pathlib import Path

from server.cases.machine import Machine, MachineError


@cache
def machines() -> dict[str, Machine]:
    """Every machine by its name, in the order of their folders."""
    found: dict[str, Machine] = {}
    for subject in pkgutil.iter_modules([str(Path(__file__).parents[1])], "server."):
        name = f"{subject.name}.workflow"
        if not subject.ispkg or importlib.util.find_spec(name) is None:
            continue
        for machine in importlib.import_module(name).MACHINES:
            if machine.name in found:
                raise MachineError(f"Two workflows are called {machine.name}.")
            found[machine.name] = machine
    return found


def machine_of(name: str) -> Machine:
    """The machine called *name*; raises LookupError."""
    return machines()[name]
