"""Turns a table of fields into a form, and what the form says into JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateField,
    DateTimeLocalField,
    DecimalField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms import Field as FormField
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length, Optional, ValidationError

from server.cases.machine import Field
from server.context import house
from server.web.language import chinese

PLEASE = "Please fill this in."
TOO_LONG = "Too long."
NO_NUMBER = "This is no number: write digits, such as 12 or 36.5."
OUT_OF_BOUNDS = "Write a number from %(least)s to %(most)s."
MOST = 1_000_000_000  # of a number that states no bounds of its own, either way


class Told(str):
    """A message of the catalogue with the values that fill its places; the macro `field` shows both."""

    __slots__ = ("values",)

    def __new__(cls, message: str, **values: object) -> Told:
        """*message* and its *values*."""
        made = super().__new__(cls, message)
        made.values = values
        return made

    values: dict[str, object]


class NumberField(DecimalField):  # type: ignore[misc]
    """A number somebody typed: finite, or none at all ("NaN" and "1e999999" are words to `Decimal`, and no counts)."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Read it; raises ValueError with NO_NUMBER."""
        self.data = None
        if not valuelist:
            return
        try:
            given = Decimal(valuelist[0].strip())  # of nothing, too: whether that is allowed the validators say
        except InvalidOperation:
            raise ValueError(NO_NUMBER) from None
        if not given.is_finite():
            raise ValueError(NO_NUMBER)
        self.data = given


class Between:
    """Refuses a number out of bounds, and says which they are."""

    def __init__(self, least: float | None, most: float | None) -> None:
        self.least, self.most = -MOST if least is None else least, MOST if most is None else most
        self.field_flags = {"min": self.least, "max": self.most}  # the browser says so before anything is sent

    def __call__(self, _form: FlaskForm, field: FormField) -> None:
        """Raise ValidationError for a number that was read and lies outside."""
        if field.data is not None and not self.least <= field.data <= self.most:
            raise ValidationError(Told(OUT_OF_BOUNDS, least=self.least, most=self.most))


def form_class(fields: Iterable[Field]) -> type[FlaskForm]:
    """A form class with one control for each of *fields*; names are those of the fields."""
    controls = {field.name: _control(field) for field in fields}
    return type("CaseForm", (FlaskForm,), controls)


def values_of(form: FlaskForm, fields: Iterable[Field]) -> dict[str, Any]:
    """What a valid *form* says, as JSON values; a field left empty is left out.

    Dates become the end of that day in the server's zone, moments are read in it; both as ISO 8601 in UTC.
    """
    values: dict[str, Any] = {}
    for field in fields:
        found = _value(field, form[field.name].data)
        if found is not None:
            values[field.name] = found
    return values


def shown(field: Field, value: Any) -> str:
    """*value* for people: a choice's label in Chinese with the English, a date as a day."""
    if field.kind in {"choice", "choices"}:
        labels = dict(field.choices)
        found = value if isinstance(value, list) else [value]
        return ", ".join(_two(labels.get(str(one), str(one))) for one in found)
    if field.kind == "yes":
        return _two("Yes") if value else _two("No")
    if field.kind in {"date", "datetime"}:
        local = datetime.fromisoformat(str(value)).astimezone(house().settings.zone)
        return local.strftime("%Y-%m-%d" if field.kind == "date" else "%Y-%m-%d %H:%M")
    return str(value)


def shown_facts(fields: Iterable[Field], facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, words) of each of *fields* that *facts* answer; each name once."""
    known = {field.name: field for field in fields}
    return [(field.label, shown(field, facts[name])) for name, field in known.items() if name in facts]


def _two(label: str) -> str:
    translated = chinese(label)
    return label if translated == label else f"{translated} {label}"


def _control(field: Field) -> FormField:
    first = [InputRequired(PLEASE)] if field.required else [Optional()]
    match field.kind:
        case "text" | "account":
            return StringField(field.label, [*first, Length(max=field.max_length, message=TOO_LONG)])
        case "long":
            return TextAreaField(field.label, [*first, Length(max=field.max_length, message=TOO_LONG)])
        case "number":
            return NumberField(field.label, [*first, Between(field.least, field.most)])
        case "date":
            return DateField(field.label, first)
        case "datetime":
            return DateTimeLocalField(field.label, first, format="%Y-%m-%dT%H:%M")
        case "choice":
            offered = [SelectChoice(value, _two(label)) for value, label in field.choices]
            return SelectField(field.label, first, choices=[SelectChoice("", "—"), *offered])
        case "choices":
            offered = [SelectChoice(value, _two(label)) for value, label in field.choices]
            return SelectMultipleField(field.label, first, choices=offered)
        case "yes":
            return BooleanField(field.label, [DataRequired("This has to be true.")] if field.must_be else [])


def _value(field: Field, given: Any) -> Any:
    zone = house().settings.zone
    if field.kind == "yes":
        return bool(given)
    if given is None or given in ("", []):
        return None
    if field.kind == "number":
        return int(given) if given == int(given) else float(given)
    if field.kind == "date":
        assert isinstance(given, date)
        return datetime(given.year, given.month, given.day, 23, 59, tzinfo=zone).isoformat()
    if field.kind == "datetime":
        return given.replace(tzinfo=zone).isoformat()
    if field.kind == "choices":
        return [str(one) for one in given]
    return str(given).strip() or None
