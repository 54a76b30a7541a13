"""The table of words by which places are found; triggers of the database write it (migration 0123_places).

Its primary key begins with kind and area, so that whoever sees one street reads one street's words. A word may stand
anywhere in a name, and names are Chinese, without spaces and found by two letters: so the words within reach are read
one by one, and no index of letter triples is asked (docs/decisions/0123).
"""

from __future__ import annotations

from sqlalchemy import LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base
from server.kiosks.models import KIOSK_ID_BYTES
from server.venues.models import VENUE_ID_BYTES


class SearchEntry(Base):
    """One venue, entrance or kiosk, and what it is found by, in lower case."""

    __tablename__ = "search_entry"
    __table_args__ = {"sqlite_with_rowid": False}

    kind: Mapped[str] = mapped_column(String(10), primary_key=True)  # venue, entrance or kiosk
    area_path: Mapped[str] = mapped_column(String(300), primary_key=True)
    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES), primary_key=True, index=True)
    entrance: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 0 for a venue
    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)  # b"" where it is none
    words: Mapped[str] = mapped_column(Text)
