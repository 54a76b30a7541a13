"""Codes as scan heads send them: text with a tail, in any pieces, bounded, never half a code."""

from __future__ import annotations

CR, LF = 0x0D, 0x0A


class LineDecoder:
    """Cuts the bytes of a scan head into codes at CR, LF or CRLF.

    A code with a control byte in it, or longer than *max_bytes*, is dropped as a whole and counted; memory stays below
    *max_bytes* whatever arrives.
    """

    def __init__(self, max_bytes: int = 4096, *, prefix: bytes = b"") -> None:
        self._max_bytes = max_bytes
        self._prefix = prefix
        self._buffer = bytearray()
        self._is_bad = False
        self.damaged = 0  # codes dropped: control bytes, missing prefix
        self.too_long = 0
        self.cut_short = 0  # codes without a tail, dropped after silence

    @property
    def is_empty(self) -> bool:
        """Whether no part of a code waits for its tail."""
        return not self._buffer and not self._is_bad

    def feed(self, data: bytes) -> list[bytes]:
        """The codes that *data* completes, without tail and prefix, in order."""
        codes = []
        for byte in data:
            if byte in (CR, LF):
                code = self._end()
                if code:
                    codes.append(code)
            elif len(self._buffer) >= self._max_bytes:
                if not self._is_bad:
                    self.too_long += 1
                self._is_bad = True
            else:
                self._buffer.append(byte)
        return codes

    def silence(self, *, ends_code: bool) -> bytes | None:
        """Nothing came for a while: ends a code of heads that send no tail, else drops what can only be half of one."""
        if self.is_empty:
            return None
        if ends_code:
            return self._end()
        self.cut_short += 1
        self._buffer.clear()
        self._is_bad = False
        return None

    def _end(self) -> bytes | None:
        code, was_bad = bytes(self._buffer), self._is_bad
        self._buffer.clear()
        self._is_bad = False
        if was_bad or not code:
            return None
        if not code.startswith(self._prefix) or any(byte < 0x20 and byte != 0x1D or byte == 0x7F for byte in code):
            self.damaged += 1  # 1D is the group separator of GS1 codes and legal
            return None
        return code[len(self._prefix) :]


def to_text(code: bytes) -> str | None:
    """UTF-8, else GB 18030, else None: a head set to another encoding sends what nobody can read."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return code.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None
