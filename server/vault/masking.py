"""How values look when they may not be shown in full (P-48). Pure."""

from __future__ import annotations

STAR = "*"


def mask_name(name: str) -> str:
    """First and last character: 欧阳小明 -> 欧**明; of two the first: 李四 -> 李*; a single one not at all."""
    text = name.strip()
    if len(text) <= 2:
        return text[:1] + STAR if len(text) == 2 else STAR
    return text[0] + STAR * (len(text) - 2) + text[-1]


def mask_id_number(number: str) -> str:
    """First three and last two: 110***************2X; shorter than eight characters: nothing of it."""
    text = number.strip()
    if len(text) < 8:
        return STAR * max(len(text), 3)
    return text[:3] + STAR * (len(text) - 5) + text[-2:]


def mask_phone(phone: str) -> str:
    """Three and four of the national number: +86138****8000; too short to hide anything: nothing of it."""
    text = phone.strip()
    prefix, rest = ("+86", text[3:]) if text.startswith("+86") else ("", text)
    if len(rest) < 10:
        return STAR * max(len(text), 3)
    return prefix + rest[:3] + STAR * (len(rest) - 7) + rest[-4:]
