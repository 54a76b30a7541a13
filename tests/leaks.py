"""Looks for a person in raw bytes: every simple way in which a name or a number can lie in a file.

Simple means: what somebody with the file and a search program finds. Not: sealed, or keyed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np

from protocol.credentials import base45

_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
MOST_BYTES = 64 * 1024 * 1024  # out of one stream


def spellings(secret: str) -> set[str]:
    """The text, and for a number also without and with the usual separators."""
    found = {secret, secret[::-1]}
    digits = re.sub(r"[^0-9Xx]", "", secret)
    if len(digits) >= 11:
        local = digits[-11:] if len(digits) < 15 else digits
        found |= {digits, digits.lower(), local, local[::-1]}
        if len(local) == 11:
            found |= {f"{local[:3]}{gap}{local[3:7]}{gap}{local[7:]}" for gap in " -"} | {f"86{local}", f"+86{local}"}
        if len(local) == 18:  # without the check digit it is as good as whole
            found |= {local[:17], f"{local[:6]} {local[6:14]} {local[14:]}", f"{local[:6]}-{local[6:14]}-{local[14:]}"}
    return found


def forms(secret: str) -> dict[bytes, str]:
    """Every byte string to look for -> what it is called."""
    found: dict[bytes, str] = {}
    for text in spellings(secret):
        found[json.dumps(text)[1:-1].encode()] = "JSON"
        for encoding in ("utf-16-le", "utf-16-be", "gb18030", "utf-8"):
            data = text.encode(encoding)
            found[data] = encoding
            found[data.hex().encode()] = f"hex of {encoding}"
            found[data.hex().upper().encode()] = f"hex of {encoding}"
            for name, digest in (("MD5", hashlib.md5), ("SHA-1", hashlib.sha1), ("SHA-256", hashlib.sha256)):
                found[digest(data).digest()] = name
                found[digest(data).hexdigest().encode()] = f"{name} in hex"
                found[base64.b64encode(digest(data).digest()).rstrip(b"=")] = f"{name} in base64"
            for before in range(3):  # what stands around it decides the letters at both ends: they are left out
                coded = base64.b64encode(bytes(before) + data + bytes(3))
                core = coded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
                found[core] = f"base64 of {encoding}, {before} bytes on"
                found[core.translate(bytes.maketrans(b"+/", b"-_"))] = f"base64url of {encoding}, {before} bytes on"
            for before in range(2):
                whole = data[before : before + (len(data) - before) // 2 * 2]
                found[base45.encode(whole).encode()] = f"base45 of {encoding}, {before} bytes on"
        found[text.encode()[::-1]] = "reversed bytes"
    return {form: name for form, name in found.items() if len(form) >= 8}


def layers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The bytes themselves, and what every zlib or gzip stream in them holds."""
    yield "", data
    for match in _ZLIB.finditer(data):
        part = memoryview(data)[match.start() :]  # no copy: two bytes in 65,536 look like the start of a stream
        unpacking = zlib.decompressobj(31 if match[0] == b"\x1f\x8b\x08" else 15)
        try:
            inner = unpacking.decompress(part, MOST_BYTES)
        except zlib.error:
            continue
        if len(inner) >= 8:
            yield f"a stream at {match.start()}: ", inner


class People:
    """The persons of a day, and a search for any of them."""

    def __init__(self, *secrets: str) -> None:
        self._forms = {form: f"{secret!r} as {name}" for secret in secrets for form, name in forms(secret).items()}
        self._by_start: dict[int, list[bytes]] = {}
        for form in self._forms:
            self._by_start.setdefault(int.from_bytes(form[:8], "little"), []).append(form)
        self._starts = np.array(sorted(self._by_start), dtype="<u8")

    def found_in(self, data: bytes) -> list[str]:
        """What of whom stands in *data*, in words; empty is what everybody hopes for."""
        return sorted(
            {f"{where}{self._forms[form]}" for where, layer in layers(data) for form in self._standing_in(layer)}
        )

    def _standing_in(self, data: bytes) -> Iterator[bytes]:
        """Every form in *data*: eight bytes at a time against the sorted first eight of all forms, then the whole."""
        whole = np.frombuffer(data, dtype=np.uint8)
        for shift in range(min(8, max(0, len(data) - 7))):
            words = whole[shift : shift + (len(data) - shift) // 8 * 8].view("<u8")
            nearest = np.minimum(np.searchsorted(self._starts, words), len(self._starts) - 1)
            for index in np.flatnonzero(self._starts[nearest] == words):
                at = shift + 8 * int(index)
                for form in self._by_start[int(words[index])]:
                    if data.startswith(form, at):
                        yield form

    def found_under(self, folder: Path) -> dict[str, list[str]]:
        """The same for every file under *folder*, names of files included."""
        found: dict[str, list[str]] = {}
        for path in sorted(folder.rglob("*")):
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            if said := self.found_in(str(path.relative_to(folder)).encode() + b"\n" + data):
                found[str(path.relative_to(folder))] = said
        return found


def packed(*kinds: str, content: bytes) -> bytes:
    """*content* as somebody might have packed it; for proving that a search sees through."""
    for kind in kinds:
        if kind == "zlib":
            content = b"before" + zlib.compress(content)
        elif kind == "gzip":
            content = gzip.compress(content)
        else:
            into = BytesIO()
            with tarfile.open(fileobj=into, mode="w") as tar:
                info = tarfile.TarInfo("one")
                info.size = len(content)
                tar.addfile(info, BytesIO(content))
            content = into.getvalue()
    return content
