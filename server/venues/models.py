"""Tables of venues and entrances; an entrance is known by its venue and a number, as in the venue code."""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import Enum

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.areas.models import Area
from server.db import Base

VENUE_ID_BYTES = 6  # credentials.md 5, claim 2


class Category(Enum):
    """What kind of place a venue is (V-01)."""

    ENTERPRISE = "enterprise"
    INSTITUTION = "institution"  # offices, schools, hospitals
    SHOP = "shop"
    MARKET = "market"
    RESTAURANT = "restaurant"
    TRANSPORT = "transport"
    CULTURE = "culture"  # libraries, cinemas, sports
    RESIDENTIAL = "residential"
    OTHER = "other"


CATEGORY_NAMES: dict[Category, str] = {
    Category.ENTERPRISE: "Enterprise",
    Category.INSTITUTION: "Institution",
    Category.SHOP: "Shop",
    Category.MARKET: "Market",
    Category.RESTAURANT: "Restaurant",
    Category.TRANSPORT: "Transport",
    Category.CULTURE: "Culture and sports",
    Category.RESIDENTIAL: "Residential",
    Category.OTHER: "Other venue",
}


class Venue(Base):
    """A place with at least one entrance, in one area, with one responsible person (V-30)."""

    __tablename__ = "venue"
    __table_args__ = (Index(None, "area_path", "id"),)

    id: Mapped[bytes] = mapped_column(
        LargeBinary(VENUE_ID_BYTES), primary_key=True, default=lambda: secrets.token_bytes(VENUE_ID_BYTES)
    )
    area_code: Mapped[str] = mapped_column(ForeignKey("area.code"), index=True)
    name_zh: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str] = mapped_column(String(80), default="")
    address: Mapped[str] = mapped_column(String(200))
    category: Mapped[str] = mapped_column(String(20))  # a value of Category
    # the responsible person as known at work; indexed, because the console counts venues without one
    keeper_name: Mapped[str] = mapped_column(String(80), default="", index=True)
    keeper_phone: Mapped[str] = mapped_column(String(32), default="")  # their number at work
    created_at: Mapped[datetime]
    # the path of its area, kept true by triggers (server/search): lists stay within reach without a join
    area_path: Mapped[str] = mapped_column(String(300), default="", server_default="")
    area: Mapped[Area] = relationship()
    entrances: Mapped[list[Entrance]] = relationship(back_populates="venue", order_by="Entrance.number")


class Entrance(Base):
    """A door of a venue; codes, posters and kiosks belong to it. Closed ones stay, for the records that name them."""

    __tablename__ = "entrance"

    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name_zh: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str] = mapped_column(String(80), default="")
    closed_at: Mapped[datetime | None]
    venue: Mapped[Venue] = relationship(back_populates="entrances")
