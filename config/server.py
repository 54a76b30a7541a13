"""The settings of the server's processes (web, worker), as read from one TOML file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.loading import load


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where the web server listens; a TLS terminating proxy stands in front of it in production."""

    host: str = "127.0.0.1"
    port: int = 8470
    workers: int = 2  # processes
    threads: int = 4  # threads in each of them
    trusted_proxies: int = 0  # how many proxies in front of us add to X-Forwarded-For; 0 ignores that header

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"listen.port is {self.port}; a port is 1 to 65535.")
        if self.workers < 1 or self.threads < 1:
            raise ValueError("listen.workers and listen.threads must be at least 1.")
        if self.trusted_proxies < 0:
            raise ValueError("listen.trusted_proxies counts proxies; it cannot be negative.")


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What one request may weigh."""

    form_bytes: int = 256 * 1024  # a page's form
    machine_bytes: int = 4 * 1024 * 1024  # one exchange with a kiosk, as sent


@dataclass(frozen=True, slots=True)
class CodeSettings:
    """Venue codes and kiosk enrolment codes (requirements F-07)."""

    venue_valid_days: int = 365
    renew_notice_days: int = 30
    enrolment_valid_minutes: int = 15
    health_code_minutes: int = 5  # life of a dynamic health code; kiosks refuse more than 10
    paper_valid_days: int = 30  # life of a paper health code
    badge_valid_days: int = 60  # life of a staff badge

    def __post_init__(self) -> None:
        if not 1 <= self.venue_valid_days <= 3650:
            raise ValueError(f"codes.venue_valid_days is {self.venue_valid_days}; expected 1 to 3650.")
        if not 1 <= self.paper_valid_days <= 365:
            raise ValueError(f"codes.paper_valid_days is {self.paper_valid_days}; expected 1 to 365.")
        if not 1 <= self.badge_valid_days <= 365:
            raise ValueError(f"codes.badge_valid_days is {self.badge_valid_days}; expected 1 to 365.")
        if not 1 <= self.health_code_minutes <= 10:
            raise ValueError(f"codes.health_code_minutes is {self.health_code_minutes}; kiosks accept 1 to 10.")
        if not 1 <= self.enrolment_valid_minutes <= 60:
            raise ValueError(f"codes.enrolment_valid_minutes is {self.enrolment_valid_minutes}; expected 1 to 60.")


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Whose imported trust list is believed."""

    signer: str = ""  # 64 hex digits as `gatehouse trust import` prints them; empty: no imported list is used

    def __post_init__(self) -> None:
        if self.signer and not re.fullmatch("[0-9a-f]{64}", self.signer):
            raise ValueError(f"trust.signer is {self.signer!r}; expected 64 hex digits in lower case.")


# What a person can show that may admit them (protocol/words.py, CredentialKind).
ADMITTING = ("health_code", "paper_code", "eu_dcc", "smart_health_card", "nz_covid_pass", "provincial_code")


# Sorts of venues (server/venues/models.py, Category).
CATEGORIES = (
    "enterprise",
    "institution",
    "shop",
    "market",
    "restaurant",
    "transport",
    "culture",
    "residential",
    "other",
)


@dataclass(frozen=True, slots=True)
class EntrySettings:
    """What entrances ask of people, as far as it is a choice; it travels to the kiosks in the signed bundle."""

    accepts: tuple[str, ...] = ("health_code", "paper_code")
    stale_rules_hold: bool = False  # old rules and lists: True checks by hand, False marks the record (E-25)
    stale_holds_at: tuple[str, ...] = ()  # sorts of venues that check by hand then, whatever stale_rules_hold says

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.accepts) - set(ADMITTING)):
            raise ValueError(f"entry.accepts names {', '.join(unknown)}; expected some of {', '.join(ADMITTING)}.")
        if unknown := sorted(set(self.stale_holds_at) - set(CATEGORIES)):
            raise ValueError(
                f"entry.stale_holds_at names {', '.join(unknown)}; expected some of {', '.join(CATEGORIES)}."
            )


@dataclass(frozen=True, slots=True)
class CheckinSettings:
    """What the page behind a poster asks of a visitor, by sort of venue, and how much it takes."""

    name_at: tuple[str, ...] = ("enterprise", "institution", "culture", "residential", "other")
    phone_at: tuple[str, ...] = CATEGORIES
    per_minute: int = 120  # check-ins that one poster takes in a minute; more go to the kiosk or the staff

    def __post_init__(self) -> None:
        for name, given in (("name_at", self.name_at), ("phone_at", self.phone_at)):
            if unknown := sorted(set(given) - set(CATEGORIES)):
                raise ValueError(
                    f"checkin.{name} names {', '.join(unknown)}; expected some of {', '.join(CATEGORIES)}."
                )
        if missing := sorted(set(CATEGORIES) - {*self.name_at, *self.phone_at}):
            raise ValueError(f"checkin asks neither name nor phone at: {', '.join(missing)}.")
        if not 1 <= self.per_minute <= 10_000:
            raise ValueError(f"checkin.per_minute is {self.per_minute}; expected 1 to 10000.")


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """When the console says that a kiosk is in trouble."""

    unreachable_after_s: int = 120  # four missed exchanges of 30 s (F-14)
    unsent_alarm_s: int = 900  # a kiosk that talks to us and still holds a record this old is stuck
    clock_alarm_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class CaseSettings:
    """Deadlines of workflows, and the hours in which clocks stand still (requirements F-01, F-08, F-12, F-15, F-16)."""

    quiet_from: str = "22:00"  # in time_zone
    quiet_to: str = "07:00"
    review_days: int = 5  # an application for a code, from sending to a decision
    fault_response_hours: int = 2  # N-23: from report to the first person who takes it
    fault_repair_hours: int = 48
    rectify_days: int = 7
    tip_off_hours: int = 24  # from receipt to screening
    query_hours: int = 4  # from request to decision, before somebody higher is called in
    notice_hours: int = 24  # a public notice, from sending to a decision
    notice_urgent_minutes: int = 30  # an urgent one, at night as well
    index_minutes: int = 15  # the vault's index behind for longer raises a case
    daily_check_at: str = "20:00"  # by when each venue's daily check is done
    daily_check_reminder_hours: int = 2
    training_notice_days: int = 30  # before a pass ends
    training_min_hours: int = 16  # N-40

    def __post_init__(self) -> None:
        for name in ("quiet_from", "quiet_to", "daily_check_at"):
            _clock_time(name, getattr(self, name))
        for name in (
            "review_days",
            "fault_response_hours",
            "fault_repair_hours",
            "rectify_days",
            "tip_off_hours",
            "query_hours",
            "notice_hours",
            "notice_urgent_minutes",
            "index_minutes",
            "daily_check_reminder_hours",
            "training_notice_days",
            "training_min_hours",
        ):
            if not 1 <= getattr(self, name) <= 3650:
                raise ValueError(f"cases.{name} is {getattr(self, name)}; expected 1 to 3650.")

    @property
    def quiet_from_time(self) -> time:
        """When quiet hours begin."""
        return _clock_time("quiet_from", self.quiet_from)

    @property
    def quiet_to_time(self) -> time:
        """When quiet hours end."""
        return _clock_time("quiet_to", self.quiet_to)

    @property
    def daily_check_time(self) -> time:
        """By when the daily check is done."""
        return _clock_time("daily_check_at", self.daily_check_at)


def _clock_time(name: str, text: str) -> time:
    if not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError(f"cases.{name} is {text!r}; expected HH:MM.")
    return time.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class PostgresqlSettings:
    """How each process uses PostgreSQL; nothing of it concerns SQLite."""

    connections: int = 8  # kept open by one process, and as many again for a peak
    statement_s: int = 30  # a statement that takes longer is ended
    synchronous_commit: str = "on"  # what a commit waits for where the primary names synchronous standbys
    replica_url: str = ""  # a streaming replica, for pages that may be a little old
    replica_lag_s: float = 5.0  # how old

    def __post_init__(self) -> None:
        if self.synchronous_commit not in {"on", "remote_apply"}:
            raise ValueError(
                f"postgresql.synchronous_commit is {self.synchronous_commit!r}; expected on or remote_apply: a receipt"
                " promises that a record is kept."
            )
        if not 1 <= self.replica_lag_s <= 300:
            raise ValueError(f"postgresql.replica_lag_s is {self.replica_lag_s}; expected 1 to 300.")
        if not 1 <= self.connections <= 200:
            raise ValueError(f"postgresql.connections is {self.connections}; expected 1 to 200.")
        if not 1 <= self.statement_s <= 3600:
            raise ValueError(f"postgresql.statement_s is {self.statement_s}; expected 1 to 3600.")


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """When records are deleted (F-06): by the order in force where the server stands, so there is no default."""

    scan_days: int = 0  # sealed passages, counted from the day they were received; 0 deletes none

    def __post_init__(self) -> None:
        if not 0 <= self.scan_days <= 3650:
            raise ValueError(f"retention.scan_days is {self.scan_days}; expected 1 to 3650, or 0 to delete nothing.")


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """Who can read backups, and how many are kept. Without recipients there are none, and the console says so."""

    recipients: tuple[str, ...] = ()  # age recipients (age1...), from `gatehouse backup keygen`
    folder: Path | None = None  # another disk, best another machine's; default DATA_DIR/backups
    every_hours: int = 24
    keep: int = 14  # whole ones

    def __post_init__(self) -> None:
        if bad := [said for said in self.recipients if not re.fullmatch("age1[0-9a-z]{58}", said)]:
            raise ValueError(f"backup.recipients holds {bad[0][:20]!r}; expected age1 and 58 letters and digits.")
        if not 1 <= self.every_hours <= 168:
            raise ValueError(f"backup.every_hours is {self.every_hours}; expected 1 to 168.")
        if not 1 <= self.keep <= 1000:
            raise ValueError(f"backup.keep is {self.keep}; expected 1 to 1000.")


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """From where on a look is odd enough that the data protection officer asks about it; see the example file."""

    bulk_records: int = 300  # different records by one requester in 24 hours
    odd_from: str = "22:00"  # in time_zone
    odd_to: str = "06:00"
    person_looks: int = 5
    person_days: int = 7
    pair_queries: int = 5  # the last so many of a requester and an approver
    pair_seconds: int = 30
    refusals_in_row: int = 10  # within an hour
    unknown_after_minutes: int = 5
    answer_hours: int = 24

    def __post_init__(self) -> None:
        for name in ("odd_from", "odd_to"):
            _clock_time(f"anomalies.{name}", getattr(self, name))
        for name, most in (
            ("bulk_records", 1_000_000), ("person_looks", 1000), ("person_days", 31), ("pair_queries", 1000),
            ("pair_seconds", 86_400), ("refusals_in_row", 1000), ("unknown_after_minutes", 1440), ("answer_hours", 720),
        ):  # fmt: skip
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"anomalies.{name} is {getattr(self, name)}; expected 1 to {most}.")

    @property
    def odd_from_time(self) -> time:
        """When the odd hours begin, local time."""
        return time.fromisoformat(self.odd_from)

    @property
    def odd_to_time(self) -> time:
        """When they end, local time."""
        return time.fromisoformat(self.odd_to)


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """How to reach the vault, the only process that can open sealed passages."""

    public_file: Path | None = None  # the vault's public keys as it exported them; default DATA_DIR/vault-public.cbor
    fingerprint: str = ""  # 32 hex digits as the vault prints them; empty believes public_file as it is
    socket: Path | None = None  # its Unix socket; default DATA_DIR/vault.sock

    def __post_init__(self) -> None:
        if self.fingerprint and not re.fullmatch("[0-9a-f]{32}", self.fingerprint):
            raise ValueError(f"vault.fingerprint is {self.fingerprint!r}; expected 32 hex digits in lower case.")


# Roles of accounts (server/accounts/roles.py) that decide, look into records or have power over devices.
OFFICIAL_ROLES = (
    "city_command",
    "district_command",
    "street_admin",
    "community_worker",
    "grid_worker",
    "registrar",
    "industry_dept",
    "inspector",
    "epi_investigator",
    "data_provider",
    "data_officer",
    "training_officer",
    "supply_keeper",
    "tech_support",
)
OTHER_ROLES = (
    "volunteer",
    "applicant",
    "venue_operator",
    "venue_keeper",
    "venue_staff",
    "resident",
    "assisted_person",
    "landlord",
)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """How people sign in, and what they must have shown before they see personal data."""

    second_factor_roles: tuple[str, ...] = OFFICIAL_ROLES  # empty: password alone; the sign-in page says so
    idle_minutes: int = 60  # a session that nobody used for so long is over; session_hours ends it in any case
    link_hours: int = 48  # life of a one-time link to choose a password
    helper_hours: int = 72  # longest temporary helper grant (E-23)
    training_valid_days: int = 365  # F-16
    training_pass_mark: int = 80  # of 100, F-16
    registration: bool = True  # whoever runs a venue may make the account that applies for its first code
    registration_days: int = 14  # such an account is forgotten when it has begun no application by then

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.second_factor_roles) - {*OFFICIAL_ROLES, *OTHER_ROLES}):
            known = ", ".join((*OFFICIAL_ROLES, *OTHER_ROLES))
            raise ValueError(f"accounts.second_factor_roles names {', '.join(unknown)}; expected some of {known}.")
        if not 5 <= self.idle_minutes <= 24 * 60:
            raise ValueError(f"accounts.idle_minutes is {self.idle_minutes}; expected 5 to 1440.")
        if not 1 <= self.link_hours <= 168:
            raise ValueError(f"accounts.link_hours is {self.link_hours}; expected 1 to 168.")
        if not 1 <= self.helper_hours <= 168:
            raise ValueError(f"accounts.helper_hours is {self.helper_hours}; expected 1 to 168.")
        if not 1 <= self.training_valid_days <= 3650:
            raise ValueError(f"accounts.training_valid_days is {self.training_valid_days}; expected 1 to 3650.")
        if not 0 <= self.training_pass_mark <= 100:
            raise ValueError(f"accounts.training_pass_mark is {self.training_pass_mark}; expected 0 to 100.")
        if not 1 <= self.registration_days <= 365:
            raise ValueError(f"accounts.registration_days is {self.registration_days}; expected 1 to 365.")


@dataclass(frozen=True, slots=True)
class OperationsSettings:
    """How the service is watched."""

    log_format: str = "text"  # or "json": one object a line
    metrics_token_file: Path | None = None  # whoever shows this token reads /metrics from elsewhere

    def __post_init__(self) -> None:
        if self.log_format not in {"text", "json"}:
            raise ValueError(f"operations.log_format is {self.log_format!r}; expected text or json.")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything the web server and the worker are told; see server.example.toml for what each means."""

    public_url: str  # https://HOST[:PORT] as people and kiosks reach us, no path
    data_dir: Path
    database_url: str = ""  # default: SQLite at DATA_DIR/server.db
    secret_key_file: Path | None = None  # signs session cookies; default DATA_DIR/secret-key
    passphrase_file: Path | None = None  # opens the key store; default DATA_DIR/passphrase
    time_zone: str = "Asia/Shanghai"  # in which pages show times; everything is stored in UTC
    session_hours: int = 12
    extra_hosts: tuple[str, ...] = ()  # further host names we answer to, for health checks behind a balancer
    listen: ListenSettings = field(default_factory=ListenSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    accounts: AccountSettings = field(default_factory=AccountSettings)
    codes: CodeSettings = field(default_factory=CodeSettings)
    entry: EntrySettings = field(default_factory=EntrySettings)
    checkin: CheckinSettings = field(default_factory=CheckinSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    vault: VaultSettings = field(default_factory=VaultSettings)
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)
    postgresql: PostgresqlSettings = field(default_factory=PostgresqlSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    cases: CaseSettings = field(default_factory=CaseSettings)
    backup: BackupSettings = field(default_factory=BackupSettings)
    operations: OperationsSettings = field(default_factory=OperationsSettings)

    def __post_init__(self) -> None:
        url = urlsplit(self.public_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.path or url.query or url.fragment:
            raise ValueError(f"public_url is {self.public_url!r}; expected https://HOST without a path or last slash.")
        if url.scheme == "http" and url.hostname not in {"localhost", "127.0.0.1"}:
            raise ValueError("public_url is plain http; only localhost may be served without TLS.")
        if not 1 <= self.session_hours <= 168:
            raise ValueError(f"session_hours is {self.session_hours}; expected 1 to 168.")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"time_zone is {self.time_zone!r}; expected a name such as Asia/Shanghai.") from None

    @property
    def is_https(self) -> bool:
        """Whether people reach us over TLS (then cookies are Secure and HSTS is sent)."""
        return self.public_url.startswith("https://")

    @property
    def host(self) -> str:
        """The host part of public_url, with its port if it names one."""
        return urlsplit(self.public_url).netloc

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which pages show times."""
        return ZoneInfo(self.time_zone)

    @property
    def database(self) -> str:
        """The database URL, with its default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'server.db'}"

    @property
    def secret_key_path(self) -> Path:
        """The file that signs session cookies."""
        return self.secret_key_file or self.data_dir / "secret-key"

    @property
    def passphrase_path(self) -> Path:
        """The file with the key store's passphrase; the environment variable wins over it."""
        return self.passphrase_file or self.data_dir / "passphrase"

    @property
    def key_dir(self) -> Path:
        """The key store's folder."""
        return self.data_dir / "keys"

    @property
    def backup_dir(self) -> Path:
        """Where backups lie."""
        return self.backup.folder or self.data_dir / "backups"

    @property
    def vault_public_path(self) -> Path:
        """The vault's exported public keys."""
        return self.vault.public_file or self.data_dir / "vault-public.cbor"

    @property
    def vault_socket_path(self) -> Path:
        """The vault's Unix socket."""
        return self.vault.socket or self.data_dir / "vault.sock"


def load_server_settings(path: Path) -> ServerSettings:
    """Read *path*; raises ConfigError that names what is wrong and what was expected."""
    return load(ServerSettings, path)
