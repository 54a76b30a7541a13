"""CBOR as a gate needs it: one item, nothing after it, no key twice, no tag that builds surprising objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import cbor2

from protocol.errors import ProtocolError

MAX_BYTES: Final = 65_536  # 64 KiB, after any decompression; a longer input is refused before it is looked at
MAX_DEPTH: Final = 16  # containers and tags; the deepest credential known (EU DCC) needs 7
TAG_DATE_TIME_TEXT: Final = 0  # RFC 8949 3.4.1

# Every tag that cbor2 6 turns into an object by itself: dates, big numbers, regular expressions, shared references ...
# All of them are refused unless a caller allows them; a test walks the tag numbers to see that none is missing.
_BUILT_IN_TAGS: Final = (
    *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100),
    *(256, 258, 260, 261, 1004, 43000, 55799),
)


class CborError(ProtocolError):
    """The bytes are not one well-formed CBOR item of the kind that was asked for."""

    code = "cbor"


class _RefusedTag(ValueError):
    pass


def _refuse(value: Any, immutable: bool) -> object:
    raise _RefusedTag


def _as_text(text: Any, immutable: bool) -> str:
    """Tag 0 comes back as its text: the schema step wants text, and a broken date is that step's to name."""
    if not isinstance(text, str):
        raise _RefusedTag
    return text


@lru_cache(maxsize=16)
def _decoders(allowed: frozenset[int]) -> dict[int, Any]:
    table: dict[int, Any] = {tag: _refuse for tag in _BUILT_IN_TAGS if tag not in allowed or tag == TAG_DATE_TIME_TEXT}
    if TAG_DATE_TIME_TEXT in allowed:
        table[TAG_DATE_TIME_TEXT] = _as_text
    return table


NO_TAGS: Final[frozenset[int]] = frozenset()


def decode_strict(
    data: bytes,
    *,
    tags_allowed: Collection[int] = NO_TAGS,
    allow_indefinite: bool = False,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
) -> object:
    """Decode exactly one CBOR item that fills *data* to its last byte.

    Returns int, float, str, bytes, bool, None, list and dict, and `cbor2.CBORTag(tag, value)` for an allowed tag
    (except tag 0, which comes back as its text; inside a tag, arrays are tuples and maps read-only mappings). Other
    simple values come back as objects of cbor2 that equal nothing.
    Raises CborError, and nothing else, for trailing bytes, a key twice in one map, a tag that is not in
    *tags_allowed*, nesting deeper than *max_depth*, more than *max_bytes*, indefinite lengths (unless allowed: some
    foreign issuers write them) and everything malformed. A length that promises more than there is costs no memory.
    """
    if len(data) > max_bytes:
        raise CborError(f"{len(data)} bytes of CBOR, at most {max_bytes} are read.", code="cbor_too_large")
    allowed = tags_allowed if isinstance(tags_allowed, frozenset) else frozenset(tags_allowed)

    def unknown_tag(tag: Any, immutable: bool = False) -> object:
        if tag.tag in allowed:
            return tag
        raise _RefusedTag

    stream = BytesIO(data)
    try:
        item: object = cbor2.CBORDecoder(
            stream,
            tag_hook=unknown_tag,
            semantic_decoders=_decoders(allowed),
            max_depth=max_depth,
            allow_indefinite=allow_indefinite,
            allow_duplicate_keys=False,
        ).decode()
    except cbor2.CBORDecodeError as error:
        raise _explained(error) from error
    except (ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        # cbor2 wraps these today; a gate does not lean on that
        raise CborError("The CBOR cannot be decoded.") from error
    if stream.tell() != len(data):
        raise CborError(f"{len(data) - stream.tell()} bytes follow the CBOR item.", code="cbor_trailing_bytes")
    return item


def _explained(error: cbor2.CBORDecodeError) -> CborError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _RefusedTag):
            return CborError("The CBOR holds a tag that has no place here.", code="cbor_tag")
        if "uplicate map key" in str(cause):
            return CborError("A key stands twice in one CBOR map.", code="cbor_duplicate_key")
        cause = cause.__cause__
    return CborError("The CBOR is malformed, cut off or nested too deeply.")


def encode(item: object) -> bytes:
    """Encode *item* deterministically (RFC 8949 4.2.1: shortest forms, map keys in byte order, definite lengths).

    The same value gives the same bytes on every machine. cbor2's own canonical mode sorts keys by length first (the
    older RFC 7049 rule), hence the sorting here. Raises CborError for a value that CBOR cannot hold.
    """
    try:
        return _dump(_in_order(item))
    except (cbor2.CBOREncodeError, TypeError, ValueError, RecursionError) as error:
        raise CborError("This value has no CBOR form.", code="cbor_encode") from error


def encode_numbered(fields: Mapping[int, object], *, has_floats: bool = False) -> bytes:
    """`encode` for the map of a passage, several times cheaper: the entrance waits for it.

    *fields* has non-negative integers for keys, **in ascending order**, and no map and no tag inside; *has_floats*
    when a float may stand in it. The bytes are then those of `encode`. Raises CborError as that does.
    """
    try:
        # numbers sort alike by the old rule and the new one, so cbor2's own canonical mode is right for them
        return cbor2.dumps(fields, canonical=has_floats)
    except (cbor2.CBOREncodeError, TypeError, ValueError, RecursionError) as error:
        raise CborError("This value has no CBOR form.", code="cbor_encode") from error


def encode_flat(item: object) -> bytes:
    """`encode` for lists of integers, texts and byte strings, several times cheaper: a catch-up has many thousands.

    No map, no float and no tag may stand in *item*. The bytes are then those of `encode`. Raises CborError as it does.
    """
    try:
        return cbor2.dumps(item)
    except (cbor2.CBOREncodeError, TypeError, ValueError, RecursionError) as error:
        raise CborError("This value has no CBOR form.", code="cbor_encode") from error


def _dump(item: object) -> bytes:
    return cbor2.dumps(item, encoders=_ENCODERS)


def _shortest_float(encoder: cbor2.CBOREncoder, value: Any) -> None:
    encoder.write(cbor2.dumps(value, canonical=True))


_ENCODERS: Final[Mapping[type, Callable[[cbor2.CBOREncoder, Any], Any]]] = {float: _shortest_float}


def _in_order(item: object) -> object:
    kind = type(item)
    if kind is bytes or kind is str or kind is int or kind is bool:
        return item
    if isinstance(item, Mapping):
        if all(type(key) is int and key >= 0 for key in item):  # our own maps: numbers sort like their bytes
            return {key: _in_order(item[key]) for key in sorted(item)}
        pairs = [(_in_order(key), _in_order(value)) for key, value in item.items()]
        return dict(sorted(pairs, key=lambda pair: _dump(pair[0])))
    if isinstance(item, list | tuple):
        return [_in_order(value) for value in item]
    if isinstance(item, cbor2.CBORTag):
        return cbor2.CBORTag(item.tag, _in_order(item.value))
    return item
