"""What a tip-off can be about, and what its reporter reads of where it stands; messages of the catalogue."""

from __future__ import annotations

SORTS: dict[str, str] = {
    "no_code": "No code hangs, or it is damaged",
    "no_check": "People get in without a check",
    "false_reading": "Temperatures are made up or not taken",
    "refused_help": "Somebody without a phone was turned away",
    "misuse": "Data of visitors are misused",
    "other": "Something else",
}

# The states of the workflow, as its reporter reads them.
STANDS: dict[str, str] = {
    "received": "It was received and waits to be looked at.",
    "screened": "It was looked at and will be checked.",
    "verifying": "It is being checked.",
    "substantiated": "It was found to be true; the venue is being dealt with.",
    "unfounded": "It could not be confirmed.",
    "closed": "It is closed.",
}
