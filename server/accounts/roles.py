"""Roles and permissions as data: the matrix of requirements.md A.3, one line a permission, one column a role.

The letters: F full, A approve, C create or submit, R read, M read masked, O own only, X perform, G aggregates only.
A stronger letter includes weaker ones, see `INCLUDES`. What the matrix says in words beside a letter ("own sector",
"one case") is narrowed further by the subject's own views; the letter is the most that a role can get.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Act(Enum):
    """What somebody does with a thing; the letters of the matrix."""

    FULL = "F"
    APPROVE = "A"
    CREATE = "C"
    READ = "R"
    READ_MASKED = "M"
    OWN = "O"
    PERFORM = "X"
    AGGREGATE = "G"


INCLUDES: dict[Act, frozenset[Act]] = {
    Act.FULL: frozenset(Act),
    Act.APPROVE: frozenset({Act.APPROVE, Act.READ, Act.READ_MASKED, Act.AGGREGATE}),
    Act.CREATE: frozenset({Act.CREATE, Act.OWN}),
    Act.READ: frozenset({Act.READ, Act.READ_MASKED, Act.AGGREGATE}),
    Act.READ_MASKED: frozenset({Act.READ_MASKED, Act.AGGREGATE}),
    Act.OWN: frozenset({Act.OWN}),
    Act.PERFORM: frozenset({Act.PERFORM, Act.OWN}),
    Act.AGGREGATE: frozenset({Act.AGGREGATE}),
}


class Role(Enum):
    """Who somebody is at work (requirements.md A.2)."""

    CITY_COMMAND = "city_command"
    DISTRICT_COMMAND = "district_command"
    STREET_ADMIN = "street_admin"
    COMMUNITY_WORKER = "community_worker"
    GRID_WORKER = "grid_worker"
    REGISTRAR = "registrar"
    VOLUNTEER = "volunteer"
    INDUSTRY_DEPT = "industry_dept"
    APPLICANT = "applicant"  # of a first venue; beside A.2, whose operator has a venue already
    VENUE_OPERATOR = "venue_operator"
    VENUE_KEEPER = "venue_keeper"
    VENUE_STAFF = "venue_staff"
    INSPECTOR = "inspector"
    EPI_INVESTIGATOR = "epi_investigator"
    RESIDENT = "resident"
    ASSISTED_PERSON = "assisted_person"
    LANDLORD = "landlord"
    DATA_PROVIDER = "data_provider"
    DATA_OFFICER = "data_officer"
    TRAINING_OFFICER = "training_officer"
    SUPPLY_KEEPER = "supply_keeper"
    TECH_SUPPORT = "tech_support"


# English names; the Chinese ones are in the catalogue. (The kiosk, the matrix's machine role, has no account: it
# signs.)
ROLE_NAMES: dict[Role, str] = {
    Role.CITY_COMMAND: "City command officer",
    Role.DISTRICT_COMMAND: "District command officer",
    Role.STREET_ADMIN: "Street administrator",
    Role.COMMUNITY_WORKER: "Community worker",
    Role.GRID_WORKER: "Grid worker",
    Role.REGISTRAR: "Registrar",
    Role.VOLUNTEER: "Volunteer",
    Role.INDUSTRY_DEPT: "Industry department",
    Role.APPLICANT: "Applicant for a first venue",
    Role.VENUE_OPERATOR: "Venue operator",
    Role.VENUE_KEEPER: "Venue responsible person",
    Role.VENUE_STAFF: "Venue staff",
    Role.INSPECTOR: "Inspector",
    Role.EPI_INVESTIGATOR: "Epidemiological investigator",
    Role.RESIDENT: "Resident",
    Role.ASSISTED_PERSON: "Assisted person",
    Role.LANDLORD: "Landlord",
    Role.DATA_PROVIDER: "Data-provider department",
    Role.DATA_OFFICER: "Data protection officer",
    Role.TRAINING_OFFICER: "Training officer",
    Role.SUPPLY_KEEPER: "Supply keeper",
    Role.TECH_SUPPORT: "Technical support",
}


class Permission(Enum):
    """What can be permitted; one line of the matrix each."""

    RULES = "rules"  # city rules, templates, limits
    USERS = "users"  # users of the own subtree
    RISK_SOURCES = "risk_sources"
    NOTICE_FIRST_REVIEW = "notice_first_review"
    NOTICE_FINAL_REVIEW = "notice_final_review"
    NOTICE_STATE = "notice_state"
    NOTICE_ACKNOWLEDGE = "notice_acknowledge"
    FEEDBACK_GIVE = "feedback_give"
    FEEDBACK_HANDLE = "feedback_handle"
    CODE_APPLY = "code_apply"
    CODES = "codes"  # review, issue, suspend, revoke
    CODE_PRINT = "code_print"  # download (R); print and record posting (X)
    KIOSK_OPERATE = "kiosk_operate"
    HELD_ENTRY = "held_entry"  # red or fever never becomes admit
    KIOSK_COUNTERS = "kiosk_counters"
    PASSAGES = "passages"  # only ever through an approved query
    QUERY_OWN_VENUE = "query_own_venue"
    QUERY_APPROVE = "query_approve"  # never one's own request
    KIOSK_LOGS = "kiosk_logs"
    RESIDENTS = "residents"
    REGISTRATION_REVIEW = "registration_review"
    RISK_LEVEL = "risk_level"
    RISK_APPEAL = "risk_appeal"
    EMERGENCY = "emergency"
    RISK_ALERTS = "risk_alerts"
    INSPECTION = "inspection"
    RECTIFICATION_ORDER = "rectification_order"
    RECTIFICATION_ANSWER = "rectification_answer"
    FAULT_REPORT = "fault_report"
    FAULT_REPAIR = "fault_repair"
    TRAINING = "training"
    STOCK = "stock"
    INDICATORS = "indicators"
    KIOSKS = "kiosks"  # device enrolment, keys, software version
    AUDIT = "audit"


_C = Role.CITY_COMMAND, Role.DISTRICT_COMMAND, Role.STREET_ADMIN, Role.COMMUNITY_WORKER, Role.GRID_WORKER
_COLUMNS: tuple[tuple[Role, ...], ...] = (
    *((role,) for role in _C),
    (Role.INDUSTRY_DEPT,),
    (Role.VENUE_OPERATOR, Role.VENUE_KEEPER),
    (Role.VENUE_STAFF,),
    (Role.INSPECTOR,),
    (Role.EPI_INVESTIGATOR,),
    (Role.RESIDENT,),
    (Role.ASSISTED_PERSON,),
    (Role.TECH_SUPPORT,),
)

_MATRIX = """
#                     CC DC ST CM GR ID VO VS IN EP RE EL TS
rules                 F  R  R  R  -  R  -  -  R  -  -  -  -
users                 F  F  F  F  -  O  O  -  -  -  -  -  -
risk_sources          C  C  C  C  C  C  -  -  -  C  -  -  -
notice_first_review   -  A  -  -  -  -  -  -  -  -  -  -  -
notice_final_review   A  -  -  -  -  -  -  -  -  -  -  -  -
notice_state          R  R  R  R  R  G  O  -  R  -  O  O  -
notice_acknowledge    -  -  -  X  X  -  O  -  -  -  O  O  -
feedback_give         -  -  C  C  C  C  C  C  -  -  C  C  -
feedback_handle       F  F  F  F  -  O  -  -  R  -  O  O  -
code_apply            -  -  -  -  -  -  C  -  -  -  -  -  -
codes                 R  R  A  R  -  R  -  -  R  -  -  -  -
code_print            -  -  R  R  -  -  XR X  R  -  -  -  -
kiosk_operate         -  -  -  X  X  -  X  X  -  -  X  X  X
held_entry            -  -  -  -  -  -  X  X  -  -  -  -  -
kiosk_counters        G  G  G  G  G  G  R  R  R  -  -  -  R
passages              -  R  R  -  -  -  M  -  -  R  O  O  -
query_own_venue       -  -  -  -  -  -  C  -  -  -  -  -  -
query_approve         A  A  A  -  -  -  -  -  -  -  -  -  -
kiosk_logs            -  -  M  -  -  -  -  -  M  -  -  -  G
residents             -  -  -  F  C  -  -  -  -  -  O  O  -
registration_review   -  -  A  A  X  -  -  -  R  -  -  -  -
risk_level            A  A  C  C  -  -  -  -  -  C  -  -  -
risk_appeal           -  -  -  -  -  -  -  -  -  -  C  C  -
emergency             A  A  A  -  -  -  -  -  -  -  -  -  -
risk_alerts           G  R  R  R  R  G  M  M  -  R  -  -  -
inspection            F  F  F  -  -  O  -  -  X  -  -  -  -
rectification_order   A  A  A  -  -  O  -  -  C  -  -  -  -
rectification_answer  -  -  -  O  -  -  O  -  -  -  -  -  -
fault_report          -  -  C  C  C  -  C  C  C  -  -  -  C
fault_repair          R  R  F  -  -  -  O  O  R  -  -  -  X
training              R  R  F  C  O  C  C  O  R  O  -  -  O
stock                 G  G  A  C  -  -  -  -  R  -  O  O  -
indicators            F  O  O  O  O  O  O  -  R  -  R  R  G
kiosks                -  -  A  -  -  -  R  -  R  -  -  -  XR
audit                 R  O  O  -  -  -  -  -  O  -  O  O  -
"""

# Roles that stand outside the matrix's columns (the text under A.3).
_OUTSIDE: dict[Role, dict[Permission, str]] = {
    Role.APPLICANT: {Permission.CODE_APPLY: "C"},
    Role.VOLUNTEER: {Permission.KIOSK_OPERATE: "X"},
    Role.LANDLORD: {},
    Role.DATA_PROVIDER: {Permission.RISK_SOURCES: "C", Permission.INDICATORS: "G"},
    Role.DATA_OFFICER: {Permission.AUDIT: "R"},
    Role.TRAINING_OFFICER: {Permission.TRAINING: "F"},
    Role.SUPPLY_KEEPER: {Permission.STOCK: "F"},
}


def _read_matrix() -> dict[Role, dict[Permission, frozenset[Act]]]:
    granted: dict[Role, dict[Permission, frozenset[Act]]] = {role: {} for role in Role}
    lines = [line.split() for line in _MATRIX.strip().splitlines()[1:]]
    for name, *cells in lines:
        if len(cells) != len(_COLUMNS):
            raise ValueError(f"The line {name} of the permission matrix has {len(cells)} cells.")
        for roles, cell in zip(_COLUMNS, cells, strict=True):
            for role in roles:
                granted[role][Permission(name)] = _acts(cell)
    if {Permission(name) for name, *_ in lines} != set(Permission):
        raise ValueError("The permission matrix does not have one line for each permission.")
    granted[Role.REGISTRAR] = {**granted[Role.GRID_WORKER], Permission.REGISTRATION_REVIEW: _acts("X")}
    for role, rows in _OUTSIDE.items():
        granted[role] = {permission: _acts(cell) for permission, cell in rows.items()}
    return granted


def _acts(cell: str) -> frozenset[Act]:
    found: set[Act] = set()
    for letter in cell.replace("-", ""):
        found |= INCLUDES[Act(letter)]
    return frozenset(found)


GRANTED: dict[Role, dict[Permission, frozenset[Act]]] = _read_matrix()


def may(role: Role, permission: Permission, *acts: Act) -> bool:
    """Whether *role* can do any one of *acts* under *permission*, in its scope."""
    return bool(GRANTED[role].get(permission, frozenset()) & set(acts))


@dataclass(frozen=True, slots=True)
class Right:
    """A permission with the acts that count, any one of them."""

    permission: Permission
    acts: tuple[Act, ...]
