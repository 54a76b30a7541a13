"""Tables of people who sign in, what they are where, and failed sign-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.accounts.roles import Role
from server.db import Base, new_id

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
    session_epoch: Mapped[int] = mapped_column(default=0)  # counts up to end every session of this account
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
