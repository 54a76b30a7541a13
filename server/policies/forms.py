"""Forms of profiles, emergencies and a venue's terms; their limits are those that a kiosk accepts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateTimeLocalField,
    FloatField,
    IntegerField,
    SelectField,
    SelectMultipleField,
    StringField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from config.server import ADMITTING
from protocol.errors import ProtocolError
from protocol.policy import EntryPolicy
from protocol.profile import MAX_CAPACITY, MAX_WORDS, Conduct, Hours, Mode, Profile
from server.web.language import chinese

LONGEST = timedelta(days=90)  # of an emergency; it can be begun anew
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOUR_S = 3600
_SPAN = re.compile(r"([0-2]?\d):([0-5]\d)\s*[-–—~至]\s*([0-2]?\d):([0-5]\d)")
_NEEDED = InputRequired("Please fill this in.")
KINDS = {
    "health_code": "Health code",
    "paper_code": "Paper code",
    "eu_dcc": "EU certificate",
    "smart_health_card": "SMART Health Card",
    "nz_covid_pass": "New Zealand pass",
    "provincial_code": "Provincial code, asked online",
}


def _whole(label: str, low: int, high: int) -> IntegerField:
    return IntegerField(label, [_NEEDED, NumberRange(low, high, f"Expected {low} to {high}.")])


class ProfileForm(FlaskForm):  # type: ignore[misc]
    """The rules of one kind of venue in one mode."""

    fever_from_celsius = FloatField("Fever from (℃)", [_NEEDED, NumberRange(36.5, 39.0, "Expected 36.5 to 39.0.")])
    remeasure_count = _whole("Measured again at most (times)", 0, 5)
    reading_wait_s = _whole("Time for one measurement (s)", 1, 60)
    health_code_max_age_s = _whole("A dynamic health code lives at most (s)", 60, 600)
    status_max_age_h = _whole("Status lists are old after (h)", 1, 720)
    bundle_max_age_h = _whole("Rules are old after (h)", 1, 8760)
    stale_rules_hold = BooleanField("With old rules or lists everybody is checked by hand")
    typed_entries_admit = BooleanField("Whom staff typed in may enter with a normal temperature")
    accepts = SelectMultipleField(
        "What may admit by itself",
        choices=[SelectChoice(kind, f"{chinese(KINDS[kind])} {KINDS[kind]}") for kind in ADMITTING],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        validators=[InputRequired("Choose at least one.")],
    )
    enter_after_s = _whole("A device counts as lost after (s)", 0, 60)
    leave_after_s = _whole("A device counts as found after (s)", 1, 600)
    opening_test_blocks = BooleanField("Before today's opening test passed, everybody is checked by hand")
    near_full_percent = _whole("Nearly full from (% of the capacity)", 50, 100)
    full_holds = BooleanField("At capacity everybody is checked by hand (otherwise the screen only says so)")
    exit_is_free = BooleanField("Leaving needs neither a code nor a temperature")

    @classmethod
    def showing(cls, profile: Profile) -> ProfileForm:
        """The form with the values of *profile*, or with what was sent."""
        entry, conduct = profile.entry, profile.conduct
        names = [field for field in cls.__dict__ if not field.startswith("_")]
        values = {n: getattr(entry, n) for n in names if hasattr(entry, n)}
        values |= {n: getattr(conduct, n) for n in names if hasattr(conduct, n)}
        return cls(
            **values,
            status_max_age_h=entry.status_max_age_s // HOUR_S,
            bundle_max_age_h=entry.bundle_max_age_s // HOUR_S,
        )

    def profile(self, category: str, mode: Mode, before: Profile) -> Profile:
        """What was filled in, over what the form does not show of *before*."""
        entry: EntryPolicy = before.entry.replace(
            fever_from_celsius=float(self.fever_from_celsius.data),
            remeasure_count=self.remeasure_count.data,
            reading_wait_s=self.reading_wait_s.data,
            health_code_max_age_s=self.health_code_max_age_s.data,
            status_max_age_s=self.status_max_age_h.data * HOUR_S,
            bundle_max_age_s=self.bundle_max_age_h.data * HOUR_S,
            stale_rules_hold=self.stale_rules_hold.data,
            typed_entries_admit=self.typed_entries_admit.data,
            accepts=tuple(kind for kind in ADMITTING if kind in self.accepts.data),
        )
        conduct = Conduct(
            self.enter_after_s.data,
            self.leave_after_s.data,
            self.opening_test_blocks.data,
            self.near_full_percent.data,
            self.full_holds.data,
            self.exit_is_free.data,
        )
        return Profile(category, mode, entry, conduct)


class EmergencyForm(FlaskForm):  # type: ignore[misc]
    """Where an emergency begins, why, and until when."""

    where = SelectField("Where")
    reason = StringField("Reason", [_NEEDED, Length(max=200, message="Too long.")])
    until = DateTimeLocalField("Until", [_NEEDED])

    def until_at(self, now: datetime, zone: object) -> datetime | None:
        """The end in the pages' zone, or None, noted at its field, when it is not to come or too far away."""
        at: datetime = self.until.data.replace(tzinfo=zone)
        if now < at <= now + LONGEST:
            return at
        self.until.errors = ["The end lies between now and 90 days from now."]
        return None


class EndForm(FlaskForm):  # type: ignore[misc]
    """Why an emergency ends before its time."""

    reason = StringField("Reason", [_NEEDED, Length(max=200, message="Too long.")])


def _span(form: FlaskForm, field: StringField) -> None:
    text = (field.data or "").strip()
    if text and span_of(text) is None:
        raise ValidationError("Write hours like 08:00-22:00, and leave closed days empty.")


def span_of(text: str) -> Hours | None:
    """ "08:00-22:00" as values; an end before the beginning is on the next day. None for anything else."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        return None
    a, b, c, d = (int(part) for part in found.groups())
    begin, end = a * 60 + b, c * 60 + d
    try:
        return Hours(begin, end if end > begin else end + 1440)
    except ProtocolError:
        return None


class TermsForm(FlaskForm):  # type: ignore[misc]
    """A venue's capacity, opening hours, and where to go while it is closed."""

    capacity = IntegerField(
        "People inside at most (0: no limit)", [NumberRange(0, MAX_CAPACITY, "Expected 0 to 100000.")]
    )
    monday = StringField(DAYS[0], [_span])
    tuesday = StringField(DAYS[1], [_span])
    wednesday = StringField(DAYS[2], [_span])
    thursday = StringField(DAYS[3], [_span])
    friday = StringField(DAYS[4], [_span])
    saturday = StringField(DAYS[5], [_span])
    sunday = StringField(DAYS[6], [_span])
    elsewhere_zh = StringField(
        "Where to go while closed (Chinese)", [Optional(), Length(max=MAX_WORDS, message="Too long.")]
    )
    elsewhere_en = StringField(
        "Where to go while closed (English)", [Optional(), Length(max=MAX_WORDS, message="Too long.")]
    )

    def days(self) -> list[StringField]:
        """The fields of the week, Monday first."""
        return [self[day.lower()] for day in DAYS]

    def hours(self) -> tuple[Hours, ...]:
        """The week, or () when no day is filled in: always open."""
        texts = [(field.data or "").strip() for field in self.days()]
        return tuple(span_of(text) or Hours(0, 0) for text in texts) if any(texts) else ()


def span_text(day: Hours) -> str:
    """The hours of one day as they are typed; "" for a closed day."""
    if day.from_min == day.until_min:
        return ""
    end = day.until_min % 1440
    return f"{day.from_min // 60:02d}:{day.from_min % 60:02d}-{end // 60:02d}:{end % 60:02d}"
