"""Tables of people who sign in: what they are where, how they prove it, their sessions, and failed sign-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.accounts.roles import Role
from server.areas.models import Area
from server.db import Base, new_id
from server.venues.models import Venue

ID_CHARACTERS = 16


class User(Base):
    """A person with an account; holds no identity data of residents."""

    __tablename__ = "user_account"  # "user" is a reserved word of PostgreSQL

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)  # what one signs in with; lower case
    display_name: Mapped[str] = mapped_column(String(80))
    password: Mapped[str] = mapped_column(String(200))  # argon2id, PHC string
    must_change_password: Mapped[bool] = mapped_column(default=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    assignments: Mapped[list[RoleAssignment]] = relationship(
        back_populates="user", foreign_keys="RoleAssignment.user_id", order_by="RoleAssignment.id"
    )


class RoleAssignment(Base):
    """One role of one user: in an area and all below it, or at one venue, or (residents) for themselves only."""

    __tablename__ = "role_assignment"
    __table_args__ = (CheckConstraint("area_code IS NULL OR venue_id IS NULL", name="one_scope"),)

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    role: Mapped[str] = mapped_column(String(32))  # a value of Role
    area_code: Mapped[str | None] = mapped_column(ForeignKey("area.code"))
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(6), ForeignKey("venue.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # inspectors, helpers: the right ends by itself
    granted_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    user: Mapped[User] = relationship(back_populates="assignments", foreign_keys=[user_id])
    area: Mapped[Area | None] = relationship()
    venue: Mapped[Venue | None] = relationship()

    @property
    def kind(self) -> Role:
        """The role as the enum member."""
        return Role(self.role)


class SignInDelay(Base):
    """Failed sign-ins from one source for one name; slows that pair down and nobody else."""

    __tablename__ = "sign_in_delay"

    source_and_name: Mapped[str] = mapped_column(String(64), primary_key=True)  # keyed hash; no address in clear
    failures: Mapped[int]
    wait_until: Mapped[datetime] = mapped_column(index=True)


class AccountSession(Base):
    """One browser that somebody signed in with. What the cookie holds is a token; here is only its hash."""

    __tablename__ = "account_session"

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)  # to speak of it
    key: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)  # SHA-256 of the cookie's token
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    method: Mapped[str] = mapped_column(String(20))  # password, totp, recovery or passkey
    is_complete: Mapped[bool]  # False between the password and the second factor: opens nothing yet
    wrong_codes: Mapped[int] = mapped_column(default=0)
    browser: Mapped[str] = mapped_column(String(60))  # "Firefox, Linux": enough to know one's own
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)


class TotpSecret(Base):
    """The secret shared with an authenticator app (RFC 6238), sealed by the key store to its account."""

    __tablename__ = "totp_secret"

    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), primary_key=True)
    sealed: Mapped[bytes]
    made_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]  # None until the app has shown a first right code
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)  # the newest 30 s step used; none is taken twice


class RecoveryCode(Base):
    """A code for the day the phone is lost: shown once, kept as a keyed hash, good for one sign-in."""

    __tablename__ = "recovery_code"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    made_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SignInPasskey(Base):
    """A passkey to sign in with. (Passkeys that approve queries are another thing: server/queries/models.py.)"""

    __tablename__ = "sign_in_passkey"

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    credential_id: Mapped[bytes] = mapped_column(unique=True)
    public_key: Mapped[bytes]  # COSE_Key
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(60))
    made_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class UsedChallenge(Base):
    """A passkey challenge that has signed somebody in, kept until it would have run out: none is good twice."""

    __tablename__ = "used_challenge"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    ends_at: Mapped[datetime] = mapped_column(index=True)


class PasswordLink(Base):
    """A one-time link with which somebody chooses a password; only the hash of its token is kept."""

    __tablename__ = "password_link"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    made_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))  # None: from the command line
    made_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class OperatorRegistration(Base):
    """Somebody who runs a venue made this account themselves; nobody has checked what they said."""

    __tablename__ = "operator_registration"

    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), primary_key=True)
    sealed: Mapped[bytes]  # JSON name, phone, unit; by the key store, bound to the account
    notice: Mapped[str] = mapped_column(String(20))  # the version of the notice they agreed to
    at: Mapped[datetime] = mapped_column(index=True)


class AgreementSignature(Base):
    """Somebody has signed the confidentiality agreement (R-47), this version of its text."""

    __tablename__ = "agreement_signature"

    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    signed_at: Mapped[datetime]


class TrainingPass(Base):
    """Somebody has passed the training on personal data (R-126); the newest pass that is still valid counts."""

    __tablename__ = "training_pass"

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    score: Mapped[int]  # of 100
    passed_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    recorded_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))  # None: from the command line
