"""The closed sets of words that kiosk and server share; their values travel, so they are append-only."""

from __future__ import annotations

from enum import Enum, IntEnum


class Colour(IntEnum):
    """The issuer's statement about a person (credentials.md 4.1); never our own verdict."""

    GREEN = 1
    YELLOW = 2
    RED = 3
    GREY = 4  # no data, or expired


class Outcome(Enum):
    """What the entrance does next."""

    ADMIT = "admit"
    HOLD = "hold"  # shows as "check by hand" or as "cannot tell", by its reason
    DENY = "deny"


class EntryMode(Enum):
    """How a passage came about."""

    SCAN = "scan"
    PROXY = "proxy"  # 代扫: somebody helps a person without a phone
    ID_CARD = "id_card"
    MANUAL = "manual"  # 人工登记: typed by staff
    PHONE = "phone"  # the visitor's own phone scanned the poster; the server recorded it, no kiosk has judged


class Direction(Enum):
    """Which way the person walks."""

    IN = "in"
    OUT = "out"


class CredentialKind(Enum):
    """What a person or a poster can show."""

    HEALTH_CODE = "health_code"  # JK1:, minutes
    PAPER_CODE = "paper_code"  # JK1: with an id only, weeks; its colour comes from a status list
    STAFF_BADGE = "staff_badge"
    VENUE_CODE = "venue_code"
    ENROLMENT_CODE = "enrolment_code"
    EU_DCC = "eu_dcc"
    SMART_HEALTH_CARD = "smart_health_card"
    NZ_COVID_PASS = "nz_covid_pass"  # noqa: S105  a kind of certificate, not a password
    INSPECTOR_PASS = "inspector_pass"  # noqa: S105  hours; lets somebody look at a kiosk, not a password
    PROVINCIAL_CODE = "provincial_code"  # cannot be verified offline; a provider is asked
    UNKNOWN = "unknown"


class Measured(Enum):
    """What the temperature step found; the figure itself is sealed with the person."""

    NORMAL = "normal"
    FEVER = "fever"
    NOT_MEASURABLE = "not_measurable"
    NONE = "none"  # no reading: no thermometer, no answer, or nobody in front of it
