"""What a visitor is told before anything is asked of them; a changed text cannot keep its version."""

from __future__ import annotations

from typing import Final

from server.web.language import version_of

EFFECTIVE: Final = "2026-11"
# P-03, R-63, V-29, C-24: who, what for, what, how long, who may look, which rights, what happens without
NOTICE: Final = (
    "Collected by the local disease control authority, for epidemic control and nothing else.",
    "We record: what you type below, this venue and entrance, and the time. Nothing else: no location, no cookies.",
    "It is sealed to the authority's vault. This venue cannot read it.",
    "It is opened only by an approved and logged query, with names and numbers masked unless more was approved.",
    "It is destroyed when the legal retention period ends.",
    "You may ask who looked at your records, and have wrong ones put right: ask your community.",
    "You need not use this page: the kiosk or the staff at the entrance will register you just as well.",
)


def notice_version() -> str:
    """The version that is recorded with each check-in: when it began, and eight digits over its words."""
    return version_of(EFFECTIVE, NOTICE)
