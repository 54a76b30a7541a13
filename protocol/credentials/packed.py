"""Unpacking what a stranger packed, with a hard end: a few hundred bytes may not become a gigabyte."""

from __future__ import annotations

import zlib

from protocol.credentials.reasons import Reason
from protocol.credentials.signed import Refused


def unpack(packed: bytes, *, raw: bool, max_bytes: int) -> bytes:
    """Unpack zlib (RFC 1950), or raw DEFLATE (RFC 1951) when *raw*.

    Refused with BAD_COMPRESSION: anything malformed, cut off, with bytes behind its end, or longer than *max_bytes*;
    the limit is held while unpacking, so that a bomb costs no memory.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(packed, max_bytes)
        if not unpacker.eof:
            # the output may be exactly max_bytes long with only the end mark still unread
            data += unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise Refused(Reason.BAD_COMPRESSION) from error
    if not unpacker.eof or unpacker.unused_data or len(data) > max_bytes:
        raise Refused(Reason.BAD_COMPRESSION)
    return data
