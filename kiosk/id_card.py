"""From a card that the reader read to what a passage keeps of it: name, number, kind of card, and what is doubtful."""

from __future__ import annotations

from datetime import date

from firmware_bridge.codecs.sam_v import CardKind, IdCard
from kiosk.identity import PERMIT_PREFIXES, check_id_number
from protocol.passage import Personal

DOCUMENTS = {  # the words of Personal.document; a typed resident number carries the first of them, too
    CardKind.RESIDENT: "resident_id",
    CardKind.HMT_RESIDENT: "hmt_residence_permit",
    CardKind.FOREIGNER: "foreigner_residence_card",
}


def personal_of(card: IdCard, today: date) -> Personal:
    """The sealed part for the holder of *card*, without a helper. *today* is the kiosk's date.

    No more than a typed entry would hold (C-27: a number only when needed, never a picture): sex, birth, address,
    nation and issuer stay behind. `extra` says that a reader read it, and names what staff have to look at: "number"
    (a region that never was, a birth to come, a number of another kind of card), "expired", "not_yet_valid".
    """
    doubts = []
    if _is_number_odd(card, today):
        doubts.append("number")
    if card.valid_to is not None and card.valid_to < today:
        doubts.append("expired")
    if card.valid_from > today:
        doubts.append("not_yet_valid")
    return Personal(
        name=card.name or card.latin_name,
        id_number=card.number,
        document=DOCUMENTS[card.kind],
        extra=(("read_by", "card_reader"), *(("doubt", doubt) for doubt in doubts)),
    )


def _is_number_odd(card: IdCard, today: date) -> bool:
    if card.kind is CardKind.FOREIGNER:
        return card.birth > today  # three letters and twelve digits; its own check rule is not public
    is_permit = card.number.startswith(PERMIT_PREFIXES)
    if is_permit != (card.kind is CardKind.HMT_RESIDENT):
        return True
    return check_id_number(card.number, today).problem is not None
