"""Draws recovery sheets: one A4 page a holder, with the words in a numbered grid, to be printed and then deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.sax.saxutils import escape

import cairosvg

from server.vault.custody import Custody, Sheet
from server.vault.keyfile import spoken

_COLUMNS = 3
_FONT = "Noto Sans CJK SC, Noto Sans SC, WenQuanYi Micro Hei, sans-serif"


def draw_sheet(custody: Custody, sheet: Sheet, fingerprint: bytes) -> bytes:
    """The PDF of one sheet (A4, black on white)."""
    made = datetime.fromtimestamp(custody.made_ms / 1000, UTC).strftime("%Y-%m-%d")
    heading = (
        (26, 6.6, 700, "门哨保险库恢复单 · Gatehouse vault recovery sheet"),
        (36, 4.6, 400, f"第 {sheet.number} 张，共 {custody.of} 张；任意 {custody.need} 张可恢复。"),
        (43, 4.6, 400, f"Sheet {sheet.number} of {custody.of}; any {custody.need} of them bring the vault back."),
        (53, 5.2, 700, f"保管人 Holder: {sheet.holder}"),
        (61, 4.2, 400, f"日期 Made: {made} UTC    保险库指纹 Vault: {spoken(fingerprint)}"),
        (68, 4.2, 400, f"恢复单组 Set: {custody.key.key_id.hex()}"),
    )
    notes = (
        "请单独密封保存，不拍照，不录入任何联网设备。不与其他恢复单或保险库文件放在一起。",
        "Keep it sealed and alone. No photograph, no copy on a machine, not beside another sheet or the vault's files.",
        "恢复或演练时，由本人在保险库主机上输入： gatehouse vault custody drill / recover",
        "The holder types the words on the vault's own machine, in order, at a drill or a recovery.",
        "离任时当面移交并重新分割： gatehouse vault custody split",
        "When the holder leaves, split anew; this sheet is then void.",
    )
    parts = [_text(20, y, size, weight, words) for y, size, weight, words in heading]
    rows = -(-len(sheet.words) // _COLUMNS)
    for n, word in enumerate(sheet.words):
        column, row = divmod(n, rows)
        x, y = 20 + column * 58, 86 + row * 11
        parts.append(_text(x + 9, y, 4, 400, f"{n + 1}", anchor="end", fill="#444"))
        parts.append(_text(x + 12, y, 5.6, 700, word, family="monospace"))
    parts += [_text(20, 216 + n * 8 + (n // 2) * 3, 3.3, 400, line) for n, line in enumerate(notes)]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm" viewBox="0 0 210 297">'
        '<rect width="210" height="297" fill="#fff"/><rect x="14" y="75" width="182" height="124" fill="none" '
        f'stroke="#000" stroke-width="0.4"/>{"".join(parts)}</svg>'
    )
    pdf: bytes = cairosvg.svg2pdf(bytestring=svg.encode())
    return pdf


def _text(
    x: float,
    y: float,
    size: float,
    weight: int,
    words: str,
    *,
    anchor: str = "start",
    fill: str = "#000",
    family: str = _FONT,
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" font-family="{family}" '
        f'text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
    )
