"""What the form asks at a venue, and what may be typed into it when no script has sealed it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from config.server import CheckinSettings
from protocol.checkin import RELATIONS
from protocol.passage import Personal

MAX_NAME_CHARS = 40
_PHONE = re.compile(r"\+?[0-9]{5,20}")
_MAINLAND = re.compile(r"1[0-9]{10}")  # a mobile number
_FIELDS = ("name", "phone", "relation", "other_name")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which fields the form has here; at least one."""

    name: bool
    phone: bool

    @staticmethod
    def at(category: str, settings: CheckinSettings) -> Asked:
        """What *settings* say for a sort of venue; for one that is in neither list, both."""
        name, phone = category in settings.name_at, category in settings.phone_at
        return Asked(name or not phone, phone or not name)


@dataclass(frozen=True, slots=True)
class Typed:
    """A form as it was typed in clear, with what is wrong about it by field. Never in a `repr`."""

    values: Mapping[str, str] = field(repr=False)
    problems: Mapping[str, str]

    @staticmethod
    def read(form: Mapping[str, str], asked: Asked) -> Typed:
        """Tidy up the values of *form* and say what is missing or cannot be."""
        values = {name: " ".join(unicodedata.normalize("NFKC", form.get(name, "")).split()) for name in _FIELDS}
        values["phone"] = re.sub(r"[\s()-]", "", values["phone"])
        if _MAINLAND.fullmatch(values["phone"]):
            values["phone"] = f"+86{values['phone']}"
        problems: dict[str, str] = {}
        if asked.name and not values["name"]:
            problems["name"] = "Please type your name."
        if asked.phone and not _PHONE.fullmatch(values["phone"]):
            problems["phone"] = "Please type a phone number: digits only, with + in front if it is a foreign one."
        if max(len(values["name"]), len(values["other_name"])) > MAX_NAME_CHARS:
            problems["name"] = "This name is too long."
        if values["relation"] not in ("", *RELATIONS):
            problems["relation"] = "Please choose from the list."
        if bool(values["relation"]) != bool(values["other_name"]):
            problems["other_name"] = "Please give both: who it is, and their name."
        return Typed(values, problems)

    def person(self, asked: Asked) -> Personal:
        """What is sealed; only for a form without problems. With a relation the sender is the helper."""
        name, phone = self.values["name"] if asked.name else "", self.values["phone"] if asked.phone else ""
        if self.values["relation"]:
            return Personal(
                name=self.values["other_name"],
                helper_name=name or None,
                helper_phone=phone or None,
                relation=self.values["relation"],
            )
        return Personal(name=name or None, phone=phone or None)
