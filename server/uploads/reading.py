"""Judges a file by its content and makes a picture anew; pure, and never trusts a name or a media type.

A picture is decoded and written again as JPEG: what came along with it (EXIF with a position, comments, a second file
behind the first, a script) is gone. A PDF cannot be made anew so simply: it is looked through for what acts by itself,
and is only ever handed out as a download.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image, ImageOps

from config.errors import GatehouseError

MOST_BYTES = 8 * 1024 * 1024
FORM_BYTES = MOST_BYTES + 64 * 1024  # the file, and the form around it
# What a decoder may be made to unfold: a JPEG is read at reduced size, others whole (4 bytes a pixel).
MOST_JPEG_PIXELS = 60_000_000
MOST_OTHER_PIXELS = 25_000_000
MOST_SIDE = 2000  # pixels kept on the longer side: a licence stays readable, and nothing large is stored
LEAST_SIDE = 40
QUALITY = 82

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP")
# ISO 32000-1: names of actions and attachments. A reader would run or unpack them; no licence needs them.
_ACTS = re.compile(
    rb"/(?:JavaScript|JS|Launch|EmbeddedFiles?|RichMedia|XFA|OpenAction|AA|SubmitForm|GoToR|Encrypt)(?![A-Za-z0-9])"
)


class UploadError(GatehouseError):
    """A file that is not taken; the message is one of the catalogue."""

    code = "upload"


@dataclass(frozen=True, slots=True)
class Judged:
    """A file as it will be kept."""

    media_type: str
    content: bytes
    width: int | None = None  # pixels
    height: int | None = None


def read_picture(data: bytes) -> Judged:
    """The picture in *data* as a fresh JPEG, upright, at most MOST_SIDE pixels. Raises UploadError."""
    _check_size(data)
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            pixels = image.width * image.height
            if pixels > (MOST_JPEG_PIXELS if image.format == "JPEG" else MOST_OTHER_PIXELS):
                raise UploadError("The picture has too many pixels.", hint="Take it smaller, or cut it.")
            if min(image.size) < LEAST_SIDE:
                raise UploadError("The picture is too small to see anything on it.")
            image.draft("RGB", (MOST_SIDE, MOST_SIDE))  # a JPEG unfolds to no more than it needs
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((MOST_SIDE, MOST_SIDE))
            clean = Image.new("RGB", upright.size, "white")  # a new picture: no metadata comes along
            if "A" in upright.getbands() or "transparency" in upright.info:
                seen = upright.convert("RGBA")
                clean.paste(seen, mask=seen.getchannel("A"))
            else:
                clean.paste(upright.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UploadError("The picture has too many pixels.", hint="Take it smaller, or cut it.") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
    ):  # what decoders raise on damage
        raise UploadError("This is no picture that can be read: send a JPEG, PNG or WebP file.") from None
    return Judged("image/jpeg", jpeg(clean), *clean.size)


def read_document(data: bytes) -> Judged:
    """The picture or PDF in *data*. Raises UploadError."""
    _check_size(data)
    if not data.startswith(b"%PDF-"):
        return read_picture(data)
    if b"%%EOF" not in data[-2048:]:
        raise UploadError("The PDF is damaged: it has no end.")
    if _ACTS.search(_plain_names(data)):
        raise UploadError(
            "The PDF holds a script, an attachment or a lock.", hint="Print it to a new PDF, or photograph it."
        )
    return Judged("application/pdf", data)


def jpeg(image: Image.Image) -> bytes:
    """*image* as JPEG bytes without metadata."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def _plain_names(data: bytes) -> bytes:
    """*data* with the #xx of names written out (ISO 32000-1, 7.3.5), so that /J#61vaScript is what it is."""
    return re.sub(rb"#([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), data)


def _check_size(data: bytes) -> None:
    if not data:
        raise UploadError("Choose a file first.")
    if len(data) > MOST_BYTES:
        raise UploadError("The file is too large: at most 8 MB.")
