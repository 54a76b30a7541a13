"""The area table: each node knows its whole path, so that a subtree is one range of the path's index."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, String, and_
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from server.db import Base

CODE_SHAPE = re.compile(r"[0-9A-Za-z]{1,32}")  # GB/T 2260 and its extensions, or a local code
MAX_DEPTH = 8


class Level(Enum):
    """Levels of the tree (requirements.md A.1)."""

    PROVINCE = "province"
    CITY = "city_command"
    DISTRICT = "district_command"
    STREET = "street"
    COMMUNITY = "community"
    GRID = "grid"


LEVEL_NAMES: dict[Level, str] = {
    Level.PROVINCE: "Province",
    Level.CITY: "City",
    Level.DISTRICT: "District",
    Level.STREET: "Street",
    Level.COMMUNITY: "Community",
    Level.GRID: "Grid",
}


class Area(Base):
    """One node of the tree."""

    __tablename__ = "area"

    code: Mapped[str] = mapped_column(String(32), primary_key=True)
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("area.code"), index=True)
    level: Mapped[str] = mapped_column(String(20))  # a value of Level
    name_zh: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str] = mapped_column(String(80), default="")
    path: Mapped[str] = mapped_column(String(300), unique=True)  # "510000/510100/510104/", its own code last


def within(path: InstrumentedAttribute[str] | ColumnElement[str], top: str) -> ColumnElement[bool]:
    """The SQL condition "this path is *top* or below it", as an index range and never a LIKE."""
    return and_(path >= top, path < top[:-1] + chr(ord("/") + 1))


def is_within(path: str, top: str) -> bool:
    """Whether *path* is *top* or below it."""
    return path.startswith(top)


def area_row(code: str, level: Level, name_zh: str, name_en: str, parent: Area | None) -> Area:
    """A new node under *parent*; raises ValueError when its code or place in the tree is not possible."""
    if not CODE_SHAPE.fullmatch(code):
        raise ValueError(f"{code!r} is not an area code; expected 1 to 32 letters and digits.")
    if not name_zh.strip():
        raise ValueError(f"Area {code} has no Chinese name.")
    levels = list(Level)
    fields: dict[str, Any] = {
        "code": code,
        "level": level.value,
        "name_zh": name_zh.strip(),
        "name_en": name_en.strip(),
    }
    if parent is None:
        return Area(parent_code=None, path=f"{code}/", **fields)
    if levels.index(Level(parent.level)) >= levels.index(level):
        raise ValueError(f"Area {code} is a {level.value} and cannot lie in {parent.code}, a {parent.level}.")
    return Area(parent_code=parent.code, path=f"{parent.path}{code}/", **fields)
